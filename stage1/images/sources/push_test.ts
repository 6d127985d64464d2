import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { KurmaError } from "../../../ffi/errors.ts";
import { digestOf } from "./digest.ts";
import { type Descriptor, mediaTypes } from "./documents.ts";
import { chunkBytes, type LocalImage, push } from "./push.ts";
import { RegistryClient } from "./registry.ts";
import { encode, impatient, TestRegistry } from "./testing.ts";

const config = encode({ os: "linux", architecture: "amd64" });
const small = encode("a layer");
const large = new Uint8Array(chunkBytes * 2 + 1000);
large.forEach((_, at) => large[at] = at % 251);

function describe(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

function localImage(...layers: Uint8Array[]): LocalImage {
  const all = [config, ...layers];
  const blobs = all.map((bytes, at) =>
    describe(bytes, at ? "application/vnd.oci.image.layer.v1.tar" : mediaTypes.ociConfig)
  );
  const [configuration, ...rest] = blobs;
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: configuration,
    layers: rest,
  };
  return {
    documents: [{ bytes: encode(document), mediaType: document.mediaType }],
    blobs,
    open: (blob) =>
      ReadableStream.from(all.filter((bytes) => digestOf(bytes) === blob.digest).slice(0, 1)),
  };
}

/** Makes a registry take uploads; `disturb` may answer instead, after the bytes are in. */
function takeUploads(
  registry: TestRegistry,
  disturb: (method: string, held: number) => Response | undefined = () => undefined,
) {
  let next = 0;
  const uploads = new Map<string, Uint8Array<ArrayBuffer>>();
  registry.intercept = async (request, path) => {
    const manifest = /^\/v2\/([^:@]+)\/manifests\/(.+)$/.exec(path);
    if (request.method === "PUT" && manifest) {
      const bytes = await request.bytes();
      const mediaType = request.headers.get("content-type") ?? "";
      registry.manifests.set(`${manifest[1]}:${manifest[2]}`, { bytes, mediaType });
      return new Response(null, { status: 201 });
    }
    if (!path.includes("/uploads/")) return undefined;
    if (request.method === "POST") {
      const mount = new URL(request.url).searchParams.get("mount");
      if (mount && registry.blobs.has(mount)) return new Response(null, { status: 201 });
      uploads.set(`${++next}`, new Uint8Array());
      return accepted(`${path}${next}?state=x`, 202, 0);
    }
    const id = path.split("/").at(-1) ?? "";
    const before = uploads.get(id) ?? new Uint8Array();
    const body = await request.bytes();
    const held = new Uint8Array(before.length + body.length);
    held.set(before);
    held.set(body, before.length);
    uploads.set(id, held);
    const disturbance = disturb(request.method, held.length);
    if (disturbance) return disturbance;
    if (request.method !== "PUT") {
      return accepted(path, request.method === "GET" ? 204 : 202, held.length);
    }
    const digest = new URL(request.url).searchParams.get("digest") ?? "";
    if (digestOf(held) !== digest) return new Response(null, { status: 400 });
    registry.blobs.set(digest, held);
    return new Response(null, { status: 201 });
  };
}

function accepted(location: string, status: number, held: number): Response {
  return new Response(null, { status, headers: { location, range: `0-${Math.max(0, held - 1)}` } });
}

const methods = (registry: TestRegistry) =>
  registry.log.map((line) => line.split(" ")[0]).join(" ");

Deno.test("push() uploads blobs in one or several parts, then the manifest", async () => {
  await using registry = new TestRegistry();
  takeUploads(registry);
  using client = new RegistryClient({ hosts: registry.hosts(), timing: impatient });
  const image = localImage(small, large);
  const digest = await push(client, registry.reference(), image, { parallel: 1 });
  assertEquals(digest, digestOf(image.documents[0].bytes));
  for (const bytes of [config, small, large]) {
    assertEquals(digestOf(registry.blobs.get(digestOf(bytes))!), digestOf(bytes));
  }
  assertEquals(
    methods(registry),
    "HEAD POST PUT HEAD POST PUT HEAD POST PATCH PATCH PATCH PUT PUT",
  );
  assertEquals(registry.log.at(-1), "PUT /v2/app/manifests/1");
});

