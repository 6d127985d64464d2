/** Our registry client beside skopeo, with Debian's docker-registry between them. */

import { KurmaError } from "../../ffi/errors.ts";
import { copyBlob } from "../../stage1/images/sources/blob.ts";
import { credentialsFrom } from "../../stage1/images/sources/credentials.ts";
import { type Digest, digestOf } from "../../stage1/images/sources/digest.ts";
import type { Descriptor } from "../../stage1/images/sources/documents.ts";
import { type HostConfig, Hosts } from "../../stage1/images/sources/hosts.ts";
import { type Outcome, push } from "../../stage1/images/sources/push.ts";
import { parseReference, type RegistryReference } from "../../stage1/images/sources/reference.ts";
import { RegistryClient, type RemoteImage } from "../../stage1/images/sources/registry.ts";
import { MemorySink, TestRegistry } from "../../stage1/images/sources/testing.ts";
import { fetchSignatures } from "../../stage1/images/trust/cosign.ts";
import { decideRegistryImage } from "../../stage1/images/trust/decide.ts";
import { verifyOpenpgp } from "../../stage1/images/trust/openpgp.ts";
import { parsePolicy } from "../../stage1/images/trust/policy.ts";
import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { mustRun, run, test } from "../harness.ts";
import { makeCertificates, withRegistry } from "./registry.ts";

const timing = { attempts: 2, backoffMs: 10, headMs: 5000 };

function hostsOf(host: string, settings: Partial<HostConfig>): Hosts {
  return new Hosts([[host, { mirrors: [], plainHttp: false, tokenHosts: [], ...settings }]]);
}

const reference = (text: string) => parseReference(`docker://${text}`) as RegistryReference;

/** An OCI layout of two layers, one of them larger than a part of an upload; as `PATH:TAG`. */
async function makeImage(dir: string): Promise<string> {
  const layout = `${dir}/layout`;
  await Deno.mkdir(`${dir}/files`);
  const noise = new Uint8Array(65_536);
  const file = await Deno.open(`${dir}/files/large`, { write: true, create: true });
  for (let block = 0; block < 320; block++) await file.write(crypto.getRandomValues(noise)); // 20 MiB
  file.close();
  await mustRun(["umoci", "init", "--layout", layout]);
  await mustRun(["umoci", "new", "--image", `${layout}:1`]);
  await mustRun(["umoci", "insert", "--image", `${layout}:1`, `${dir}/files`, "/files"]);
  await mustRun(["umoci", "insert", "--image", `${layout}:1`, "/etc/passwd", "/etc/passwd"]);
  return `${layout}:1`;
}

/** Pulls with our client: the image and its blobs by digest. */
async function pull(client: RegistryClient, from: RegistryReference) {
  const image = await client.resolve(from);
  const blobs = new Map<Digest, Uint8Array>([[image.manifest.parsed.config.digest, image.config]]);
  for (const layer of image.layers) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of image.openBlob(layer)) chunks.push(chunk);
    const bytes = new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
    assertEquals(digestOf(bytes), layer.digest);
    blobs.set(layer.digest, bytes);
  }
  return { image, blobs };
}

/** Puts `payload` and `signature` of `dir` where cosign puts them. */
async function pushSignature(client: RegistryClient, at: RegistryReference, dir: string) {
  const payload = await Deno.readFile(`${dir}/payload`);
  const signature = (await Deno.readFile(`${dir}/signature`)).toBase64();
  const config = new TextEncoder().encode("{}");
  const describe = (mediaType: string, bytes: Uint8Array) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const blobs = [
    describe("application/vnd.oci.image.config.v1+json", config),
    describe("application/vnd.dev.cosign.simplesigning.v1+json", payload),
  ];
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const annotations = { "dev.cosignproject.cosign/signature": signature };
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: blobs[0],
    layers: [{ ...blobs[1], annotations }],
  };
  await push(client, at, {
    documents: [{ bytes: new TextEncoder().encode(JSON.stringify(manifest)), mediaType }],
    blobs,
    open: ({ digest }) => ReadableStream.from([digest === blobs[0].digest ? config : payload]),
  });
}

