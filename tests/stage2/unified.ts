/**
 * What the stage2 server does with cgroups of version 2 alone, on a kernel of before Linux 6.15.
 * unified_test.ts runs it in a kernel of its own; it says `ok NAME` for each thing that it saw.
 *
 *   deno run -A tests/stage2/unified.ts FOLDER
 *
 * FOLDER is on a file system whose ids can be mapped, /run on one whose ids cannot.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { mustRun } from "../harness.ts";
import {
  cgroupValue,
  firstId,
  Output,
  pause,
  refusal,
  Served,
  until,
  type Wanted,
} from "./served.ts";

const own: Wanted = { cgroup: true };

/** The image's file with the name is its root's, inside; a copy of it on the disk has its ids. */
async function seesOwners(server: Served, name: string): Promise<void> {
  const { pid } = await server.find("web") ?? { pid: 0 };
  const stat = ["stat", "--format=%u:%g %a", `/proc/${pid}/root/${name}`];
  const inside = ["nsenter", `--target=${pid}`, "--user", ...stat];
  assertEquals(await mustRun(inside), "0:0 600\n");
  assertEquals(
    (await (await server.exec("web", ["try-open", `/${name}`, "write"])).ended).status,
    0,
  );
  const { uid, gid } = await Deno.lstat(`${server.dir}/web/upper/${name}`);
  assertEquals([uid, gid], [firstId, firstId]);
  assertEquals((await Deno.lstat(`${server.dir}/image/${name}`)).uid, 0);
}

