/**
 * What a container can reach through its init, and what a container that could not be made
 * leaves behind: nothing.
 *
 * @module
 */

import type { Plan } from "../../stage2/spec.ts";
import { assert, assertEquals } from "../assert.ts";
import { mustRun } from "../harness.ts";
import { cgroupFolders, Output, refusal, serverTest, until } from "./served.ts";

serverTest("nothing of the host is reached through a container's init", async (server) => {
  await Deno.mkdir(`${server.dir}/log`);
  const log = `${server.dir}/log`;
  await server.run("web", ["sleep"], { log, stdin: true, terminal: true });
  const { pid } = await server.find("web") ?? { pid: 0 };
  const held = [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => name);
  // The log's folder and file, where it leaves its end, sockets and the terminal.
  assert(held.length >= 8, held.join());
  const paths = ["exe", "root", "cwd", "mem", "environ", "maps", ...held.map((fd) => `fd/${fd}`)];
  for (const path of paths) {
    using output = new Output();
    const process = await server.exec("web", ["try-open", `/proc/1/${path}`], output.streams);
    assertEquals((await process.ended).status, 1, path);
    assert(/^E(ACCES|PERM)\n$/.test(output.text), `${path}: ${output.text}`);
  }
  const capabilities = Deno.readTextFileSync(`/proc/${pid}/status`).match(/^Cap(Eff|Prm):.*$/gm);
  const kill = "0000000000000020";
  assertEquals(capabilities, [`CapPrm:\t${kill}`, `CapEff:\t${kill}`]);
  // All five seals of fcntl(2) but the one against writable mappings to come.
  const seals = `import fcntl, os; print(fcntl.fcntl(os.open("/proc/${pid}/exe", 0), 1034))`;
  assertEquals(await mustRun(["python3", "-c", seals]), "15\n");
  await server.remove("web");
});

/** What is wrong with a plan, and the step that says so. */
const broken: Record<string, [(plan: Plan) => unknown, RegExp]> = {
  "a key that nobody carries out": [
    (plan) => Object.assign(plan.config.linux, { unheardOf: {} }),
    /^Cannot carry out the plan: Unknown key "config.linux.unheardOf"$/,
  ],
  "a layer that is not there": [(plan) => set(plan.kurma, "layers", ["/no/layer"]), /ENOENT$/],
  "a scratch folder without work": [
    (plan) => Deno.removeSync(`${plan.kurma.scratch}/work`),
    /ENOENT$/,
  ],
  "a mount that no kernel has": [
    (plan) =>
      set(plan.config, "mounts", [
        ...plan.config.mounts,
        { destination: "/srv", type: "nofs", source: "none" },
      ]),
    /^mount E[A-Z]+$/,
  ],
  "a bind of nothing": [
    (plan) =>
      set(plan.config, "mounts", [
        ...plan.config.mounts,
        { destination: "/srv", source: "/no/source", options: ["bind"] },
      ]),
    /^mount ENOENT$/,
  ],
  "a hostname that is too long": [
    (plan) => set(plan.config, "hostname", "h".repeat(100)),
    /hostname/,
  ],
  "a limit that the kernel refuses": [
    (plan) => set(plan.config.linux, "resources", { cpu: { period: 1 } }),
    /^limit E[A-Z]+$/,
  ],
  "a user that nobody knows": [(plan) => set(plan.kurma, "user", "nobody-here"), /^user ENOENT$/],
  "a working folder that is a file": [
    (plan) => set(plan.config.process, "cwd", "/guest/x"),
    /ENOTDIR$/,
  ],
  "a log that is no folder": [
    (plan) => set(plan.kurma, "log", { directory: "/proc/self/exe" }),
    /^open ENOTDIR$/,
  ],
  "a socket whose folder is not there": [
    (plan) => set(plan.kurma, "rpc", "/no/folder/socket"),
    /^socket ENOENT$/,
  ],
  "a capability that there is not": [
    (plan) => set(plan.config.process.capabilities, "bounding", ["CAP_FLY"]),
    /CAP_FLY|capability/,
  ],
};

serverTest("a plan that fails at any step leaves nothing", async (server) => {
  const cases = Object.entries(broken);
  const held = () => [...Deno.readDirSync(`/proc/${server.pid}/fd`)].length;
  await refusal(server.create("web", ["sleep"], { layer: "/no/layer" })); // Namespaces are kept.
  const before = held();
  for (const [what, [spoil, expected]] of cases) {
    const plan = await server.plan("web", ["sleep"], { cgroup: true });
    spoil(plan);
    const said = await refusal(server.stage2.create(plan, null));
    assert(expected.test(said), `${what}: ${said}`);
    await until(`the end of ${what}`, async () => await server.find("web") ? undefined : true);
    assertEquals(await cgroupFolders("web"), [], what);
    assertEquals(held(), before, what);
  }
  console.log(`${cases.length} plans that fail`);
  await server.run("web", ["exit", "0"]); // The name is free.
  await server.ended("web");
  await server.remove("web");
});

function set(object: object | undefined, key: string, value: unknown): void {
  assert(object);
  Object.assign(object, { [key]: value });
}
