/**
 * Attacks by what kurmad is given to run, to read and to keep: images, settings, programs in
 * containers, and what they print.
 *
 * @module
 */

import type { KurmaError } from "../../ffi/errors.ts";
import type { ContainerSettingsJson } from "../../stage1/api/kurma.gen.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { Mutator } from "../fuzz.ts";
import { count, mustRun, root } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { layout } from "../images/layout_fixture.ts";
import { type Attack, audited } from "./attack.ts";
import type { Kurmad } from "./daemon.ts";

const canary = "kurma-canary-4711";

/** Words that other engines obey, and what ours could be. */
const commands = {
  "containerd.io/restart.loguri": "binary:///bin/sh?-c=touch%20/tmp/owned",
  "containerd.io/restart.status": "running",
  "io.kubernetes.cri-o.userns-mode": "host",
  "io.podman.annotations.privileged": "TRUE",
  "run.oci.handler": "krun",
  "run.oci.mount_context_type": "rootcontext",
  "kurma.privileged": "true",
  "kurma.io/network": "host",
  "kurma.v1.Security/privileged": "true",
  "com.kurma.stage2/layers": "/",
  "host/privileged": "true",
  "cdi.k8s.io/gpu": "vendor.com/device=all",
};

/** An image of busybox whose configuration is the attacker's. */
async function imageWith(
  kurmad: Kurmad,
  name: string,
  config: Record<string, unknown>,
  annotations: Record<string, string> = {},
): Promise<string> {
  const { folder } = await images();
  await mustRun(["tar", "-C", `${folder}/aci/rootfs`, "-cf", `${kurmad.dir}/${name}.tar`, "."]);
  const layer = await Deno.readFile(`${kurmad.dir}/${name}.tar`);
  const path = `${kurmad.dir}/${name}`;
  return await layout(path, [layer], { config, manifest: { annotations } });
}

/** The plan that kurmad carries out, without what is each container's own. */
async function planOf({ api }: Kurmad, name: string): Promise<string> {
  const { container, plan = "" } = await api.call("Containers", "Get", { container: name });
  const { kurma, config } = JSON.parse(plan);
  const text = JSON.stringify({ kurma: { ...kurma, layers: kurma.layers.length }, config });
  return text.replaceAll(container?.id ?? "", "ID").replaceAll(name, "NAME")
    .replace(/"hostID":\d+/g, '"hostID":0');
}

async function labels(kurmad: Kurmad): Promise<unknown[]> {
  const settings = { command: ["true"] };
  const start = async (name: string, image: string, labels: Record<string, string>) => {
    const request = { name, image, settings: { ...settings, labels }, start: true };
    await kurmad.api.call("Containers", "Create", request);
    await kurmad.api.call("Containers", "Wait", { container: name });
    return await planOf(kurmad, name);
  };
  const expected = [
    await start("first", await imageWith(kurmad, "a", {}), {}),
    await start("second", kurmad.image, {}),
  ];
  const image = await imageWith(kurmad, "b", { Labels: commands }, commands);
  const plans = [
    await start("obeying", image, {}),
    await start("requested", kurmad.image, commands),
  ];
  assertMatch(plans[0], /"args":\["true"\]/);
  return plans.filter((plan, at) => plan !== expected[at]);
}

async function environment(kurmad: Kurmad): Promise<unknown[]> {
  const got: unknown[] = [];
  for (const Env of [["PATH"], ["HOME"], ["*"], ["KURMA_*"], [""], ["=x"], ["CANARY"]]) {
    const name = `env${got.length}`;
    const image = await imageWith(kurmad, `image${Math.random()}`, { Env });
    const settings = { command: ["sh", "-c", "env; sleep 1000"] };
    const outcome = await kurmad.api.call("Containers", "Create", {
      name,
      image,
      start: true,
      settings,
    }).then(() => "made", (error: KurmaError) => error.code);
    if (outcome === "made") {
      const { output } = await kurmad.exec(name, ["cat", "/proc/1/environ", "/proc/2/environ"]);
      got.push(...output.split("\0").filter((each) => each.includes(canary)));
      await kurmad.api.call("Containers", "Remove", { container: name, force: true });
    } else assertEquals(outcome, "invalid");
  }
  await kurmad.run("web", "sleep 1000");
  for (const env of [["PATH"], ["CANARY"], ["*"], [""], ["=x"], ["A\nB=c"]]) {
    const told = await kurmad.exec("web", ["env"], { env })
      .then(({ output }) => output, (error) => String(error));
    if (told.includes(canary)) got.push(env);
  }
  // It is there to be got.
  assert((await Deno.readTextFile(`/proc/${kurmad.pid}/environ`)).includes(canary));
  return got;
}