/** What our client pulled, as something that it can push. */
function local({ image, blobs }: { image: RemoteImage; blobs: Map<Digest, Uint8Array> }) {
  const { manifest } = image;
  return {
    documents: [manifest],
    blobs: [manifest.parsed.config, ...manifest.parsed.layers],
    open: ({ digest }: Descriptor) => ReadableStream.from([blobs.get(digest) ?? new Uint8Array()]),
  };
}

test("what skopeo pushes we pull, what we push skopeo reads, digests equal", async ({ dir }) => {
  const source = await makeImage(dir);
  await withRegistry(dir, { port: 5000 }, async (host) => {
    const skopeo = (...args: string[]) => mustRun(["skopeo", ...args]);
    await skopeo("copy", "--dest-tls-verify=false", `oci:${source}`, `docker://${host}/team/app:1`);
    const theirs = await skopeo(
      "inspect",
      "--raw",
      "--tls-verify=false",
      `docker://${host}/team/app:1`,
    );

    using client = new RegistryClient({ hosts: hostsOf(host, { plainHttp: true }), timing });
    const pulled = await pull(client, reference(`${host}/team/app:1`));
    assertEquals(new TextDecoder().decode(pulled.image.manifest.bytes), theirs);
    assertEquals(pulled.image.layers.length, 2);

    // To a repository beside it, from which all can be mounted; then to one without.
    const outcomes: Outcome[] = [];
    const onBlob = (_: Descriptor, how: Outcome) => void outcomes.push(how);
    const digest = await push(client, reference(`${host}/mounted:1`), local(pulled), {
      mountFrom: ["team/app"],
      onBlob,
    });
    await push(client, reference(`${host}/uploaded/by/us:2`), local(pulled), { onBlob });
    await push(client, reference(`${host}/uploaded/by/us:3`), local(pulled), { onBlob });
    assertEquals(outcomes, [
      ...["mounted", "mounted", "mounted"],
      ...["uploaded", "uploaded", "uploaded"],
      ...["present", "present", "present"],
    ]);
    for (const name of ["mounted:1", "uploaded/by/us:2", "uploaded/by/us:3"]) {
      const seen = await skopeo("inspect", "--tls-verify=false", `docker://${host}/${name}`);
      assertEquals(JSON.parse(seen).Digest, digest);
    }
    const out = `docker://${host}/uploaded/by/us:2`;
    await skopeo("copy", "--src-tls-verify=false", out, `dir:${dir}/out`); // It verifies all digests.
    for (const { digest, size } of pulled.image.layers) {
      assertEquals((await Deno.stat(`${dir}/out/${digest.slice(7)}`)).size, size);
    }
  });
});

test("an index that skopeo pushed gives this machine's image", async ({ dir }) => {
  const source = await makeImage(dir);
  await withRegistry(dir, { port: 5000 }, async (host) => {
    const skopeo = (...args: string[]) => mustRun(["skopeo", ...args]);
    const other = `${source.slice(0, -2)}:other`;
    await mustRun(["umoci", "tag", "--image", source, "other"]);
    await mustRun(["umoci", "config", "--image", other, "--architecture", "s390x"]);
    await skopeo("copy", "--dest-tls-verify=false", `oci:${source}`, `docker://${host}/app:amd64`);
    await skopeo("copy", "--dest-tls-verify=false", `oci:${other}`, `docker://${host}/app:s390x`);

    using client = new RegistryClient({ hosts: hostsOf(host, { plainHttp: true }), timing });
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const manifests = await Promise.all(["s390x", "amd64"].map(async (architecture) => {
      const { digest, bytes, parsed } = await client.fetchDocument(
        reference(`${host}/app`),
        architecture,
      );
      const platform = { os: "linux", architecture };
      return { mediaType: parsed.mediaType, digest, size: bytes.length, platform };
    }));
    const index = new TextEncoder().encode(
      JSON.stringify({ schemaVersion: 2, mediaType, manifests }),
    );
    const documents = [{ bytes: index, mediaType }];
    await push(client, reference(`${host}/app:all`), {
      documents,
      blobs: [],
      open: () => [] as never,
    });

    const ours = await client.resolve(reference(`${host}/app:all`));
    assertEquals(ours.manifest.digest, manifests[1].digest);
    const theirs = await skopeo("inspect", "--tls-verify=false", `docker://${host}/app:all`);
    assertEquals(JSON.parse(theirs).Layers, ours.layers.map(({ digest }) => digest));
  });
});

