/**
 * Where a daemon is: on this machine, or elsewhere behind kurma-api or ssh.
 *
 * @module
 */

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