const users = [
  ...["4294967295", "4294967296", "2147483648", "-1", " 0", "0 ", "0x0", "1000:", ":0", "+0"],
  ...["root\0x", "00", "0:", "1e0", "٠", "4294967296:4294967296", "root ", "Root", "0\n", "1:2:3"],
  ...["18446744073709551616", "-0", "0.0", "app\0root", "app:root\0"],
];

async function wrongUsers(kurmad: Kurmad): Promise<unknown[]> {
  await kurmad.run("web", "sleep 1000");
  assertEquals((await kurmad.exec("web", ["id", "-u"], { user: "app" })).output, "1000\n");
  const got: unknown[] = [];
  for (const user of users) {
    const told = await kurmad.exec("web", ["id", "-u"], { user })
      .then(({ output }) => output, () => "refused");
    // Zeros are 0, which is root's number and may be asked for.
    if (told === "0\n" && user !== "00") got.push(user);
    const settings = { command: ["sh", "-c", "exit $(id -u)"], user };
    const request = { name: "as", image: kurmad.image, start: true, settings };
    const isMade = await kurmad.api.call("Containers", "Create", request)
      .then(() => true, () => false);
    if (!isMade) continue;
    const { exit } = await kurmad.api.call("Containers", "Wait", { container: "as" });
    if ((exit?.code ?? 0) === 0 && user !== "00") got.push(`${user} of a container`);
    await kurmad.api.call("Containers", "Remove", { container: "as" });
  }
  return got;
}

async function abstractSockets(kurmad: Kurmad): Promise<unknown[]> {
  await kurmad.run("web", "sleep 1000", { network: "host" });
  const { output } = await kurmad.exec("web", ["cat", "/proc/net/unix"]);
  // Those with a path are seen, so it is the host's list; in this world all are ours.
  assert(output.includes("/state/stage2/socket"), output);
  return output.split("\n").filter((line) => / @/.test(line));
}

async function bombs(kurmad: Kurmad): Promise<unknown[]> {
  const got: unknown[] = [];
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  const wide = `{"acKind":"PodManifest","acVersion":"0.8.11","apps":[${
    Array.from({ length: 20_000 }, (_, n) => `{"name":"a${n}","image":{"id":"x"}}`)
  }]}`;
  const { image } = kurmad;
  const refused = async (what: string, call: Promise<unknown>) => {
    const code = await call.then(() => "done", (error) => error.code);
    if (!/^(invalid|missing|unavailable)$/.test(code)) got.push(`${what}: ${code}`);
  };
  await refused("pod", kurmad.api.call("Pods", "Create", { manifest: deep }));
  await refused("apps", kurmad.api.call("Pods", "Create", { manifest: wide }));
  for (const security of [{ seccomp: deep }, { landlock: deep }, { seccomp: `{"a":${deep}}` }]) {
    const request = { name: "bomb", image, settings: { security } };
    await refused(Object.keys(security)[0], kurmad.api.call("Containers", "Create", request));
  }
  const isolators = [{ name: "resource/cpu", value: deep }];
  const request = { name: "bomb", image, settings: { isolators } };
  await refused("isolator", kurmad.api.call("Containers", "Create", request));
  assertEquals(await kurmad.list(), []);
  // An extended header that claims to be of 8 GiB.
  await kurmad.run("web", "sleep 1000");
  using streams = await kurmad.api.streams();
  const header = new Uint8Array(512);
  const put = (at: number, text: string) => header.set(new TextEncoder().encode(text), at);
  put(0, "pax");
  put(100, "0000644\0" + "0000000\0" + "0000000\0" + "77777777777\0" + "00000000000\0");
  put(148, "        x");
  put(257, "ustar\0" + "00");
  put(148, `${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `);
  async function* archive() {
    yield { message: { case: "start" as const, value: { container: "web", path: "/tmp" } } };
    for (const value of [header, new Uint8Array(60_000)]) {
      yield { message: { case: "chunk" as const, value } };
    }
  }
  const told = await streams.containers.copyIn(archive()).then(() => "done", (error) => error.code);
  if (told !== 3) got.push(`tar: ${told}`);
  assertEquals((await kurmad.exec("web", ["ls", "/tmp"])).output, "");
  return got;
}

