import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { digestOf } from "../sources/digest.ts";
import { mediaTypes } from "../sources/documents.ts";
import { RegistryClient } from "../sources/registry.ts";
import { encode, impatient, TestRegistry } from "../sources/testing.ts";
import { type CosignSignature, fetchSignatures, verifyCosign } from "./cosign.ts";
import { decideRegistryImage } from "./decide.ts";
import type { KeyFile } from "./files.ts";
import { parsePolicy } from "./policy.ts";

const digest = digestOf(encode("an image"));
const name = "example.com/app";

const payloadOf = (
  image = digest,
  reference: string = name,
  type = "cosign container image signature",
) =>
  encode({
    critical: {
      identity: { "docker-reference": reference },
      image: { "docker-manifest-digest": image },
      type,
    },
    optional: null,
  });

const keys = {
  "P-256": generateKeyPairSync("ec", { namedCurve: "P-256" }),
  "P-384": generateKeyPairSync("ec", { namedCurve: "P-384" }),
  "RSA": generateKeyPairSync("rsa", { modulusLength: 2048 }),
  "Ed25519": generateKeyPairSync("ed25519"),
};

function keyFile(key: KeyObject, path = "/trust/ops.pub"): KeyFile {
  return {
    path,
    bytes: new TextEncoder().encode(key.export({ type: "spki", format: "pem" }).toString()),
  };
}

function signed(
  key: KeyObject,
  payload = payloadOf(),
  hash: string | null = "sha256",
): CosignSignature {
  return { payload, signature: new Uint8Array(sign(hash, payload, key)) };
}

for (const [kind, { publicKey, privateKey }] of Object.entries(keys)) {
  Deno.test(`a signature by ${kind} counts, and is void after a change of one bit`, () => {
    const good = signed(privateKey, payloadOf(), kind === "Ed25519" ? null : "sha256");
    const found = verifyCosign([good], digest, name, [keyFile(publicKey)]);
    assert("signer" in found);
    assertMatch(found.signer, /^ops\.pub \(sha256:[0-9a-f]{64}\)$/);

    for (const part of ["payload", "signature"] as const) {
      const changed = Uint8Array.from(good[part]);
      changed[changed.length - 1] ^= 1;
      const bad = { ...good, [part]: changed };
      assertEquals(verifyCosign([bad], digest, name, [keyFile(publicKey)]), {
        complaint: "no trusted key signed it",
      });
    }
  });
}

Deno.test("P-384 may come with SHA-384", () => {
  const { publicKey, privateKey } = keys["P-384"];
  const signature = signed(privateKey, payloadOf(), "sha384");
  assert("signer" in verifyCosign([signature], digest, name, [keyFile(publicKey)]));
});

const { publicKey, privateKey } = keys["P-256"];
const complaints: [string, CosignSignature[], string][] = [
  ["there is none", [], "it has no signature"],
  ["a stranger signed", [signed(keys["P-384"].privateKey)], "no trusted key signed it"],
  [
    "it is of another image",
    [signed(privateKey, payloadOf(digestOf(encode("x"))))],
    "its signature is of another image",
  ],
  [
    "it is of another name",
    [signed(privateKey, payloadOf(digest, "example.com/other:1"))],
    'it was signed as "example.com/other:1", not as "example.com/app"',
  ],
  [
    "it is of another type",
    [signed(privateKey, payloadOf(digest, name, "atomic"))],
    'its signature is a "atomic"',
  ],
  [
    "it says nothing",
    [signed(privateKey, encode({}))],
    "its signature does not say what was signed",
  ],
  [
    "it is empty",
    [{ payload: payloadOf(), signature: new Uint8Array() }],
    "no trusted key signed it",
  ],
];
for (const [why, signatures, complaint] of complaints) {
  Deno.test(`a signature does not count where ${why}`, () => {
    assertEquals(verifyCosign(signatures, digest, name, [keyFile(publicKey)]), { complaint });
  });
}

Deno.test("one good signature among others is enough, with a tag or a digest in its name", () => {
  for (const reference of [`${name}:1.0`, `${name}@${digest}`]) {
    const list = [
      signed(keys["P-384"].privateKey),
      signed(privateKey, payloadOf(digest, reference)),
    ];
    assert("signer" in verifyCosign(list, digest, name, [keyFile(publicKey)]));
  }
  const hub = signed(privateKey, payloadOf(digest, "index.docker.io/library/busybox"));
  assert(
    "signer" in verifyCosign([hub], digest, "docker.io/library/busybox", [keyFile(publicKey)]),
  );
});

Deno.test("keys that are none, or too weak, are named", async () => {
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
  for (const key of [{ path: "/x.pub", bytes: encode("x") }, keyFile(weak, "/x.pub")]) {
    const error = await rejection(() => verifyCosign([], digest, name, [key]));
    assertMatch(error.message, /Cannot use "\/x\.pub": it(s kind of key)? is no/);
  }
});

Deno.test("an image is accepted by the signature beside it, and rejected without", async () => {
  await using registry = new TestRegistry();
  using client = new RegistryClient({ hosts: registry.hosts(), timing: impatient });
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/ops.pub`,
      new TextDecoder().decode(keyFile(publicKey).bytes),
      {
        mode: 0o600,
      },
    );
    const image = registry.addImage("app:1", encode("layer"));
    const reference = registry.reference();
    const trust = {
      policy: await parsePolicy(
        `rules: { "${registry.host}": signed-by }`,
        `${folder}/policy.yaml`,
      ),
      folder,
    };
    const decide = () =>
      decideRegistryImage(trust, {
        name: `${registry.host}/app`,
        digests: [image.digest],
        signatures: (digest) => fetchSignatures(client, reference, digest),
      });
    assertEquals(await decide(), {
      verdict: "reject",
      rule: registry.host,
      reason: "it has no signature",
    });

    const { payload, signature } = signed(
      privateKey,
      payloadOf(image.digest, `${registry.host}/app`),
    );
    const blob = registry.addBlob(
      Uint8Array.from(payload),
      "application/vnd.dev.cosign.simplesigning.v1+json",
    );
    registry.addManifest(`app:${image.digest.replace(":", "-")}.sig`, {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: registry.addBlob(encode({}), mediaTypes.ociConfig),
      layers: [
        { ...blob, annotations: { "dev.cosignproject.cosign/signature": "???" } },
        { ...blob, annotations: { "dev.cosignproject.cosign/signature": signature.toBase64() } },
      ],
    });
    const { verdict, signer } = await decide();
    assertEquals(verdict, "accept");
    assertMatch(signer ?? "", /^ops\.pub/);

    await Deno.remove(`${folder}/ops.pub`);
    assertEquals((await decide()).reason, "no key is trusted for it");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
