/**
 * kurmad with a broker in front of it: a socket for each role, on which everybody has that
 * role. Who a caller is, TLS tells in kurma-api; here the socket does.
 *
 * @module
 */

import { ApiClient } from "../../stage1/api/client.ts";
import { type ApiStreams, openStreams } from "../../stage1/api/client_streams.ts";
import type { AuditEntry } from "../../stage1/api/calls.ts";
import type { Peer } from "../../stage1/api/http2/exchange.ts";
import { listenUnix } from "../../stage1/api/http2/listen.ts";
import { HttpServer } from "../../stage1/api/http2/server.ts";
import { brokerHandler, brokerLimits } from "../../stage1/remote/broker.ts";
import { openPolicy, type Policy } from "../../stage1/remote/policy.ts";
import type { Role } from "../../stage1/remote/roles.ts";
import { assertEquals } from "../assert.ts";
import { binary, mustRun, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { Kurmad } from "../kurmad/daemon.ts";

export const roles: readonly Role[] = ["viewer", "operator", "admin"];

/** A broker that serves in this process. */
export class Brokered implements AsyncDisposable {
  /** What is forbidden from now on. */
  policy: Policy = openPolicy;
  /** What the broker told its audit. */
  readonly audited: AuditEntry[] = [];
  readonly #bugs: unknown[] = [];
  readonly #server: HttpServer;
  readonly #handler: ReturnType<typeof brokerHandler>;

  private constructor(readonly kurmad: Kurmad) {
    this.#handler = brokerHandler({
      socket: `${kurmad.dir}/kurma.sock`,
      policy: () => this.policy,
      hosts: [],
      onAudit: (entry) => this.audited.push(entry),
      onCall: () => {},
      onBug: (error) => this.#bugs.push(error),
    });
    this.#server = new HttpServer({
      handler: this.#handler,
      limits: brokerLimits,
      onBug: (error) => this.#bugs.push(error),
    });
  }

  static async start(kurmad: Kurmad): Promise<Brokered> {
    const broker = new Brokered(kurmad);
    for (const role of roles) {
      const peer: Peer = {
        ...{ kind: "tls", address: "192.0.2.1:40312", name: `the-${role}`, role },
        ...{ credential: "certificate", fingerprint: role.padStart(64, "0") },
      };
      const listener = await listenUnix(broker.socket(role), { mode: 0o666 });
      broker.#server.listen(listener, () => peer);
    }
    return broker;
  }

  /** Where a role's callers connect to. */
  socket(role: Role): string {
    return `${this.kurmad.dir}/${role}.sock`;
  }

  /** A client with a role. */
  api(role: Role): ApiClient {
    return new ApiClient(this.socket(role));
  }

  streams(role: Role): ApiStreams {
    return openStreams(this.socket(role));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(1_000);
    this.#handler[Symbol.dispose]();
    assertEquals(this.#bugs, []);
  }
}

/** The name of the image that is in the store from the start: with busybox, and without settings. */
export const storedImage = "box";

/** A test with a daemon, a broker before it, and an image in its store. */
export function brokerTest(name: string, body: (broker: Brokered) => Promise<void>): void {
  test(`kurma-api: ${name}`, async ({ dir }) => {
    const { oci } = await images();
    await mustRun([
      ...[binary, "image", "import", "--root", `${dir}/state`, oci, "--name", storedImage],
    ]);
    await using kurmad = await Kurmad.start(dir, {
      flags: [`--audit-target=${dir}/audit`, "--socket-permissions=0666"],
    });
    {
      await using broker = await Brokered.start(kurmad);
      await body(broker);
    }
    await kurmad.quit();
  });
}
