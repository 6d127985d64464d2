/**
 * The health service: whether kurmad can be called.
 *
 * @module
 */

import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  type Health as HealthService,
  HealthCheckResponse_ServingStatus as Status,
} from "./standard/grpc/health/v1/health.gen.ts";

/** Serving from its making until {@linkcode Health.stop}. */
export class Health {
  readonly #services: ReadonlySet<string>;
  #status = Status.SERVING;
  readonly #stopped = Promise.withResolvers<void>();

  /** @param services Those that can be asked about; all have the status of the whole. */
  constructor(services: readonly DescService[]) {
    this.#services = new Set(["", ...services.map(({ typeName }) => typeName)]);
  }

  /** Not serving from now on; who watches is told. */
  stop(): void {
    this.#status = Status.NOT_SERVING;
    this.#stopped.resolve();
  }

  get service(): ServiceImpl<typeof HealthService> {
    const status = (service: string) =>
      this.#services.has(service) ? this.#status : Status.SERVICE_UNKNOWN;
    const stopped = this.#stopped.promise;
    return {
      check({ service }) {
        if (status(service) !== Status.SERVICE_UNKNOWN) return { status: status(service) };
        throw new ConnectError(`Kurma has no service ${service}`, Code.NotFound);
      },
      async *watch({ service }, { signal }) {
        yield { status: status(service) };
        const gone = new Promise<void>((resolve) =>
          signal.addEventListener("abort", () => resolve())
        );
        await Promise.race([stopped, gone]);
        if (signal.aborted) return;
        yield { status: status(service) };
        await gone;
      },
    };
  }
}
