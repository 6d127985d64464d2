/**
 * kurma-api while it serves.
 *
 * @module
 */

import { isIP } from "node:net";
import { kernel } from "../../ffi/mod.ts";
import { Log } from "../../stage1/operation/log.ts";
import { stderrSink } from "../../stage1/operation/log_sinks.ts";
import { ServiceManager } from "../../stage1/operation/notify.ts";
import type { Authority } from "../../stage1/remote/authority.ts";
import { brokerHandler } from "../../stage1/remote/broker.ts";
import { PolicyFile } from "../../stage1/remote/policy_file.ts";
import { type Access, RemoteServer } from "../../stage1/remote/server.ts";

/** How kurma-api serves. */
export interface ServeOptions {
  readonly hostname: string;
  readonly port: number;
  /** The path of kurmad's socket. */
  readonly socket: string;
  readonly authority: Authority;
  readonly access: Access;
}

/** How long calls may take to end when it stops, in milliseconds. */
const graceMs = 2_000;

/** A server's certificate that ends within this time is worth a word. */
const soonMs = 30 * 86_400_000;

/** Serves until SIGTERM or SIGINT; does not return. */
export async function serveApi(options: ServeOptions): Promise<never> {
  const { hostname, port, socket, authority, access } = options;
  const asked = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => asked.resolve());
  }
  const sink = stderrSink();
  await using log = new Log({ level: "info", format: sink.isTerminal ? "colour" : "text", sink });
  const bug = (error: unknown) =>
    log.write("error", "A mistake of Kurma's; please report it", { error });
  const policy = await PolicyFile.open(`${authority.folder}/policy.yaml`, (error) => {
    const cause = error instanceof Error ? error.message : String(error);
    log.write("error", "Cannot use the new policy: the one before holds", { cause });
  });
  using handler = brokerHandler({
    socket,
    policy: () => policy.current(),
    hosts: hostsOf(authority, access),
    onCall: () => {},
    onAudit: ({ peer, method, subject, outcome, message }) => {
      // What went through is in kurmad's own audit; what did not may never have come there.
      if (peer?.kind !== "tls" || outcome === "ok") return;
      const { credential, name, address } = peer;
      const fields = { [credential]: name, address, method, subject, outcome, reason: message };
      log.write("info", "A call failed", fields);
    },
    onRefused: (peer, cause) => {
      const caller = peer.kind === "tls" ? { [peer.credential]: peer.name } : {};
      const address = peer.kind === "unix" ? {} : { address: peer.address };
      log.write("info", "Refused a request", { ...caller, ...address, cause });
    },
    onBug: bug,
  });
  const server = RemoteServer.start({
    hostname,
    port,
    access,
    authority,
    handler,
    log: log.write,
  });
  using manager = new ServiceManager(
    kernel,
    Deno.env.toObject(),
    (error) => log.write("warn", "Cannot tell the service manager", { cause: error.message }),
  );
  const { hostname: address, port: chosen } = server.address;
  const where = `${address.includes(":") ? `[${address}]` : address}:${chosen}`;
  if (access !== "loopback" && authority.serverExpires().getTime() - Date.now() < soonMs) {
    log.write("warn", "The server's certificate ends soon: run kurma api renew", {
      expires: authority.serverExpires().toISOString(),
    });
  }
  log.write("info", "kurma-api serves", { address: where, socket, access, pid: Deno.pid });
  manager.ready(`At ${where} for ${socket}`);
  await asked.promise;
  manager.stopping(graceMs);
  await server.stop(graceMs);
  log.write("info", "kurma-api has stopped");
  await log.flush();
  Deno.exit(0); // The signal listeners would keep it alive.
}

/** What callers may call this machine, as the Host of a request has it. */
function hostsOf(authority: Authority, access: Access): string[] {
  const names = access === "loopback" ? ["localhost", "127.0.0.1", "::1"] : authority.names();
  return names.map((name) => isIP(name) === 6 ? `[${name}]` : name.toLowerCase());
}
