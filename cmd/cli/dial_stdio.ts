/**
 * `kurma dial-stdio`: what ssh runs on the far side for `-H ssh://`.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { isBroken } from "../../stage1/api/http2/broken.ts";
import { defaultSocket } from "../../stage1/api/socket.ts";
import { command } from "./command.ts";
import { ownContext } from "./contexts.ts";
import { endpoint } from "./host.ts";

export const dialStdio = command({
  summary: "Connect standard input and output to the daemon's socket",
  hidden: true,
  args: [],
  flags: {},
  examples: [
    ["kurma dial-stdio", "What -H ssh://HOST runs on HOST"],
    ["kurma dial-stdio -H /run/kurma/kurma.sock", "With another socket"],
  ],
  async run(context) {
    // The context in use is for the user of this machine, not for who comes from another.
    const asked = { ...context, context: context.context ?? ownContext };
    const found = await endpoint(asked) ?? { kind: "unix", path: defaultSocket };
    if (found.kind !== "unix") {
      throw new KurmaError("invalid", "Cannot pass on to another machine from here", {
        fix: "Name the path of a socket with -H",
      });
    }
    const { copy } = await import("../../stage1/api/bridge.ts");
    const { unreachable } = await import("../../stage1/api/client_errors.ts");
    let connection: Deno.UnixConn;
    try {
      connection = await Deno.connect({ transport: "unix", path: found.path });
    } catch (cause) {
      throw unreachable(found.path, cause);
    }
    // The daemon's end is ours. So is that of standard input: a pipe does not tell whether whoever
    // is there only has nothing more to say or is gone, and then the daemon has to know.
    copy(Deno.stdin, connection).then(() => connection.close()).catch(gone);
    await copy(connection, Deno.stdout).catch(gone);
    return 0;
  },
});

/** One of the two has gone away, which is how it ends most of the time. */
function gone(error: unknown): void {
  if (!isBroken(error)) throw error;
}
