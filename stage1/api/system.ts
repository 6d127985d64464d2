/**
 * The service System: the daemon and its host.
 *
 * @module
 */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  ReloadResponseSchema,
  StatusResponseSchema,
  System,
  VersionResponseSchema,
} from "./kurma.gen.ts";

/** What the daemon tells of itself. */
export interface SystemHost {
  readonly version: Omit<MessageInitShape<typeof VersionResponseSchema>, "api" | "$typeName">;
  status(): Promise<Omit<MessageInitShape<typeof StatusResponseSchema>, "version" | "$typeName">>;
  /**
   * Reads the configuration again.
   *
   * @throws {KurmaError} `invalid`: nothing has changed.
   */
  reload(): Promise<MessageInitShape<typeof ReloadResponseSchema>>;
}

export function systemService(host: SystemHost): ServiceImpl<typeof System> {
  const version = { ...host.version, api: "kurma.v1" };
  return {
    ping: () => ({}),
    version: () => version,
    status: async () => ({ ...await host.status(), version }),
    reload: () => host.reload(),
  };
}
