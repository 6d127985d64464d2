import { assert, assertEquals, assertMatch } from "../assert.ts";
import {
  binary,
  mustRun,
  type Output,
  Running,
  type RunOptions,
  type Scratch,
  test,
} from "../harness.ts";
import { until } from "./served.ts";
import { children, commandLine } from "../stage3/by_hand.ts";

/** One launch: `SPAWNER_INTERCEPT=1 kurma ARGS`. */
function launch(scratch: Scratch, args: string[], options: RunOptions = {}): Promise<Output> {
  return scratch.kurma(args, { ...options, env: { ...options.env, SPAWNER_INTERCEPT: "1" } });
}

/** What a launch that succeeds prints. */
async function says(scratch: Scratch, args: string[], options?: RunOptions): Promise<string> {
  const { status, stdout, stderr } = await launch(scratch, args, options);
  assertEquals([status, stderr], [0, ""]);
  return stdout;
}

/** A container directory with busybox and two names; `chown`ed to `owner`. */
async function container({ dir }: Scratch, owner = "0:0"): Promise<string> {
  const root = `${dir}/c`;
  await mustRun([
    "sh",
    "-ec",
    `mkdir -p "$1/bin" "$1/etc"; cp /bin/busybox "$1/bin"
    for name in sh ls cat id mount readlink stat; do ln -s busybox "$1/bin/$name"; done
    echo web:x:33:34::/: >"$1/etc/passwd"; printf 'web:x:34:\\nlog:x:44:web\\n' >"$1/etc/group"
    chown -hR "$2" "$1"`,
    "sh",
    root,
    owner,
  ]);
  return root;
}

const inside = [
  "--new-mount-namespace",
  "--new-pid-namespace",
  "--chroot",
  "--container-directory",
];
const kinds = { ipc: "ipc", uts: "uts", network: "net", pid: "pid", mount: "mnt" };
const mounts = () => Deno.readTextFileSync("/proc/self/mountinfo");

test("the environment is what --env says, and nothing of ours", async (scratch) => {
  const options = ["--env", "A=b c", "--env=PATH=/nowhere"];
  assertEquals(await says(scratch, [...options, "--", "env"]), "A=b c\nPATH=/nowhere\n");
  assertEquals(await says(scratch, ["--", "env"]), "");
});

test("a launch ends as its command does", async (scratch) => {
  const ends = async (script: string) => (await launch(scratch, ["--", "sh", "-c", script])).status;
  assertEquals(await ends("exit 7"), 7);
  assertEquals(await ends("kill -TERM $$"), 143);
  assertEquals(await ends("kill -KILL $$"), 137);
});

const refusals: [string, string[], number, string][] = [
  ["an unknown option", ["--frob", "--", "true"], 1, `Unknown option "--frob"`],
  ["a command without --", ["true"], 1, `Unexpected "true": the command follows --`],
  ["no command", ["--detach"], 1, "No command: it follows --"],
  ["a command that does not exist", ["--", "/no/such"], 1, `exec "/no/such": ENOENT`],
  ["the same, detached", ["--detach", "--", "/no/such"], 1, `exec "/no/such": ENOENT`],
  ["a user that does not exist", ["--user", "no-such", "--", "true"], 1, `user "no-such": ENOENT`],
  [
    "a descriptor that is not open",
    ["--stdinfd", "99", "--", "true"],
    71,
    `open "--stdinfd": EBADF`,
  ],
  [
    "a cgroup that is none",
    ["--taskfile", "/no/tasks", "--", "true"],
    71,
    `open "/no/tasks": ENOENT`,
  ],
  [
    "a namespace of another kind",
    ["--ipc-namespace", "/proc/self/ns/uts", "--", "true"],
    1,
    `clone "/proc/self/ns/uts": EINVAL`,
  ],
  [
    "a container directory in the host's mount namespace",
    ["--container-directory", "/", "--", "true"],
    1,
    "--container-directory needs --new-mount-namespace: the host's mounts would change",
  ],
  [
    "a user namespace without maps",
    ["--new-user-namespace", "--", "true"],
    1,
    "--new-user-namespace needs --uidmap and --gidmap",
  ],
];
for (const [what, args, status, message] of refusals) {
  test(`refused with one line and ${status}: ${what}`, async (scratch) => {
    const before = mounts();
    assertEquals(await launch(scratch, args), {
      status,
      stdout: "",
      stderr: `kurma: Cannot launch: ${message}\n`,
    });
    assertEquals(mounts(), before);
  });
}

