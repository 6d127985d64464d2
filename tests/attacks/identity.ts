/**
 * Attacks with who a process is and what it is given: ids, groups, capabilities, the
 * environment, keys, a terminal.
 *
 * @module
 */

import { count } from "../harness.ts";
import { type Attack, attacker, type Outcome, secret, type Target } from "./target.ts";

const tools = new URL("../../build/tools", import.meta.url).pathname;

/** Names that are not root's, whatever a careless reader makes of them. */
const users = [
  ...["4294967296", "8589934592", "4294967295", "2147483648", "-1", "-4294967296", " 0", "0x0"],
  ...["+0", "0 ", "1000:4294967296", "rooT", "root ", "root\0x"],
];

async function wrongUsers(target: Target): Promise<Outcome> {
  const answers = new Set<string>();
  const image = "mkdir etc; echo root:x:0:0::/: >etc/passwd";
  const container = await target.start({ run: ["/bin/sleep", "1000"], image });
  const roots: string[] = [];
  for (const user of users) {
    const created = await target.run({ run: ["/bin/id"], user, image });
    answers.add(created);
    if (/[ug]id=0/.test(created)) roots.push(`run as "${user}"`);
  }
  await target.server.remove(container);
  return { got: roots.length > 0, seen: [...roots, ...answers].join(", ") };
}

/** The environment that a container sees when its plan has such variables. */
async function environment(target: Target): Promise<Outcome> {
  const seen: string[] = [];
  for (const variable of ["KURMA_TEST_SECRET", "KURMA_*", "*", "=", ""]) {
    seen.push(await target.run({ run: ["/bin/env"], process: { env: ["PATH=/bin", variable] } }));
  }
  seen.push(await target.run({ run: ["/bin/env"] }));
  return { got: seen.some((text) => text.includes(secret)), seen: seen.join(", ") };
}

/**
 * Enters a container again and again in which an attacker looks at each new process. The
 * kernel itself closes a process that changes its user to others, so that the attacker
 * has to be the host's root to succeed.
 */
async function lookDuringExec(target: Target): Promise<Outcome> {
  const { server } = target;
  const plan = await target.plan({
    run: [attacker, "look"],
    hostUsers: target.weakened,
    capabilities: ["CAP_SYS_PTRACE"],
    kurma: { log: { directory: await folder(target, "log") }, seccomp: "none" },
  });
  await server.stage2.create(plan, null);
  await server.stage2.start(plan.kurma.id);
  const log = `${target.dir}/log/log`;
  const opened = () => /opened \S+/.exec(Deno.readTextFileSync(log))?.[0];
  const rounds = target.weakened ? 2000 : count(100, 500); // To succeed takes luck.
  for (let round = 0; round < rounds && !opened(); round++) {
    await target.exec(plan.kurma.id, ["/bin/true"]);
  }
  const found = opened();
  await server.remove(plan.kurma.id);
  return { got: found !== undefined, seen: found ?? "nothing opened" };
}

async function folder(target: Target, name: string): Promise<string> {
  await Deno.mkdir(`${target.dir}/${name}`);
  return `${target.dir}/${name}`;
}

export const identity: readonly Attack[] = [
  {
    number: 17,
    what: "name a variable without a value, to get the host's",
    leftOut: ["environment"],
    carryOut: environment,
    refused: /^(Cannot carry out the plan: Not NAME=value: [^,]*, ){5}PATH=.bin\nHOME=.\n0$/,
  },
  {
    number: 18,
    what: "be a user whose number wraps, has a sign or a prefix, and so be root",
    leftOut: ["ids"],
    carryOut: wrongUsers,
    refused: /^user E(INVAL|NOENT)(, |$)/,
  },
  {
    number: 19,
    what: "read a file by a group that the server was in",
    prefix: ["setpriv", "--groups", "4242"],
    leftOut: ["groups"],
    async carryOut(target) {
      const volume = await folder(target, "volume");
      await Deno.writeTextFile(`${volume}/secret`, secret);
      await Deno.chown(`${volume}/secret`, 0, 4242);
      await Deno.chmod(`${volume}/secret`, 0o040);
      const seen = await target.run({
        run: "id; cat /vol/secret 2>&1",
        user: "1000:1000",
        hostUsers: true,
        mounts: [{ destination: "/vol", source: volume, options: ["rbind"] }],
      });
      return { got: seen.includes(secret), seen };
    },
    refused: /uid=1000 gid=1000( groups=1000)?\ncat: can't open '\/vol\/secret': Permission denied/,
  },
  {
    number: 20,
    what: "get a capability back from a file that asks for inheritable ones",
    leftOut: ["inheritable"],
    async carryOut(target) {
      const seen = await target.run({
        image: `mkdir bin tmp; chmod 1777 tmp; cp ${tools}/attacker bin/take
          bin/take capability bin/take`,
        run: "grep CapInh /proc/self/status; echo >/tmp/f; take chown /tmp/f",
        user: "1000:1000",
        hostUsers: true,
        process: { noNewPrivileges: false },
      });
      return { got: seen.includes("got it"), seen };
    },
    refused: /EPERM\n1$/,
  },
  {
    number: 47,
    what: "read a key of the host from the session's keyring",
    prefix: [`${tools}/attacker`, "with-key", "kurma-canary"],
    leftOut: ["keyring"],
    async carryOut(target) {
      const container = { run: [attacker, "key", "kurma-canary"], kurma: { seccomp: "none" } };
      const seen = await target.run({ ...container, kurma: { seccomp: "none" }, hostUsers: true });
      return { got: seen.startsWith("got it"), seen };
    },
    refused: /^ENOKEY\n1$/,
  },
  {
    number: 48,
    what: "look at what the init has open and what it is made of",
    leftOut: ["dumpable"],
    async carryOut(target) {
      const seen = await target.run({
        run: "readlink /proc/1/exe; readlink /proc/1/fd/0; cat /proc/1/environ 2>&1",
        hostUsers: true,
      });
      return { got: /memfd|kurma|INITD/.test(seen), seen };
    },
    refused: /^cat: can't open '\/proc\/1\/environ': Permission denied\n1$/,
  },
  {
    number: 48,
    what: "open what a process that enters the container still has",
    leftOut: ["dumpable"],
    carryOut: lookDuringExec,
    refused: /^nothing opened$/,
  },
  {
    number: 49,
    what: "type into the terminal of whoever started the server",
    prefix: ["sh", "-c", 'exec script -qec "$*" /dev/null', "sh"],
    leftOut: ["session", "filter"],
    eachIsEnough: true,
    async carryOut(target) {
      const seen: string[] = [];
      for (const high of ["0", "1"]) {
        seen.push(
          await target.run({ run: `attacker type /dev/tty ${high} 2>&1`, hostUsers: true }),
        );
      }
      return { got: seen.some((text) => text.startsWith("got it")), seen: seen.join(", ") };
    },
    refused: /^(ENXIO|EPERM)\n1, (ENXIO|EPERM)\n1$/,
  },
];