test("an image in Docker's own format is read as well", async ({ dir }) => {
  const source = await makeImage(dir);
  await withRegistry(dir, { port: 5000 }, async (host) => {
    const to = ["--dest-tls-verify=false", "--format", "v2s2"];
    await mustRun(["skopeo", "copy", ...to, `oci:${source}`, `docker://${host}/app:1`]);
    using client = new RegistryClient({ hosts: hostsOf(host, { plainHttp: true }), timing });
    const { image } = await pull(client, reference(`${host}/app:1`));
    const docker = "application/vnd.docker.distribution.manifest.v2+json";
    assertEquals([image.manifest.mediaType, image.layers.length], [docker, 2]);
  });
});

test("a pull goes on across a restart of the registry", async ({ dir }) => {
  const source = await makeImage(dir);
  const sink = new MemorySink();
  const client = () =>
    new RegistryClient({ hosts: hostsOf("127.0.0.1:5000", { plainHttp: true }), timing });
  await withRegistry(dir, { port: 5000 }, async (host) => {
    await mustRun([
      "skopeo",
      "copy",
      "--dest-tls-verify=false",
      `oci:${source}`,
      `docker://${host}/app:1`,
    ]);
    using ours = client();
    const image = await ours.resolve(reference(`${host}/app:1`));
    for await (const chunk of image.openBlob(image.layers[0])) {
      await sink.write(chunk);
      if (sink.offset > 1_000_000) break;
    }
  });
  await Deno.rename(`${dir}/registry-5000`, `${dir}/before`);
  await Deno.mkdir(`${dir}/again`);
  await withRegistry(`${dir}/again`, { port: 5000 }, async (host) => {
    await mustRun(["cp", "-r", `${dir}/before/data`, `${dir}/again/registry-5000/data`]);
    using ours = client();
    const image = await ours.resolve(reference(`${host}/app:1`));
    const [layer] = image.layers;
    const held = sink.offset;
    assert(held > 1_000_000 && held < layer.size);
    await copyBlob((options) => image.openBlob(layer, options), layer, sink);
    assertEquals([sink.offset, sink.cleared], [layer.size, 0]);
  });
});

test("TLS: a private authority has to be named; wrong certificates are refused", async ({ dir }) => {
  const source = await makeImage(dir);
  const { ca, good, expired, other } = await makeCertificates(dir);
  const resolve = async (host: string, settings: Partial<HostConfig>) => {
    using client = new RegistryClient({ hosts: hostsOf(host, settings), timing });
    return await client.resolve(reference(`${host}/app:1`));
  };
  await withRegistry(dir, { port: 5001, tls: good }, async (host) => {
    const target = ["--dest-cert-dir", `${dir}/certs`, `docker://${host}/app:1`];
    await Deno.mkdir(`${dir}/certs`);
    await Deno.copyFile(ca, `${dir}/certs/ca.crt`);
    await mustRun(["skopeo", "copy", `oci:${source}`, ...target]);
    assertEquals((await resolve(host, { ca })).layers.length, 2);

    const stranger = await rejection(resolve(host, {}));
    assert(stranger instanceof KurmaError);
    assertMatch(stranger.message, /127\.0\.0\.1:5001: .*certificate/);
    assertMatch(stranger.fix ?? "", /Set "ca" of "127\.0\.0\.1:5001" in hosts\.yaml/);
    assertMatch((await rejection(resolve(host, { plainHttp: true }))).message, /answered 400/);
  });
  for (const tls of [expired, other]) {
    const port = tls === expired ? 5002 : 5003;
    await withRegistry(dir, { port, tls }, async (host) => {
      assertMatch((await rejection(resolve(host, { ca }))).message, /certificate/);
    });
  }
  await withRegistry(dir, { port: 5004 }, async (host) => {
    const error = await rejection(resolve(host, {}));
    assert(error instanceof KurmaError);
    assertMatch(error.fix ?? "", /set "plainHttp" of "127\.0\.0\.1:5004" in hosts\.yaml/);
  });
});