async function lookDuringExec(kurmad: Kurmad): Promise<unknown[]> {
  await kurmad.run("web", "exec /attacker look", {
    mounts: [{
      target: "/attacker",
      readOnly: true,
      bind: { path: `${root}/build/tools/attacker` },
    }],
    security: { seccomp: "none", capabilitiesAdd: ["CAP_SYS_PTRACE"] },
  });
  for (let n = count(60, 500); n > 0; n--) {
    assertEquals((await kurmad.exec("web", ["true"])).code, 0);
  }
  // It looks: it is not just gone.
  const { processes = [] } = await kurmad.api.call("Containers", "Top", { container: "web" });
  assert(processes.some(({ command }) => command?.includes("look")), JSON.stringify(processes));
  return (await logged(kurmad, "web")).filter(({ text }) => text.includes("opened"));
}

/** All that a container printed. */
async function logged(kurmad: Kurmad, container: string) {
  using streams = await kurmad.api.streams();
  const all: { text: string; stream: number; partial: boolean }[] = [];
  for await (const { lines } of streams.containers.logs({ container })) {
    for (const { text, stream, partial } of lines) {
      all.push({ text: new TextDecoder("latin1").decode(text), stream, partial });
    }
  }
  return all;
}

async function secrets(kurmad: Kurmad): Promise<unknown[]> {
  const { api, dir, image } = kurmad;
  const secret = {
    env: [`TOKEN=${canary}`],
    command: ["sh", "-c", "sleep 1000", canary],
    labels: { token: canary },
    hostname: canary,
  };
  await api.call("Containers", "Create", { name: "holder", image, start: true, settings: secret });
  await kurmad.run("other", "sleep 1000");
  await kurmad.exec("holder", ["true"], { env: [`MORE=${canary}`] });
  await kurmad.exec("holder", ["sh", "-c", "exit 1", canary], { input: canary });
  const texts: Record<string, string> = {};
  // Mistakes around a secret: the message names what is wrong, and does not repeat it.
  const wrong: [string, ContainerSettingsJson][] = [
    ["no user", { ...secret, user: "nobody-here" }],
    ["no folder", { ...secret, workingDir: "relative" }],
    ["no value", { env: [canary] }],
    ["a NUL", { env: [`TOKEN=${canary}\0`] }],
    ["no program", { ...secret, command: ["/no/such", canary] }],
    ["no profile", { ...secret, security: { seccomp: `{"${canary}` } }],
    ["no mount", { ...secret, mounts: [{ target: "/x", bind: { path: "/no/such" } }] }],
  ];
  for (const [what, settings] of wrong) {
    texts[`error of ${what}`] = await api.call("Containers", "Create", {
      name: "wrong",
      image,
      start: true,
      settings,
    }).then(() => "made", (error) => Deno.inspect(error));
    assert(texts[`error of ${what}`] !== "made", what);
  }
  texts["error of exec"] = await kurmad.exec("holder", ["/no/such"], { env: [`A=${canary}`] })
    .then(() => "done", (error) => Deno.inspect(error));
  for (const more of [{ env: [canary] }, { env: [`A=${canary}\0`] }]) {
    const what = `error of exec with ${Object.keys(more)}`;
    texts[what] = await kurmad.exec("holder", ["true"], more)
      .then(() => "done", (error) => Deno.inspect(error));
    assert(texts[what] !== "done", what);
  }
  await api.call("Containers", "Stop", { container: "holder", timeout: "0s" });
  await api.call("Containers", "Start", { container: "holder" });
  const { containers } = await api.call("Containers", "List", {});
  const own = containers?.map((one) => one.name === "holder" ? { ...one, settings: {} } : one);
  texts["list"] = JSON.stringify(own);
  texts["another's record"] = JSON.stringify(
    await api.call("Containers", "Get", { container: "other" }),
  );
  texts["status"] = JSON.stringify(await api.call("System", "Status", {}));
  texts["events"] = Deno.inspect(await kurmad.told(), { depth: 9, iterableLimit: 1_000 });
  texts["metrics"] = await (await fetch("http://127.0.0.1:9911/metrics")).text();
  texts["audit"] = await Deno.readTextFile(`${dir}/audit`);
  texts["log"] = await Deno.readTextFile(`${dir}/log`);
  for (const what of ["cmdline", "environ"]) {
    texts[what] = await Deno.readTextFile(`/proc/${kurmad.pid}/${what}`) +
      await Deno.readTextFile(`/proc/${kurmad.stage2Pid()}/${what}`);
  }
  texts["another's environment"] =
    (await kurmad.exec("other", ["sh", "-c", "cat /proc/*/environ; env; hostname"])).output;
  // It is where it belongs.
  const record = await api.call("Containers", "Get", { container: "holder" });
  assert(JSON.stringify(record).includes(canary));
  assert(texts["log"].includes("kurmad serves") && texts["audit"].includes("holder"));
  assert(texts["events"].includes("holder") && texts["metrics"].includes("kurma"));
  return Object.entries(texts).filter(([, text]) => text.includes(canary))
    .map(([what, text]) => `${what}: ${text.slice(Math.max(0, text.indexOf(canary) - 300))}`);
}

