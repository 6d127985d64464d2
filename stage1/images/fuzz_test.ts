/** Every parser of what registries, archives and users write, with what is almost right. */

import { gzipSync, zstdCompressSync } from "node:zlib";
import { assert, assertEquals, assertMatch } from "../../tests/assert.ts";
import { fuzz } from "../../tests/fuzz.ts";
import { parseAciManifest } from "./aci_manifest.ts";
import { type Chunk, collect, memoryContent } from "./bytes.ts";
import { inflated } from "./compression.ts";
import { parseOciConfig } from "./config.ts";
import { parseChallenges } from "./sources/challenge.ts";
import { isDigest } from "./sources/digest.ts";
import { parsePage } from "./sources/discovery.ts";
import { mediaTypes, parseDocument } from "./sources/documents.ts";
import { parseHosts } from "./sources/hosts.ts";
import { formatReference, parseReference } from "./sources/reference.ts";
import { indexTar, tarEnd, tarHeader } from "./tar.ts";
import { parsePolicy } from "./trust/policy.ts";
import { KurmaError } from "../../ffi/errors.ts";

const digest = `sha256:${"5".repeat(64)}`;

const references = [
  ...["busybox", "busybox:1.36", `busybox@${digest}`, `example.com:5000/team/app:1@${digest}`],
  ...["docker://localhost/x", "[::1]:5000/a/b", "example.com/app:1,os=linux,arch=amd64", "-"],
  ...["./app.aci", "file:///app.aci", "https://example.com/app.aci", "appc://example.com/app"],
  `https://example.com/app.aci@${digest}`,
];
const pieces = [
  ...["/", ":", "@", ",", "=", ".", "..", "://", "_", "-", "A", "é", "\0", "[", "%2f", digest],
];

fuzz("parseReference()", 50_000, (mutator) => {
  const text = mutator.text(mutator.pick(references), pieces);
  const reference = parseReference(text);
  assertEquals(parseReference(formatReference(reference)), reference, text);
  if (reference.kind !== "registry") return;
  assertMatch(reference.repository, /^[a-z0-9._/-]+$/);
  assert(!reference.repository.split("/").some((part) => part === "." || part === ".."));
  assertMatch(reference.registry, /^[a-z0-9.:[\]-]+$/);
});

const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size: 3 };
const documents = [
  {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest, size: 2, annotations: { a: "b" } },
    layers: [layer, layer],
    annotations: { "org.opencontainers.image.ref.name": "1" },
  },
  {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [{
      mediaType: mediaTypes.ociManifest,
      digest,
      size: 4,
      platform: { os: "linux", architecture: "arm", variant: "v7", "os.version": "1" },
    }],
  },
];

fuzz("parseDocument()", 20_000, (mutator) => {
  const document = parseDocument(mutator.json(mutator.pick(documents)), "it");
  const descriptors = document.kind === "index"
    ? document.manifests
    : [document.config, ...document.layers];
  for (const { digest, size } of descriptors) {
    assert(isDigest(digest) && Number.isSafeInteger(size) && size >= 0);
  }
});

const isAbsolute = (path: string) => path === "" || (path.startsWith("/") && !path.includes("\0"));

const config = {
  os: "linux",
  architecture: Deno.build.arch === "x86_64" ? "amd64" : "arm64",
  rootfs: { type: "layers", diff_ids: [digest] },
  config: {
    User: "app:log",
    Env: ["A=1", "B=2"],
    Entrypoint: ["/init"],
    Cmd: ["-v"],
    WorkingDir: "/srv",
    ExposedPorts: { "80": {}, "53/udp": {} },
    Volumes: { "/data": {} },
    Labels: { a: "b" },
    StopSignal: "SIGINT",
    Healthcheck: { Test: ["CMD", "true"], Interval: 1_000_000_000, Retries: 1 },
  },
};

fuzz("parseOciConfig()", 20_000, (mutator) => {
  const { config: read, diffIds } = parseOciConfig(mutator.json(config), "it");
  assert(diffIds.every(isDigest) && isAbsolute(read.workingDir) && read.volumes.every(isAbsolute));
  assert(read.env.every((entry) => /^[^=\0]+=[^\0]*$/s.test(entry)));
  assert([...read.entrypoint, ...read.command].every((word) => !word.includes("\0")));
});

const manifest = {
  acKind: "ImageManifest",
  acVersion: "0.8.11",
  name: "example.com/app",
  labels: [{ name: "version", value: "1.0" }, { name: "os", value: "linux" }],
  annotations: [{ name: "created", value: "2016-01-01T00:00:00Z" }],
  app: {
    exec: ["/bin/app"],
    user: "0",
    group: "0",
    supplementaryGIDs: [1, 2],
    environment: [{ name: "A", value: "1" }],
    workingDirectory: "/srv",
    mountPoints: [{ name: "data", path: "/data", readOnly: true }],
    ports: [{ name: "http", port: 80, protocol: "tcp", count: 2 }],
    isolators: [{ name: "resource/memory", value: { limit: "1G" } }],
    eventHandlers: [{ name: "pre-start", exec: ["/bin/prepare"] }],
  },
  dependencies: [{ imageName: "example.com/base", labels: [{ name: "version", value: "1" }] }],
  pathWhitelist: ["/bin/app", "/etc/"],
};

