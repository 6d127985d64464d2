/**
 * The way in for images from elsewhere: registries, web servers and appc discovery, set
 * up from Kurma's configuration folder, with the policy asked before anything is fetched
 * that it may reject.
 *
 * The folder holds `hosts.yaml`, `policy.yaml`, `trust/` and `auth.json`, the last for
 * daemons that have no home; each may be missing.
 *
 * @module
 */

import { join } from "node:path";
import { KurmaError } from "../../../ffi/errors.ts";
import { fetchSignatures } from "../trust/cosign.ts";
import { decideRegistryImage, type Trust } from "../trust/decide.ts";
import { decideByName, type Decision, loadPolicy, requireAccepted } from "../trust/policy.ts";
import { authFiles, credentialsFrom } from "./credentials.ts";
import type { Digest } from "./digest.ts";
import { discover } from "./discovery.ts";
import { loadHosts } from "./hosts.ts";
import { hostPlatform, type Platform } from "./platform.ts";
import {
  type AppcReference,
  formatReference,
  type HttpReference,
  type RegistryReference,
} from "./reference.ts";
import type { Reach } from "./reach.ts";
import { RegistryClient, type RemoteImage, repositoryOf } from "./registry.ts";
import type { Timing } from "./timing.ts";
import { complaint, type Transport } from "./transport.ts";

/** Where an ACI is, and where its detached signature. */
export interface AciPlace {
  readonly url: string;
  readonly signatureUrl: string;
  /** Of the file, if the user gave one. */
  readonly digest?: Digest;
}

const maxSignatureBytes = 64 * 1024;

/**
 * Opens connections by the configuration below `folder`.
 *
 * @param env Where auth files are looked for; this process's environment by default.
 * @param reach Whom it may ask, if not anybody.
 * @throws {KurmaError} A file of the configuration is wrong.
 */
export async function openRemote(
  folder: string,
  { env = Deno.env.toObject(), timing, reach }: {
    env?: Readonly<Record<string, string>>;
    timing?: Partial<Timing>;
    reach?: Reach;
  } = {},
): Promise<Remote> {
  const hosts = await loadHosts(join(folder, "hosts.yaml"));
  const policy = await loadPolicy(join(folder, "policy.yaml"));
  const files = [...authFiles(env, Deno.uid() ?? 0), join(folder, "auth.json")];
  const credentials = credentialsFrom(files);
  return new Remote(new RegistryClient({ hosts, credentials, timing, reach }), {
    policy,
    folder: join(folder, "trust"),
  });
}

/** Images from elsewhere; dispose of it to close its connections. */
export class Remote implements Disposable {
  constructor(readonly registries: RegistryClient, readonly trust: Trust) {}

  /** For downloads. */
  get transport(): Transport {
    return this.registries.transport;
  }

  [Symbol.dispose](): void {
    this.registries[Symbol.dispose]();
  }

  /**
   * Finds out what a reference names and whether it may be used. A name that the policy
   * rejects is not even looked up.
   *
   * @throws {KurmaError} `denied` by the policy, and what {@linkcode RegistryClient.resolve} throws.
   */
  async resolve(
    reference: RegistryReference,
    options: { platform?: Platform; signal?: AbortSignal } = {},
  ): Promise<{ image: RemoteImage; decision: Decision }> {
    const name = repositoryOf(reference);
    const shown = formatReference(reference);
    const early = decideByName(this.trust.policy, name);
    if (early) requireAccepted(early, shown);
    const image = await this.registries.resolve(reference, options);
    const decision = early ?? await decideRegistryImage(this.trust, {
      name,
      digests: [...new Set([image.digest, image.manifest.digest])],
      signatures: (digest) => fetchSignatures(this.registries, reference, digest, options.signal),
    });
    requireAccepted(decision, shown);
    return { image, decision };
  }

  /**
   * Where an ACI may be, the best place first.
   *
   * @param options.insecure Discovery without TLS where TLS does not work.
   * @throws {KurmaError} `denied` by the policy; `missing`: discovery finds nothing.
   */
  async locate(
    reference: AppcReference | HttpReference,
    { insecure, signal }: { insecure?: boolean; signal?: AbortSignal } = {},
  ): Promise<AciPlace[]> {
    if (reference.kind === "http") {
      const { url, digest } = reference;
      const early = decideByName(this.trust.policy, nameOfUrl(url));
      if (early) requireAccepted(early, formatReference(reference));
      const signatureUrl = new URL(url);
      signatureUrl.pathname += ".asc";
      return [{ url, signatureUrl: signatureUrl.href, ...(digest ? { digest } : {}) }];
    }
    const early = decideByName(this.trust.policy, reference.name);
    if (early) requireAccepted(early, formatReference(reference));
    const { os, architecture } = hostPlatform();
    const labels = { os, arch: architecture === "arm64" ? "aarch64" : architecture }; // appc's names.
    const found = await discover(this.transport, reference, { labels, insecure, signal });
    return found.map(({ aci, signature }) => ({ url: aci, signatureUrl: signature }));
  }

  /**
   * Fetches a detached signature.
   *
   * @returns undefined if the server has none.
   */
  async fetchSignature(
    { signatureUrl }: AciPlace,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const url = new URL(signatureUrl);
    const task = `fetch signature "${url.origin}${url.pathname}"`;
    // A signature proves itself, so it may come without TLS.
    const ask = { task, url, allowPlainHttp: true, signal };
    const answer = await this.transport.document(ask, maxSignatureBytes);
    if (answer.status === 200) return answer.bytes;
    if (answer.status === 404 || answer.status === 410) return undefined;
    throw new KurmaError("denied", complaint(task, url, answer, answer.bytes));
  }
}

/** What the policy knows a file by: who serves it, not what it says about itself. */
export function nameOfUrl(url: string): string {
  const { host, pathname } = new URL(url);
  return host + pathname;
}