test("TLS: a registry that wants to know its clients is shown our certificate", async ({ dir }) => {
  const source = await makeImage(dir);
  const { ca, good, other } = await makeCertificates(dir);
  await withRegistry(dir, { port: 5001, tls: { ...good, clientcas: [ca] } }, async (host) => {
    const certs = `${dir}/certs`;
    await Deno.mkdir(certs);
    await Deno.copyFile(ca, `${certs}/ca.crt`);
    await Deno.copyFile(other.certificate, `${certs}/client.cert`);
    await Deno.copyFile(other.key, `${certs}/client.key`);
    await mustRun([
      "skopeo",
      "copy",
      "--dest-cert-dir",
      certs,
      `oci:${source}`,
      `docker://${host}/app:1`,
    ]);

    using stranger = new RegistryClient({ hosts: hostsOf(host, { ca }), timing });
    const error = await rejection(stranger.resolve(reference(`${host}/app:1`)));
    assert(error instanceof KurmaError && error.code === "unavailable", error.stack);
    using client = new RegistryClient({ hosts: hostsOf(host, { ca, ...other }), timing });
    assertEquals((await client.resolve(reference(`${host}/app:1`))).layers.length, 2);
  });
});

test("TLS is not left by a redirect, also to a host that may be asked without", async ({ dir }) => {
  const { ca, good } = await makeCertificates(dir);
  const read = (path: string) => Deno.readTextFileSync(path);
  await using plain = new TestRegistry();
  await using secure = new TestRegistry({ cert: read(good.certificate), key: read(good.key) });
  secure.intercept = (_, path) =>
    new Response(null, { status: 307, headers: { location: `http://${plain.host}${path}` } });
  const hosts = new Hosts([
    [secure.host, { mirrors: [], plainHttp: false, tokenHosts: [], ca }],
    [plain.host, { mirrors: [], plainHttp: true, tokenHosts: [] }],
  ]);
  using client = new RegistryClient({ hosts, timing });
  const error = await rejection(client.resolve(reference(`${secure.host}/app:1`)));
  assertMatch(error.message, /redirects from https to "http:"$/);
  assertEquals(plain.log, []);
});

test("a login by skopeo lets us in; without it, or with another password, we stay out", async ({ dir }) => {
  const source = await makeImage(dir);
  const { ca, good } = await makeCertificates(dir);
  await withRegistry(dir, { port: 5001, tls: good, login: "alice:s3cret" }, async (host) => {
    await Deno.mkdir(`${dir}/certs`);
    await Deno.copyFile(ca, `${dir}/certs/ca.crt`);
    const authfile = `${dir}/auth.json`;
    await mustRun([
      ...["skopeo", "login", "--authfile", authfile, "--cert-dir", `${dir}/certs`],
      ...["--username", "alice", "--password", "s3cret", host],
    ]);
    await mustRun([
      ...["skopeo", "copy", "--authfile", authfile, "--dest-cert-dir", `${dir}/certs`],
      ...[`oci:${source}`, `docker://${host}/app:1`],
    ]);
    const resolve = async (file: string) => {
      using client = new RegistryClient({
        hosts: hostsOf(host, { ca }),
        credentials: credentialsFrom([file]),
        timing,
      });
      const pulled = await pull(client, reference(`${host}/app:1`));
      return await push(client, reference(`${host}/copy:1`), local(pulled));
    };
    const digest = await resolve(authfile);
    const seen = await mustRun([
      ...["skopeo", "inspect", "--authfile", authfile, "--cert-dir", `${dir}/certs`],
      `docker://${host}/copy:1`,
    ]);
    assertEquals(JSON.parse(seen).Digest, digest);

    const wrong = { auths: { [host]: { auth: btoa("alice:guess") } } };
    await Deno.writeTextFile(`${dir}/wrong.json`, JSON.stringify(wrong));
    for (const file of [`${dir}/wrong.json`, `${dir}/absent.json`]) {
      const error = await rejection(resolve(file));
      assert(error instanceof KurmaError && error.code === "denied", error.stack);
    }
  });
});

