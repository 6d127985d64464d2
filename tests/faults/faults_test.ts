/**
 * A start at each of its system calls: who made the call is killed, or the call fails.
 * The server then says what went wrong or that the worker has gone, or the start goes on;
 * in either case nothing of it is left, and the next start succeeds.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { count } from "../harness.ts";
import {
  cgroupFolders,
  childrenOf,
  pause,
  refusal,
  type Served,
  serverTest,
} from "../stage2/served.ts";
import { Injector, type Order, type Verdict } from "./injector.ts";

/** A server under an injector, and what a start must not change. */
class Bench {
  #count = 0;

  constructor(readonly server: Served, readonly injector: Injector) {}

  /**
   * Starts a container of its own range of ids, with all that a container can have, while
   * the order is carried out; then nothing of it may be left.
   *
   * @param ahead Have it made ahead, and then run it.
   */
  async start(order?: Order, ahead = false): Promise<{ answer: string; verdict?: Verdict }> {
    const { server } = this;
    const id = `c${this.#count++}`;
    const before = this.#state();
    const plan = await server.plan(id, ["exit", "0"], { cgroup: true });
    const folder = plan.kurma.scratch;
    await Deno.mkdir(`${folder}/log`);
    const firstId = 0x1000_0000 + this.#count % 512 * 65_536;
    const mappings = [{ containerID: 0, hostID: firstId, size: 65_536 }];
    if (order) await this.injector.arm(order);
    const whole = {
      kurma: { ...plan.kurma, log: { directory: `${folder}/log` }, rpc: `${folder}/rpc` },
      config: {
        ...plan.config,
        linux: { ...plan.config.linux, uidMappings: mappings, gidMappings: mappings },
      },
    };
    const answer = await refusal((async () => {
      if (ahead) {
        await server.stage2.prepare(id, firstId, whole);
        await server.stage2.run(whole, null);
      } else {
        await server.stage2.create(whole, null);
        await server.stage2.start(id);
      }
    })());
    const verdict = order && await this.injector.end();
    const status = answer === "done" ? `exit ${(await server.ended(id)).status}` : answer;
    await this.#clear(id);
    await Deno.remove(folder, { recursive: true });
    assertEquals(this.#state(), before, `${JSON.stringify({ order, verdict })} ${status}`);
    return { answer: status, verdict };
  }

  /** Until the server has nothing of it any more. */
  async #clear(id: string): Promise<void> {
    const deadline = performance.now() + 10_000;
    while (true) {
      const state = await this.server.find(id);
      if (state?.state === "stopped") await this.server.stage2.delete(id);
      else if (state && ["created", "running"].includes(state.state)) {
        await refusal(this.server.stage2.kill(id)); // It may have ended just now.
      }
      const left = [...await cgroupFolders(id), ...childrenOf(this.server.pid) ?? ["no server"]];
      if (!state && left.length === 0) return;
      assert(performance.now() < deadline, `left of ${id}: ${JSON.stringify(state)} ${left}`);
      await pause(1);
    }
  }

  /** What the server has open, but for the user namespaces that it keeps, and the mounts. */
  #state(): string[] {
    const folder = `/proc/${this.server.pid}/fd`;
    const open = [...Deno.readDirSync(folder)].map(({ name }) =>
      Deno.readLinkSync(`${folder}/${name}`)
    )
      .filter((link) => !link.startsWith("user:")).sort();
    return [...open, Deno.readTextFileSync("/proc/self/mountinfo")];
  }
}

function faultsTest(name: string, body: (bench: Bench) => Promise<void>): void {
  serverTest(name, async (server) => {
    await using injector = await Injector.attach(server.pid);
    const bench = new Bench(server, injector);
    assertEquals((await bench.start()).answer, "exit 0");
    await body(bench);
    assertEquals((await bench.start()).answer, "exit 0");
  });
}

/** The processes of a start: worker, holder of a new user namespace, init, command. */
const processes = [1, 2, 3, 4];

/** Of one that is made ahead; one more clones the init, and the command has one of its own. */
const processesAhead = [1, 2, 3, 4, 5, 6];

/** The holder is killed when its maps are written, which may be before its last call. */
const holderCalls = 3;

/** Tries the calls of every process, from `first` on each `step`-th; their totals. */
async function everyCall(
  first: number,
  step: number,
  attempt: (position: number, call: number) => Promise<Verdict | undefined>,
  who = processes,
): Promise<number[]> {
  const totals: number[] = [];
  for (const process of who) {
    for (let call = first;; call += step) {
      const verdict = await attempt(process, call);
      if (verdict?.kind !== "miss" || process === 2 && call < holderCalls) continue;
      totals.push(verdict.count);
      break;
    }
  }
  return totals;
}

