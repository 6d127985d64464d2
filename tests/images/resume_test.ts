/** Pulls that are killed, and what the next one makes of what they left. */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { count, mustRun, test } from "../harness.ts";
import { fill, large, printed, pullTest, slowProxy, until, writeNoise } from "./pulling.ts";

pullTest("a killed pull goes on where it stopped", async ({ dir, host, kurma, start, store }) => {
  await fill(`${host}/large`, await large(dir));
  const proxy = slowProxy(5001, host);
  try {
    proxy.limit = 4 << 20;
    const tmp = `${store}/images/tmp`;
    const partial = async () => {
      for await (const { name } of Deno.readDir(tmp)) {
        if (name.endsWith(".part")) return (await Deno.stat(`${tmp}/${name}`)).size;
      }
      return 0;
    };
    const killed = start(["image", "pull", "localhost:5001/large"]);
    await until(() => proxy.passed >= proxy.limit);
    await until(async () => await partial() > 3 << 20);
    killed.signal("SIGKILL");
    await killed.output;
    assertEquals((await kurma(["image", "list", "-o", "json"])).stdout, "[]\n");
    const held = await partial();

    proxy.limit = Infinity;
    printed(await kurma(["image", "pull", "localhost:5001/large"]));
    assertEquals(proxy.requests, ["all", `bytes=${held}-`]);
    assertEquals([...Deno.readDirSync(tmp)], []);
    assertEquals((await kurma(["image", "verify"])).status, 0);
  } finally {
    await proxy.server?.shutdown();
  }
});

pullTest("two pulls of an image share one download", async ({ dir, host, kurma, start }) => {
  await fill(`${host}/large`, await large(dir));
  const proxy = slowProxy(5001, host);
  try {
    proxy.limit = 4 << 20;
    const pulls = [1, 2].map(() => start(["image", "pull", "localhost:5001/large"]));
    await until(() => proxy.passed >= proxy.limit);
    await new Promise((done) => setTimeout(done, 500)); // Time for the other to ask as well.
    proxy.limit = Infinity;
    const ids = (await Promise.all(pulls.map(({ output }) => output))).map(printed);
    assertEquals(ids[0], ids[1]);
    assertEquals(proxy.requests, ["all"]);
    assertEquals((await kurma(["image", "verify"])).status, 0);
  } finally {
    await proxy.server?.shutdown();
  }
});