const seen: Record<string, (server: Served) => Promise<void>> = {
  async "layers are seen with their owners through ids of its own, prepared or not"(server) {
    await Deno.writeTextFile(`${server.dir}/image/secret`, "", { mode: 0o600 });
    const mounts = () => Deno.readTextFile(`/proc/${server.pid}/mountinfo`);
    const before = await mounts();
    for (const prepared of [false, true]) {
      if (prepared) await server.stage2.prepare("web", firstId);
      await server.run("web", ["sleep"], own);
      await seesOwners(server, "secret");
      await server.remove("web");
    }
    assertEquals(await mounts(), before);
  },

  async "hooks of the host are where the server is, whatever the layers took"(server) {
    const plan = await server.plan("web", ["sleep"], own);
    const noted = `${server.dir}/noted`;
    const args = ["sh", "-c", `readlink /proc/self/ns/mnt /proc/self/root >${noted}`];
    const hooks = { createRuntime: [{ path: "/bin/sh", args }] };
    await server.stage2.create({ ...plan, config: { ...plan.config, hooks } }, null);
    const place = ["ns/mnt", "root"].map((name) =>
      Deno.readLinkSync(`/proc/${server.pid}/${name}`)
    );
    assertEquals(await Deno.readTextFile(noted), `${place.join("\n")}\n`);
    await server.remove("web");
  },

  async "there may be many layers"(server) {
    for (const hostIds of [false, true]) {
      const plan = await server.plan("web", ["try-open", "/last"], { ...own, hostIds });
      const further = Array.from({ length: 100 }, (_, at) => `${server.dir}/layers/${at}`);
      for (const path of further) await Deno.mkdir(path, { recursive: true });
      await Deno.writeTextFile(`${further.at(-1)}/last`, "");
      const layers = [...plan.kurma.layers, ...further];
      await server.stage2.run({ ...plan, kurma: { ...plan.kurma, layers } }, null);
      assertEquals((await server.ended("web")).status, 0);
      await server.remove("web");
    }
  },

  async "ids that cannot be mapped are refused as that, and the host's serve"(server) {
    const layer = "/run/image";
    await mustRun(["cp", "-a", `${server.dir}/image`, layer]);
    assertEquals(await refusal(server.run("web", ["sleep"], { ...own, layer })), "idmap EINVAL");
    await server.run("web", ["sleep"], { ...own, layer, hostIds: true });
    await server.remove("web");
  },

  async "limits stand in the files of version 2"(server) {
    const resources = {
      memory: { limit: 64 * 1024 * 1024 },
      pids: { limit: 17 },
      cpu: { quota: 50_000, period: 100_000, shares: 512 },
    };
    await server.create("web", ["sleep"], { ...own, resources });
    assertEquals(await cgroupValue("web", "memory.max"), "67108864");
    assertEquals(await cgroupValue("web", "pids.max"), "17");
    assertEquals(await cgroupValue("web", "cpu.max"), "50000 100000");
    assertEquals(await cgroupValue("web", "cpu.weight"), "59");
    await server.remove("web");
  },

  async "what a parent may use holds for all in it together"(server) {
    const resources = {
      memory: { limit: 24 * 1024 * 1024 },
      pids: { limit: 20 },
      cpu: { quota: 150_000, period: 100_000 },
    };
    using output = new Output();
    const start = async (id: string, args: string[], more: Wanted = {}) => {
      const plan = await server.plan(id, args, { ...own, ...more });
      await server.stage2.create(plan, output.streams);
      if (more.resources) await server.stage2.update(id, more.resources, "shop");
      await server.stage2.start(id);
    };
    await start("shop/a", ["sleep"], { resources });
    assertEquals(await cgroupValue("shop", "memory.max"), "25165824");
    assertEquals(await cgroupValue("shop", "pids.max"), "20");
    assertEquals(await cgroupValue("shop", "cpu.max"), "150000 100000");
    await start("shop/bomb", ["fork-bomb"]);
    await until("the bomb's end", () => Promise.resolve(output.text !== "" || undefined));
    assertEquals(output.text, "17 processes, EAGAIN\n"); // And two inits, and who sleeps.
    await server.remove("shop/bomb");
    await start("shop/hungry", ["allocate", "64"]);
    const { status, oom } = await server.ended("shop/hungry");
    assertEquals([status, oom], [137, true]);
    assertEquals((await server.find("shop/a"))?.state, "running");
    await server.remove("shop/hungry");
    const { memory, pids } = await server.stage2.stats("shop/a");
    assertEquals([memory.oomKills, pids.limit], [0, 20]);
    await server.remove("shop/a");
    assertEquals(await cgroupValue("shop", "memory.max"), undefined);
  },

  async "a container is born in its cgroup, and nobody is moved"(server) {
    await server.create("web", ["sleep"], own);
    const { pid } = await server.find("web") ?? { pid: 0 };
    assertEquals(Deno.readTextFileSync(`/proc/${pid}/cgroup`), "0::/kurma/web\n");
    assertEquals(Deno.readTextFileSync(`/proc/${server.pid}/cgroup`), "0::/\n");
    await server.stage2.start("web");
    const { pid: further, ended } = await server.exec("web", ["sleep", "1"]);
    assertEquals(Deno.readTextFileSync(`/proc/${further}/cgroup`), "0::/kurma/web\n");
    await ended;
    await server.remove("web");
  },

  async "a want of memory is told, also of a process of exec"(server) {
    const wanted = { ...own, resources: { memory: { limit: 16 * 1024 * 1024 } } };
    await server.run("hungry", ["allocate", "64"], wanted);
    const { status, oom } = await server.ended("hungry");
    assertEquals([status, oom], [137, true]);
    await server.remove("hungry");
    await server.run("web", ["sleep", "3"], wanted);
    assertEquals((await (await server.exec("web", ["allocate", "64"])).ended).status, 137);
    assertEquals((await server.stage2.stats("web")).memory.oomKills, 1);
    const later = await server.ended("web");
    assertEquals([later.status, later.oom], [0, true]);
    await server.remove("web");
  },

  async "a fork bomb ends at its limit, and all of it with the container"(server) {
    using output = new Output();
    const plan = await server.plan("bomb", ["fork-bomb"], {
      ...own,
      resources: { pids: { limit: 20 } },
    });
    await server.stage2.create(plan, output.streams);
    await server.stage2.start("bomb");
    await until("the bomb's end", () => Promise.resolve(output.text !== "" || undefined));
    assertEquals(output.text, "19 processes, EAGAIN\n"); // And the init.
    assertEquals((await server.stage2.stats("bomb")).pids, { current: 20, limit: 20 });
    // There is no room for one more, and the server goes on.
    assertEquals(await refusal(server.exec("bomb", ["exit", "0"])), "clone EAGAIN");
    await server.remove("bomb");
    assertEquals(await cgroupValue("bomb", "cgroup.procs"), undefined);
  },

  async "limits change, and what is used is told"(server) {
    await server.run("web", ["allocate", "8", "1"], own);
    await server.stage2.update("web", { memory: { limit: 48 * 1024 * 1024 }, pids: { limit: 9 } });
    assertEquals((await server.ended("web")).status, 0);
    const { memory, pids, cpu } = await server.stage2.stats("web");
    assertEquals([memory.limit, pids.limit], [48 * 1024 * 1024, 9]);
    assert((cpu.usageNs ?? 0) > 0);
    await server.remove("web");
  },

  async "frozen processes do nothing, and are killed nevertheless"(server) {
    await server.run("web", ["sleep", "1"], own);
    await server.stage2.freeze("web");
    assert(/^frozen 1$/m.test(await cgroupValue("web", "cgroup.events") ?? ""));
    await pause(1500);
    assertEquals((await server.find("web"))?.state, "running");
    await server.stage2.thaw("web");
    assertEquals((await server.ended("web")).status, 0);
    await server.remove("web");
    await server.run("ice", ["sleep"], own);
    await server.stage2.freeze("ice");
    await server.stage2.kill("ice");
    assertEquals((await server.ended("ice")).status, 137);
    await server.remove("ice");
  },

  async "containers are adopted with their cgroups and their want of memory"(server) {
    await server.run("web", ["sleep"], own);
    const wanted = { ...own, resources: { memory: { limit: 16 * 1024 * 1024 } } };
    await server.run("hungry", ["allocate", "64", "3"], wanted);
    await server.killServer();
    await server.restart();
    assertEquals((await server.find("web"))?.state, "running");
    assertEquals((await server.ended("hungry")).oom, true);
    await server.stage2.freeze("web");
    await server.stage2.thaw("web");
    for (const id of ["web", "hungry"]) await server.remove(id);
  },
};

await using server = await Served.start(Deno.args[0]);
for (const [name, see] of Object.entries(seen)) {
  await see(server);
  console.log(`ok ${name}`);
}
await server.quit();