faultsTest("a start at which somebody dies after any call leaves nothing", async (bench) => {
  let kills = 0;
  const answers = new Map<string, number>();
  const totals = await everyCall(1, 1, async (process, call) => {
    const { answer, verdict } = await bench.start({ kind: "kill", process, call });
    if (verdict?.kind !== "hit") return verdict;
    kills++;
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
    assert(!killed[answer] || process >= killed[answer], `${process} ${verdict.name}: ${answer}`);
    assert(answer in killed, `${process} ${verdict.name}: ${answer}`);
    if (kills % 20 === 0) assertEquals((await bench.start()).answer, "exit 0");
    return verdict;
  });
  const said = [...answers].map(([answer, times]) => `${times} × ${answer}`).join(", ");
  console.log(`kills: ${kills}, one after each of ${totals.join(" + ")} calls; ${said}`);
});

/** What a start may answer when a process is killed, and from which process on. */
const killed: Record<string, number> = {
  "clone ECHILD": 1, // Whoever made it is gone.
  "exit 0": 1, // It had said all there was to say.
  "supervise EBUSY": 3, // It ended between create and start.
  "socket EPIPE": 3, // The same, in the moment of the start.
  "exit 137": 3, // It ran, and was killed.
};

/** What the start of one that is made ahead may answer besides, and why. */
const killedAhead: Record<string, string> = {
  "socket ECONNRESET": "it ended when it was given something",
  "hostname ESRCH": "it ended before it was given a name",
  "wait ESRCH": "the same",
  "supervise EEXIST": "its worker is dead, and it is still being cleared up after",
  "socket EADDRINUSE": "the same, and all but its socket is gone",
  "plan ESTALE": "it ended before it was given its command",
};

faultsTest(
  "whoever dies while a container is made ahead, or started, leaves nothing",
  async (bench) => {
    const step = count(3, 1);
    const first = 1 + Math.floor(Math.random() * step);
    const answers = new Map<string, number>();
    const totals = await everyCall(first, step, async (process, call) => {
      const { answer, verdict } = await bench.start({ kind: "kill", process, call }, true);
      if (verdict?.kind !== "hit") {
        assertEquals(answer, "exit 0");
        return verdict;
      }
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
      const isKnown = answer in killed || answer in killedAhead;
      assert(isKnown, `${process} ${verdict.name}: ${answer}`);
      return verdict;
    }, processesAhead);
    const said = [...answers].map(([answer, times]) => `${times} × ${answer}`).join(", ");
    console.log(`kills ahead: one after each ${step}. of ${totals.join(" + ")} calls; ${said}`);
  },
);

faultsTest("a start of which any call fails says which step, or goes on", async (bench) => {
  const step = count(3, 1);
  const first = 1 + Math.floor(Math.random() * step);
  let failures = 0;
  const wentOn = new Map<string, number>();
  let totals: number[] = [];
  for (let which = 0; which < count(1, 3); which++) {
    totals = await everyCall(first, step, async (process, call) => {
      const { answer, verdict } = await bench.start({ kind: "fail", process, call, which });
      if (verdict?.kind !== "hit") {
        assertEquals(answer, "exit 0");
        return verdict;
      }
      failures++;
      const where = `${process} ${verdict.name}`;
      if (answer === "exit 0") {
        assert(where in harmless, `${where} ${verdict.errno}: it goes on`);
        wentOn.set(where, (wentOn.get(where) ?? 0) + 1);
      } else if (answer === "supervise EBUSY") {
        // The init failed after its command had said that it waits: it has ended by then.
        assertEquals(process, 3, `${where} ${verdict.errno}`);
      } else if (answer !== "clone ECHILD") {
        assertEquals(answer.split(" ")[1], verdict.errno, `${where}: ${answer}`);
      }
      return verdict;
    });
  }
  const went = [...wentOn].map(([where, times]) => `${times} × ${where}`).join(", ");
  console.log(
    `failures: ${failures}, of each ${step}. from call ${first} on of ` +
      `${totals.join(" + ")}; went on after ${went}`,
  );
});

/** Calls without which a start goes on, by process, and why that is right. */
const harmless: Record<string, string> = {
  "1 prctl": "a worker that outlives its server ends by itself",
  "1 statx": "a stream that cannot be given away stays as it is",
  "1 fsconfig": "layers by descriptor are new in Linux 6.13; their names do as well",
  "1 unlinkat": "a cgroup of that name was not there",
  "2 prctl": "the holder is killed by its worker",
  "3 fsconfig": "a label of a file system, or the limits of an empty one that is read-only",
  "3 read": "the init looks for what has ended whatever the signals say",
  "3 poll": "the init waits again",
  "3 prlimit64": "lowering one's limit is always allowed",
  "4 statx": "as for the worker",
  "4 fchown": "what is not ours to give stays as it is",
};
