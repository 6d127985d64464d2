/**
 * Connections to a daemon elsewhere: by TLS to kurma-api, or through the user's ssh.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Endpoint, endpointName } from "./endpoint.ts";
import type { Duplex } from "./http2/exchange.ts";

/** A daemon that is not on this machine. */
export type Remote = Exclude<Endpoint, { kind: "unix" }>;

type Tcp = Endpoint & { kind: "tcp" };
type Ssh = Endpoint & { kind: "ssh" };

/** A server that says nothing in this time is away. */
const patienceMs = 15_000;

/** A machine that answers nothing in this time is away: a minute in all. */
const keepAlivePatience = { idle: 30, interval: 10, count: 3 };

/**
 * Connects.
 *
 * @param protocol What is to be spoken: the server is told.
 * @throws {KurmaError} `unavailable`: nobody answers; `denied`: the server is not who it
 *   should be, or does not let us in, which reading may tell as well.
 */
export async function dial(endpoint: Remote, protocol: "h2" | "http/1.1"): Promise<Duplex> {
  return endpoint.kind === "tcp" ? await dialTcp(endpoint, protocol) : dialSsh(endpoint);
}

async function dialTcp(endpoint: Tcp, protocol: string): Promise<Duplex> {
  const { hostname, port, isPlain, credential: { ca, certificate, key } } = endpoint;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Deno.errors.TimedOut(`no answer within ${patienceMs / 1000} s`)),
    patienceMs,
  );
  const connecting = isPlain ? Deno.connect({ hostname, port }) : Deno.connectTls({
    hostname,
    port,
    caCerts: ca === undefined ? [] : [ca],
    alpnProtocols: [protocol],
    ...(certificate === undefined || key === undefined ? {} : { cert: certificate, key }),
  });
  try {
    const connection = await Promise.race([connecting, late.promise]);
    if ("handshake" in connection) await Promise.race([connection.handshake(), late.promise]);
    if (protocol === "h2") await keepAlive(connection);
    const told = (cause: unknown) => Promise.reject(refusal(endpoint, cause));
    // Of a server that has hung up, its last words say more than that it has.
    const lastWords = (cause: unknown) =>
      connection.read(new Uint8Array(1)).then(() => told(cause), told);
    return {
      read: (into) => connection.read(into).catch(told),
      write: (bytes) => connection.write(bytes).catch(lastWords),
      close: () => connection.close(),
    };
  } catch (cause) {
    connecting.then((connection) => connection.close()).catch(() => undefined);
    throw refusal(endpoint, cause);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Has a connection that may wait for long, as with `kurma logs --follow`, fail once the other
 * machine is gone without a word.
 */
async function keepAlive({ localAddr, remoteAddr }: Deno.TcpConn | Deno.TlsConn): Promise<void> {
  const { kernel } = await import("../../ffi/mod.ts");
  kernel.keepAlive({ local: localAddr.port, remote: remoteAddr.port }, keepAlivePatience);
}

/** What rustls and the system say, what that means here, and what to do about it. */
const meanings: readonly (readonly [RegExp, "denied" | "unavailable", string, string])[] = [
  [
    /UnknownIssuer|CaUsedAsEndEntity|BadSignature/,
    "denied",
    "its certificate is not signed by a CA that is trusted here",
    "Import the context that kurma api client wrote there: kurma context import FILE",
  ],
  [
    /not valid for name/,
    "denied",
    "its certificate is for other names",
    "Use a name that it has, or give it that one with kurma api renew --name NAME",
  ],
  [
    /peer certificate: (certificate (expired|not valid yet)|Expired|NotValidYet)/,
    "denied",
    "its certificate is of another time",
    "Compare the clocks; if it has expired, run kurma api renew there",
  ],
  [
    /CertificateRequired/,
    "denied",
    "it wants a certificate",
    "Have one made with kurma api client NAME, and import it: kurma context import FILE",
  ],
  [
    /alert: CertificateExpired/,
    "denied",
    "our certificate has expired, or one of the clocks is wrong",
    "Have another made with kurma api client NAME, and import it: kurma context import FILE",
  ],
  [
    /alert: CertificateRevoked/,
    "denied",
    "our certificate is revoked",
    "Ask who runs it for another, and import it: kurma context import FILE",
  ],
  [
    /alert: (BadCertificate|UnknownCA|UnsupportedCertificate|CertificateUnknown)/,
    "denied",
    "it does not know our certificate",
    "Import one that kurma api client made there: kurma context import FILE",
  ],
  [
    /alert: ProtocolVersion|alert: HandshakeFailure|PeerIncompatible|InvalidContentType|HandshakeType/,
    "unavailable",
    "what listens there is no kurma-api",
    "Check the port; kurma-api's is 12312 unless it was told another",
  ],
  [
    /failed to lookup address/,
    "unavailable",
    "no such host name",
    "Check how it is written, or use its address",
  ],
  [
    /onnection refused/,
    "unavailable",
    "ECONNREFUSED",
    "Start kurma api serve there, or check the port",
  ],
  [
    /no answer within|timed out|unreachable/,
    "unavailable",
    "no answer",
    "Check the address, and whether a firewall is between",
  ],
];

/** Why a server cannot be used. */
function refusal(endpoint: Tcp, cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof KurmaError) return cause;
  if (cause instanceof Deno.errors.BadResource || cause instanceof Deno.errors.Interrupted) {
    return cause; // We have closed it ourselves.
  }
  const found = meanings.find(([pattern]) => pattern.test(cause.message));
  const [, code, why, fix] = found ?? [
    undefined,
    "unavailable" as const,
    "the connection broke",
    "Try again; what kurma-api logged says why",
  ];
  return new KurmaError(code, `Cannot reach "${endpointName(endpoint)}": ${why}`, { cause, fix });
}

