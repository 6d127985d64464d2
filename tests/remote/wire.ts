/**
 * Two network namespaces joined by a veth: the host is the test's own, the client another.
 *
 * @module
 */

import { mustRun, Running } from "../harness.ts";

export const hostAddress = "10.77.0.1";
/** The host's as well, but no certificate's. */
export const otherAddress = "10.77.0.3";

export class Wire implements AsyncDisposable {
  readonly #client: Running;

  private constructor(client: Running) {
    this.#client = client;
  }

  static async lay(): Promise<Wire> {
    const wait = "ip link set lo up && echo ready && exec sleep infinity";
    const wire = new Wire(
      new Running(["unshare", "--net", "sh", "-c", wait], { limitMs: 600_000 }),
    );
    await wire.#client.says(/ready/);
    const ip = (...words: string[]) => mustRun(["ip", ...words]);
    await ip(
      ...["link", "add", "kurma-host", "type", "veth"],
      ...["peer", "name", "kurma-client", "netns", String(wire.#client.pid)],
    );
    await ip("address", "add", `${hostAddress}/24`, "dev", "kurma-host");
    await ip("address", "add", `${otherAddress}/24`, "dev", "kurma-host");
    await ip("link", "set", "kurma-host", "up");
    await mustRun(wire.there("ip", "address", "add", "10.77.0.2/24", "dev", "kurma-client"));
    await mustRun(wire.there("ip", "link", "set", "kurma-client", "up"));
    return wire;
  }

  /** A command line that runs on the client's side. */
  there(...command: string[]): string[] {
    return ["nsenter", `--net=/proc/${this.#client.pid}/ns/net`, "--", ...command];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await mustRun(["ip", "link", "delete", "kurma-host"]);
    this.#client.signal("SIGKILL");
    await this.#client.output;
  }
}
