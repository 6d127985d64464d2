/**
 * A process that serves the API without containers: what the transport, the images and the
 * protocols are tested on. Run by {@link ./served.ts} as
 * `deno run -A tests/api/daemon.ts FOLDER`; it says `ready PORT` with the port of the
 * service of the first Kurma, and each call, bug and audit line as JSON.
 *
 * @module
 */

import { ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { kernel } from "../../ffi/mod.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { Health } from "../../stage1/api/health.ts";
import { imagesService } from "../../stage1/api/images.ts";
import { Containers, ContainerState, Images, System } from "../../stage1/api/kurma.gen.ts";
import { Kurma } from "../../stage1/api/legacy/client.gen.ts";
import { type LegacyContainers, legacyService } from "../../stage1/api/legacy/service.ts";
import { Api } from "../../stage1/api/serve.ts";
import { Health as HealthService } from "../../stage1/api/standard/grpc/health/v1/health.gen.ts";
import { systemService } from "../../stage1/api/system.ts";

const [folder] = Deno.args;

/** There with `--expose-gc`. */
declare const gc: () => void;

const say = (line: unknown) =>
  console.log(
    JSON.stringify(line, (_, value) => typeof value === "bigint" ? String(value) : value),
  );

/** Containers by name; they do nothing but be there. */
const names = new Map<string, ContainerState>();

function requireName(name: string): void {
  if (names.has(name)) return;
  throw new KurmaError("missing", `Cannot find container "${name}"`, {
    fix: "`kurma list` shows them",
    cause: new Error("outer", { cause: new Error("inner") }),
  });
}

const containerOf = (name: string) => ({ name, state: names.get(name) });

const containers: Partial<ServiceImpl<typeof Containers>> = {
  create({ name, start }) {
    names.set(name, start ? ContainerState.RUNNING : ContainerState.NEW);
    return { container: containerOf(name) };
  },
  async stop({ container, timeout }, { signal }) {
    requireName(container);
    if (Number(timeout?.seconds ?? 0) > 1000) await aborted(signal);
    names.set(container, ContainerState.STOPPED);
    return { container: containerOf(container) };
  },
  list: () => ({ containers: [...names.keys()].map(containerOf) }),
  get({ container }) {
    if (container === "bug") throw new TypeError("deliberate");
    requireName(container);
    return { container: containerOf(container) };
  },
  /** Deaf to its signal: the deadline has to hold all the same. */
  wait: () => new Promise(() => {}),
  async *logs({ container, follow }, { signal }) {
    try {
      for (let count = 0; follow || count < Number(container); count++) {
        signal.throwIfAborted();
        yield { lines: [{ text: new Uint8Array(16_384), stream: 1 }] };
      }
    } finally {
      say({ ended: "logs" });
    }
  },
  async *exec(requests) {
    try {
      for await (const { message } of requests) {
        if (message.case === "start") yield { message: { case: "started", value: { pid: 7 } } };
        if (message.case === "input") yield { message: { case: "output", value: message.value } };
        if (message.case === "closeInput") break;
      }
      yield { message: { case: "exited", value: { code: 3 } } };
    } finally {
      say({ ended: "exec" });
    }
  },
  async copyIn(requests) {
    let bytes = 0n;
    for await (const { message } of requests) {
      if (message.case === "chunk") bytes += BigInt(message.value.length);
    }
    return { bytes };
  },
};

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => {
      say({ ended: "stop" });
      resolve();
    })
  );
}

const legacy: LegacyContainers = {
  check: (name, manifest) => Promise.resolve(say({ check: name, manifest })),
  async create(name, manifest, image) {
    const bytes: number[] = [];
    for await (const piece of image) bytes.push(...piece);
    say({ create: name, manifest, bytes });
    names.set(name, ContainerState.RUNNING);
  },
  destroy(uuid) {
    requireName(uuid);
    names.delete(uuid);
    return Promise.resolve();
  },
  list: () =>
    Promise.resolve(
      [...names.keys()].map((uuid) => ({ uuid, manifest: "{}", state: "RUNNING" as const })),
    ),
  get(uuid) {
    requireName(uuid);
    return Promise.resolve({ uuid, manifest: "{}", state: "RUNNING" });
  },
  async *enter(uuid, input) {
    requireName(uuid);
    for await (const bytes of input) {
      if (bytes[0] === 4) break; // Ctrl-D
      yield bytes;
    }
  },
};

const health = new Health([Containers, Images, System]);
const listeners = {
  onAudit: (entry: unknown) => say({ audit: entry }),
  onCall: () => {},
  onBug: (error: unknown) => say({ bug: String(error) }),
};
const api = new Api(kernel, {
  ...listeners,
  services(router: ConnectRouter) {
    router.service(Containers, containers);
    router.service(Images, imagesService({ root: `${folder}/state`, config: `${folder}/config` }));
    router.service(
      System,
      systemService({
        version: { kurma: "1", commit: "c", deno: "d", zig: "z", kernel: "k" },
        status: () => Promise.resolve({ hostname: "h", cpus: 2 }),
        reload: () => Promise.reject(new ConnectError("no")),
      }),
    );
    router.service(HealthService, health.service);
  },
});
const old = new Api(kernel, {
  ...listeners,
  services: (router) => void router.service(Kurma, legacyService(legacy)),
});

await api.listenUnix(`${folder}/kurma.sock`, { mode: 0o660 });
const { port } = old.listenTcp("127.0.0.1", 0);
Deno.addSignalListener("SIGTERM", async () => {
  health.stop();
  await Promise.all([api.stop(1000), old.stop(1000)]);
  Deno.exit(0);
});
Deno.addSignalListener("SIGUSR1", () => {
  gc();
  const { heapUsed, external } = Deno.memoryUsage();
  say({ live: heapUsed + external });
});
console.log(`ready ${port}`);