pullTest("a pull killed at any moment leaves a store that is whole", async (place) => {
  const { dir, host, kurma, start, store } = place;
  await fill(`${host}/large`, await large(dir));
  for (let round = 0; round < count(4, 30); round++) {
    const killed = start(["image", "pull", `${host}/large`]);
    await new Promise((done) => setTimeout(done, 100 + Math.random() * 600));
    try {
      killed.signal("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // It was faster.
    }
    await killed.output;
    assertEquals(await kurma(["image", "verify"]), { status: 0, stdout: "", stderr: "" });
    await kurma(["image", "rm", `${host}/large`]);
  }
  printed(await kurma(["image", "pull", `${host}/large`]));
  assertEquals([...Deno.readDirSync(`${store}/images/tmp`)], []);
  assertEquals((await kurma(["image", "verify"])).status, 0);
});

pullTest(
  "a pull killed at ten random points downloads less than twice the image",
  async (place) => {
    const { dir, host, kurma, start, store } = place;
    const image = await large(dir, 6);
    await fill(`${host}/large`, image);
    const { layers } = JSON.parse(await mustRun(["skopeo", "inspect", "--raw", `oci:${image}`]));
    const size = layers.reduce((sum: number, layer: { size: number }) => sum + layer.size, 0);
    const proxy = slowProxy(5001, host);
    try {
      proxy.paceMs = 5;
      const points: number[] = [];
      const kills = 10;
      while (points.length < kills) {
        // Anywhere in what is left, so that all ten come before the end.
        const left = Math.max(size - proxy.passed, size / 20);
        const point = proxy.passed + Math.random() * 1.5 * left / (kills + 1 - points.length);
        const pull = start(["image", "pull", "localhost:5001/large"]);
        const ended = pull.output.then(() => true);
        await until(() => proxy.passed >= point);
        await new Promise((done) => setTimeout(done, Math.random() * 20));
        pull.signal("SIGKILL");
        await ended;
        points.push(proxy.passed / size);
        assertEquals((await kurma(["image", "list", "-o", "json"])).stdout, "[]\n");
      }
      proxy.paceMs = 0;
      printed(await kurma(["image", "pull", "localhost:5001/large"]));
      assertEquals([...Deno.readDirSync(`${store}/images/tmp`)], []);
      assertEquals((await kurma(["image", "verify"])).status, 0);
      const percent = points.map((point) => `${Math.round(point * 100)}%`).join(" ");
      const [mib, all] = [proxy.passed, size].map((bytes) => (bytes / 2 ** 20).toFixed(1));
      console.log(
        `killed after ${percent}; downloaded ${mib} MiB in all of an image of ${all} MiB`,
      );
      assert(proxy.passed < 2 * size, `${proxy.passed} bytes of ${size}`);
    } finally {
      await proxy.server?.shutdown();
    }
  },
);

/** A web server with one file, which it hands out slowly and in parts. */
function fileServer(port: number, path: string) {
  const state = {
    /** Tells this version of the file from others; none if undefined. */
    etag: undefined as string | undefined,
    limit: Infinity,
    passed: 0,
    /** What each request asked for. */
    requests: [] as string[],
    server: undefined as Deno.HttpServer | undefined,
  };
  state.server = Deno.serve(
    { hostname: "127.0.0.1", port, onListen: () => {} },
    async (request) => {
      const { etag } = state;
      const bytes = await Deno.readFile(path);
      const range = request.headers.get("range");
      if (new URL(request.url).pathname !== "/app.aci") return new Response(null, { status: 404 });
      state.requests.push(range ?? "all");
      const valid = range !== null && etag !== undefined &&
        request.headers.get("if-range") === etag;
      const from = valid ? Number(/^bytes=([0-9]+)-$/.exec(range)![1]) : 0;
      const headers = {
        ...(etag ? { etag } : {}),
        "content-length": `${bytes.length - from}`,
        ...(valid ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
      };
      const body = async function* () {
        for (let at = from; at < bytes.length; at += 65_536) {
          while (state.passed >= state.limit) await new Promise((done) => setTimeout(done, 10));
          const chunk = bytes.subarray(at, at + 65_536);
          state.passed += chunk.length;
          yield chunk;
        }
      };
      return new Response(ReadableStream.from(body()), { status: valid ? 206 : 200, headers });
    },
  );
  return state;
}

test("a killed download goes on where the server's file is the same, else from its start", async ({ dir, kurma, start }) => {
  const env = { KURMA_CONFIG: `${dir}/config`, KURMA_ROOT: `${dir}/state` };
  await Deno.mkdir(`${dir}/config`);
  const hosts = "hosts:\n  127.0.0.1:5002: { plainHttp: true }\n";
  await Deno.writeTextFile(`${dir}/config/hosts.yaml`, hosts);
  await Deno.mkdir(`${dir}/aci/rootfs`, { recursive: true });
  const manifest = { acKind: "ImageManifest", acVersion: "0.8.11", name: "example.com/app" };
  await Deno.writeTextFile(`${dir}/aci/manifest`, JSON.stringify(manifest));
  const makeFile = async () => {
    await writeNoise(`${dir}/aci/rootfs/noise`, 8 << 20);
    await mustRun([
      "actool",
      "build",
      "--overwrite",
      "--no-compression",
      `${dir}/aci`,
      `${dir}/app.aci`,
    ]);
    return "sha512-" + (await mustRun(["sha512sum", `${dir}/app.aci`])).slice(0, 128);
  };
  const url = "http://127.0.0.1:5002/app.aci";
  const served = fileServer(5002, `${dir}/app.aci`);
  /** Kills a pull after 4 MiB, lets `meanwhile` happen, and pulls again. */
  const interrupted = async (meanwhile: () => void | Promise<void>) => {
    [served.limit, served.passed, served.requests] = [4 << 20, 0, []];
    const pull = start(["image", "pull", url], { env });
    await until(() => served.passed >= served.limit);
    await new Promise((done) => setTimeout(done, 200)); // For what is on its way.
    pull.signal("SIGKILL");
    await pull.output;
    served.limit = Infinity;
    await meanwhile();
    const id = printed(await kurma(["image", "pull", url], { env }));
    assertEquals([...Deno.readDirSync(`${dir}/state/images/tmp`)], []);
    printed(await kurma(["image", "rm", id], { env }));
    return id;
  };
  try {
    const first = await makeFile();
    served.etag = '"1"';
    assertEquals(await interrupted(() => {}), first);
    assertMatch(served.requests.join(), /^all,bytes=[1-9][0-9]{5,}-$/);
    assert(served.passed < 9 << 20, `${served.passed} bytes of 8 MiB`);

    let second = "";
    assertEquals(
      await interrupted(async () => {
        second = await makeFile();
        served.etag = '"2"';
      }),
      second,
    );
    assertMatch(served.requests.join(), /^all,bytes=[1-9][0-9]{5,}-$/); // Answered with all of it.
    assert(first !== second && served.passed > 11 << 20);

    served.etag = undefined;
    assertEquals(await interrupted(() => {}), second);
    assertEquals(served.requests, ["all", "all"]);
  } finally {
    await served.server?.shutdown();
  }
});
