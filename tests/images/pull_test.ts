/** `kurma image pull` and `push`, and `kurma run` of a name that is not in the store yet. */

import { type Digest, digestOf } from "../../stage1/images/sources/digest.ts";
import { Hosts } from "../../stage1/images/sources/hosts.ts";
import { push } from "../../stage1/images/sources/push.ts";
import { parseReference, type RegistryReference } from "../../stage1/images/sources/reference.ts";
import { RegistryClient } from "../../stage1/images/sources/registry.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { mustRun, type RunOptions, test } from "../harness.ts";
import { escapes, images } from "../images_fixture.ts";
import { tar } from "../tar_fixture.ts";
import { printed, pullTest } from "./pulling.ts";
import { makeCertificates } from "./registry.ts";

async function inspect(reference: string): Promise<{ Digest: string }> {
  return JSON.parse(
    await mustRun(["skopeo", "inspect", "--tls-verify=false", `docker://${reference}`]),
  );
}

pullTest("kurma run pulls what is not in the store, once", async ({ host, kurma, config }) => {
  const first = await kurma(["run", `${host}/busybox`, "/bin/echo", "hi"]);
  assertEquals([first.status, first.stdout], [0, "hi\n"]);
  assertMatch(first.stderr, /^(sha256:[0-9a-f]{12} {2}unpacked {2}\S+ \S+\n){2}$/);
  await Deno.remove(`${config}/hosts.yaml`); // From here on the registry cannot be asked.
  const again = await kurma(["run", `${host}/busybox:latest`, "/bin/echo", "again"]);
  assertEquals(again, { status: 0, stdout: "again\n", stderr: "" });
});

pullTest("show tells where an image came from and why it was accepted", async ({ host, kurma }) => {
  const id = printed(await kurma(["image", "pull", `${host}/busybox`]));
  const { Digest } = await inspect(`${host}/busybox`);
  const shown = JSON.parse((await kurma(["image", "show", `${host}/busybox`])).stdout);
  assertEquals([shown.id, shown.names], [id, [`${host}/busybox:latest`]]);
  assertEquals(shown.pulled, {
    from: `${host}/busybox:latest`,
    digest: Digest,
    trust: { verdict: "accept", rule: "default", reason: '"default" accepts it' },
  });
  const again = await kurma(["image", "pull", `${host}/busybox`]);
  assertEquals(printed(again), id);
  assertMatch(again.stderr, /^(\S+ {2}there already {2}.*\n){2}$/);
  assertEquals(printed(await kurma(["image", "pull", `${host}/busybox@${Digest}`])), id);
  assertEquals((await kurma(["run", `${host}/busybox@${Digest}`, "/bin/true"])).status, 0);
  assertEquals((await kurma(["image", "verify"])).status, 0);
});

pullTest("an image is found by the digest of its index, and of its manifest", async (place) => {
  const { host, kurma, config, dir } = place;
  const { Digest } = await inspect(`${host}/busybox`);
  const raw = await mustRun([
    "skopeo",
    "inspect",
    "--raw",
    "--tls-verify=false",
    `docker://${host}/busybox`,
  ]);
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const child = {
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: Digest,
    size: raw.length,
  };
  const manifests = [{ ...child, platform: { os: "linux", architecture: "amd64" } }];
  const pushed = await fetch(`http://${host}/v2/busybox/manifests/multi`, {
    method: "PUT",
    headers: { "content-type": mediaType },
    body: JSON.stringify({ schemaVersion: 2, mediaType, manifests }),
  });
  await pushed.body?.cancel();
  const index = pushed.headers.get("docker-content-digest");
  assert(pushed.status === 201 && index !== Digest, `${pushed.status}`);

  const id = printed(await kurma(["image", "pull", `${host}/busybox:multi`]));
  await Deno.remove(`${config}/hosts.yaml`); // From here on the registry cannot be asked.
  for (const name of [`busybox@${index}`, `busybox:multi@${index}`, `busybox@${Digest}`]) {
    const ran = await kurma(["run", `${host}/${name}`, "/bin/echo", "hi"]);
    assertEquals([ran.status, ran.stdout], [0, "hi\n"], ran.stderr);
  }
  for (const name of [`other@${index}`, `busybox:1@${index}`, `busybox@${id}`]) {
    assertEquals((await kurma(["image", "show", `${host}/${name}`])).status, 3, name);
  }
  await kurma(["image", "export", id, `${dir}/out`, "--tag", "t"]);
  const exported = JSON.parse(await mustRun(["skopeo", "inspect", `oci:${dir}/out:t`]));
  assertEquals(exported.Digest, Digest);
});

