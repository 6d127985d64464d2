/** What long operations tell while they go on, as events and on a pipe. */

import {
  exportImage,
  importImage,
  type Progress,
  pruneImages,
  removeImage,
  verifyImages,
} from "../../stage1/images/mod.ts";
import { pullImage } from "../../stage1/images/pull.ts";
import { pushImage } from "../../stage1/images/push.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { fill, large, printed, pullTest, slowProxy } from "./pulling.ts";

pullTest(
  "pull, push, import, export and verify tell of each layer: bytes, speed, what is left",
  async (place) => {
    const { dir, host, store: root, config } = place;
    const image = await large(dir, 3);
    await fill(`${host}/large`, image);
    const proxy = slowProxy(5001, host);
    proxy.paceMs = 10; // So that there is a speed to tell.
    let events: Progress[] = [];
    const options = { root, config, onProgress: (event: Progress) => void events.push(event) };
    const name = "localhost:5001/large";
    const operations: [what: string, work: () => Promise<unknown>, end: Progress["step"]][] = [
      ["pull", () => pullImage(name, options), "unpacked"],
      ["verify", () => verifyImages(options), "verified"],
      ["export", () => exportImage(name, `${dir}/out.tar`, options), "written"],
      ["push", () => pushImage(name, `${host}/other:1`, options), "uploaded"],
      ["push again", () => pushImage(name, `${host}/other:1`, options), "present"],
      ["import", async () => {
        await removeImage(name, { root });
        await pruneImages({ root });
        await importImage(image, options);
      }, "unpacked"],
      ["import again", () => importImage(image, options), "present"],
    ];
    try {
      for (const [what, work, end] of operations) {
        events = [];
        await work();
        const subjects = Map.groupBy(events, ({ subject }) => subject);
        const layers = subjects.values().filter((all) => all.at(-1)!.bytes > 1 << 20).toArray();
        assertEquals(layers.length, 3, what);
        for (const [...all] of layers) {
          const last = all.pop()!;
          assertEquals(last.step, end, what);
          assert(end === "present" || all.length > 0, `${what} tells nothing before its end`);
          assertEquals(all.toSorted((a, b) => a.bytes - b.bytes), all, `${what} goes back`);
          assert(all.every(({ step, bytes, total }) => step === "read" && total! >= bytes), what);
        }
        if (what !== "pull") continue;
        const measured = layers.flat().filter(({ perSecond }) => perSecond !== undefined);
        assert(measured.length > 0, "a pull of seconds has no speed");
        assert(measured.every(({ perSecond, leftMs }) => perSecond! > 0 && leftMs! >= 0));
      }
    } finally {
      await proxy.server?.shutdown();
    }
  },
);

pullTest(
  "in a pipe each finished layer is a line on standard error",
  async ({ dir, host, kurma }) => {
    const lines: [args: string[], line: RegExp, count: number][] = [
      [["pull", `${host}/busybox`], /^sha256:[0-9a-f]{12} {2}unpacked {2}\S+ \S+$/, 2],
      [
        ["export", `${host}/busybox`, `${dir}/out`],
        /^sha256:[0-9a-f]{12} {2}written {2}\S+ \S+$/,
        4,
      ],
      [["push", `${host}/busybox`, `${host}/a/b`], /^sha256:[0-9a-f]{12} {2}\S.* \S+$/, 3],
      [["import", `${dir}/out`], /^sha256:[0-9a-f]{12} {2}there already {2}\S+ \S+$/, 2],
    ];
    for (const [args, line, count] of lines) {
      const output = await kurma(["image", ...args]);
      printed(output);
      const said = output.stderr.trimEnd().split("\n");
      assertEquals(said.length, count, `${args[0]}: ${output.stderr}`);
      for (const each of said) assertMatch(each, line);
    }
  },
);
