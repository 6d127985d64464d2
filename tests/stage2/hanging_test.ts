/**
 * One container that hangs while it is made holds up no other.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { mustRun } from "../harness.ts";
import { gone, names, pause, refusal, serverTest, until, within } from "./served.ts";

serverTest("a create that hangs holds up no other", async (server) => {
  await using hanging = new AsyncDisposableStack();
  const { path } = hanging.use(await Hanging.mount(`${server.dir}/hanging`));
  const first = server.stage2;
  const stuck = refusal(server.create("stuck", ["sleep"], { layer: `${path}/layer` }));
  const ids = names(63);
  const plans = await Promise.all(ids.map((id) => server.plan(id, ["exit", "3"])));
  await within("63 creates", Promise.all(plans.map((plan) => server.stage2.create(plan, null))));
  await Promise.all(ids.map((id) => server.stage2.start(id)));
  for (const id of ids) assertEquals((await server.ended(id)).status, 3);
  await Promise.all(ids.map((id) => server.stage2.delete(id)));

  // Nor does it keep the connection of a client that is gone, or its answers.
  server.connect();
  first[Symbol.dispose]();
  assertEquals(await stuck, "Cannot go on: the connection to stage2 is closed");
  await pause(100);
  for (let tries = 0; tries < 5; tries++) {
    assertEquals((await server.stage2.list()).map(({ state }) => state), ["creating"]);
  }
  await hanging.disposeAsync();
  await gone(server, "stuck");
});

serverTest("a hook that sleeps holds up no other", async (server) => {
  const plan = await server.plan("slow", ["exit", "0"]);
  const createRuntime = [{ path: "/bin/sleep", args: ["sleep", "1000"] }];
  const slow = refusal(
    server.stage2.create({ ...plan, config: { ...plan.config, hooks: { createRuntime } } }, null),
  );
  const ids = names(60);
  const plans = await Promise.all(ids.map((id) => server.plan(id, ["exit", "3"])));
  await within("60 creates", Promise.all(plans.map((plan) => server.stage2.create(plan, null))));
  await Promise.all(ids.map((id) => server.stage2.start(id)));
  for (const id of ids) assertEquals((await server.ended(id)).status, 3);
  await Promise.all(ids.map((id) => server.stage2.delete(id)));
  assertEquals((await server.stage2.list()).map(({ id, state }) => [id, state]), [
    ["slow", "creating"],
  ]);
  await server.stage2.kill("slow");
  assert(await slow !== "done");
  await gone(server, "slow");
});

serverTest("a create that hangs ends when it is killed", async (server) => {
  await using hanging = await Hanging.mount(`${server.dir}/hanging`);
  const layer = `${hanging.path}/layer`;
  const stuck = refusal(server.create("stuck", ["sleep"], { layer }));
  await until("the create", async () => await server.find("stuck") ? true : undefined);
  assertEquals(await refusal(server.stage2.kill("stuck")), "done");
  assertEquals(await stuck, "clone ECHILD");
  await gone(server, "stuck");
});

/** A file system that never answers: whoever looks into it waits. fuse(4) */
class Hanging implements AsyncDisposable {
  readonly path: string;
  readonly #holder: Deno.ChildProcess;

  private constructor(path: string, holder: Deno.ChildProcess) {
    this.path = path;
    this.#holder = holder;
  }

  static async mount(path: string): Promise<Hanging> {
    await Deno.mkdir(path);
    const options = "fd=5,rootmode=40000,user_id=0,group_id=0";
    const script = `exec 5<>/dev/fuse; mount -i -t fuse -o ${options} kurma-test "$1" || exit 1
      echo mounted; read line`;
    const holder = new Deno.Command("sh", {
      args: ["-c", script, "sh", path],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = holder.stdout.getReader();
    const { value } = await within("the mount", reader.read());
    await reader.cancel();
    assertEquals(new TextDecoder().decode(value), "mounted\n");
    return new Hanging(path, holder);
  }

  /** Whoever waits is told ENOTCONN. */
  async [Symbol.asyncDispose](): Promise<void> {
    await mustRun(["umount", "--lazy", this.path]);
    await this.#holder.stdin.close();
    await this.#holder.status;
  }
}
