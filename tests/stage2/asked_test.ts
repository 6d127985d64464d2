/**
 * What users ask for, seen from inside: specifications go the whole way, through their
 * schema, their meaning and their plan, to a container that the stage2 server makes.
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { ownCapabilities } from "../../stage1/containers/capabilities.ts";
import { type Place, planContainer } from "../../stage1/containers/plan.ts";
import { resolve } from "../../stage1/containers/resolve.ts";
import type { ContainerSpec } from "../../stage1/containers/spec.ts";
import { parseContainerSpec } from "../../stage1/containers/validate.ts";
import { bareConfig, type ImageConfig } from "../../stage1/images/image.ts";
import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { mustRun } from "../harness.ts";
import { type Served, serverTest } from "./served.ts";

/** Containers of an image with busybox. */
class Asked {
  #count = 0;

  private constructor(readonly dir: string, readonly served: Served) {}

  static async start(served: Served): Promise<Asked> {
    const { dir } = served;
    const layer = `${dir}/busybox`;
    for (const name of ["bin", "proc", "dev", "sys", "etc", "tmp"]) {
      await Deno.mkdir(`${layer}/${name}`, { recursive: true });
    }
    await Deno.copyFile("/bin/busybox", `${layer}/bin/busybox`);
    await mustRun(["chroot", layer, "/bin/busybox", "--install", "-s", "/bin"]);
    await Deno.writeTextFile(`${layer}/etc/passwd`, "web:x:1000:1001::/srv:/bin/sh\n");
    await Deno.writeTextFile(`${layer}/etc/group`, "web:x:1001:\nlog:x:1002:web\nadm:x:1003:\n");
    return new Asked(dir, served);
  }

  /** All that the script printed in such a container, and its status on the last line. */
  async run(
    script: string,
    wanted: Partial<ContainerSpec> = {},
    { image = {}, place = {} }: { image?: Partial<ImageConfig>; place?: Partial<Place> } = {},
  ): Promise<string> {
    const id = `asked-${this.#count++}`;
    const scratch = `${this.dir}/${id}`;
    for (const name of ["upper", "work"]) {
      await Deno.mkdir(`${scratch}/${name}`, { recursive: true });
    }
    const spec = parseContainerSpec({ image: "busybox", command: ["sh", "-c", script], ...wanted });
    const meant = resolve({ ...bareConfig, ...image }, spec);
    const firstId = meant.namespaces.user === "host" ? undefined : 0x7000_0000;
    const layers = [`${this.dir}/busybox`];
    const capabilities = ownCapabilities();
    const plan = planContainer({ id, layers, scratch, firstId, capabilities, ...place }, meant);
    const output = kernel.memfd("output", new Uint8Array(16_384), "shared");
    try {
      await this.served.stage2.create(plan, [output, output, output]);
      await this.served.stage2.start(id);
      const { status } = await this.served.ended(id);
      await this.served.stage2.delete(id);
      const bytes = await Deno.readFile(`/proc/self/fd/${output}`);
      return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0))) + status;
    } finally {
      kernel.close(output);
      await Deno.remove(scratch, { recursive: true });
    }
  }
}

/** A test with a server of its own. */
function asked(name: string, body: (asked: Asked) => Promise<void>): void {
  serverTest(`asked for: ${name}`, async (served) => await body(await Asked.start(served)));
}

asked("a user of the image, with groups, umask and working directory", async (asked) => {
  const script = 'echo $(id -u) $(id -g) $(id -G) $(umask) "$PWD" $HOME $container';
  const wanted = { user: "web", extraGroups: [27], umask: 0o027, workingDir: "/tmp" };
  assertEquals(await asked.run(script, wanted), "1000 1001 1001 27 1002 0027 /tmp /srv kurma\n0");
  assertEquals(
    await asked.run("echo $(id -u) $(id -g)", { user: "7", group: "adm" }),
    "7 1003\n0",
  );
});

asked("limits of each process, none among them", async (asked) => {
  const ulimits = [
    { name: "nofile", soft: 100, hard: 200 },
    { name: "core", soft: 0, hard: -1 },
    { name: "fsize", soft: -1 },
  ] as const;
  assertEquals(
    await asked.run("echo $(ulimit -Sn) $(ulimit -Hn) $(ulimit -Hc) $(ulimit -f)", { ulimits }),
    "100 200 unlimited unlimited\n0",
  );
});

asked("capabilities, added and dropped", async (asked) => {
  const bounding = (text: string) => BigInt(`0x${/CapBnd:\s+(\S+)/.exec(text)?.[1]}`);
  const [kill, netAdmin] = [1n << 5n, 1n << 12n];
  const usual = bounding(await asked.run("cat /proc/self/status"));
  assertEquals([usual & kill, usual & netAdmin], [kill, 0n]);
  const changed = bounding(
    await asked.run("cat /proc/self/status", {
      capabilities: { add: ["net_admin"], drop: ["KILL"] },
    }),
  );
  assertEquals(changed, (usual | netAdmin) & ~kill);
  const none = bounding(
    await asked.run("cat /proc/self/status", { capabilities: { drop: ["ALL"] } }),
  );
  assertEquals(none, 0n);
});