test("an image signed with openssl is accepted, a copy under another name is not", async ({ dir }) => {
  const source = await makeImage(dir);
  const openssl = (...args: string[]) => mustRun(["openssl", ...args], { cwd: dir });
  await withRegistry(dir, { port: 5000 }, async (host) => {
    await mustRun([
      "skopeo",
      "copy",
      "--dest-tls-verify=false",
      `oci:${source}`,
      `docker://${host}/app:1`,
    ]);
    using client = new RegistryClient({ hosts: hostsOf(host, { plainHttp: true }), timing });
    const { digest } = await client.resolve(reference(`${host}/app:1`));

    const critical = {
      identity: { "docker-reference": `${host}/app` },
      image: { "docker-manifest-digest": digest },
      type: "cosign container image signature",
    };
    await Deno.writeTextFile(`${dir}/payload`, JSON.stringify({ critical, optional: null }));
    await openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ops.key");
    await openssl("ec", "-in", "ops.key", "-pubout", "-out", "ops.pub");
    await Deno.chmod(`${dir}/ops.pub`, 0o600);
    await openssl("dgst", "-sha256", "-sign", "ops.key", "-out", "signature", "payload");
    await pushSignature(client, reference(`${host}/app:${digest.replace(":", "-")}.sig`), dir);

    const policy = await parsePolicy(
      `{ default: reject, rules: { "${host}": { signed-by: [ops.pub] } } }`,
      `${dir}/policy.yaml`,
    );
    const decide = async (name: string) => {
      const at = reference(`${host}/${name}:1`);
      const image = await client.resolve(at);
      return await decideRegistryImage({ policy, folder: dir }, {
        name: `${host}/${name}`,
        digests: [image.digest],
        signatures: (digest) => fetchSignatures(client, at, digest),
      });
    };
    const good = await decide("app");
    assertEquals([good.verdict, good.rule], ["accept", host]);
    assertMatch(good.signer ?? "", /^ops\.pub \(sha256:/);

    const tags = JSON.parse(
      await mustRun(["skopeo", "list-tags", "--tls-verify=false", `docker://${host}/app`]),
    ).Tags as string[];
    for (const tag of tags) {
      const { bytes, mediaType, parsed } = await client.fetchDocument(
        reference(`${host}/app`),
        tag,
      );
      assert(parsed.kind === "manifest");
      await push(client, reference(`${host}/copy:${tag}`), {
        documents: [{ bytes, mediaType }],
        blobs: [parsed.config, ...parsed.layers],
        open: (blob) => client.openBlob(reference(`${host}/app`), blob),
      });
    }
    const copy = await decide("copy");
    assertEquals(copy.verdict, "reject");
    assertMatch(copy.reason, /it was signed as ".*\/app", not as ".*\/copy"/);
  });
});

test("what gpg signs we verify", async ({ dir }) => {
  const file = `${dir}/app.aci`;
  await Deno.writeFile(file, crypto.getRandomValues(new Uint8Array(60_000)));
  const open = async () => (await Deno.open(file)).readable;
  for (const algorithm of ["rsa3072", "ed25519"]) {
    const home = `${dir}/${algorithm}`;
    await Deno.mkdir(home, { mode: 0o700 });
    const gpg = (...args: string[]) => mustRun(["gpg", "--batch", "--homedir", home, ...args]);
    try {
      const user = `${algorithm} <${algorithm}@example.com>`;
      await gpg("--passphrase", "", "--quick-gen-key", user, algorithm, "sign", "never");
      const key = {
        path: "/k.asc",
        bytes: new TextEncoder().encode(await gpg("--armor", "--export")),
      };
      for (const [form, ...options] of [["asc", "--armor"], ["sig"]]) {
        const out = `${home}/${form}`;
        await gpg(...options, "--output", out, "--detach-sign", file);
        const found = await verifyOpenpgp(open, await Deno.readFile(out), [key]);
        assert("signer" in found, JSON.stringify(found));
        assert(found.signer.startsWith(user));
      }
    } finally {
      await run(["gpgconf", "--homedir", home, "--kill", "all"]);
    }
  }
});
