/**
 * How much a volume may take.
 *
 * @module
 */

import { assert, assertEquals, rejection } from "../assert.ts";
import { mustRun, run } from "../harness.ts";
import { type Kurmad, kurmadTest } from "./daemon.ts";

const mebibyte = 1024 * 1024;

/** The refusal of a file system that holds to no quotas of projects; which errno says why. */
const refused = /has no project quotas in force \(E[A-Z]+\)$/;

const create = (kurmad: Kurmad, volume: string, bytes: number, labels = {}) =>
  kurmad.api.call("Volumes", "Create", { name: volume, quotaBytes: String(bytes), labels });

kurmadTest(
  "a quota that the file system does not hold to is refused, and leaves nothing",
  async (kurmad) => {
    const error = await rejection(create(kurmad, "data", 8 * mebibyte));
    assert(refused.test(error.message), error.message);
    assert(error.message.startsWith('Cannot limit volume "data"'), error.message);
    assertEquals((await kurmad.api.call("Volumes", "List", {})).volumes ?? [], []);
    const folder = `${kurmad.dir}/state/volumes`;
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), [".trash"]);
    await create(kurmad, "data", 0);
    const update = kurmad.api.call("Volumes", "Update", { volume: "data", quotaBytes: "9000000" });
    assertEquals(
      (await rejection(update)).message,
      'Cannot limit volume "data": it was made without a quota',
    );
    // Lifting what is not there is no change.
    await kurmad.api.call("Volumes", "Update", { volume: "data", quotaBytes: "0" });
    await kurmad.api.call("Volumes", "Remove", { volume: "data" });
  },
);

kurmadTest("a volume takes no more than its quota, where the kernel has quotas", async (kurmad) => {
  const disk = `${kurmad.dir}/disk`;
  await mustRun(["truncate", "--size=64M", disk]);
  await mustRun(["mkfs.ext4", "-q", "-O", "quota,project", disk]);
  const volumes = `${kurmad.dir}/state/volumes`;
  await mustRun(["sh", "-c", `rmdir ${volumes}/.trash ${volumes}/* 2>/dev/null || true`]);
  const mounted = await run(["mount", "-o", "loop,prjquota", disk, volumes]);
  if (mounted.status !== 0) {
    // What such a kernel says of a file system that it mounts, the test before this one sees.
    console.log(`skipped: this kernel mounts no ext4 with prjquota: ${mounted.stderr.trim()}`);
    await Deno.mkdir(`${volumes}/.trash`, { recursive: true });
    return;
  }
  try {
    await Deno.mkdir(`${volumes}/.trash`, { mode: 0o700 });
    await create(kurmad, "data", 4 * mebibyte);
    const { volume } = await kurmad.api.call("Volumes", "Get", { volume: "data" });
    assertEquals(volume?.quotaBytes, String(4 * mebibyte));
    const fill = async (megabytes: number) => {
      const script = `rm -f /data/*; head -c ${megabytes * mebibyte} /dev/zero >/data/file`;
      await kurmad.api.call("Containers", "Create", {
        name: "writer",
        image: kurmad.image,
        start: true,
        settings: {
          command: ["sh", "-c", script],
          mounts: [{ target: "/data", volume: { name: "data" } }],
        },
      });
      const { exit } = await kurmad.api.call("Containers", "Wait", { container: "writer" });
      await kurmad.api.call("Containers", "Remove", { container: "writer" });
      return exit?.code ?? 0;
    };
    assertEquals(await fill(3), 0);
    assert(await fill(6) !== 0);
    await kurmad.api.call("Volumes", "Update", {
      volume: "data",
      quotaBytes: String(8 * mebibyte),
    });
    assertEquals(await fill(6), 0);
    await kurmad.api.call("Volumes", "Update", { volume: "data", quotaBytes: "0" });
    assertEquals(await fill(12), 0);
    await kurmad.api.call("Volumes", "Remove", { volume: "data" });
  } finally {
    await mustRun(["umount", volumes]);
    await Deno.mkdir(`${volumes}/.trash`, { recursive: true });
  }
});
