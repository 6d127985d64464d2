/**
 * Reads what people call a daemon by: `-H`, and the hosts of contexts.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Endpoint } from "./endpoint.ts";

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
