/**
 * Detached OpenPGP signatures, as appc has them: `app.aci.asc` beside `app.aci`, over the
 * file as it is served. The library is loaded at the first signature.
 *
 * @module
 * @see appc spec 0.8, "Image Archives"; RFC 9580
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { quote } from "../sources/digest.ts";
import type { KeyFile } from "./files.ts";

/** No detached signature is larger. */
export const maxSignatureBytes = 64 * 1024;

const maxSignatures = 16;

/**
 * Looks for a signature of the file by one of `keys`. The file is read once for each
 * signature by a known key, as a stream.
 *
 * @param open Opens the file that was signed.
 * @param signature Armored or binary.
 * @returns Who signed; or why none of the signatures counts, one line.
 * @throws {KurmaError} `invalid`: a key file holds no key.
 */
export async function verifyOpenpgp(
  open: () => Promise<ReadableStream<Uint8Array>>,
  signature: Uint8Array,
  keys: readonly KeyFile[],
): Promise<{ signer: string } | { complaint: string }> {
  if (signature.length > maxSignatureBytes) return { complaint: "its signature is too large" };
  const openpgp = await import("openpgp");
  const trusted = (await Promise.all(keys.map(async ({ path, bytes }) => {
    const armored = isArmored(bytes);
    const text = new TextDecoder().decode(bytes);
    const read = armored
      ? openpgp.readKeys({ armoredKeys: text })
      : openpgp.readKeys({ binaryKeys: bytes });
    return await read.catch((cause) => {
      throw new KurmaError("invalid", `Cannot use ${quote(path)}: it holds no OpenPGP key`, {
        cause,
      });
    });
  }))).flat();

  const read = isArmored(signature)
    ? openpgp.readSignature({ armoredSignature: new TextDecoder().decode(signature) })
    : openpgp.readSignature({ binarySignature: signature });
  const parsed = await read.catch(() => undefined);
  if (parsed === undefined) return { complaint: "its signature is not OpenPGP" };
  if (parsed.packets.length > maxSignatures) return { complaint: "it has too many signatures" };

  let complaint = "no trusted key signed it";
  for (const packet of parsed.packets) {
    const key = trusted.find((key) => key.getKeys(packet.issuerKeyID).length > 0);
    if (key === undefined) continue;
    const list = new openpgp.PacketList<typeof packet>();
    list.push(packet);
    const message = await openpgp.createMessage({ binary: await open() });
    const { data, signatures } = await openpgp.verify({
      message,
      signature: new openpgp.Signature(list),
      verificationKeys: key,
      format: "binary",
    });
    const verified = signatures[0]?.verified.then(() => undefined, (error: Error) => error);
    await drain(data);
    const failure = await verified;
    if (failure === undefined) return { signer: await describe(key) };
    complaint = `the signature by ${key.getFingerprint().toUpperCase()} is not good: ` +
      failure.message.replace(/^Error verifying signature: /, "");
  }
  return { complaint };
}

async function describe(
  key: {
    getFingerprint(): string;
    getPrimaryUser(): Promise<{ user: { userID?: { userID: string } | null } }>;
  },
): Promise<string> {
  const primary = await key.getPrimaryUser().catch(() => undefined); // A key needs no name.
  const user = primary?.user.userID?.userID;
  const fingerprint = key.getFingerprint().toUpperCase();
  return user ? `${quote(user).slice(1, -1)} (${fingerprint})` : fingerprint;
}

/**
 * Reads the library's copy of the data to its end, which is what drives the hash. It is a
 * clone that only its own reader knows how to read; `for await` finds it locked.
 */
async function drain(data: unknown): Promise<void> {
  const reader = (data as ReadableStream<Uint8Array>).getReader();
  while (!(await reader.read()).done);
}

function isArmored(bytes: Uint8Array): boolean {
  return bytes[0] < 0x80; // A binary packet begins with its top bit set.
}