pullTest("what is pushed has the digest that was pulled, says skopeo", async ({ host, kurma }) => {
  await kurma(["image", "pull", `${host}/busybox`]);
  const { Digest } = await inspect(`${host}/busybox`);
  const pushed = await kurma(["image", "push", `${host}/busybox`, `${host}/team/copy:1`]);
  assertEquals(printed(pushed), Digest);
  assertEquals((await inspect(`${host}/team/copy:1`)).Digest, Digest);

  // What came as an archive gets a manifest, and goes by its own name.
  const { docker, aci } = await images();
  await kurma(["image", "import", docker, "--name", `${host}/saved:2`]);
  const digest = printed(await kurma(["image", "push", `${host}/saved:2`]));
  assertEquals((await inspect(`${host}/saved:2`)).Digest, digest);

  const said = await kurma(["image", "push", `${host}/saved:2`, `${host}/saved:3`, "-o", "json"]);
  const [image, reference] = [`${host}/saved:2`, `${host}/saved:3`];
  assertEquals(JSON.parse(said.stdout), { image, reference, digest });
  const pulled = JSON.parse((await kurma(["image", "pull", reference, "-o", "json"])).stdout);
  assertEquals([pulled.layers, pulled.names], [2, [`${host}/busybox:latest`, image, reference]]);

  const id = printed(await kurma(["image", "import", aci]));
  const refused = await kurma(["image", "push", id, `${host}/aci`]);
  assertEquals(refused.status, 2);
  assertMatch(refused.stderr, /^kurma: Cannot push .*: registries take no ACIs\. \S.*\n$/);
});

pullTest("what the policy rejects is not fetched", async ({ host, kurma, config, store }) => {
  await Deno.writeTextFile(`${config}/policy.yaml`, `rules:\n  ${host}: reject\n`);
  const { status, stderr } = await kurma(["image", "pull", `${host}/busybox`]);
  assertEquals(status, 5);
  assertMatch(stderr, /^kurma: Cannot use .* rejects it\. .*policy.yaml\n$/);
  assertEquals([...Deno.readDirSync(`${store}/images/tmp`)], []);
});

pullTest("what is not there is told, with what to do", async ({ host, kurma }) => {
  const statuses: Record<string, number> = {
    [`${host}/absent`]: 3, // The registry says so.
    "localhost:5001/app": 7, // Nobody listens.
    "file:///absent.aci": 3,
    "absent.aci": 2, // It may be meant as a file.
  };
  for (const [image, status] of Object.entries(statuses)) {
    const pull = await kurma(["image", "pull", image]);
    assertEquals([pull.status, pull.stdout], [status, ""]);
    assertMatch(pull.stderr, /^kurma: Cannot .*\. \S.*\n$/);
  }
  const run = await kurma(["run", `${host}/absent`]);
  assertEquals(run.status, 125);
  assertMatch(
    run.stderr,
    /^kurma: Cannot find image "\S+" in the store, nor pull it: .*404.*\. /,
  );
});

pullTest("what its config or its layer lies about leaves nothing", async (place) => {
  const { dir, host, kurma, store } = place;
  const outside = `${dir}/outside`;
  const escape = tar(escapes["a name with .."](outside));
  const honest = tar([{ name: "file", content: "honest" }]);
  const lies = [[escape, digestOf(escape)], [honest, digestOf(new Uint8Array())]] as const;
  for (const [layer, diffId] of lies) {
    await pushByHand(`${host}/lie`, layer, diffId);
    const { status, stderr } = await kurma(["image", "pull", `${host}/lie`]);
    assertEquals(status, 2);
    assertMatch(stderr, /^kurma: Cannot .*\. \S.*\n$/m);
    assertEquals([...Deno.readDirSync(`${store}/images/tmp`)], []);
    assertEquals((await kurma(["image", "list", "-o", "json"])).stdout, "[]\n");
  }
  await assert.rejects(Deno.stat(outside), Deno.errors.NotFound);
});

/** Pushes an image of one layer, whatever its config says about it. */
async function pushByHand(reference: string, layer: Uint8Array, diffId: Digest): Promise<void> {
  const type = "application/vnd.oci.image";
  const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const rootfs = { type: "layers", diff_ids: [diffId] };
  const config = encode({ architecture: "amd64", os: "linux", rootfs });
  const [configBlob, layerBlob] = [
    { mediaType: `${type}.config.v1+json`, digest: digestOf(config), size: config.length },
    { mediaType: `${type}.layer.v1.tar`, digest: digestOf(layer), size: layer.length },
  ];
  const mediaType = `${type}.manifest.v1+json`;
  const manifest = { schemaVersion: 2, mediaType, config: configBlob, layers: [layerBlob] };
  const target = parseReference(reference) as RegistryReference;
  const settings = { mirrors: [], plainHttp: true, tokenHosts: [] };
  using client = new RegistryClient({ hosts: new Hosts([[target.registry, settings]]) });
  await push(client, target, {
    documents: [{ bytes: encode(manifest), mediaType }],
    blobs: [configBlob, layerBlob],
    open: ({ digest }) => ReadableStream.from([digest === layerBlob.digest ? layer : config]),
  });
}

