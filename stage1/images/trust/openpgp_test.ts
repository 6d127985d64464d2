import * as openpgp from "openpgp";
import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { decideAci } from "./decide.ts";
import type { KeyFile } from "./files.ts";
import { verifyOpenpgp } from "./openpgp.ts";
import { parsePolicy } from "./policy.ts";

const file = new Uint8Array(200_000).map((_, at) => at % 251);
const changed = Uint8Array.from(file, (byte, at) => at === 100_000 ? byte ^ 1 : byte);
const streamed = (bytes: Uint8Array) => () =>
  Promise.resolve(ReadableStream.from([bytes.subarray(0, 70_000), bytes.subarray(70_000)]));

async function makeKey(name: string) {
  const { privateKey, publicKey } = await openpgp.generateKey({
    userIDs: [{ name, email: `${name}@example.com` }],
    format: "object",
  });
  return { privateKey, publicKey };
}

const alice = await makeKey("alice");
const bob = await makeKey("bob");

function keyFile({ publicKey }: { publicKey: openpgp.PublicKey }, armored = true): KeyFile {
  const bytes = armored ? new TextEncoder().encode(publicKey.armor()) : publicKey.write();
  return { path: "/trust/key.asc", bytes: bytes as Uint8Array };
}

async function signature(...keys: openpgp.PrivateKey[]): Promise<string> {
  const message = await openpgp.createMessage({ binary: file });
  return await openpgp.sign({ message, signingKeys: keys, detached: true });
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

Deno.test("a signature by a trusted key counts, armored or not, and names its signer", async () => {
  const armored = await signature(alice.privateKey);
  const binary = await openpgp.sign({
    message: await openpgp.createMessage({ binary: file }),
    signingKeys: alice.privateKey,
    detached: true,
    format: "binary",
  });
  const signer = `alice <alice@example.com> (${alice.publicKey.getFingerprint().toUpperCase()})`;
  for (const given of [bytesOf(armored), binary as Uint8Array]) {
    for (const key of [keyFile(alice), keyFile(alice, false)]) {
      assertEquals(await verifyOpenpgp(streamed(file), given, [keyFile(bob), key]), { signer });
    }
  }
});

Deno.test("one of several signatures is enough", async () => {
  const both = bytesOf(await signature(bob.privateKey, alice.privateKey));
  assert("signer" in await verifyOpenpgp(streamed(file), both, [keyFile(alice)]));
});

Deno.test("a signature does not count where anything is wrong with it", async () => {
  const good = bytesOf(await signature(alice.privateKey));
  const cases: [Uint8Array, Uint8Array, KeyFile, RegExp][] = [
    [
      changed,
      good,
      keyFile(alice),
      /^the signature by [0-9A-F]{40} is not good: Signed digest did not match$/,
    ],
    [file.subarray(1), good, keyFile(alice), /is not good/],
    [file, good, keyFile(bob), /^no trusted key signed it$/],
    [file, bytesOf("hello"), keyFile(alice), /^its signature is not OpenPGP$/],
    [file, new Uint8Array(70_000), keyFile(alice), /^its signature is too large$/],
  ];
  for (const [bytes, given, key, complaint] of cases) {
    const found = await verifyOpenpgp(streamed(bytes), given, [key]);
    assert("complaint" in found);
    assertMatch(found.complaint, complaint);
  }
});

Deno.test("a key file that holds none is named", async () => {
  const key = { path: "/trust/x.asc", bytes: bytesOf("hello") };
  const error = await rejection(verifyOpenpgp(streamed(file), new Uint8Array([0x80]), [key]));
  assertMatch(error.message, /Cannot use "\/trust\/x\.asc": it holds no OpenPGP key/);
});

Deno.test("an ACI is accepted by a key of its prefix only", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/example.com/team`, { recursive: true });
    await Deno.writeFile(`${folder}/example.com/team/alice.asc`, keyFile(alice).bytes, {
      mode: 0o600,
    });
    const trust = {
      policy: await parsePolicy("default: signed-by", `${folder}/policy.yaml`),
      folder,
    };
    const given = bytesOf(await signature(alice.privateKey));
    const decide = (name: string, signature: Uint8Array | undefined) =>
      decideAci(trust, {
        name,
        open: streamed(file),
        signature: () => Promise.resolve(signature),
      });
    const { verdict, signer } = await decide("example.com/team/app", given);
    assertEquals(verdict, "accept");
    assertMatch(signer ?? "", /^alice/);
    assertEquals((await decide("example.com/other", given)).reason, "no key is trusted for it");
    assertEquals((await decide("example.com/team/app", undefined)).reason, "it has no signature");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