fuzz("parseAciManifest()", 20_000, (mutator) => {
  const read = parseAciManifest(mutator.json(manifest), "it");
  assertMatch(read.name, /^[a-z0-9]+([-._~/][a-z0-9]+)*$/);
  assert(read.pathWhitelist.every((path) => isAbsolute(path) && !path.split("/").includes("..")));
  assert((read.config.mountPoints ?? []).every(({ path }) => isAbsolute(path)));
});

/** A tar archive of blobs, with an extended header and a link. */
function archive(): Chunk {
  const encode = (text: string) => new TextEncoder().encode(text);
  const parts: Uint8Array[] = [];
  const add = (name: string, text: string, type?: string, link?: string) => {
    const { header, padding } = tarHeader(name, text.length);
    if (type !== undefined) header[156] = type.charCodeAt(0);
    if (link !== undefined) header.set(encode(link), 157);
    parts.push(sealed(header), encode(text), padding);
  };
  add("pax", "27 path=blobs/sha256/other\n", "x");
  add("short", "content");
  add("manifest.json", "[]");
  add("a/layer.tar", "", "2", "../layer.tar");
  add("layer.tar", "x".repeat(700));
  parts.push(tarEnd);
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The header with the checksum that it should have. */
function sealed(header: Uint8Array): Uint8Array {
  const sum = header.subarray(0, 512)
    .reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  header.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0") + "\0 "), 148);
  return header;
}

const tar = archive();
const headers = [0, 1024, 2048, 3072, 3584];

fuzz("indexTar()", 2_000, async (mutator) => {
  const bytes = mutator.bytes(tar);
  for (let change = mutator.below(4); change > 0; change--) {
    const header = bytes.subarray(mutator.pick(headers));
    if (header.length < 512) continue;
    header[mutator.below(345)] = mutator.below(256);
    sealed(header);
  }
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, bytes);
    for (const entry of (await indexTar(path, "it")).values()) {
      assert(
        "link" in entry || entry.offset + entry.size <= bytes.length,
        "it leads out of the file",
      );
    }
  } finally {
    await Deno.remove(path);
  }
});

const text = new TextEncoder().encode("a layer's bytes, and more of them ".repeat(200));
const packed = [new Uint8Array(gzipSync(text)), new Uint8Array(zstdCompressSync(text))];

fuzz("inflated()", 2_000, async (mutator) => {
  const bytes = mutator.bytes(mutator.pick(packed));
  await collect(inflated(memoryContent(bytes).chunks(), "it"), "read it", 1 << 20);
});

const page =
  `<html><!-- <meta> --><head><meta name="ac-discovery" content="example.com https://{name}-{version}.{ext}">
<script>x</script><META content='example.com/app https://x.example.com/{os}/{arch}' name='ac-discovery' /></head>`;
const markup = [
  "<",
  ">",
  '"',
  "'",
  "<!--",
  "-->",
  "<script",
  "{",
  "}",
  "..",
  "\0",
  "javascript:",
  "@",
];

fuzz("parsePage()", 20_000, (mutator) => {
  const labels = {
    version: mutator.text("1.0", ["/", "..", "{name}"]),
    os: "linux",
    arch: "amd64",
  };
  const images = parsePage(mutator.text(page, markup), "example.com/app", labels);
  for (const { aci } of images) {
    const url = new URL(aci);
    assert(/^https?:$/.test(url.protocol) && url.username === "", aci);
  }
  if (images.length === 0) throw new KurmaError("missing", "no place is left");
});

const header =
  'Bearer realm="https://auth.example.com/token",service="r",scope="a:b:pull", Basic realm=x';

fuzz("parseChallenges()", 20_000, (mutator) => {
  const challenges = parseChallenges(
    mutator.text(header, ['"', "\\", ",", "=", " ", "é", "Basic"]),
  );
  assert(challenges.every(({ scheme }) => scheme === scheme.toLowerCase()));
  if (challenges.length < 2) throw new KurmaError("invalid", "it ends the list");
});

const indents = [":", " ", "\n", "-", "{", "}", "*", "&a ", "!!js ", "'", "#", "\t", "~"];

fuzz("parsePolicy()", 5_000, async (mutator) => {
  const text = "default: reject\nrules:\n  example.com: accept\n  docker.io/library: accept\n";
  const policy = await parsePolicy(mutator.text(text, indents), "/policy.yaml");
  assert(policy.every(({ prefix }) => prefix !== ""));
});

fuzz("parseHosts()", 5_000, async (mutator) => {
  const text =
    "hosts:\n  example.com: { plainHttp: true }\n  docker.io: { mirrors: [m.example.com] }\n";
  const hosts = await parseHosts(mutator.text(text, indents), "/hosts.yaml");
  assertEquals(typeof hosts.of("example.com").plainHttp, "boolean");
});
