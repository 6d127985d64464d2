/**
 * Debian's `docker-registry` as a peer: started for one test on 127.0.0.1, with or
 * without TLS and passwords. Port numbers are ours to choose: `tests/isolated` gives
 * each run a network of its own.
 *
 * @module
 */

import { mustRun, Running } from "../harness.ts";

/** How a registry is to be. */
export interface RegistryOptions {
  port: number;
  /** Paths of the certificate and its key, and of who may sign clients; plain HTTP without. */
  tls?: { certificate: string; key: string; clientcas?: string[] };
  /** `user:password`; everybody is let in without. */
  login?: string;
}

/** Runs a registry that keeps its content below `dir` while `body` runs. */
export async function withRegistry(
  dir: string,
  { port, tls, login }: RegistryOptions,
  body: (host: string) => Promise<void>,
): Promise<void> {
  const folder = `${dir}/registry-${port}`;
  await Deno.mkdir(folder);
  if (login) {
    const [user, password] = login.split(":");
    await Deno.writeTextFile(
      `${folder}/htpasswd`,
      await mustRun(["htpasswd", "-Bbn", user, password]),
    );
  }
  const config = {
    version: "0.1",
    storage: { filesystem: { rootdirectory: `${folder}/data` } },
    http: { addr: `127.0.0.1:${port}`, ...(tls ? { tls } : {}) },
    ...(login ? { auth: { htpasswd: { realm: "test", path: `${folder}/htpasswd` } } } : {}),
  };
  await Deno.writeTextFile(`${folder}/config.yml`, JSON.stringify(config));
  const registry = new Running(["docker-registry", "serve", `${folder}/config.yml`], {
    limitMs: 600_000,
  });
  try {
    await listening(port);
    await body(`127.0.0.1:${port}`);
  } finally {
    registry.signal("SIGTERM");
    await registry.output;
  }
}

async function listening(port: number): Promise<void> {
  for (let waited = 0;; waited += 50) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused) || waited > 10_000) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** An authority, and certificates that it signed; by openssl, in `dir`. */
export async function makeCertificates(dir: string): Promise<{
  ca: string;
  /** For 127.0.0.1. */
  good: { certificate: string; key: string };
  /** For 127.0.0.1, over since yesterday. */
  expired: { certificate: string; key: string };
  /** For another host. */
  other: { certificate: string; key: string };
}> {
  const openssl = (...args: string[]) => mustRun(["openssl", ...args], { cwd: dir });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await openssl(
    ...["req", "-x509", ...newKey, "-keyout", "ca.key", "-out", "ca.pem"],
    ...["-days", "2", "-subj", "/CN=Test authority"],
  );
  const issue = async (name: string, host: string, days: number) => {
    await openssl(
      "req",
      ...newKey,
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.csr`,
      "-subj",
      "/CN=x",
    );
    await Deno.writeTextFile(`${dir}/${name}.ext`, `subjectAltName=${host}\n`);
    await openssl(
      ...[
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
      ],
      ...["-out", `${name}.pem`, "-days", `${days}`, "-extfile", `${name}.ext`],
    );
    return { certificate: `${dir}/${name}.pem`, key: `${dir}/${name}.key` };
  };
  return {
    ca: `${dir}/ca.pem`,
    good: await issue("good", "IP:127.0.0.1", 2),
    expired: await issue("expired", "IP:127.0.0.1", -1),
    other: await issue("other", "DNS:elsewhere.example", 2),
  };
}
