/**
 * Attacks by those who call kurmad, or would like to: other users, other user namespaces,
 * containers, and requests that mean two things.
 *
 * @module
 */

import { errorOf } from "../../stage1/api/client_errors.ts";
import { python } from "../api/served.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { Mutator } from "../fuzz.ts";
import { count, mustRun, run } from "../harness.ts";
import { until } from "../stage2/served.ts";
import { type Attack, audited } from "./attack.ts";
import type { Kurmad } from "./daemon.ts";

const strangers = `${import.meta.dirname}/strangers.py`;

const lines = (text: string) => text.split("\n").filter(Boolean);

const volume = { target: "/data", volume: { name: "data" } };

/** What another user finds below a folder: names, with what may be done to them. */
async function reachable(kurmad: Kurmad): Promise<unknown[]> {
  await Deno.chmod(kurmad.dir, 0o755);
  await kurmad.run("web", "echo said; sleep 1000", { mounts: [volume] });
  const { stdout } = await run([
    ...["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"],
    ...["find", kurmad.dir, "-mindepth", "1", "(", "-readable", "-o", "-writable", ")", "-print"],
  ]);
  const socket = await run([
    ...["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "curl", "-sS", "-d", "{}"],
    ...["--unix-socket", `${kurmad.dir}/kurma.sock`, "http://kurma/kurma.v1.System/Ping"],
  ]);
  // Root finds what there is to be found.
  const all = (await mustRun(["find", kurmad.dir])).split("\n");
  for (const part of [/state\.db$/, /\/upper\/?/, /volumes\/data/, /stage2\/socket$/, /\/log$/]) {
    assert(all.some((path) => part.test(path)), `${part} is not there`);
  }
  const world = await mustRun([
    ...["find", `${kurmad.dir}/state`, "-maxdepth", "2", "-perm", "/022", "-not", "-type", "l"],
  ]);
  return [...lines(stdout), ...socket.status === 0 ? [socket.stdout] : [], ...lines(world)];
}

/** What the audit has about a call. */
async function audit(kurmad: Kurmad, subject: string): Promise<{ uid: number; role?: string }> {
  return await until(`a line about ${subject}`, async () => {
    const all = lines(await Deno.readTextFile(`${kurmad.dir}/audit`));
    return all.map((line) => JSON.parse(line)).find((line) => line.subject === subject);
  });
}

/** Who called, as the audit has it. */
async function caller(kurmad: Kurmad, subject: string): Promise<number> {
  return (await audit(kurmad, subject)).uid;
}

async function otherUserNamespace(kurmad: Kurmad): Promise<unknown[]> {
  await Deno.chmod(kurmad.dir, 0o755);
  const socket = `${kurmad.dir}/kurma.sock`;
  const told = (await mustRun([python, strangers, "userns", socket])).trim();
  if (told === "PermissionError") return [];
  return [told];
}

/** Whoever lets everybody in still learns who came. */
async function confusedAudit(kurmad: Kurmad): Promise<unknown[]> {
  await Deno.chmod(kurmad.dir, 0o755);
  const socket = `${kurmad.dir}/kurma.sock`;
  assertMatch(await mustRun([python, strangers, "userns", socket]), /404/);
  assertMatch(await mustRun([python, strangers, "passed", socket, "1000"]), /404/);
  assertMatch(await mustRun([python, strangers, "dropped", socket, "1000"]), /404/);
  const callers = {
    userns: await caller(kurmad, "userns"),
    // Whoever made the connection answers for it, whoever uses it.
    passed: await caller(kurmad, "passed"),
    dropped: await caller(kurmad, "dropped"),
  };
  const expected = { userns: 100_000, passed: 0, dropped: 0 };
  return JSON.stringify(callers) === JSON.stringify(expected) ? [] : [callers];
}

async function apiAccess(kurmad: Kurmad): Promise<unknown[]> {
  const got: unknown[] = [];
  const inside = "/var/lib/kurma/kurma.sock";
  await kurmad.run("without", "sleep 1000");
  const security = { apiAccess: true, apiRole: "API_ROLE_OPERATOR" } as const;
  await kurmad.run("with", "sleep 1000", { security });
  const there = async (name: string) =>
    (await kurmad.exec(name, ["test", "-e", inside])).code === 0;
  if (await there("without")) got.push("a socket that nobody granted");
  assert(await there("with"));
  const { container } = await kurmad.api.call("Containers", "Get", { container: "with" });
  const asInside = (path: string) => [
    ...["nsenter", "--target", String(container?.pid), "--user", "--setuid", "0", "--setgid", "0"],
    ...["curl", "-sS", "-H", "content-type: application/json", "-d", '{"container":"inside"}'],
    ...["--unix-socket", path, "http://kurma/kurma.v1.Containers/Stop"],
  ];
  // Not by the host's name for it, only by the mount that was granted.
  const outside = await run(asInside(`${kurmad.dir}/kurma.sock`));
  if (outside.status === 0) got.push(outside.stdout);
  const granted = await run(asInside(`/proc/${container?.pid}/root${inside}`));
  assertMatch(granted.stdout, /not_found/, granted.stderr);
  const { uid, role } = await audit(kurmad, "inside");
  if (!(uid >= 0x1000_0000) || role !== "operator") got.push({ uid, role });
  return got;
}

/** Sends bytes, and reads what comes until the connection ends. */
async function raw({ dir }: Kurmad, ...parts: (string | Uint8Array)[]): Promise<string> {
  using connection = await Deno.connect({ transport: "unix", path: `${dir}/kurma.sock` });
  const encoder = new TextEncoder();
  for (const part of parts) {
    const bytes = typeof part === "string" ? encoder.encode(part) : part;
    try {
      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    } catch (error) {
      // It was refused before all had come.
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      break;
    }
  }
  let said = "";
  const buffer = new Uint8Array(65_536);
  while (true) {
    const length = await connection.read(buffer).catch((error) => {
      if (error instanceof Deno.errors.ConnectionReset) return null;
      throw error;
    });
    if (length === null) return said;
    said += new TextDecoder().decode(buffer.subarray(0, length));
  }
}

async function twoReadings(kurmad: Kurmad): Promise<unknown[]> {
  const head = "POST /kurma.v1.Volumes/Create HTTP/1.1\r\nHost: kurma\r\nConnection: close\r\n" +
    "Content-Type: application/json\r\n";
  const make = (name: string) => `{"name":"${name}"}`;
  const whole = (body: string, more = "") =>
    `${head}${more}Content-Length: ${body.length}\r\n\r\n${body}`;
  const gzip = async (text: string) =>
    await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream("gzip")))
      .bytes();
  const packed = await gzip(`${make("gzip")}${make("gzip2")}`);
  const statuses: Record<string, string> = {};
  const tried = async (what: string, ...parts: (string | Uint8Array)[]) => {
    statuses[what] = /^HTTP\/1\.1 (\d+)/.exec(await raw(kurmad, ...parts))?.[1] ?? "closed";
  };
  await tried("plain", whole(make("plain")));
  await tried("trailing", whole(`${make("one")}${make("two")}`));
  await tried("twice", whole('{"name":"first","name":"second"}'));
  await tried("no length", `${head}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n`);
  await tried("lengths", `${head}Content-Length: 5\r\nContent-Length: 17\r\n\r\n${make("lie")}`);
  await tried("padded", whole(`${make("padded").slice(0, -1)}${" ".repeat(5 << 20)}}`));
  await tried(
    "gzip",
    `${head}Content-Encoding: gzip\r\nContent-Length: ${packed.length}\r\n\r\n`,
    packed,
  );
  await tried("not gzip", whole(make("plain2"), "Content-Encoding: gzip\r\n"));
  await tried("split", head, "Content-Length: 17\r\n", "\r\n", '{"name":', '"split1"', "}");
  await tried("proto", whole('{"name":"x","__proto__":{"name":"y"}}'));
  const { volumes = [] } = await kurmad.api.call("Volumes", "List", {});
  const made = volumes.map(({ name }) => name).sort();
  const audited = lines(await Deno.readTextFile(`${kurmad.dir}/audit`))
    .map((line) => JSON.parse(line)).filter(({ outcome }) => outcome === "ok")
    .map(({ subject }) => subject).sort();
  assertEquals([statuses.plain, statuses.split], ["200", "200"]);
  const got: unknown[] = [];
  for (const what of ["trailing", "no length", "lengths", "padded", "gzip", "not gzip", "proto"]) {
    if (statuses[what] === "200") got.push(what);
  }
  // What was said to be done is what was done, also where a key comes twice.
  if (JSON.stringify(made) !== JSON.stringify(audited)) got.push({ made, audited });
  for (const { name } of volumes) await kurmad.api.call("Volumes", "Remove", { volume: name });
  return got;
}

