/**
 * Where a daemon is: on this machine, or elsewhere behind kurma-api or ssh.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";

/** What is shown to a server elsewhere, and what it is held to; all PEM but the token. */
export interface Credential {
  /** Whose certificates the server's may be, besides those that the system trusts. */
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  readonly token?: string | undefined;
}

/** How a daemon is reached. */
export type Endpoint =
  /** Its socket, by an absolute path. */
  | { readonly kind: "unix"; readonly path: string }
  /** kurma-api; `isPlain` without TLS, which is only for loopback. */
  | {
    readonly kind: "tcp";
    readonly hostname: string;
    readonly port: number;
    readonly isPlain: boolean;
    readonly credential: Credential;
  }
  /** Its socket on a machine that the user's ssh reaches. */
  | {
    readonly kind: "ssh";
    /** `host`, or `user@host`. */
    readonly destination: string;
    readonly port: number | undefined;
    /** The socket's path there; the usual one if undefined. */
    readonly path: string | undefined;
  };

/** The port of kurma-api, as in the original. */
export const defaultPort = 12312;

/**
 * What `host` names: a path (with a slash), `unix://PATH`, `tcp://HOST[:PORT]`,
 * `http://LOOPBACK[:PORT]`, `ssh://[USER@]HOST[:PORT][/PATH]`, or a bare host name or
 * address, with a port or without, which is `tcp://`.
 *
 * @param folder The folder from which a path leads; absolute.
 * @throws {KurmaError} `invalid`.
 */
export function endpointOf(host: string, folder: string): Endpoint {
  const [, scheme, rest = host] = /^([a-z]+):\/\/(.*)$/.exec(host) ?? [];
  if (scheme === "unix" || (scheme === undefined && rest.includes("/"))) {
    if (rest === "" || rest.includes("\0")) throw unusable(host);
    return { kind: "unix", path: rest.startsWith("/") ? rest : `${folder}/${rest}` };
  }
  if (scheme === "ssh") {
    const [, destination, port, path] =
      /^((?:[\w.+-]+@)?(?:[\w.-]+|\[[\d:A-Fa-f]+\]))(?::(\d{1,5}))?(\/[^\0]*)?$/.exec(rest) ?? [];
    if (destination === undefined || destination.startsWith("-")) throw unusable(host);
    return {
      kind: "ssh",
      destination: destination.replace(/\[(.*)\]$/, "$1"),
      port: port === undefined ? undefined : portOf(port, host),
      path: path === undefined || path === "/" ? undefined : path,
    };
  }
  if (scheme !== undefined && scheme !== "tcp" && scheme !== "http") throw unusable(host);
  // A bare IPv6 address has colons of its own.
  const [, six, name, port] =
    /^(?:\[([\dA-Fa-f]*:[\dA-Fa-f:.]*:[\dA-Fa-f:.]*)\]|([\w.-]+))(?::(\d{1,5}))?\/?$/.exec(
      rest.replace(/^([\dA-Fa-f]*:[\dA-Fa-f:.]*:[\dA-Fa-f:.]*)$/, "[$1]"),
    ) ?? [];
  const hostname = six ?? name;
  if (hostname === undefined || hostname === "") throw unusable(host);
  const isPlain = scheme === "http";
  if (isPlain && !/^(localhost|::1|127(\.\d{1,3}){3})$/.test(hostname)) {
    throw new KurmaError("invalid", `Cannot use "${host}": without TLS only this machine is near`, {
      fix: `Write tcp://${rest}`,
    });
  }
  const number = port === undefined ? defaultPort : portOf(port, host);
  return { kind: "tcp", hostname, port: number, isPlain, credential: {} };
}

/** What a request calls the server: a socket has no name. */
export function authority(endpoint: Endpoint): string {
  return endpoint.kind === "tcp" ? endpointName(endpoint).replace(/^.*\/\//, "") : "kurma";
}

/** What an endpoint is called in messages, and by `-H`. */
export function endpointName(endpoint: Endpoint): string {
  switch (endpoint.kind) {
    case "unix":
      return endpoint.path;
    case "tcp": {
      const { hostname, port, isPlain } = endpoint;
      const name = hostname.includes(":") ? `[${hostname}]` : hostname;
      return `${isPlain ? "http" : "tcp"}://${name}:${port}`;
    }
    case "ssh": {
      const { destination, port, path = "" } = endpoint;
      return `ssh://${destination}${port === undefined ? "" : `:${port}`}${path}`;
    }
  }
}

function portOf(text: string, host: string): number {
  const port = Number(text);
  if (port < 1 || port > 65_535) throw unusable(host);
  return port;
}

function unusable(host: string): KurmaError {
  return new KurmaError("invalid", `Cannot use "${host}" as a host`, {
    fix: "Write the path of a socket, unix://PATH, tcp://HOST[:PORT], ssh://[USER@]HOST, or HOST",
  });
}
