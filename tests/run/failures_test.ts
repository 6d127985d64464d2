/**
 * What `kurma run` says when it cannot, and that nothing is left of what it had done.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, count, type Output, run, Running, test } from "../harness.ts";
import { leftovers, snapshot } from "../leaks.ts";
import { escapes, hostileAci, images, truncated, wrongDigest } from "../images_fixture.ts";

/** A failure of ours: status 125, one line with the cause and what to do, nothing else. */
function assertFailure({ status, stdout, stderr }: Output, cause: RegExp, fix = /\S/) {
  assertEquals([status, stdout], [125, ""], stderr);
  assertMatch(stderr, /^kurma: [^\n]+\. [^\n]+\n$/);
  assertMatch(stderr, cause);
  assertMatch(stderr, fix);
}

/** What of images is in a state folder. */
function stored(root: string): string[] {
  return ["blobs/sha256", "blobs/sha512", "layers", "tmp"].flatMap((folder) =>
    [...Deno.readDirSync(`${root}/images/${folder}`)].map(({ name }) => `${folder}/${name}`)
  );
}

const badCalls: Record<string, { args: string[]; cause: RegExp; fix?: RegExp }> = {
  "an image that does not exist": { args: ["/nowhere/image"], cause: /"\/nowhere\/image"/ },
  "no image": { args: [], cause: /IMAGE/i, fix: /Usage: kurma run / },
  "an unknown flag": { args: ["--evn", "A=1", "hello"], cause: /--evn/, fix: /--env/ },
  "a flag without its value": { args: ["--user"], cause: /--user/ },
  "an environment entry without a name": { args: ["--env", "=x", "hello"], cause: /env/ },
  "a name that is a path": { args: ["--name", "../up", "hello"], cause: /name/ },
  "a user that the image does not know": {
    args: ["--user", "nobody-here", "hello"],
    cause: /nobody-here/,
  },
  "a folder that is no image": { args: ["/etc"], cause: /"\/etc"/ },
  "a file that is no image": { args: ["/etc/passwd"], cause: /"\/etc\/passwd"/ },
};

for (const [name, { args, cause, fix }] of Object.entries(badCalls)) {
  test(`kurma run refuses ${name}`, async ({ kurma }) => {
    assertFailure(await kurma(["run", ...args]), cause, fix);
  });
}

test("kurma run refuses a tag that the layout lacks, and names those it has", async ({ kurma }) => {
  const layout = (await images()).oci.replace(":busybox", ":absent");
  const output = await kurma(["run", layout]);
  assertFailure(output, /absent/);
  assertMatch(output.stderr, /busybox/);
});

test("kurma run refuses a truncated image of each kind", async ({ kurma, dir }) => {
  const { aci, docker, ociTar } = await images();
  for (const source of [aci, docker, ociTar.replace(/:\w+$/, "")]) {
    const half = await truncated(source, `${dir}/half`);
    assertFailure(
      await kurma(["--root", `${dir}/state`, "run", half]),
      /"[^"]*half"|end|truncated/i,
    );
    assertEquals(stored(`${dir}/state`), []);
  }
});

test("kurma run refuses a layer whose bytes are not the digest's", async ({ kurma, dir }) => {
  const { image, digest } = await wrongDigest(await images(), `${dir}/oci`);
  assertFailure(await kurma(["--root", `${dir}/state`, "run", image]), new RegExp(digest));
  // The other layer is what it says, and stays for when the image comes again.
  const kept = stored(`${dir}/state`).map((path) => path.split("/")[0]);
  assertEquals(kept, ["blobs", "layers"]);
  assert(!stored(`${dir}/state`).some((path) => path.includes(digest)));
});

for (const [name, entries] of Object.entries(escapes)) {
  test(`an archive cannot get out by ${name}`, async ({ kurma, dir }) => {
    const canary = `${dir}/canary`;
    await Deno.writeTextFile(canary, "untouched");
    const aci = await hostileAci(`${dir}/hostile.aci`, entries(canary));
    assertFailure(
      await kurma(["--root", `${dir}/state`, "run", aci, "/bin/true"]),
      /rootfs|out|canary/,
    );
    assertEquals(await Deno.readTextFile(canary), "untouched");
    assertEquals(stored(`${dir}/state`), []);
  });
}