test("streams are the descriptors that are named, also crosswise, and no other is inherited", async (scratch) => {
  const { dir } = scratch;
  await Deno.writeTextFile(`${dir}/in`, "from in\n");
  const script = `SPAWNER_INTERCEPT=1 exec "$0" --stdinfd 7 --stdoutfd 2 --stderrfd 1 -- \\
    sh -c 'cat; echo error >&2; ls /proc/self/fd' 7<"$1/in" 8<"$1/in" >"$1/err" 2>"$1/out"`;
  await mustRun(["sh", "-c", script, binary, dir]);
  assertEquals(await Deno.readTextFile(`${dir}/out`), "from in\n0\n1\n2\n3\n"); // 3: the folder that ls reads.
  assertEquals(await Deno.readTextFile(`${dir}/err`), "error\n");
});

test("new namespaces are new, and all others the caller's", async (scratch) => {
  const links = async (options: string[]) => {
    const script = Object.values(kinds).map((kind) => `readlink /proc/self/ns/${kind}`).join(";");
    return (await says(scratch, [...options, "--", "sh", "-c", script])).trim().split("\n");
  };
  const own = Object.values(kinds).map((kind) => Deno.readLinkSync(`/proc/self/ns/${kind}`));
  assertEquals(await links([]), own);
  for (const [index, name] of ["ipc", "uts", "network"].entries()) {
    const found = await links([`--new-${name}-namespace`]);
    assertEquals(found.map((link, at) => link === own[at]), own.map((_, at) => at !== index));
  }
  const all = await links(Object.keys(kinds).map((name) => `--new-${name}-namespace`));
  assert(all.every((link, at) => link !== own[at]));
  const pid = ["--new-pid-namespace", "--new-mount-namespace", "--", "sh", "-c"];
  assertEquals(await says(scratch, [...pid, "echo $$; echo /proc/[0-9]*"]), "1\n/proc/1\n");
});

test("namespaces are joined by path", async (scratch) => {
  const holder = new Running([
    ...["unshare", "--ipc", "--uts", "--net", "--pid", "--mount", "--fork", "--kill-child"],
    ...["--mount-proc", "sh", "-c", "echo ready; exec sleep 1000"],
  ]);
  await holder.says(/ready/);
  const [pid] = children(holder.pid);
  const joins = Object.entries(kinds).flatMap((
    [name, kind],
  ) => [`--${name}-namespace`, `/proc/${pid}/ns/${kind}`]);
  const script = Object.values(kinds).map((kind) => `readlink /proc/self/ns/${kind}`).join(";");
  const wanted = Object.values(kinds).map((kind) =>
    Deno.readLinkSync(`/proc/${pid}/ns/${kind}`) + "\n"
  );
  assertEquals(await says(scratch, [...joins, "--", "sh", "-c", script]), wanted.join(""));
  holder.signal("SIGKILL");
  await holder.output;
});

test("who joins a user namespace is its root", async (scratch) => {
  const holder = new Running([
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    "echo ready; exec sleep 1000",
  ]);
  await holder.says(/ready/);
  const path = `/proc/${holder.pid}/ns/user`;
  const script = "readlink /proc/self/ns/user; id -u";
  assertEquals(
    await says(scratch, ["--user-namespace", path, "--", "sh", "-c", script]),
    `${Deno.readLinkSync(path)}\n0\n`,
  );
  holder.signal("SIGKILL");
  await holder.output;
});

