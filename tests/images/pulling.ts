/**
 * What tests of pulls share: a registry with busybox in it, a store and a configuration
 * of their own, and a proxy that slows down and counts.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { mustRun, type Output, type Scratch, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { withRegistry } from "./registry.ts";

export interface Place extends Scratch {
  /** `localhost:PORT`, with busybox in it, without TLS. */
  host: string;
  /** Where Kurma's state is. */
  store: string;
  /** Where its configuration is. */
  config: string;
}

/** A test with a registry, a store and a configuration of its own. */
export function pullTest(name: string, body: (place: Place) => Promise<void>): void {
  test(name, async (scratch) => {
    const { dir } = scratch;
    const [store, config] = [`${dir}/state`, `${dir}/config`];
    const own = ["--root", store, "--config", config];
    await Deno.mkdir(config);
    await withRegistry(dir, { port: 5000 }, async () => {
      const host = "localhost:5000";
      await Deno.writeTextFile(
        `${config}/hosts.yaml`,
        `hosts:\n  ${host}: { plainHttp: true }\n  localhost:5001: { plainHttp: true }\n`,
      );
      await fill(`${host}/busybox`, (await images()).oci);
      await body({
        ...scratch,
        host,
        store,
        config,
        kurma: (args, options) => scratch.kurma([...own, ...args], options),
        start: (args, options) => scratch.start([...own, ...args], options),
      });
    });
  });
}

export async function fill(reference: string, layout: string): Promise<void> {
  const args = ["--dest-tls-verify=false", `oci:${layout}`, `docker://${reference}`];
  await mustRun(["skopeo", "copy", "--quiet", ...args]);
}

/** What a program that had to succeed printed. */
export function printed({ status, stdout, stderr }: Output): string {
  assertEquals(status, 0, stderr);
  return stdout.trimEnd();
}

/** Writes `size` bytes that do not shrink. */
export async function writeNoise(path: string, size: number): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  const noise = new Uint8Array(65_536);
  for (let at = 0; at < size; at += noise.length) await file.write(crypto.getRandomValues(noise));
}

/** An image whose layers are 24 MiB together, that do not shrink. */
export async function large(dir: string, layers = 1): Promise<string> {
  const image = `${dir}/large:1`;
  await mustRun(["umoci", "init", "--layout", `${dir}/large`]);
  await mustRun(["umoci", "new", "--image", image]);
  for (let layer = 0; layer < layers; layer++) {
    await writeNoise(`${dir}/noise`, (24 << 20) / layers);
    await mustRun(["umoci", "insert", "--image", image, `${dir}/noise`, `/noise-${layer}`]);
  }
  return image;
}

/**
 * A proxy before the registry that counts the bytes of layers it passes on, waits
 * `paceMs` before each piece of them, and stops after `limit` until it is let go on.
 */
export function slowProxy(port: number, behind: string) {
  const proxy = {
    limit: Infinity,
    paceMs: 0,
    passed: 0,
    requests: [] as string[],
    server: undefined as Deno.HttpServer | undefined,
  };
  proxy.server = Deno.serve(
    { hostname: "localhost", port, onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      const headers = new Headers(request.headers);
      headers.delete("host");
      const answer = await fetch(`http://${behind}${pathname}`, {
        method: request.method,
        headers,
      });
      const size = Number(answer.headers.get("content-length"));
      const range = request.headers.get("range");
      // Configs come whole and are small; what is left of a layer may be small as well.
      if (!pathname.includes("/blobs/") || (range === null && size < 1 << 20)) return answer;
      proxy.requests.push(range ?? "all");
      const counted = new TransformStream<Uint8Array, Uint8Array>({
        async transform(chunk, controller) {
          if (proxy.paceMs > 0) await new Promise((done) => setTimeout(done, proxy.paceMs));
          while (proxy.passed >= proxy.limit) await new Promise((done) => setTimeout(done, 10));
          proxy.passed += chunk.length;
          controller.enqueue(chunk);
        },
      });
      const { status } = answer;
      return new Response(answer.body?.pipeThrough(counted), { status, headers: answer.headers });
    },
  );
  return proxy;
}

export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; !await holds(); waited += 10) {
    assert(waited < 20_000, "it never came to be");
    await new Promise((done) => setTimeout(done, 10));
  }
}