async function forgedLog(kurmad: Kurmad): Promise<unknown[]> {
  const forged = "2026-01-01T00:00:00.000000000Z stderr F forged";
  const printed = [
    forged,
    `${forged}\0`,
    "2026-01-01T00:00:00.000000000Z stdout P part",
    " stderr F x",
    "",
    "\r",
    `\r${forged}`,
    "\u001b[2J\u001b]0;title\u0007",
    `{"log":"x","stream":"stderr","time":"2026-01-01T00:00:00Z"}`,
    `${"x".repeat(16_384)}${forged}`,
    `${"y".repeat(40_000)}`,
    `\u2028${forged}\u0085${forged}`,
  ];
  const random = new Mutator(20_261_127);
  for (let n = count(300, 20_000); n > 0; n--) {
    printed.push(random.text(forged, [" ", "\r", "\0", "F ", "P ", "stdout", "Z", "é", "\u2028"]));
  }
  const text = printed.map((line) => `${line}\n`).join("") + "no end";
  await Deno.writeTextFile(`${kurmad.dir}/text`, text);
  await kurmad.run("web", "cat /text; cat /text >&2", {
    mounts: [{ target: "/text", readOnly: true, bind: { path: `${kurmad.dir}/text` } }],
    log: { maxFileBytes: "100000000" },
  });
  await kurmad.api.call("Containers", "Wait", { container: "web" });
  const all = await logged(kurmad, "web");
  const got: unknown[] = [];
  for (const stream of [1, 2]) {
    const said = all.filter((record) => record.stream === stream)
      .map((record) => record.text + (record.partial ? "" : "\n")).join("");
    const expected = new TextDecoder("latin1").decode(new TextEncoder().encode(text));
    // The last line ends with its writer.
    if (said.replace(/\n$/, "") !== expected) {
      const at = [...said].findIndex((character, index) => character !== expected[index]);
      got.push({ stream, at, said: said.slice(at - 40, at + 80) });
    }
  }
  return got;
}

export const byContents: readonly Attack[] = [
  { number: 15, what: "have labels and annotations obeyed", carryOut: labels },
  {
    number: 17,
    what: "get a variable of the host by naming it",
    how: { env: { CANARY: canary, KURMA_CANARY: canary } },
    carryOut: environment,
  },
  { number: 18, what: "be root by another spelling of a user", carryOut: wrongUsers },
  {
    number: 21,
    what: "reach an abstract socket from the host's network",
    carryOut: abstractSockets,
  },
  { number: 40, what: "have small documents become large ones", carryOut: bombs },
  { number: 48, what: "look into what enters a container", carryOut: lookDuringExec },
  {
    number: 60,
    what: "find a container's secret where others look",
    how: {
      flags: [
        "--metrics-address=127.0.0.1:9911",
        "--log-level=debug",
        "--log-target=DIR/log",
        audited,
      ],
    },
    carryOut: secrets,
  },
  { number: 62, what: "forge records of a log", carryOut: forgedLog },
];