/**
 * Starts the user's ssh, which connects its standard streams to the socket there by
 * `kurma dial-stdio`. What it says or asks is between it and the user.
 */
function dialSsh(endpoint: Ssh): Duplex {
  const { destination, port, path } = endpoint;
  const socket = path === undefined ? [] : ["-H", quoted(path)];
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command("ssh", {
      args: [
        "-T",
        ...(port === undefined ? [] : ["-p", String(port)]),
        ...["--", destination, "kurma", "dial-stdio", ...socket],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
  } catch (cause) {
    throw new KurmaError("missing", `Cannot reach "${endpointName(endpoint)}": no ssh here`, {
      cause,
      fix: "Install it (Debian: openssh-client)",
    });
  }
  const reader = child.stdout.getReader({ mode: "byob" });
  const writer = child.stdin.getWriter();
  let isClosed = false;
  let heard = false;
  const failed = async () => {
    const { code } = await child.status;
    const [why, fix] = code === 127
      ? ["there is no kurma there", "Put it into the PATH of commands that ssh runs"]
      : code === 255
      ? ["ssh could not connect", `Try it alone: ssh ${destination} true`]
      : [`what it ran there ended with status ${code}`, `Try ssh ${destination} kurma version`];
    return new KurmaError("unavailable", `Cannot reach "${endpointName(endpoint)}": ${why}`, {
      fix,
    });
  };
  return {
    async read(into) {
      const { value, done } = await reader.read(new Uint8Array(Math.min(into.length, 64 * 1024)));
      if (!done && value !== undefined) {
        into.set(value);
        heard = true;
        return value.length;
      }
      if (isClosed || heard) return null;
      throw await failed();
    },
    async write(bytes) {
      try {
        await writer.write(bytes.slice()); // The caller may use its memory again.
      } catch (cause) {
        if (isClosed || heard) throw cause;
        throw await failed();
      }
      return bytes.length;
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      writer.abort().catch(() => undefined); // It may have closed it already.
      try {
        child.kill();
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // It has ended.
      }
    },
  };
}

/** A word of a POSIX shell's, which is what runs a command of ssh's. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
