/**
 * Power cuts: a machine with a disk brings images in, pulls, removes and prunes, and loses its
 * power at a random moment. What it lists when it is back has to be whole. The machine is
 * user-mode Linux: what it holds in its page cache is gone with it, as on a real one.
 */

import { assertEquals } from "../assert.ts";
import { binary, count, mustRun, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { boot, Machine, makeDisk } from "../rigs/uml.ts";

/** From when the machine is at work. */
const latestCutMs = 3000;

/** A sequence of numbers in [0, 1) that the seed decides. */
function* randoms(seed: number): Generator<number, never> {
  for (let state = seed;;) {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    yield state / 2 ** 32;
  }
}

test("whatever is listed after a power cut is whole", async ({ dir }) => {
  const { oci, docker, aci, guest } = await images();
  const disk = await makeDisk(`${dir}/disk`, 256);
  await Deno.mkdir(`${dir}/config`);
  await Deno.mkdir(`${dir}/served`);
  await Deno.copyFile(aci, `${dir}/served/busybox.aci`);
  await Deno.writeTextFile(
    `${dir}/config/hosts.yaml`,
    "hosts:\n  127.0.0.1:5002: { plainHttp: true }\n",
  );
  const kurma = `${binary} --root /mnt/state --config ${dir}/config`;
  // What it says is on the console before the next command starts.
  const check = `
    mount /dev/ubda /mnt || exit 90
    ${kurma} image list -o json >/run/list || exit 91
    ${kurma} image verify --check-only -o json >/run/damages || exit 92
    echo "listed $(grep -c '"id": "' /run/list) damages $(tr -d ' \\n' </run/damages)"`;
  const steps = [
    `import ${oci} --name busy:1`,
    "pull http://127.0.0.1:5002/busybox.aci",
    "rm busy:1",
    `import ${docker} --name busy:2`,
    "prune",
    "rm busy:2",
  ];
  // Each machine begins with another step: most cuts are in its first ones.
  const work = (first: number) => `
    busybox httpd -p 127.0.0.1:5002 -h ${dir}/served
    while true; do
      ${
    steps.map((_, at) => steps[(first + at) % steps.length]).map((step) => `
      echo "does ${step}"
      ${kurma} image ${step} >/run/said 2>&1 || echo "failed ${step}: $(cat /run/said)"`).join("")
  }
    done`;

  const kept = await boot({
    dir,
    disk,
    script: `mount /dev/ubda /mnt && ${kurma} image import ${guest} --name kept:1 && umount /mnt`,
  });
  assertEquals(kept.status, 0, kept.stdout);

  const seed = Number(Deno.env.get("KURMA_SEED") ?? Math.floor(Math.random() * 2 ** 32));
  const random = randoms(seed);
  const cuts = count(4, 100);
  const cutAt: Record<string, number> = {};
  const wrong: string[] = [];
  let listed = 0;
  for (let cut = 0; cut < cuts; cut++) {
    const machine = new Machine({ dir, disk, script: check + work(cut) });
    const [, found, damages] = await machine.says(/^listed (\d+) damages (.*?)\r?$/m);
    listed += Number(found);
    if (Number(found) < 1) wrong.push(`before cut ${cut}: an image is gone that nobody removed`);
    if (damages !== "[]") wrong.push(`before cut ${cut}: ${damages}`);
    await machine.says(/^does /m);
    await new Promise((done) => setTimeout(done, random.next().value * latestCutMs));
    const said = await machine.cutPower();
    const step = said.matchAll(/^does (\S+)/gm).toArray().at(-1)?.[1] ?? "nothing";
    cutAt[step] = (cutAt[step] ?? 0) + 1;
    // A name is not there if the cut took it, or never came; nothing else may fail.
    const failed = said.match(/^failed .*$/gm) ?? [];
    wrong.push(...failed.filter((line) => !/ rm .*Cannot find image/.test(line)));
  }
  const last = await boot({ dir, disk, script: `${check}\n umount /mnt` });
  const [, found, damages] = /^listed (\d+) damages (.*)$/m.exec(last.stdout) ?? [];
  console.log(
    `${cuts} cuts (${Object.entries(cutAt).map((one) => one.join(" ")).join(", ")}), ` +
      `seed ${seed}: ${listed + Number(found)} images listed after them`,
  );
  assertEquals([last.status, damages, wrong], [0, "[]", []], last.stdout);
  await mustRun(["e2fsck", "-fn", disk]);
});
