import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { KurmaError } from "../../../ffi/errors.ts";
import { mediaTypes, parseDocument, requireImage } from "./documents.ts";
import { digestOf } from "./digest.ts";

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const digest = digestOf(encode("x"));
const config = { mediaType: mediaTypes.ociConfig, digest, size: 2 };
const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size: 3 };
const manifest = {
  schemaVersion: 2,
  mediaType: mediaTypes.ociManifest,
  config,
  layers: [layer],
};
const index = {
  schemaVersion: 2,
  mediaType: mediaTypes.ociIndex,
  manifests: [{
    mediaType: mediaTypes.ociManifest,
    digest,
    size: 4,
    platform: { os: "linux", architecture: "arm", variant: "v7", "os.version": "1" },
  }],
};

Deno.test("parseDocument() reads a manifest", () => {
  const read = parseDocument(encode(manifest), "test", mediaTypes.ociManifest);
  assertEquals(read, {
    kind: "manifest",
    mediaType: mediaTypes.ociManifest,
    config,
    layers: [layer],
    annotations: {},
  });
  requireImage(read as never, "test");
});

Deno.test("parseDocument() reads an index", () => {
  const read = parseDocument(encode(index), "test");
  assert(read.kind === "index");
  assertEquals(read.manifests[0].platform, { os: "linux", architecture: "arm", variant: "v7" });
});

Deno.test("parseDocument() takes an OCI manifest without mediaType if its type is stated", () => {
  const { mediaType, ...bare } = manifest;
  assertEquals(parseDocument(encode(bare), "test", mediaType).mediaType, mediaType);
});

Deno.test("parseDocument() never keeps a layer's urls", () => {
  const foreign = { ...manifest, layers: [{ ...layer, urls: ["http://169.254.169.254/x"] }] };
  assert(!JSON.stringify(parseDocument(encode(foreign), "test")).includes("169.254"));
});

const { mediaType: _, ...untyped } = manifest;
const withLayer = (change: object) => ({ ...manifest, layers: [{ ...layer, ...change }] });
const refusals: [string, unknown, RegExp, string?][] = [
  ["a list", [], /not a JSON object/],
  ["schema 1", { schemaVersion: 1, fsLayers: [] }, /schema 1 manifest/],
  ["no schemaVersion", { ...manifest, schemaVersion: "2" }, /schemaVersion is not 2/],
  ["layers and manifests", { ...manifest, manifests: [] }, /a manifest and an index at once/],
  ["an index with a config", { ...index, config }, /a manifest and an index at once/],
  ["a manifest typed index", { ...manifest, mediaType: mediaTypes.ociIndex }, /is a manifest/],
  ["an index typed manifest", { ...index, mediaType: mediaTypes.ociManifest }, /is an index/],
  ["another Content-Type", manifest, /but comes as/, mediaTypes.dockerManifest],
  ["no type at all", untyped, /nothing states its media type/],
  ["Docker without mediaType", untyped, /only OCI documents may lack/, mediaTypes.dockerManifest],
  ["a media type that is no text", { ...manifest, mediaType: 5 }, /"mediaType" is not text/],
  ["no config", { ...manifest, config: undefined }, /config of test: it is not a descriptor/],
  ["no layers", { ...manifest, layers: {} }, /no list of layers/],
  ["too many layers", { ...manifest, layers: Array(1025).fill(layer) }, /more than 1024 layers/],
  ["a digest that is a path", withLayer({ digest: "sha256:../../x" }), /layer 1 of test: digest/],
  ["an upper-case digest", withLayer({ digest: digest.toUpperCase() }), /in lower case/],
  ["a sha1 digest", withLayer({ digest: `sha1:${"0".repeat(40)}` }), /is not sha256 or sha512/],
  ["a negative size", withLayer({ size: -1 }), /size "-1" is not a number of bytes/],
  ["a fractional size", withLayer({ size: 1.5 }), /is not a number of bytes/],
  ["a size as text", withLayer({ size: "3" }), /is not a number of bytes/],
  ["a size beyond 2^53", withLayer({ size: 2 ** 60 }), /is not a number of bytes/],
  ["a media type with a line break", withLayer({ mediaType: "a/b\r\nc" }), /media type/],
  ["inline data that differs", withLayer({ data: "eXh4" }), /its data is not what its digest/],
  ["inline data that is no base64", withLayer({ data: "*" }), /its data is not base64/],
  ["annotations that are no text", { ...manifest, annotations: { a: {} } }, /"a" is not text/],
];
for (const [name, document, message, stated] of refusals) {
  Deno.test(`parseDocument() refuses ${name}`, async () => {
    const error = await rejection(() => parseDocument(encode(document), "test", stated));
    assert(error instanceof KurmaError);
    assertMatch(error.message, message);
  });
}

Deno.test("parseDocument() refuses what is too large, too deep or not UTF-8", async () => {
  const raw: [Uint8Array, RegExp][] = [
    [new Uint8Array(4 * 1024 * 1024 + 1), /larger than 4194304 bytes/],
    [new TextEncoder().encode("[".repeat(100_000)), /nested deeper than 64/],
    [new TextEncoder().encode(`{"a":"${"[".repeat(100)}"`), /not JSON/],
    [new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), /not JSON/],
  ];
  for (const [bytes, message] of raw) {
    assertMatch((await rejection(() => parseDocument(bytes, "test"))).message, message);
  }
});

const artifacts: [string, object][] = [
  ["vnd.cncf.helm.config.v1+json", {
    config: { ...config, mediaType: "application/vnd.cncf.helm.config.v1+json" },
  }],
  ["vnd.example.thing", {
    artifactType: "application/vnd.example.thing",
    config: { ...config, mediaType: "application/vnd.oci.empty.v1+json" },
  }],
  ["vnd.dev.cosign.simplesigning.v1+json", {
    layers: [{ ...layer, mediaType: "application/vnd.dev.cosign.simplesigning.v1+json" }],
  }],
];
for (const [type, change] of artifacts) {
  Deno.test(`requireImage() refuses ${type} by name`, async () => {
    const read = parseDocument(encode({ ...manifest, ...change }), "test");
    assert(read.kind === "manifest");
    const error = await rejection(() => requireImage(read, "test"));
    assertMatch(
      error.message,
      new RegExp(`artifact of type "application/${type.replace("+", "\\+")}"`),
    );
  });
}
