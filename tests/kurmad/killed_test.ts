/**
 * The daemon as it is installed, killed at any moment and followed by the next one.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { assert, assertEquals } from "../assert.ts";
import { binary, count, mustRun } from "../harness.ts";
import { type Kurmad, kurmadTest } from "./daemon.ts";
import { type Act, MixedWork, type Subject, type Told } from "./mixed_work.ts";

/** kurmad as mixed work sees it. */
class Worked implements Subject {
  readonly #kurmad: Kurmad;
  readonly told: Told[] = [];
  /** Milliseconds until each next one answered. */
  readonly back: number[] = [];
  #last = 0n;

  /** @param programs What kurmad is, in turns. */
  constructor(kurmad: Kurmad, readonly programs: readonly string[]) {
    this.#kurmad = kurmad;
  }

  async create(name: string, script: string): Promise<void> {
    const settings = { command: ["sh", "-c", script] };
    await this.#kurmad.api.call("Containers", "Create", {
      name,
      image: this.#kurmad.image,
      settings,
    });
  }

  async act(act: Act, container: string): Promise<void> {
    const { api } = this.#kurmad;
    const timeout = "1s";
    await {
      start: () => api.call("Containers", "Start", { container }),
      stop: () => api.call("Containers", "Stop", { container, timeout }),
      kill: () => api.call("Containers", "Kill", { container }),
      restart: () => api.call("Containers", "Restart", { container, timeout }),
      remove: () => api.call("Containers", "Remove", { container, force: true }),
    }[act]();
  }

  reason(error: unknown): ReturnType<Subject["reason"]> {
    if (!(error instanceof KurmaError)) return undefined;
    if (error.code === "unavailable") return "lost";
    if (!/^(state|missing)$/.test(error.code)) return undefined;
    return error.message.includes("is taken") ? "taken" : "refused";
  }

  async killed(): Promise<void> {
    this.#kurmad.program = this.programs[this.back.length % this.programs.length];
    this.back.push(await this.#kurmad.killed());
    await this.hear();
  }

  async names(): Promise<string[]> {
    return (await this.#kurmad.list()).map(({ name = "" }) => name);
  }

  /** Takes note of what happened since it did so last. */
  async hear(): Promise<void> {
    for (const event of await this.#kurmad.told(this.#last)) {
      assertEquals(event.sequence, this.#last + 1n, "An event was lost");
      this.#last = event.sequence;
      const { id, name, action, attributes, exit } = event;
      this.told.push({ id, name, action, run: attributes.run, code: exit?.code ?? -1 });
    }
  }

  /** Stops what runs, and returns how many ends there were. */
  async finish(work: MixedWork): Promise<number> {
    for (const { name } of await this.#kurmad.list()) {
      await this.#kurmad.api.call("Containers", "Stop", { container: name, timeout: "1s" });
    }
    await this.hear();
    return work.check(this.told);
  }
}

/** Kills it so often, and prints what came of it. */
async function kill(kurmad: Kurmad, rounds: number, programs: readonly string[]): Promise<void> {
  const containers = count(10, 50);
  const worked = new Worked(kurmad, programs);
  const work = new MixedWork(worked, containers);
  for (let round = 0; round < rounds; round++) await work.round();
  const ends = await worked.finish(work);
  const back = worked.back.toSorted((a, b) => a - b);
  console.log(
    `      killed ${rounds} times during work on ${containers} containers: ${work.done} operations ` +
      `done, ${work.lost} cut off, 0 containers lost, ${ends} ends told once; back after ` +
      `${back[rounds >> 1].toFixed(0)} ms at p50`,
  );
}

kurmadTest("killed at random points of mixed work, it loses nothing", async (kurmad) => {
  await kill(kurmad, count(10, 200), [binary]);
});

kurmadTest("another build takes over what the one before left", async (kurmad) => {
  const copy = `${kurmad.dir}/next/kurma`;
  await Deno.mkdir(`${kurmad.dir}/next`);
  await mustRun(["cp", binary, copy]);
  await kill(kurmad, count(4, 20), [copy, binary]);
  // The one before may be gone from the disk: what runs needs nothing of it.
  const settings = { command: ["sh", "-c", "sleep 1; exit 9"] };
  const { image } = kurmad;
  kurmad.program = copy;
  await kurmad.killed();
  await kurmad.api.call("Containers", "Create", { name: "web", image, settings, start: true });
  kurmad.program = binary;
  await kurmad.killed();
  await Deno.remove(copy);
  const { exit } = await kurmad.api.call("Containers", "Wait", { container: "web" });
  assertEquals(exit?.code, 9);
});

kurmadTest("100 containers are back as soon as it answers", async (kurmad) => {
  const total = count(20, 100);
  const { image } = kurmad;
  const settings = { command: ["sleep", "1000"] };
  const none = { tookMs: await kurmad.killed(), workedMs: worked(kurmad) };
  for (let n = 0; n < total; n++) {
    await kurmad.api.call("Containers", "Create", { name: `c${n}`, image, settings, start: true });
  }
  const before = new Map((await kurmad.list()).map(({ id, pid }) => [id, pid]));
  const all = { tookMs: await kurmad.killed(), workedMs: worked(kurmad) };
  const after = await kurmad.list();
  assertEquals(new Map(after.map(({ id, pid }) => [id, pid])), before);
  assert(after.every(({ state }) => state === "CONTAINER_STATE_RUNNING"));
  const shown = ({ tookMs, workedMs }: typeof all) =>
    `${tookMs.toFixed(0)} ms (${workedMs} ms of a processor)`;
  console.log(
    `      ${total} containers: the next kurmad answered after ${shown(all)}, with none after ` +
      `${shown(none)}`,
  );
  // With the start of the process in it, and on a machine that tests other things meanwhile.
  assert(all.tookMs < 10_000, shown(all));
});

/** Processor time that it has used, in milliseconds. proc_pid_stat(5) */
function worked({ pid }: Kurmad): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