test("--chroot makes the container directory the root, with the original's /dev", async (scratch) => {
  const root = await container(scratch);
  const before = mounts();
  const script =
    `cd /dev; echo *; for link in core fd kmsg ptmx stderr stdin stdout; do readlink $link; done
    echo lost >null; echo /*; cat /proc/self/mounts`;
  const [dev, ...rest] = (await says(scratch, [...inside, root, "--", "sh", "-c", script])).trim()
    .split("\n");
  const found = dev.split(" ").filter((name) => name !== "fuse"); // Not every machine has it.
  assertEquals(
    found.join(" "),
    "core fd full kmsg mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
  );
  assertEquals(
    rest.slice(0, 7).join(" "),
    "/proc/kcore /proc/self/fd console pts/ptmx fd/2 fd/0 fd/1",
  );
  assertEquals(rest[7], "/bin /dev /etc /proc /sys /tmp");
  const table = new Map(rest.slice(8).map((line) => [line.split(" ")[1], line]));
  assertMatch(table.get("/dev")!, /^tmpfs .*noexec.*mode=755/);
  assertMatch(table.get("/dev/mqueue")!, /^mqueue .*nosuid,nodev,noexec/);
  assertMatch(table.get("/dev/pts")!, /^devpts .*nosuid,noexec.*ptmxmode=666/);
  assertMatch(table.get("/dev/shm")!, /tmpfs .*nosuid,nodev,noexec.*size=65536k/);
  assertMatch(table.get("/tmp")!, /^tmpfs /);
  assertMatch(table.get("/proc")!, /^proc .*nosuid,nodev,noexec/);
  assertMatch(table.get("/sys")!, /^sysfs .*ro,nosuid,nodev,noexec/);
  assertEquals(mounts(), before);
});

test("without --chroot the command starts in the container directory, bound below an own /tmp", async (scratch) => {
  const root = await container(scratch);
  const options = ["--new-mount-namespace", "--container-directory", root];
  const script = `pwd; echo /tmp/*; echo *`;
  assertEquals(
    await says(scratch, [...options, "--", "sh", "-c", script]),
    "/tmp/container\n/tmp/container\nbin dev etc proc sys tmp\n",
  );
  assertMatch(
    await says(scratch, [...options, "--bind-directory", "/tmp/a/b", "--", "pwd"]),
    /^\/tmp\/a\/b\n$/,
  );
});

test("--host-privileged keeps the host at /host and has its devices, which stay as they are", async (scratch) => {
  const root = await container(scratch);
  const before = [mounts(), [...Deno.readDirSync("/dev")].map(({ name }) => name).sort().join()];
  const script = "cat /host/etc/passwd; cat /proc/self/mounts";
  const said = await says(scratch, [
    ...inside,
    root,
    "--host-privileged",
    "--",
    "sh",
    "-c",
    script,
  ]);
  assertMatch(said, /^root:x:0:0:/);
  assertMatch(said, /^devtmpfs \/dev devtmpfs/m);
  const now = [mounts(), [...Deno.readDirSync("/dev")].map(({ name }) => name).sort().join()];
  assertEquals(now, before);
  // The folder is there now, and that does not matter.
  assertMatch(
    await says(scratch, [...inside, root, "--", "sh", "-c", "echo /host/*"]),
    /\/host\/\*/,
  );
});

test("links in a container directory lead nowhere on the host", async (scratch) => {
  for (const name of ["dev", "proc", "sys", "host"]) {
    const root = await container(scratch);
    await Deno.mkdir(`${root}/run`);
    await Deno.symlink("/run", `${root}/${name}`);
    const before = mounts();
    const { status, stderr } = await launch(scratch, [
      ...[...inside, root, ...(name === "host" ? ["--host-privileged"] : [])],
      ...["--", "true"],
    ]);
    assertEquals(status, 1, name);
    assertMatch(stderr, /^kurma: Cannot launch: mount ".*": ELOOP\n$/);
    assertEquals(mounts(), before);
    await Deno.remove(root, { recursive: true });
  }
});