asked("memory as a folder, with its size and without programs", async (asked) => {
  const said = await asked.run(
    "stat -c %a /data; grep ' /data ' /proc/mounts; cp /bin/busybox /data/x && /data/x true; echo $?",
    { mounts: [{ type: "tmpfs", target: "/data", size: 4 << 20, mode: 0o750 }] },
  );
  assertMatch(said, /^750\ntmpfs \/data tmpfs \S*nosuid,nodev,noexec\S*size=4096k/);
  assertMatch(said, /Permission denied\n126\n0$/);
});

asked("a root that cannot be written, but for what the image writes to", async (asked) => {
  assertEquals(
    await asked.run(
      "touch /a 2>/dev/null || echo refused; touch /data/a && echo written",
      { security: { readOnlyRoot: true } },
      { image: { volumes: ["/data"] } },
    ),
    "refused\nwritten\n0",
  );
});

asked("a part of a volume, which no link leaves", async (asked) => {
  const volume = `${asked.dir}/volume`;
  await Deno.mkdir(`${volume}/a/b`, { recursive: true });
  await Deno.writeTextFile(`${volume}/a/b/file`, "inner\n");
  await Deno.writeTextFile(`${volume}/top`, "top\n");
  await Deno.symlink("/etc", `${volume}/out`);
  await Deno.symlink("../../..", `${volume}/a/up`);
  const place = { volumes: new Map([["data", { path: volume }]]) };
  const at = (subPath: string) => ({
    mounts: [
      { type: "volume", source: "data", target: "/data", subPath, readOnly: true, idmap: false },
    ] as const,
  });
  assertEquals(
    await asked.run("ls /data; cat /data/file; touch /data/x 2>&1", at("a/b"), { place }),
    "file\ninner\ntouch: /data/x: Read-only file system\n1",
  );
  assertEquals(await asked.run("cat /data", at("top"), { place }), "top\n0");
  for (const subPath of ["out", "out/ssl", "a/up", "a/up/etc", "none"]) {
    const error = await rejection(asked.run("ls /data", at(subPath), { place }));
    assertMatch(error.message, /(ELOOP|EXDEV|ENOENT)/);
  }
});

asked("a volume whose owners are the same inside and outside", async (asked) => {
  const volume = `${asked.dir}/volume`;
  await Deno.mkdir(volume);
  await Deno.writeTextFile(`${volume}/old`, "");
  await Deno.chown(`${volume}/old`, 1000, 1001);
  const place = { volumes: new Map([["data", { path: volume }]]) };
  const mounts = [{ type: "volume", source: "data", target: "/data" }] as const;
  const script = "stat -c '%u %g' /data/old; touch /data/new";
  assertEquals(await asked.run(script, { mounts }, { place }), "1000 1001\n0");
  const { uid, gid } = await Deno.stat(`${volume}/new`);
  assertEquals([uid, gid], [0, 0]);
  const plain = [{ ...mounts[0], idmap: false }] as const;
  const nobody = await asked.run(script, { mounts: plain }, { place });
  assertMatch(nobody, /^65534 65534\ntouch: .*Permission denied\n1$/);
});

asked("the host's network, with users of its own", async (asked) => {
  const script = "ls /sys/class/net; grep -c : /proc/net/dev; touch /sys/kernel/x 2>&1 | head -1";
  const said = await asked.run(script, { namespaces: { network: "host" } });
  const links = [...Deno.readDirSync("/sys/class/net")].map(({ name }) => name).sort();
  assertEquals(said.split("\n").slice(0, links.length).sort(), links);
  assertMatch(said, /Read-only file system/);
  assertEquals(await asked.run("ls /sys/class/net"), "lo\n0");
});

asked("the host's processes and IPC, with users of its own", async (asked) => {
  const script = "for kind in pid ipc; do readlink /proc/self/ns/$kind; done";
  const said = await asked.run(script, { namespaces: { pid: "host", ipc: "host" } });
  const ours = ["pid", "ipc"].map((kind) => Deno.readLinkSync(`/proc/self/ns/${kind}`));
  assertEquals(said, `${ours.join("\n")}\n0`);
});

asked("system calls that an isolator takes away", async (asked) => {
  const { isolate } = await import("../../stage1/containers/manifests/isolators.ts");
  const { security } = isolate(
    [{
      name: "os/linux/seccomp-remove-set",
      value: { set: ["mkdir", "mkdirat"], errno: "ENOTSUP" },
    }],
    "request",
    "the app",
  );
  assertMatch(await asked.run("mkdir /a 2>&1", { security }), /not supported\n1$/);
  assertEquals(await asked.run("mkdir /a"), "0");
});

asked("the host's tree, and everything that is hidden otherwise", async (asked) => {
  await Deno.writeTextFile(`${asked.dir}/known`, "known\n");
  assertEquals(
    await asked.run(`cat /host${asked.dir}/known`, { security: { hostTree: true } }),
    "known\n0",
  );
  const script = "grep -c . /proc/interrupts; cut -d' ' -f2 /proc/mounts | grep -cx /proc/kcore";
  const hidden = await asked.run(script);
  assert(hidden.startsWith("0\n"), hidden);
  const privileged = await asked.run(script, { security: { privileged: true } });
  assert(!privileged.startsWith("0\n"), privileged);
});
