/**
 * kurmad put together: the manager of containers, the API in front of it, and what an
 * operator sees of both.
 *
 * @module
 */

import { Code as StatusCode, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { type Code, KurmaError, outcomes } from "../ffi/errors.ts";
import type { Kernel } from "../ffi/kernel.ts";
import type { AuditEntry } from "./api/calls.ts";
import { containerService } from "./api/containers.ts";
import { eventService } from "./api/events.ts";
import { Health } from "./api/health.ts";
import { imagesService } from "./api/images.ts";
import {
  Containers,
  Events,
  Images as ImagesService,
  Pods,
  System,
  Volumes,
} from "./api/kurma.gen.ts";
import { podService } from "./api/pods.ts";
import { restricted } from "./api/restricted.ts";
import { Api } from "./api/serve.ts";
import { Health as HealthService } from "./api/standard/grpc/health/v1/health.gen.ts";
import { systemService } from "./api/system.ts";
import { volumeService } from "./api/volumes.ts";
import { type Configuration, differences } from "./config/load.ts";
import { apiFolderOf, isUp, oneLine } from "./containers/host.ts";
import { Images } from "./containers/images.ts";
import { Manager } from "./containers/manager.ts";
import { State } from "./containers/state.ts";
import type { Audit, Caller } from "./operation/audit.ts";
import { DaemonMetrics } from "./operation/daemon_metrics.ts";
import type { Log } from "./operation/log.ts";
import { logOptions, openAudit, openLog, serveMetrics } from "./operation/open.ts";
import { hostStatus } from "./operation/status.ts";
import { roleOrder } from "./remote/roles.ts";
import { scoped } from "./remote/scoped.ts";

/** What a daemon is started with. */
export interface DaemonOptions {
  readonly kernel: Kernel;
  readonly configuration: Configuration;
  /** Reads the configuration again. */
  readonly reload: () => Promise<Configuration>;
  /** The build: `kurma --version` says the same. */
  readonly version: {
    readonly kurma: string;
    readonly commit: string;
    readonly deno: string;
    readonly zig: string;
    readonly kernel: string;
  };
}

/** How long calls may take to end when the daemon stops. */
const graceMs = 2_000;

/** How long after it serves a daemon gives back what only starting took. */
const settledMs = 1_000;

const services = [Containers, Pods, Volumes, Events, ImagesService, System];

/** A daemon that serves. */
export class Daemon {
  readonly #options: DaemonOptions;
  readonly #log: Log;
  readonly #audit: Audit;
  readonly #manager: Manager;
  readonly #health = new Health(services);
  readonly #api: Api;
  readonly #metrics: DaemonMetrics;
  #metricsServer: Deno.HttpServer | undefined;
  /** The API of 2015. */
  #legacyApi: Api | undefined;
  /** The manager reads it too. */
  readonly #current: { configuration: Configuration };

  /**
   * Takes the state folder over and serves.
   *
   * @throws {KurmaError} `denied`: not root; `state`: another kurmad has the folder or the
   * socket.
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    if (Deno.uid() !== 0) {
      throw new KurmaError("denied", "Cannot manage containers: only root may", {
        fix: "Run it as root",
      });
    }
    const { settings, directories, notes } = options.configuration;
    // Nothing that we make is anybody else's, whatever the caller's mask was.
    Deno.umask(0o077);
    const log = openLog(settings, options.kernel);
    for (const note of notes) log.write("warn", note);
    const current = { configuration: options.configuration };
    Deno.mkdirSync(directories.state, { recursive: true, mode: 0o700 });
    const manager = await Manager.start({
      kernel: options.kernel,
      folders: directories,
      state: State.open(directories.state),
      images: new Images({
        root: directories.images,
        pull: { config: settings.images.configDirectory },
      }),
      log: log.write,
      settings: () => {
        const { containers } = current.configuration.settings;
        return {
          containerDefaults: {
            resources: containers.resources,
            ulimits: containers.ulimits,
            log: { maxSize: containers.logMaxSize, maxFiles: containers.logMaxFiles },
            stopLimitMs: containers.stopLimit,
          },
        };
      },
    });
    const daemon = new Daemon(options, current, log, manager);
    daemon.#watch();
    await daemon.#serve();
    return daemon;
  }

  private constructor(
    options: DaemonOptions,
    current: { configuration: Configuration },
    log: Log,
    manager: Manager,
  ) {
    this.#options = options;
    this.#current = current;
    this.#log = log;
    this.#audit = openAudit(options.configuration.settings, log);
    this.#manager = manager;
    this.#metrics = new DaemonMetrics(options.version.kurma, () => this.#counts());
    this.#api = this.#apiOf((router) => this.#route(router), [scoped, restricted(manager)]);
  }

  #apiOf(services: (router: ConnectRouter) => void, interceptors: Interceptor[] = []): Api {
    return new Api(this.#options.kernel, {
      services,
      interceptors,
      onAudit: (entry) => this.#note(entry),
      onCall: (method, code) => this.#metrics.calls.add({ method, code }),
      onBug: (error) => {
        this.#log.write("error", "A mistake of Kurma's; please report it", { error });
      },
    });
  }

  /** What it says of itself when it serves. */
  get summary(): string {
    return `${this.#manager.list().length} containers, API at ${this.#settings.socketPath}`;
  }

  /** How long stopping may take, in milliseconds. */
  get stopLimitMs(): number {
    return graceMs + (this.#settings.stopContainers ? this.#settings.containers.stopLimit : 0);
  }

  /** A line of the daemon's log. */
  get log(): Log["write"] {
    return this.#log.write;
  }

  /**
   * Reads the configuration again.
   *
   * @returns The settings that changed: those that hold now, and those that wait for a restart.
   * @throws {KurmaError} `invalid`: nothing has changed.
   */
  async reload(): Promise<{ applied: string[]; pending: string[] }> {
    const next = await this.#options.reload();
    const { now, later } = differences(this.#current.configuration.settings, next.settings);
    this.#current.configuration = next;
    if (now.some((path) => path === "debug" || path.startsWith("log."))) {
      await this.#log.change(logOptions(next.settings, this.#options.kernel));
    }
    await this.#fetchAndStart();
    this.#log.write("info", "Read the configuration again", { applied: now, pending: later });
    const told = { kind: "daemon", id: "", name: "kurmad", action: "reload" } as const;
    this.#manager.host.state.tell(told);
    return { applied: now, pending: later };
  }

  /** Stops serving; containers go on unless the configuration says otherwise. */
  async stop(): Promise<void> {
    this.#health.stop();
    await Promise.all([this.#api.stop(graceMs), this.#legacyApi?.stop(graceMs)]);
    await this.#metricsServer?.shutdown();
    if (this.#settings.stopContainers) await this.#stopContainers();
    await this.#manager[Symbol.asyncDispose]();
    this.#log.write("info", "kurmad has stopped");
    await this.#log[Symbol.asyncDispose]();
  }

  async #serve(): Promise<void> {
    const { socketPath, socketPermissions, socketGroup, metrics, legacyApi } = this.#settings;
    const folder = socketPath.slice(0, socketPath.lastIndexOf("/"));
    // Who may use the socket has to get to it.
    Deno.mkdirSync(folder, { recursive: true, mode: 0o755 });
    await this.#serveInside();
    if (metrics.address !== "") {
      this.#metricsServer = serveMetrics(metrics.address, this.#metrics.registry);
    }
    if (legacyApi.address !== "") await this.#serveLegacy(legacyApi.address);
    // Last: who is answered here may count on all of it.
    await this.#api.listenUnix(socketPath, {
      mode: socketPermissions,
      group: this.#groupNumber(socketGroup),
      inherited: true,
    });
    this.#log.write("info", "kurmad serves", { socket: socketPath, pid: Deno.pid });
    Deno.unrefTimer(setTimeout(() => this.#options.kernel.releaseCode(), settledMs));
    await this.#fetchAndStart();
  }

  /** The same API for containers that are given it: what may be done is the socket's. */
  async #serveInside(): Promise<void> {
    for (const role of roleOrder) {
      const folder = `${apiFolderOf(this.#options.configuration.directories)}/${role}`;
      Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
      await this.#api.listenUnix(`${folder}/kurma.sock`, { mode: 0o600, role });
    }
  }

  async #serveLegacy(address: string): Promise<void> {
    const { Kurma } = await import("./api/legacy/client.gen.ts");
    const { legacyService } = await import("./api/legacy/service.ts");
    const { legacyContainers } = await import("./api/legacy/containers.ts");
    const { directories } = this.#options.configuration;
    const service = legacyService(legacyContainers(this.#manager, directories.images));
    this.#legacyApi = this.#apiOf((router) => void router.service(Kurma, service));
    try {
      if (address.startsWith("unix:")) {
        await this.#legacyApi.listenUnix(address.slice("unix:".length), { mode: 0o600 });
      } else {
        const colon = address.lastIndexOf(":");
        const hostname = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
        this.#legacyApi.listenTcp(hostname, Number(address.slice(colon + 1)));
      }
    } catch (cause) {
      throw new KurmaError("state", `Cannot serve the API of 2015 at "${address}"`, {
        cause,
        fix: "Set legacyApi.address to one that is free and this machine's",
      });
    }
  }

  #route(router: ConnectRouter): void {
    const { directories, settings } = this.#options.configuration;
    const images = { root: directories.images, config: settings.images.configDirectory };
    const { state } = this.#manager.host;
    const stored = imagesService({
      ...images,
      onChange: (action, image) => state.tell({ kind: "image", ...image, action }),
    });
    router.service(Containers, containerService(this.#manager));
    router.service(Pods, podService(this.#manager));
    router.service(Volumes, volumeService(this.#manager));
    router.service(Events, eventService(this.#manager.host.state));
    router.service(ImagesService, {
      ...stored,
      remove: (request, context) => {
        this.#manager.host.images.releaseIdle();
        return stored.remove(request, context);
      },
      prune: (request, context) => {
        this.#manager.host.images.releaseIdle();
        return stored.prune(request, context);
      },
    });
    router.service(
      System,
      systemService({
        version: this.#options.version,
        status: () => hostStatus(directories, this.#counts()),
        reload: () => this.reload(),
      }),
    );
    router.service(HealthService, this.#health.service);
  }

  /** Pulls what is to be there, and starts what is to run, if it is not there yet. */
  async #fetchAndStart(): Promise<void> {
    const { pods, settings } = this.#current.configuration;
    const { images } = this.#manager.host;
    for (const image of settings.prefetchImages) {
      await this.#attempt(
        `prefetch ${image}`,
        async () => (await images.use(image))[Symbol.dispose](),
      );
    }
    for (const spec of pods) {
      await this.#attempt(`start pod "${spec.name}"`, async () => {
        const known = this.#manager.pods.list().find(({ name }) => name === spec.name);
        if (known !== undefined) return;
        const { id } = await this.#manager.pods.create(spec);
        await this.#manager.pods.start(id);
      });
    }
  }

  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#log.write("error", `Cannot ${what}`, { cause: oneLine(error) });
    }
  }

  async #stopContainers(): Promise<void> {
    const up = this.#manager.list().filter(isUp);
    const results = await Promise.allSettled(up.map(({ id }) => this.#manager.stop(id)));
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      this.#log.write("error", "Cannot stop a container", { cause: oneLine(result.reason) });
    }
  }

  /** Counts what happens until the manager ends, which ends its events. */
  async #watch(): Promise<void> {
    const { events } = this.#manager.host.state;
    for await (const event of events.follow(events.last)) this.#metrics.note(event);
  }

  #note({ peer, via, method, subject, outcome, message, durationMs }: AuditEntry): void {
    const error = outcome === "ok" ? {} : { error: { code: codeOf(outcome), message } };
    this.#audit.record(
      { caller: callerOf(peer), via: via && callerOf({ kind: "tls", ...via }), method, subject },
      { ...error, tookMs: durationMs },
    );
  }

  /** Containers by their state. */
  #counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { status } of this.#manager.list()) {
      const name = status.phase.toUpperCase();
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }

  /** The group's number; without such a group only root gets in. */
  #groupNumber(name: string): number | undefined {
    if (/^[0-9]+$/.test(name)) return Number(name);
    const line = Deno.readTextFileSync("/etc/group").split("\n")
      .find((each) => each.split(":")[0] === name);
    if (line !== undefined) return Number(line.split(":")[2]);
    this.#log.write("info", `There is no group "${name}": only root may use the API`);
    return undefined;
  }

  get #settings() {
    return this.#current.configuration.settings;
  }
}

/** Who called, in the words of the audit. */
function callerOf(peer: AuditEntry["peer"]): Caller {
  switch (peer?.kind) {
    case "unix":
      return {
        ...{ pid: peer.pid, uid: peer.uid, gid: peer.gid },
        ...(peer.role === undefined ? {} : { role: peer.role }),
      };
    case "tls":
      return peer.credential === "certificate"
        ? { certificate: peer.name, address: peer.address }
        : { token: peer.name, address: peer.address };
    default:
      return { address: peer?.address ?? "unknown" };
  }
}

/** Kurma's code for an outcome of the API; several of gRPC's are one of ours. */
function codeOf(outcome: string): Code {
  const known = Object.entries(outcomes).find(([, { grpc }]) =>
    StatusCode[grpc].toLowerCase() === outcome.replaceAll("_", "")
  );
  return (known?.[0] ?? "unavailable") as Code;
}