test("users and groups are the container's, and root's groups are gone", async (scratch) => {
  const root = await container(scratch);
  const who = (options: string[]) => says(scratch, [...inside, root, ...options, "--", "id"]);
  assertEquals(await who(["--user", "web"]), "uid=33(web) gid=34(web)\n");
  assertEquals(await who(["--user", "web", "--group", "log"]), "uid=33(web) gid=44(log)\n");
  assertEquals(await who(["--user", "7", "--group", "8"]), "uid=7 gid=8\n");
  assertEquals(await who(["--group", "log"]), "uid=0 gid=44(log)\n");
});

test("a new user namespace has the maps that are given", async (scratch) => {
  const root = await container(scratch, "100000:100000");
  const user = [
    "--new-user-namespace",
    "--uidmap",
    "0 100000 1000\n1000 300000 5",
    "--gidmap",
    "0 100000 1000",
  ];
  const more = ["--new-network-namespace", "--new-ipc-namespace"];
  const script = "cat /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /bin/sh; id";
  const said = await says(scratch, [...user, ...more, ...inside, root, "--", "sh", "-c", script]);
  assertEquals(
    said.replaceAll(/^ +| +(?= )/gm, ""),
    "0 100000 1000\n1000 300000 5\n0 100000 1000\n0:0\nuid=0 gid=0\n",
  );
});

test("limits are set one by one", async (scratch) => {
  const limits = async (options: string[]) => {
    const text = await says(scratch, [...options, "--", "cat", "/proc/self/limits"]);
    const row = (name: string) =>
      new RegExp(`^${name} +(\\S+) +(\\S+)`, "m").exec(text)!.slice(1).join(" ");
    return [row("Max open files"), row("Max processes")];
  };
  const [files, processes] = await limits([]);
  assertEquals(await limits(["--max-open-files", "99"]), ["99 99", processes]);
  assertEquals(await limits(["--max-processes", "98"]), [files, "98 98"]);
  assertEquals(await limits(["--max-open-files", "0"]), [files, processes]);
});

test("--taskfile puts the command into a cgroup", async (scratch) => {
  const [target] = (await mustRun(["findmnt", "-nro", "TARGET", "-t", "cgroup,cgroup2"])).split(
    "\n",
  );
  const group = `${target}/kurma-by-hand`;
  await Deno.mkdir(group);
  try {
    const said = await says(scratch, [
      "--taskfile",
      `${group}/cgroup.procs`,
      "--",
      "cat",
      "/proc/self/cgroup",
    ]);
    assertMatch(said, /:\/kurma-by-hand$/m);
  } finally {
    await Deno.remove(group);
  }
});

test("--detach returns once the command runs", async (scratch) => {
  const said = await says(scratch, [
    ...["--detach", "--new-pid-namespace", "--new-mount-namespace", "--", "sh", "-c"],
    ...[`exec >/dev/null 2>&1; exec sleep 4321`],
  ]);
  assertEquals(said, "");
  const pid = await until(
    "its process",
    () => processes().find((pid) => commandLine(pid).join(" ") === "sleep 4321"),
  );
  Deno.kill(pid, "SIGKILL");
});

test("SPAWNER_DEBUG tells each step", async (scratch) => {
  const options = { env: { SPAWNER_DEBUG: "" } };
  const { stderr } = await launch(scratch, ["--new-uts-namespace", "--", "true"], options);
  assertEquals(stderr, "kurma: making namespaces\nkurma: running true\n");
});

/** The pids there are. */
function processes(): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((pid) => pid > 0);
}
