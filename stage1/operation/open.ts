/**
 * Log, audit and metrics as the settings want them.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Kernel } from "../../ffi/kernel.ts";
import type { Settings } from "../config/settings.ts";
import { Audit } from "./audit.ts";
import { formatOf, levelOf, Log, type LogOptions } from "./log.ts";
import { fileSink, type Sink, stderrSink, syslogSink } from "./log_sinks.ts";
import { contentType, type Registry } from "./metrics.ts";

/**
 * What the log is to be like; after a reload, `log.change(logOptions(…))`.
 *
 * @throws {KurmaError} `state`: its file cannot be opened.
 */
export function logOptions(settings: Settings, kernel: Pick<Kernel, "datagram">): LogOptions {
  const sink = sinkOf(settings.log.target, settings, kernel);
  return { level: levelOf(settings), format: formatOf(settings, sink.isTerminal), sink };
}

/** @throws {KurmaError} `state`: its file cannot be opened. */
export function openLog(settings: Settings, kernel: Pick<Kernel, "datagram">): Log {
  return new Log(logOptions(settings, kernel));
}

/** @throws {KurmaError} `state`: its file cannot be opened. */
export function openAudit({ audit, log }: Settings, daemonLog: Log): Audit {
  const { target } = audit;
  if (target === "log" || target === "none") return new Audit(target, daemonLog);
  return new Audit(fileSink({ path: target, ...log }), daemonLog);
}

function sinkOf(target: string, { log }: Settings, kernel: Pick<Kernel, "datagram">): Sink {
  if (target === "stderr") return stderrSink();
  if (target === "syslog") return syslogSink(kernel);
  return fileSink({ path: target, maxSize: log.maxSize, maxFiles: log.maxFiles });
}

/**
 * Answers GET /metrics at `address`, and nothing else.
 *
 * @param address `HOST:PORT` or `unix:PATH`, as the setting has it.
 * @returns The server; whoever called this shuts it down.
 * @throws {KurmaError} `state`: the address cannot be had.
 */
export function serveMetrics(address: string, registry: Registry): Deno.HttpServer {
  const answer = (request: Request) => {
    const { pathname } = new URL(request.url);
    if (pathname !== "/metrics") return new Response("Metrics are at /metrics\n", { status: 404 });
    if (request.method !== "GET") return new Response(null, { status: 405 });
    return new Response(registry.text(), { headers: { "content-type": contentType } });
  };
  const onListen = () => {};
  try {
    if (address.startsWith("unix:")) {
      return Deno.serve({ path: address.slice("unix:".length), onListen }, answer);
    }
    const colon = address.lastIndexOf(":");
    const hostname = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
    return Deno.serve({ hostname, port: Number(address.slice(colon + 1)), onListen }, answer);
  } catch (cause) {
    throw new KurmaError("state", `Cannot serve metrics at "${address}"`, {
      cause,
      fix: "Set metrics.address to one that is free and this machine's",
    });
  }
}
