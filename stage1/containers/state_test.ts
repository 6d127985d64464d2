import { assertEquals, rejection } from "../../tests/assert.ts";
import type { Container } from "./record.ts";
import { State } from "./state.ts";

/** Runs `test` with a state folder of its own. */
async function withRoot(test: (root: string) => Promise<void>): Promise<void> {
  const root = await Deno.makeTempDir();
  try {
    await test(root);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

function container(name: string): Container {
  return {
    id: name.padEnd(32, "0"),
    name,
    image: { id: "sha256:1", name: "hello" },
    spec: { image: "hello" },
    createdAt: 1,
    status: { phase: "new", run: 0, paused: false, wanted: false, restarts: 0 },
  };
}

Deno.test("a state that is opened again knows what was changed", () =>
  withRoot(async (root) => {
    {
      await using state = State.open(root);
      const [web, db] = [container("aa"), container("bb")];
      state.add([web, db]);
      state.updateRecord(web, { name: "front" });
      state.updateStatus(web, { phase: "running", run: 1 });
      state.remove([db]);
      state.saveVolume({ name: "data", labels: {}, createdAt: 2 });
    }
    await using again = State.open(root);
    const kept = [...again.containers.values()].map(({ name, status }) => [name, status.phase]);
    assertEquals(kept, [["front", "running"]]);
    assertEquals([...again.volumes.keys()], ["data"]);
  }));

Deno.test("what a killed process wrote is there, synced or not", () =>
  withRoot(async (root) => {
    const module = new URL("./state.ts", import.meta.url).href;
    const code = `
      const { State } = await import(${JSON.stringify(module)});
      const state = State.open(Deno.args[0]);
      for (let n = 0;; n++) {
        state.tell({ kind: "daemon", id: "", name: "", action: String(n) });
        console.log(n);
      }`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-config", "--ext=ts", "--", code, root],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let said = "";
    while (said.split("\n").length < 50) said += (await reader.read()).value ?? "";
    child.kill("SIGKILL");
    await child.status;
    for (let part = await reader.read(); !part.done; part = await reader.read()) said += part.value;
    const told = Number(said.trimEnd().split("\n").at(-1));
    await using state = State.open(root);
    assertEquals(state.events.last >= told + 1, true);
  }));

Deno.test("a change that fails changes and tells nothing", () =>
  withRoot(async (root) => {
    await using state = State.open(root);
    state.add([container("aa")]);
    await rejection(() =>
      state.change(() => {
        state.tell({ kind: "container", id: "aa", name: "aa", action: "create" });
        state.add([{ ...container("bb"), name: "aa" }]);
      })
    );
    assertEquals([state.containers.size, state.events.last], [1, 0]);
  }));

Deno.test("events are numbered over restarts, and the oldest are dropped", () =>
  withRoot(async (root) => {
    for (const first of [1, 2501]) {
      await using state = State.open(root);
      state.change(() => {
        for (let n = 0; n < 2500; n++) {
          state.tell({ kind: "daemon", id: "", name: "", action: "n" }, n);
        }
      });
      assertEquals(state.events.last, first + 2499);
    }
    await using state = State.open(root);
    const { value } = await state.events.follow(0).next();
    assertEquals(value?.sequence, 5000 - 4096 + 1);
  }));

Deno.test("one kurmad at a time has a state folder", () =>
  withRoot(async (root) => {
    await using _first = State.open(root);
    const error = await rejection(() => State.open(root));
    assertEquals(
      error.message,
      `Cannot use the state in "${root}/state": kurmad ${Deno.pid} has it`,
    );
  }));
