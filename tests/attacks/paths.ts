/**
 * Attacks with names: an image or a shared volume that leads somewhere else when the
 * host's side looks, and descriptors that are still open.
 *
 * @module
 */

import { count } from "../harness.ts";
import { type Attack, attacker, type Outcome, secret, type Target, type Wish } from "./target.ts";

/** What a container of this wish did to the host's folder, and what it printed. */
async function damageBy(target: Target, wish: Wish): Promise<Outcome> {
  const said = await target.run({ hostUsers: true, ...wish });
  const damage = await target.damage();
  return { got: damage.length > 0, seen: damage.length > 0 ? damage.join(", ") : said };
}

/**
 * A container swaps a name of a volume, back and forth between a folder and a link to the
 * host's, while others are started that have `mount` below that name.
 */
async function race(target: Target, type: "tmpfs" | "bind"): Promise<Outcome> {
  const volume = `${target.dir}/volume`;
  await Deno.mkdir(`${volume}/a`, { recursive: true });
  await Deno.symlink(target.host, `${volume}/b`);
  await Deno.writeTextFile(`${target.dir}/file`, "");
  const shared = { destination: "/vol", source: volume, options: ["rbind"] };
  const below = type === "tmpfs"
    ? { destination: "/vol/a/new", type, source: "none" }
    : { destination: "/vol/a/new", source: `${target.dir}/file`, options: ["bind"] };
  const racer = await target.start({
    run: [attacker, "swap", "/vol/a", "/vol/b"],
    mounts: [shared],
    hostUsers: true,
  });
  const before = Deno.readTextFileSync("/proc/self/mountinfo");
  const answers = new Map<string, number>();
  let damage: string[] = [];
  const rounds = count(60, 2000);
  for (let round = 0; round < rounds && damage.length === 0; round++) {
    // Made anew each time: what is there already needs no making.
    await Deno.remove(`${volume}/a/new`, { recursive: true }).catch(() => {});
    await Deno.remove(`${volume}/b/new`, { recursive: true }).catch(() => {});
    const answer = await target.run({
      run: ["/bin/true"],
      mounts: [shared, below],
      hostUsers: true,
    });
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
    damage = await target.damage();
  }
  await target.server.remove(racer);
  if (Deno.readTextFileSync("/proc/self/mountinfo") !== before) damage.push("a mount on the host");
  const tally = [...answers].map(([answer, times]) => `${times} × ${answer}`).join(", ");
  return { got: damage.length > 0, seen: `${damage.join(", ")}; ${tally}` };
}

/** The secret, from a working directory that is a descriptor. */
function fromDescriptor(number: number): { args: string[]; cwd: string } {
  return { args: ["/bin/cat"], cwd: `/proc/self/fd/${number}` };
}

const numbers = Array.from({ length: 62 }, (_, index) => index + 3);

export const paths: readonly Attack[] = [
  {
    number: 2,
    what: "start in a folder of the host through a descriptor that was left open",
    leftOut: ["descriptors", "working_directory", "resolve"],
    async carryOut(target) {
      const seen = new Set<string>();
      for (const number of numbers) {
        const { args, cwd } = fromDescriptor(number);
        const run = [...args, `.${target.host}/secret`];
        const said = await target.run({ run, process: { cwd }, hostUsers: true });
        if (said.includes(secret)) return { got: true, seen: said };
        seen.add(said);
      }
      return { got: false, seen: [...seen].join(", ") };
    },
    refused: /^(chdir|mkdir) E\w+(, (chdir|mkdir) E\w+)*$/,
  },
  {
    number: 2,
    what: "enter a container in a folder of the host through a descriptor",
    leftOut: ["descriptors", "working_directory"],
    eachIsEnough: true,
    async carryOut(target) {
      const id = await target.start({ run: ["/bin/sleep", "1000"], hostUsers: true });
      const seen = new Set<string>();
      let got = false;
      for (const number of numbers) {
        const { args, cwd } = fromDescriptor(number);
        const said = await target.exec(id, [...args, `.${target.host}/secret`], { cwd });
        got ||= said.includes(secret);
        seen.add(said);
        if (got) break;
      }
      await target.server.remove(id);
      return { got, seen: [...seen].join(", ") };
    },
    refused: /^chdir E\w+(, chdir E\w+)*$/,
  },
  {
    number: 3,
    what: "put a link to a file of the host where /dev/null is, and write to a masked file",
    leftOut: ["null_device"],
    carryOut: (target) =>
      damageBy(target, {
        image:
          'mkdir dev etc; ln -s "$HOST/secret" dev/null; echo covered >etc/covered; mkdir -p ".$HOST"; : >".$HOST/secret"',
        withoutMounts: "/dev",
        linux: { maskedPaths: ["/etc/covered"] },
        run: "echo taken >/etc/covered; cat /etc/covered; echo nothing",
      }),
    refused: /^nothing\n0$/,
  },
  {
    number: 4,
    what: "put a link to the host's /dev/ptmx where the container's terminals are made",
    leftOut: ["resolve"],
    async carryOut(target) {
      const seen = await target.run({
        image: "mkdir -p dev/pts; ln -s /dev/ptmx dev/pts/ptmx",
        withoutMounts: "/dev",
        process: { terminal: true },
        hostUsers: true,
        run: ["/bin/true"],
      });
      return { got: seen === "0", seen };
    },
    refused: /^terminal ELOOP$/,
  },
  {
    number: 5,
    what: "have a link where /proc is, so that procfs goes elsewhere",
    leftOut: ["kernel_folders"],
    async carryOut(target) {
      const seen = await target.run({
        image: "ln -s /tmp/p proc; mkdir -p tmp/p",
        run: "ls -d /tmp/p/1",
      });
      return { got: seen.startsWith("/tmp/p/1"), seen };
    },
    refused: /^mount E(LOOP|NOTDIR)$/,
  },
  {
    number: 6,
    what: "have a link to a folder of the host where /dev is",
    leftOut: ["resolve"],
    carryOut: (target) =>
      damageBy(target, { image: 'ln -s "$HOST" dev', withoutMounts: "/dev", run: ["/bin/true"] }),
    refused: /^device ELOOP$/,
  },
  {
    number: 7,
    what: "swap a folder for a link to the host while another container mounts below it",
    leftOut: ["resolve"],
    carryOut: (target) => race(target, "tmpfs"),
    refused: /^; .*\b\d+ × 0/,
  },
  {
    number: 8,
    what: "swap a folder for a link to the host while a file is made below it",
    leftOut: ["resolve"],
    carryOut: (target) => race(target, "bind"),
    refused: /^; .*\b\d+ × 0/,
  },
  {
    number: 11,
    what: "have a link to the host on the way to the working directory that is made",
    leftOut: ["resolve"],
    carryOut: (target) =>
      damageBy(target, {
        image: 'ln -s "$HOST" l',
        run: ["/bin/true"],
        process: { cwd: "/l/x" },
      }),
    refused: /^open ENOENT$/,
  },
];