test("a file from a web server is checked, named by its URL, and run", async ({ dir, kurma }) => {
  const { aci } = await images();
  const bytes = await Deno.readFile(aci);
  const sum = (await mustRun(["sha256sum", aci])).slice(0, 64);
  const options: RunOptions = {
    env: { KURMA_CONFIG: `${dir}/config`, KURMA_ROOT: `${dir}/state` },
  };
  await using _server = Deno.serve(
    { hostname: "127.0.0.1", port: 5002, onListen: () => {} },
    (request) => {
      const found = new URL(request.url).pathname === "/busybox.aci";
      return found ? new Response(bytes) : new Response(null, { status: 404 });
    },
  );
  const url = `http://127.0.0.1:5002/busybox.aci@sha256:${sum}`;
  const ran = await kurma(["run", url, "/bin/echo", "hi"], options);
  assertEquals([ran.status, ran.stdout], [0, "hi\n"]);
  const shown = JSON.parse((await kurma(["image", "show", url], options)).stdout);
  assertEquals([shown.names, shown.pulled.trust.rule], [[url], "default"]);
  const other = await kurma(["image", "pull", url.replace(/.{4}$/, "0000")], options);
  assertEquals(other.status, 2);
  assertMatch(other.stderr, /^kurma: Cannot download .*: its digest is sha256:.*\. \S.*\n$/);
  assertEquals([...Deno.readDirSync(`${dir}/state/images/tmp`)], []);
});

test("an appc name is discovered, its signature checked, and run", async ({ dir, kurma }) => {
  const { ca, good } = await makeCertificates(dir);
  const [config, home] = [`${dir}/config`, `${dir}/gpg`];
  await mustRun(["mkdir", "-p", `${config}/trust/127.0.0.1`, home]);
  await Deno.chmod(home, 0o700);
  await Deno.writeTextFile(`${config}/hosts.yaml`, `hosts:\n  127.0.0.1: { ca: ${ca} }\n`);
  await Deno.writeTextFile(`${config}/policy.yaml`, "default: signed-by\n");
  const manifest = (name: string) =>
    JSON.stringify({ acKind: "ImageManifest", acVersion: "0.8.11", name });
  const served = new Map<string, Uint8Array<ArrayBuffer>>();
  const busybox = await Deno.readFile("/bin/busybox");
  for (const [file, name] of [["app", "127.0.0.1/app"], ["liar", "example.com/app"]]) {
    await mustRun(["mkdir", "-p", `${dir}/${file}/rootfs/bin`]);
    await Deno.writeFile(`${dir}/${file}/rootfs/bin/busybox`, busybox, { mode: 0o755 });
    await Deno.writeTextFile(`${dir}/${file}/manifest`, manifest(name));
    await mustRun([
      "tar",
      "-C",
      `${dir}/${file}`,
      "-cf",
      `${dir}/${file}.aci`,
      "manifest",
      "rootfs",
    ]);
    served.set(`/${file}.aci`, await Deno.readFile(`${dir}/${file}.aci`));
  }
  const tag = '<meta name="ac-discovery" content="127.0.0.1 https://{name}.{ext}">';
  await using _server = Deno.serve(
    {
      hostname: "127.0.0.1",
      port: 443,
      cert: await Deno.readTextFile(good.certificate),
      key: await Deno.readTextFile(good.key),
      onListen: () => {},
    },
    (request) => {
      const { pathname, search } = new URL(request.url);
      if (search === "?ac-discovery=1") return new Response(tag);
      return new Response(served.get(pathname) ?? null, {
        status: served.has(pathname) ? 200 : 404,
      });
    },
  );
  const options: RunOptions = { env: { KURMA_CONFIG: config, KURMA_ROOT: `${dir}/state` } };
  const gpg = (...args: string[]) => mustRun(["gpg", "--batch", "--homedir", home, ...args]);
  try {
    await gpg("--passphrase", "", "--quick-gen-key", "Ops <ops@example.com>", "ed25519", "sign");
    const key = `${config}/trust/127.0.0.1/ops.asc`;
    await Deno.writeTextFile(key, await gpg("--armor", "--export"));
    const run = ["run", "appc://127.0.0.1/app", "/bin/busybox", "echo", "hi"];
    const unsigned = await kurma(run, options);
    assertEquals(unsigned.status, 125);
    assertMatch(unsigned.stderr, /^kurma: Cannot find .*": it has no signature\. \S.*\n$/);
    for (const file of ["app", "liar"]) {
      await gpg("--armor", "--detach-sign", `${dir}/${file}.aci`);
      served.set(`/${file}.aci.asc`, await Deno.readFile(`${dir}/${file}.aci.asc`));
    }
    assertEquals((await kurma(run, options)).stdout, "hi\n");
    const { stdout } = await kurma(["image", "show", "appc://127.0.0.1/app"], options);
    assertMatch(JSON.parse(stdout).pulled.trust.reason, /^signed by Ops <ops@example.com> \(/);
    const liar = await kurma(["image", "pull", "appc://127.0.0.1/liar"], options);
    assertMatch(liar.stderr, /^kurma: Cannot use .*: its manifest calls it "example.com\/app"\. /m);
    assertEquals([...Deno.readDirSync(`${dir}/state/images/tmp`)], []);
  } finally {
    await mustRun(["gpgconf", "--homedir", home, "--kill", "all"]);
  }
});
