/** Registries that lie. Each entry: what one does, and how the pull ends. */

import { assertMatch } from "../../../tests/assert.ts";
import { digestOf } from "./digest.ts";
import { mediaTypes } from "./documents.ts";
import { drip, encode, failure, layer, platform, TestRegistry } from "./testing.ts";

const image = (registry: TestRegistry) => registry.addImage("app:1", layer);
const lies: Record<string, { lie: (registry: TestRegistry) => void; ends: RegExp }> = {
  "serves other bytes as a layer": {
    lie: (registry) =>
      registry.blobs.set(image(registry).layer.digest, new Uint8Array(layer.length)),
    ends: /invalid: Cannot fetch sha256:.* its digest is sha256:.*, not sha256:.*; Try again/,
  },
  "serves a layer one byte short": {
    lie: (registry) => registry.blobs.set(image(registry).layer.digest, layer.subarray(1)),
    ends: /the server says it has 49999 bytes, not 50000/,
  },
  "serves a layer one byte long": {
    lie: (registry) => {
      const long = new Uint8Array(50_001);
      long.set(layer);
      const { digest } = image(registry).layer;
      registry.intercept = (_, path) =>
        path.endsWith(digest) ? new Response(ReadableStream.from([long])) : undefined;
    },
    ends: /invalid: .*longer than the 50000 bytes/,
  },
  "serves a layer without end": {
    lie: (registry) => {
      const { digest } = image(registry).layer;
      registry.intercept = (_, path) =>
        path.endsWith(digest)
          ? new Response(
            new ReadableStream({
              pull: (controller) => controller.enqueue(new Uint8Array(10_000)),
            }),
          )
          : undefined;
    },
    ends: /invalid: .*longer than the 50000 bytes/,
  },
  "serves a manifest without end": {
    lie: (registry) => {
      registry.intercept = () =>
        new Response(
          new ReadableStream({
            pull: (controller) => controller.enqueue(new Uint8Array(1_000_000)),
          }),
        );
    },
    ends: /invalid: Cannot fetch manifest .* larger than 4194304 bytes/,
  },
  "drips a layer": {
    lie: (registry) => {
      const { digest } = image(registry).layer;
      registry.intercept = (_, path) => path.endsWith(digest) ? drip(layer) : undefined;
    },
    ends: /unavailable: Cannot fetch sha256:.* the server sent [0-9]+ bytes in [0-9.]+ s/,
  },
  "drips a manifest": {
    lie: (registry) => {
      const { document } = image(registry);
      registry.intercept = () => drip(encode(document));
    },
    ends: /unavailable: Cannot fetch manifest .* the server sent [0-9]+ bytes/,
  },
  "never answers": {
    lie: (registry) => {
      registry.intercept = () =>
        new Promise((resolve) => setTimeout(() => resolve(undefined), 1100));
    },
    ends: /unavailable: Cannot fetch manifest .* is silent for 1 s/,
  },
  "answers 503 for ever": {
    lie: (registry) => {
      registry.intercept = () => new Response("busy", { status: 503 });
    },
    ends: /unavailable: .*answered 503 Service Unavailable/,
  },
  "asks for an hour's patience": {
    lie: (registry) => {
      registry.intercept = () =>
        new Response(null, { status: 429, headers: { "retry-after": "3600" } });
    },
    ends: /unavailable: .*answered 429/,
  },
  "redirects in a circle": {
    lie: (registry) => {
      registry.intercept = (_, path) =>
        new Response(null, { status: 307, headers: { location: path } });
    },
    ends: /unavailable: .*redirects more than 5 times/,
  },
  "redirects to a file": {
    lie: (registry) => {
      registry.intercept = () =>
        new Response(null, { status: 307, headers: { location: "file:///etc/passwd" } });
    },
    ends: /invalid: .*"file:" is not https/,
  },
  "redirects to a metadata service": {
    lie: (registry) => {
      registry.intercept = () =>
        new Response(null, { status: 307, headers: { location: "https://169.254.169.254/x" } });
    },
    ends: /denied: .*link-local address/,
  },
  "redirects to a host without TLS": {
    lie: (registry) => {
      registry.intercept = () =>
        new Response(null, { status: 307, headers: { location: "http://localhost:1/x" } });
    },
    ends: /denied: .*localhost:1 would be asked without TLS; Use https/,
  },
  "types a manifest as an index": {
    lie: (registry) => {
      const { document } = image(registry);
      registry.addManifest("app:1", { ...document, mediaType: mediaTypes.ociIndex });
    },
    ends: /its media type is .*index.*, its content is a manifest/,
  },
  "sends a manifest with an index's Content-Type": {
    lie: (registry) => {
      const { document } = image(registry);
      registry.manifests.set("app:1", { bytes: encode(document), mediaType: mediaTypes.ociIndex });
    },
    ends: /but comes as ".*index/,
  },
  "sends a manifest that is also an index": {
    lie: (registry) => {
      const { document } = image(registry);
      registry.addManifest("app:1", { ...document, manifests: [] });
    },
    ends: /a manifest and an index at once/,
  },
  "names a layer by a path": {
    lie: (registry) => {
      const { document, layer } = image(registry);
      const digest = "sha256:../../../etc/shadow";
      registry.addManifest("app:1", { ...document, layers: [{ ...layer, digest }] });
    },
    ends: /layer 1 of manifest "1" of .*is not sha256 or sha512/,
  },
  "says another size in the index": {
    lie: (registry) => {
      const { digest, size, mediaType } = image(registry);
      const manifests = [{ digest, mediaType, size: size - 1, platform }];
      registry.addManifest("app:1", {
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests,
      });
    },
    ends: /invalid: .*bytes, not [0-9]+/,
  },
  "announces another digest than it sends": {
    lie: (registry) => {
      const { document } = image(registry);
      registry.intercept = (_, path) =>
        path.includes("/manifests/")
          ? new Response(encode(document), {
            headers: {
              "content-type": mediaTypes.ociManifest,
              "docker-content-digest": digestOf(layer),
            },
          })
          : undefined;
    },
    ends: /its digest is sha256:/,
  },
  "has a config of a gigabyte": {
    lie: (registry) => {
      const { document, config } = image(registry);
      registry.addManifest("app:1", { ...document, config: { ...config, size: 2 ** 30 } });
    },
    ends: /it has 1073741824 bytes, the limit is 8388608/,
  },
  "offers a chart": {
    lie: (registry) => {
      const { document, config } = image(registry);
      const mediaType = "application/vnd.cncf.helm.config.v1+json";
      registry.addManifest("app:1", { ...document, config: { ...config, mediaType } });
    },
    ends:
      /artifact of type "application\/vnd\.cncf\.helm\.config\.v1\+json", not a container image/,
  },
  "has an index in an index in an index": {
    lie: (registry) => {
      let inner = image(registry);
      for (let depth = 0; depth < 4; depth++) {
        const { digest, size, mediaType } = inner;
        const manifests = [{ digest, size, mediaType, platform }];
        const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
        inner = { ...inner, ...registry.addManifest("app:1", index) };
      }
    },
    ends: /its index has no end/,
  },
};
for (const [name, { lie, ends }] of Object.entries(lies)) {
  Deno.test(`a pull fails where the registry ${name}`, async () => {
    await using registry = new TestRegistry();
    lie(registry);
    assertMatch(await failure(registry), ends);
  });
}
