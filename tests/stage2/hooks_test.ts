/**
 * Hooks run at their six points, with the container's state on stdin, and what they do
 * to a start that they fail.
 *
 * @module
 */

import type { Hook, HookPoint, Plan } from "../../stage2/spec.ts";
import { assert, assertEquals } from "../assert.ts";
import { exists, refusal, type Served, serverTest, until } from "./served.ts";

/** A hook that notes its point and its state. */
function noting(dir: string, point: string, more = ""): Hook {
  const script = `{ echo "${point} $(cat)"; } >>${dir}/noted; ${more}`;
  return { path: "/bin/sh", args: ["sh", "-c", script], timeout: 10 };
}

async function planned(
  server: Served,
  hooks: Partial<Record<HookPoint, readonly Hook[]>>,
): Promise<Plan> {
  const { kurma, config } = await server.plan("web", ["sleep"]);
  return { kurma, config: { ...config, hooks, annotations: { "a.b": 'c"d' } } };
}

/** `point status` of each hook that ran. */
async function noted(server: Served): Promise<string[]> {
  const path = `${server.dir}/noted`;
  if (!await exists(path)) return [];
  const text = await Deno.readTextFile(path);
  return text.trim().split("\n").map((line) => {
    const [point] = line.split(" ", 1);
    const state = JSON.parse(line.slice(point.length));
    assertEquals([state.id, state.annotations], ["web", { "a.b": 'c"d' }]);
    assertEquals("pid" in state, point !== "poststop");
    return `${point} ${state.status}`;
  });
}

/** Those that run on the host. */
const host = ["prestart", "createRuntime", "poststart", "poststop"] as const;

serverTest("hooks run when the lifecycle says, with the state on stdin", async (server) => {
  const { dir, stage2 } = server;
  const hooks = Object.fromEntries(host.map((point) => [point, [noting(dir, point)]]));
  await stage2.create(await planned(server, hooks), null);
  assertEquals(await noted(server), ["prestart creating", "createRuntime creating"]);
  await stage2.start("web");
  assertEquals((await noted(server)).slice(2), ["poststart running"]);
  await server.remove("web");
  assertEquals((await noted(server)).slice(3), ["poststop stopped"]);
});

serverTest("hooks in the container run inside its namespaces", async (server) => {
  const { stage2 } = server;
  // Of the host before the change of root, and of the container after it.
  const inside: Hook = {
    path: "/bin/sh",
    args: ["sh", "-c", "test $(hostname) = web && test -e guest"],
  };
  const own: Hook = { path: "/guest", args: ["guest", "exit", "0"] };
  await stage2.create(
    await planned(server, { createContainer: [inside], startContainer: [own] }),
    null,
  );
  await stage2.start("web");
  await server.remove("web");
  const failing: Hook = { ...own, args: ["guest", "exit", "5"] };
  await stage2.create(await planned(server, { startContainer: [failing] }), null);
  assert.match(
    await refusal(stage2.start("web")),
    /^Cannot run hook "startContainer\[0\]": "\/guest" exited with 5$/,
  );
});

serverTest("a hook that fails ends the container, and those after its end run", async (server) => {
  const { dir, stage2 } = server;
  for (const point of ["prestart", "createRuntime", "poststart"] as const) {
    const plan = await planned(server, {
      [point]: [noting(dir, point, "exit 3")],
      poststop: [noting(dir, "poststop")],
    });
    const why = point === "poststart"
      ? await stage2.create(plan, null).then(() => refusal(stage2.start("web")))
      : await refusal(stage2.create(plan, null));
    assertEquals(why, `Cannot run hook "${point}[0]": "/bin/sh" exited with 3`);
    await until("poststop", async () => {
      return (await noted(server)).at(-1) === "poststop stopped" || undefined;
    });
    await until("its end", async () => await server.find("web") === undefined || undefined);
    await Deno.remove(`${dir}/noted`);
  }
});

serverTest(
  "a listener goes to the server of its path, with the process it is of",
  async (server) => {
    const { stage2, dir } = server;
    using listening = Deno.listen({ transport: "unix", path: `${dir}/listener` });
    const seccomp = {
      defaultAction: "SCMP_ACT_ALLOW",
      listenerPath: `${dir}/listener`,
      listenerMetadata: "meta",
      syscalls: [{ names: ["acct"], action: "SCMP_ACT_NOTIFY" }],
    };
    const filtered = async (change: object) => {
      const { kurma, config } = await planned(server, {});
      const linux = { ...config.linux, seccomp: { ...seccomp, ...change } };
      return { kurma: { ...kurma, seccomp: "none" }, config: { ...config, linux } } as Plan;
    };
    await stage2.create(await filtered({}), null);
    await stage2.start("web");
    using connection = await listening.accept();
    const bytes = new Uint8Array(65_536);
    const length = await connection.read(bytes) ?? 0;
    const told = JSON.parse(new TextDecoder().decode(bytes.subarray(0, length)));
    assertEquals([told.fds, told.metadata, told.state.id], [["seccompFd"], "meta", "web"]);
    // The command, whose parent is the container's init.
    const { pid } = (await server.find("web"))!;
    assert.match(
      await Deno.readTextFile(`/proc/${told.pid}/status`),
      new RegExp(`PPid:\\t${pid}\n`),
    );
    await server.remove("web");
    const refused = async (change: object) => refusal(stage2.create(await filtered(change), null));
    assertEquals(await refused({ listenerPath: `${dir}/nobody` }), "socket ENOENT");
    assertEquals(
      await refused({ listenerPath: undefined, listenerMetadata: undefined }),
      'Cannot carry out the plan: SCMP_ACT_NOTIFY needs "config.linux.seccomp.listenerPath"',
    );
  },
);

serverTest("a hook that sleeps holds up nobody else, and can be killed", async (server) => {
  const { stage2 } = server;
  const slow: Hook = { path: "/bin/sleep", args: ["sleep", "60"] };
  const made = refusal(stage2.create(await planned(server, { createRuntime: [slow] }), null));
  await server.run("other", ["sleep"]);
  await server.remove("other");
  await stage2.kill("web");
  assertEquals(await made, "clone ECHILD");
  const late = await planned(server, { prestart: [{ ...slow, timeout: 1 }] });
  assertEquals(
    await refusal(stage2.create(late, null)),
    'Cannot run hook "prestart[0]": "/bin/sleep" took longer than 1 s',
  );
});