Deno.test("push() leaves alone what is there and mounts what is beside it", async () => {
  await using registry = new TestRegistry();
  takeUploads(registry);
  using client = new RegistryClient({ hosts: registry.hosts(), timing: impatient });
  registry.blobs.set(digestOf(config), config);
  const hidden = digestOf(small); // There, but not in this repository.
  registry.blobs.set(hidden, small);
  const before = registry.intercept;
  registry.intercept = (request, path) =>
    request.method === "HEAD" && path.endsWith(hidden)
      ? new Response(null, { status: 404 })
      : before(request, path);
  const outcomes: string[] = [];
  await push(client, registry.reference(), localImage(small), {
    mountFrom: ["other"],
    parallel: 1,
    onBlob: (_, how) => outcomes.push(how),
  });
  assertEquals(outcomes, ["present", "mounted"]);
});

Deno.test("push() goes on with what the registry has when a part breaks off", async () => {
  for (const status of [500, 503]) {
    await using registry = new TestRegistry();
    let failed = 0;
    takeUploads(
      registry,
      (method) => method === "PATCH" && failed++ === 0 ? new Response(null, { status }) : undefined,
    );
    using client = new RegistryClient({ hosts: registry.hosts(), timing: impatient });
    await push(client, registry.reference(), localImage(large), { parallel: 1 });
    assert(registry.blobs.has(digestOf(large)));
    assertMatch(methods(registry), /PATCH GET PATCH PATCH PUT PUT$/); // The first came through.
  }
});

Deno.test("push() is content where the blob is there although no answer said so", async () => {
  await using registry = new TestRegistry();
  takeUploads(registry);
  const honest = registry.intercept;
  let puts = 0;
  registry.intercept = async (request, path) => {
    if (request.method !== "PUT" || !path.includes("/uploads/")) return await honest(request, path);
    if (++puts > 1) {
      return Response.json({ errors: [{ code: "BLOB_UPLOAD_UNKNOWN" }] }, { status: 404 });
    }
    await honest(request, path);
    return new Response(null, { status: 502 });
  };
  using client = new RegistryClient({ hosts: registry.hosts(), timing: impatient });
  registry.blobs.set(digestOf(config), config);
  await push(client, registry.reference(), localImage(small));
  assertEquals([puts, registry.blobs.has(digestOf(small))], [2, true]);
});

const refusals: [string, (registry: TestRegistry) => void, RegExp][] = [
  ["refuses uploads", (registry) => {
    registry.intercept = ({ method }) =>
      method === "POST"
        ? Response.json({ errors: [{ code: "DENIED", message: "read only" }] }, { status: 403 })
        : undefined;
  }, /denied: Cannot push sha256:.* answered 403 \(DENIED: read only\)/],
  ["forgets the location", (registry) => {
    registry.intercept = ({ method }) =>
      method === "POST" ? new Response(null, { status: 202 }) : undefined;
  }, /does not say where to/],
  ["sends the upload to a host without TLS", (registry) => {
    registry.intercept = ({ method }) =>
      method === "POST" ? accepted("http://attacker.example/x", 202, 0) : undefined;
  }, /denied: .*attacker\.example would be asked without TLS/],
  ["redirects the upload", (registry) => {
    registry.intercept = ({ method }) =>
      method === "POST"
        ? new Response(null, { status: 307, headers: { location: "https://attacker.example/" } })
        : undefined;
  }, /sends an upload elsewhere/],
  ["wants parts of a terabyte", (registry) => {
    registry.intercept = ({ method }) =>
      method === "POST"
        ? new Response(null, {
          status: 202,
          headers: { location: "/x", "oci-chunk-min-length": "1000000000000" },
        })
        : undefined;
  }, /wants parts of 1000000000000 bytes/],
];
for (const [name, lie, message] of refusals) {
  Deno.test(`push() fails where the registry ${name}`, async () => {
    await using registry = new TestRegistry();
    lie(registry);
    using client = new RegistryClient({ hosts: registry.hosts(), timing: impatient });
    const error = await rejection(push(client, registry.reference(), localImage(small)));
    assert(error instanceof KurmaError, error.stack);
    assertMatch(`${error.code}: ${error.message}`, message);
  });
}

Deno.test("push() does not name an image by the digest of another", async () => {
  await using registry = new TestRegistry();
  takeUploads(registry);
  using client = new RegistryClient({ hosts: registry.hosts(), timing: impatient });
  const reference = registry.reference(`app@${digestOf(small)}`);
  const error = await rejection(push(client, reference, localImage(small)));
  assertMatch(error.message, /the digests differ/);
});
