/**
 * The leak check: what of Kurma is on the machine, before a test and after it. It
 * runs in the world that `tests/isolated` makes, where every mount, process, link,
 * rule, cgroup and temporary file is the test's own; only loop devices are the
 * machine's, and of those it counts the ones whose file is ours by name.
 *
 * @module
 */

/** What is there: one line for each thing, by an identity that survives nothing else. */
export type Snapshot = ReadonlyMap<string, string>;

/** Folders in which anything new is a leftover, and how deep it is named. */
const watchedFolders = ["/tmp", "/dev/shm", "/run", "/var/lib/kurma"];

/** What may stay: images that tests share, and images that Kurma keeps by digest. */
const kept = [
  /^\/tmp\/kurma-fixtures(\/|$)/,
  /^\/var\/lib\/kurma(\/runs|\/images(\/(?!tmp\/).*)?)?$/,
];

/** Where we are: a checkout below /tmp is there, and its caches change. */
const checkout = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Everything that could be left over, as it is now. */
export async function snapshot(): Promise<Snapshot> {
  const things = new Map<string, string>();
  for (const lines of [mounts(), processes(), links(), cgroups(), loopDevices(), files()]) {
    for (const [identity, text] of lines) things.set(identity, text);
  }
  for (const rule of await netfilterRules()) things.set(rule, rule);
  return things;
}

/**
 * What `before` and now differ in, one line each: left over, or gone that was not
 * ours to take. Waits up to `graceMs` for the kernel to finish what it does late
 * (a killed container's namespaces and cgroups) before it names anything.
 */
export async function leftovers(before: Snapshot, graceMs = 2000): Promise<string[]> {
  const deadline = performance.now() + graceMs;
  while (true) {
    const now = await snapshot();
    const found = [
      ...difference(now, before).map((text) => `left over: ${text}`),
      ...difference(before, now).map((text) => `gone: ${text}`),
    ];
    if (found.length === 0 || performance.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Removes the cgroups that were not there before a test that failed: whoever looks for what dead
 * containers left would find them, and fail for no reason of its own.
 */
export async function removeCgroups(before: Snapshot): Promise<void> {
  await leftovers(before); // What was killed leaves its cgroup when it ends.
  const fresh = [...cgroupPaths()].filter((path) => !before.has(`cgroup ${path}`));
  for (const path of fresh.reverse()) {
    // One that still has processes stays: why the test failed says more.
    await Deno.remove(path).catch(() => {});
  }
}

function difference(from: Snapshot, without: Snapshot): string[] {
  return [...from].filter(([identity]) => !without.has(identity)).map(([, text]) => text);
}

type Lines = Iterable<[identity: string, text: string]>;

/** proc(5), /proc/pid/mountinfo: the fields before `-` are the mount's, after it the file system's. */
function* mounts(): Lines {
  for (const line of lines("/proc/self/mountinfo")) {
    const [own, fileSystem] = line.split(" - ");
    const [id, , , root, target] = own.split(" ");
    const [type, source] = fileSystem.split(" ");
    yield [`mount ${id} ${target}`, `mount of ${type} ${source}${root} on ${target}`];
  }
}

function* processes(): Lines {
  for (const { name: pid } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const stat = text(`/proc/${pid}/stat`);
    if (stat === undefined) continue;
    // The name may hold spaces and brackets: fields are counted from its last bracket.
    const [state, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const started = rest[18];
    const command = text(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ").trim();
    const program = link(`/proc/${pid}/exe`) ?? stat.slice(0, stat.lastIndexOf(")") + 1);
    yield [`process ${pid} ${started}`, `process ${pid} (${state}) ${program}: ${command}`];
  }
}

/** Interfaces of this network namespace. */
function* links(): Lines {
  for (const line of lines("/proc/self/net/dev").slice(2)) {
    const name = line.slice(0, line.indexOf(":")).trim();
    yield [`link ${name}`, `network link ${name}`];
  }
}

function* cgroups(): Lines {
  for (const path of cgroupPaths()) yield [`cgroup ${path}`, `cgroup ${path}`];
}

/** Groups in every hierarchy, v1 and v2; a parent before what is in it. */
function* cgroupPaths(): Iterable<string> {
  for (const line of lines("/proc/self/mountinfo")) {
    const [own, fileSystem] = line.split(" - ");
    if (!fileSystem.startsWith("cgroup")) continue;
    for (const path of walk(own.split(" ")[4])) {
      if (path.isDirectory) yield path.name;
    }
  }
}

function* loopDevices(): Lines {
  for (const { name } of entries("/sys/block")) {
    const file = text(`/sys/block/${name}/loop/backing_file`)?.trim();
    if (file?.includes("kurma")) yield [`loop ${name} ${file}`, `loop device ${name} of ${file}`];
  }
}

function* files(): Lines {
  const checkout = `${Deno.cwd()}/`; // May be below /tmp; what is built in it stays.
  for (const folder of watchedFolders) {
    for (const { name } of walk(folder)) {
      if (name.startsWith(checkout)) continue;
      if (!kept.some((pattern) => pattern.test(name))) yield [`file ${name}`, `file ${name}`];
    }
  }
}

/** nft(8), one line a rule; nothing where nft is not installed. */
async function netfilterRules(): Promise<string[]> {
  try {
    const { stdout } = await new Deno.Command("nft", { args: ["list", "ruleset"], stdin: "null" })
      .output();
    return new TextDecoder().decode(stdout).split("\n").filter(Boolean)
      .map((line) => `nft rule ${line.trim()}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Everything below `folder`, without entering what is mounted there from elsewhere. */
function* walk(folder: string): Iterable<{ name: string; isDirectory: boolean }> {
  const device = Deno.lstatSync(folder).dev;
  for (const entry of entries(folder)) {
    const name = `${folder}/${entry.name}`;
    if (name === checkout) continue;
    yield { name, isDirectory: entry.isDirectory };
    if (entry.isDirectory && stat(name)?.dev === device) yield* walk(name);
  }
}

/** What others remove while we look is not there: the next look decides. */
function whileThere<Value>(look: () => Value): Value | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return undefined;
    throw error;
  }
}

const text = (path: string) => whileThere(() => Deno.readTextFileSync(path));
const link = (path: string) => whileThere(() => Deno.readLinkSync(path));
const stat = (path: string) => whileThere(() => Deno.lstatSync(path));
const lines = (path: string) => Deno.readTextFileSync(path).split("\n").filter(Boolean);
const entries = (path: string) => whileThere(() => [...Deno.readDirSync(path)]) ?? [];
