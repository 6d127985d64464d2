import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { KurmaError } from "../../../ffi/errors.ts";
import { formatReference, parseReference } from "./reference.ts";

const hex = "0123456789abcdef".repeat(4);
const digest = `sha256:${hex}`;

const registry = (registry: string, repository: string, rest: object) => ({
  kind: "registry",
  registry,
  repository,
  ...rest,
});

const readings: Record<string, object> = {
  "-": { kind: "stdin" },
  "/images/a.aci": { kind: "file", path: "/images/a.aci" },
  "./a:b@c": { kind: "file", path: "./a:b@c" },
  "..": { kind: "file", path: ".." },
  "file:///images/a.aci": { kind: "file", path: "/images/a.aci" },
  "file://images/a.aci": { kind: "file", path: "images/a.aci" },
  "https://example.com/a.aci": { kind: "http", url: "https://example.com/a.aci" },
  "HTTP://Example.com:80/a b#part": { kind: "http", url: "http://example.com/a%20b" },
  [`https://example.com/a.aci?x=1@${digest}`]: {
    kind: "http",
    url: "https://example.com/a.aci?x=1",
    digest,
  },
  "busybox": registry("docker.io", "library/busybox", { tag: "latest" }),
  "busybox:1.36": registry("docker.io", "library/busybox", { tag: "1.36" }),
  "team/app": registry("docker.io", "team/app", { tag: "latest" }),
  "docker.io/busybox": registry("docker.io", "library/busybox", { tag: "latest" }),
  "index.docker.io/team/app": registry("docker.io", "team/app", { tag: "latest" }),
  [`busybox@${digest}`]: registry("docker.io", "library/busybox", { digest }),
  [`example.com:5000/a/b-c/d__e:V_1@${digest}`]: registry("example.com:5000", "a/b-c/d__e", {
    tag: "V_1",
    digest,
  }),
  "localhost/app": registry("localhost", "app", { tag: "latest" }),
  "[::1]:5000/app": registry("[::1]:5000", "app", { tag: "latest" }),
  "Example.COM/app": registry("example.com", "app", { tag: "latest" }),
  "docker://127.0.0.1:5000/app": registry("127.0.0.1:5000", "app", { tag: "latest" }),
  "docker://image.tar": registry("docker.io", "library/image.tar", { tag: "latest" }),
  "oci://example.com/app:1": registry("example.com", "app", { tag: "1" }),
  "example.com/app:1.0,os=linux,arch=amd64": {
    kind: "appc",
    name: "example.com/app",
    labels: { version: "1.0", os: "linux", arch: "amd64" },
  },
  "appc://example.com/app": { kind: "appc", name: "example.com/app", labels: {} },
};
for (const [text, reading] of Object.entries(readings)) {
  Deno.test(`parseReference() reads ${text}`, () => {
    const reference = parseReference(text);
    assertEquals<object>(reference, reading);
    assertEquals(parseReference(formatReference(reference)), reference);
  });
}

const refusals: Record<string, RegExp> = {
  "": /is empty; Name an image/,
  "x\0y": /control character/,
  [`a${"/a".repeat(4000)}`]: /longer than 4096/,
  [`example.com/${"a".repeat(250)}`]: /longer than 255/,
  "Busybox": /"Busybox" is not allowed; .*lower-case/,
  "a//b": /part of its name is empty/,
  "a/../b": /"\.\." is not allowed/,
  "example.com/": /part of its name is empty/,
  "a___b": /not allowed/,
  "-a": /not allowed/,
  "app:": /tag "" is not a tag/,
  "app:-x": /tag "-x" is not a tag; A tag has/,
  [`app:${"x".repeat(129)}`]: /is not a tag/,
  "app@sha256:../../x": /Cannot use digest .*not lower-case hexadecimal; Write "sha256:"/,
  [`app@${digest}@${digest}`]: /Cannot use digest/,
  "app@md5:00": /algorithm "md5"/,
  "exa_mple.com/app": /is not a host name/,
  "-x.com/app": /is not a host name/,
  "example.com:0/app": /0 is not a port/,
  "example.com:99999/app": /99999 is not a port/,
  "[::g]/app": /is not a host name/,
  "image.tar": /may be a file or an image.*; Write "\.\/image\.tar".*"docker:\/\/image\.tar"/,
  "busybox.aci": /may be a file/,
  "ftp://example.com/x": /scheme "ftp" is unknown; Use docker:\/\//,
  "file://": /no path/,
  "https://": /is not a URL/,
  "https://user:secret@example.com/x": /carries a user.*; Remove them/,
  "https://example.com/x@sha256:12": /2 digits, not 64/,
  [`https://example.com/x@${digest}@${digest}`]: /two digests/,
  "Example.com/app,os=linux": /is not an appc name/,
  "example.com/app:,os=linux": /Add a version/,
  "example.com/app,os": /"os" is not a label/,
  "example.com/app,os=a,os=b": /given twice/,
  "example.com/app:1,version=2": /given twice/,
  "example.com/app,name=x": /given twice/,
};
for (const [text, message] of Object.entries(refusals)) {
  Deno.test(`parseReference() refuses ${JSON.stringify(text.slice(0, 60))}`, async () => {
    const error = await rejection(() => parseReference(text));
    assert(error instanceof KurmaError);
    assertEquals(error.code, "invalid");
    assertMatch(`${error.message}; ${error.fix}`, message);
  });
}

Deno.test("parseReference() never shows the password it refuses", async () => {
  const error = await rejection(() => parseReference("https://me:hunter2@example.com/x"));
  assert(!error.message.includes("hunter2"));
});
