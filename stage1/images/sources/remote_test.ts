import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { KurmaError } from "../../../ffi/errors.ts";
import { parsePlatform } from "./platform.ts";
import { type AppcReference, type HttpReference, parseReference } from "./reference.ts";
import { openRemote, type Remote } from "./remote.ts";
import { encode, impatient, TestRegistry } from "./testing.ts";

const platform = parsePlatform("linux/amd64");

/** Runs `body` with a configuration folder that knows the registry, and this policy. */
async function configured(
  registry: TestRegistry,
  policy: string | undefined,
  body: (remote: Remote, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const hosts = `hosts: { "${registry.host}": { plainHttp: true } }`;
    await Deno.writeTextFile(`${folder}/hosts.yaml`, hosts, { mode: 0o600 });
    if (policy) await Deno.writeTextFile(`${folder}/policy.yaml`, policy, { mode: 0o600 });
    using remote = await openRemote(folder, { env: {}, timing: impatient });
    await body(remote, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("without a policy an image resolves, and says that everything does", async () => {
  await using registry = new TestRegistry();
  registry.addImage("app:1", encode("layer"));
  await configured(registry, undefined, async (remote) => {
    const { image, decision } = await remote.resolve(registry.reference(), { platform });
    assertEquals(image.layers.length, 1);
    assertEquals(decision, { verdict: "accept", rule: "default", reason: '"default" accepts it' });
  });
});

Deno.test("a daemon without a home finds its passwords in the configuration folder", async () => {
  await using registry = new TestRegistry();
  registry.addImage("app:1", encode("layer"));
  const accepted = `Basic ${btoa("alice:s3cret")}`;
  registry.intercept = (request) =>
    request.headers.get("authorization") === accepted
      ? undefined
      : new Response(null, { status: 401, headers: { "www-authenticate": "Basic" } });
  await configured(registry, undefined, async (remote, folder) => {
    const auths = { [registry.host]: { auth: btoa("alice:s3cret") } };
    await Deno.writeTextFile(`${folder}/auth.json`, JSON.stringify({ auths }));
    await remote.resolve(registry.reference(), { platform });
  });
});

Deno.test("a name that the policy rejects is not even looked up", async () => {
  await using registry = new TestRegistry();
  await configured(registry, "default: reject", async (remote) => {
    const appc = parseReference("appc://example.com/app") as AppcReference;
    for (const work of [remote.resolve(registry.reference()), remote.locate(appc)]) {
      const error = await rejection(work);
      assert(error instanceof KurmaError && error.code === "denied");
      assertMatch(error.message, /"default" rejects it/);
    }
    assertEquals(registry.log, []);
  });
});

Deno.test("an image without the signature it needs gives no layer", async () => {
  await using registry = new TestRegistry();
  const { layer } = registry.addImage("app:1", encode("layer"));
  await configured(registry, "default: signed-by", async (remote) => {
    const error = await rejection(remote.resolve(registry.reference(), { platform }));
    assertMatch(error.message, /Cannot use ".*app:1": no key is trusted for it/);
    assert(!registry.log.some((line) => line.includes(layer.digest)));
  });
});

Deno.test("a download's signature lies beside it, if there is one", async () => {
  await using server = new TestRegistry();
  await configured(server, undefined, async (remote) => {
    const reference = parseReference(`http://${server.host}/a.aci?x=1`) as HttpReference;
    const [place] = await remote.locate(reference);
    assertEquals(place.signatureUrl, `http://${server.host}/a.aci.asc?x=1`);
    assertEquals(await remote.fetchSignature(place), undefined);
    server.intercept = (_, path) => path === "/a.aci.asc" ? new Response("signature") : undefined;
    assertEquals(await remote.fetchSignature(place), new TextEncoder().encode("signature"));
    server.intercept = () => new Response(null, { status: 403 });
    assertMatch((await rejection(remote.fetchSignature(place))).message, /answered 403/);
  });
});
