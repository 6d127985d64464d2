/**
 * kurmad: the daemon of stage1.
 *
 * @module
 */

import { explain } from "./cli/failure.ts";
import { configCommand, configure, helpText, readCommandLine } from "./kurmad_config.ts";
import { print, report } from "./print.ts";
import { version } from "./version.ts";

/** Serves until SIGTERM or SIGINT; returns the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const line = readCommandLine(args);
    const environment = Deno.env.toObject();
    if (line.help) return print(await helpText());
    if (line.words.length > 0) return print(await configCommand(line, environment));
    const read = () => configure(line, environment);
    return await serve(await read(), read);
  } catch (error) {
    const { cause, fix, status } = explain(error);
    report(cause, fix);
    return status;
  }
}

type Read = () => ReturnType<typeof configure>;

async function serve(configuration: Awaited<ReturnType<Read>>, reload: Read): Promise<number> {
  const { kernel, loadAll } = await import("../ffi/mod.ts");
  loadAll();
  const { Daemon } = await import("../stage1/daemon.ts");
  const { ServiceManager } = await import("../stage1/operation/notify.ts");
  const asked = Promise.withResolvers<void>();
  // Before anything is begun: a signal that comes meanwhile is not to end us half-way.
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => asked.resolve());
  }
  const daemon = await Daemon.start({ kernel, configuration, reload, version: version() });
  using manager = new ServiceManager(
    kernel,
    Deno.env.toObject(),
    (error) => daemon.log("warn", "Cannot tell the service manager", { cause: error.message }),
  );
  Deno.addSignalListener("SIGHUP", () => {
    manager.reloading();
    daemon.reload()
      .catch((error) => {
        daemon.log("error", "Cannot use the new configuration", { cause: error.message });
      })
      .finally(() => manager.ready(daemon.summary));
  });
  manager.ready(daemon.summary);
  await asked.promise;
  manager.stopping(daemon.stopLimitMs);
  await daemon.stop();
  // Threads of the pool wait for what never comes: a process with one does not end by itself.
  Deno.exit(0);
}