async function names(kurmad: Kurmad): Promise<unknown[]> {
  const random = new Mutator(20_261_127);
  const seeds = [
    "web",
    "../../x",
    "--flag",
    "-",
    ".",
    "..",
    "a/b",
    "wеb",
    "web\0",
    "a".repeat(128),
  ];
  const pieces = [
    ...["..", "/", "\0", "\n", " ", "-", "--force", "%2e", "\u202e", "é", "ﬀ", "a", "0", "_", "."],
    ...["x".repeat(10_000), "$(id)", "`id`", ";", "|", "*", "\ud800", "\u001b[2J", "{}", '"', "'"],
  ];
  const good = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
  const got: unknown[] = [];
  const { dir, image } = kurmad;
  const inputs = count(600, 100_000);
  await kurmad.run("there", "sleep 1000");
  // On a connection that stays: there are many.
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path: `${dir}/kurma.sock` } });
  const call = async (method: string, request: unknown) => {
    const answer = await fetch(`http://kurma/kurma.v1.${method}`, {
      client,
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
    });
    const said = await answer.json();
    return answer.ok ? "done" : errorOf(said, "").code;
  };
  const labelled = (labels: Record<string, string>) =>
    call("Containers/Update", { container: "there", labels });
  let made = 0;
  for (let n = 0; n < inputs; n++) {
    const text = random.text(random.pick(seeds), pieces);
    const labels = { [text]: text };
    const [kind, code] = await [
      async () => ["create", await call("Containers/Create", { name: text, image })],
      async () => ["get", await call("Containers/Get", { container: text })],
      async () => ["remove", await call("Containers/Remove", { container: text, force: true })],
      async () => ["rename", await call("Containers/Rename", { container: "there", name: text })],
      async () => ["label", await labelled(labels)],
      async () => ["volume", await call("Volumes/Create", { name: text, labels })],
    ][random.below(6)]();
    if (!/^(done|invalid|missing|state)$/.test(code)) got.push({ kind, text, code });
    if (code !== "done") continue;
    if (kind !== "label" && !good.test(text)) got.push({ kind, text, code });
    made++;
    if (kind === "create") await call("Containers/Remove", { container: text });
    if (kind === "rename") await call("Containers/Rename", { container: text, name: "there" });
    if (kind === "label") await labelled({ [text]: "" });
    if (kind === "volume") await call("Volumes/Remove", { volume: text });
  }
  assert(made > 0, "No name was a good one");
  const names = (await kurmad.list()).map(({ name }) => name);
  if (names.join() !== "there") got.push(names);
  console.log(`      ${inputs} names, references and labels: ${made} were good ones`);
  return got;
}

export const byCallers: readonly Attack[] = [
  {
    number: 22,
    what: "find a way into kurmad's folders as another user, where nothing masks new files",
    how: { prefix: ["sh", "-c", 'umask 0; exec "$@"', "sh"] },
    carryOut: reachable,
  },
  {
    number: 23,
    what: "be taken for root as root of another user namespace",
    carryOut: otherUserNamespace,
  },
  {
    number: 23,
    what: "be taken for another where the socket lets everybody in",
    how: { flags: ["--socket-permissions=0o666", audited] },
    carryOut: confusedAudit,
  },
  {
    number: 24,
    what: "get to the API from inside, or be its root there",
    how: { flags: [audited] },
    carryOut: apiAccess,
  },
  {
    number: 25,
    what: "have one thing read and another done",
    how: { flags: [audited] },
    carryOut: twoReadings,
  },
  { number: 63, what: "pass off something else as a name", carryOut: names },
];