test("kurma run says that it needs root", async ({ dir }) => {
  await Deno.copyFile(binary, `${dir}/kurma`);
  await Deno.chmod(dir, 0o755);
  const output = await run([
    "setpriv",
    "--reuid=1000",
    "--regid=1000",
    "--clear-groups",
    `${dir}/kurma`,
    "run",
    "hello",
  ]);
  assertFailure(output, /EACCES|EPERM|permission|root/i, /root/);
});

test("kurma run says when the disk is full", async ({ kurma, dir }) => {
  await Deno.mkdir(`${dir}/state`);
  await run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", `${dir}/state`]);
  try {
    assertFailure(
      await kurma(["--root", `${dir}/state`, "run", (await images()).oci]),
      /ENOSPC|space/i,
    );
  } finally {
    await run(["umount", `${dir}/state`]);
  }
});

/**
 * System calls that only a container's start makes, with which of its calls fails. The
 * kernel answers EIO in their place: strace(1), `--inject`.
 */
const brokenCalls = [
  ...[
    "memfd_create:when=2",
    "memfd_create:when=3",
    "memfd_create:when=4",
    "fsopen:when=1",
    "fsopen:when=2",
    "fsopen:when=4",
    "fsconfig:when=3",
  ],
  ...["fsmount:when=1", "fsmount:when=3", "open_tree:when=1", "open_tree:when=3"],
  ...["move_mount:when=1", "move_mount:when=2", "move_mount:when=6", "mount_setattr:when=1"],
  ...["mount_setattr:when=3", "pivot_root:when=1", "umount2:when=1", "sethostname:when=1"],
  ...[
    "symlinkat:when=1",
    "mknodat:when=1",
    "capset:when=1",
    "setgroups:when=1",
    "setresuid:when=1",
  ],
  ...["setresgid:when=1", "seccomp:when=1", "execveat:when=2", "execveat:when=3"],
];

for (const call of brokenCalls) {
  test(`a start leaves nothing when ${call.replace(":when=", "(2), call ")}, fails`, async () => {
    const { guest } = await images();
    const [name] = call.split(":");
    const { status, stdout, stderr } = await run([
      ...["strace", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", `--trace=${name}`],
      ...[
        `--inject=${call.replace(":", ":error=EIO:")}`,
        binary,
        "run",
        guest,
        "/guest",
        "exit",
        "7",
      ],
    ]);
    // Where the call is not made, or its failure is no reason to stop, the command runs.
    assert([7, 125, 126].includes(status), `exited ${status}: ${stdout}${stderr}`);
    if (status !== 7) assertMatch(stderr, /^kurma: [^\n]*EIO[^\n]*\n/);
  });
}

test("kill -9 of kurma takes the container with it", async ({ start }) => {
  const { oci } = await images();
  const running = start(["run", oci, "sh", "-c", "sleep 1000 & echo ready; sleep 1000"]);
  await running.says(/ready/);
  running.signal("SIGKILL");
  assertEquals((await running.output).status, 128 + 9);
});

test("kill -9 of kurma at any moment of a start leaves nothing", async () => {
  const { guest } = await images();
  const once = () => run([binary, "run", guest, "/guest", "exit", "0"]);
  await once();
  const before = await snapshot();
  for (let round = 0; round < count(25, 1000); round++) {
    const running = new Running([binary, "run", guest, "/guest", "sleep", "30"]);
    await new Promise((resolve) => setTimeout(resolve, 20 + (round * 7919) % 180));
    running.signal("SIGKILL");
    await running.output;
  }
  assertEquals(await leftovers(before), []);
  await once();
});

test("sixteen containers at once start, run and leave nothing", async ({ kurma }) => {
  const { guest } = await images();
  const codes = Array.from({ length: 16 }, (_, index) => index + 1);
  const ended = await Promise.all(
    codes.map((code) => kurma(["run", guest, "/guest", "exit", `${code}`])),
  );
  assertEquals(ended.map(({ status }) => status), codes);
});
