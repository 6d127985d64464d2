/**
 * Terminals, input and output of containers under the stage2 server, while clients and
 * servers come and go.
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import type { Descriptor } from "../../ffi/kernel.ts";
import { assert, assertEquals } from "../assert.ts";
import { refusal, type Served, serverTest, until, within } from "./served.ts";

/** Where copies of what a container prints arrive. */
class Screen implements Disposable {
  readonly #ours: Descriptor;
  readonly theirs: Descriptor;
  text = "";
  /** Settles when nobody can write any more. */
  readonly ended: Promise<void>;

  constructor() {
    [this.#ours, this.theirs] = kernel.pair();
    this.ended = this.#read();
  }

  /** Waits until it shows `text`, and forgets what it shows. */
  async shows(text: string): Promise<void> {
    await until(`${JSON.stringify(text)} on the screen`, () => {
      return Promise.resolve(this.text.includes(text) || undefined);
    });
    this.text = "";
  }

  async #read(): Promise<void> {
    while (true) {
      const packet = await kernel.receive(this.#ours, 65_536);
      if (!packet) break;
      this.text += new TextDecoder().decode(packet.bytes);
    }
    kernel.close(this.#ours);
  }

  [Symbol.dispose](): void {
    kernel.hangUp(this.#ours);
  }
}

/** Attaches a new screen, and what is typed. */
async function attach(server: Served, id: string, process = 0): Promise<[Screen, Keyboard]> {
  const screen = new Screen();
  const input = await server.stage2.attach(id, process === 0 ? [screen.theirs] : [], process);
  kernel.close(screen.theirs);
  assert(input !== undefined);
  return [screen, new Keyboard(input)];
}

class Keyboard implements Disposable {
  #descriptor: Descriptor | undefined;
  readonly #file: Deno.FsFile;

  constructor(descriptor: Descriptor) {
    this.#descriptor = descriptor;
    this.#file = Deno.openSync(`/proc/self/fd/${descriptor}`, { write: true });
  }

  type(text: string): void {
    this.#file.writeSync(new TextEncoder().encode(text));
  }

  [Symbol.dispose](): void {
    if (this.#descriptor === undefined) return;
    kernel.close(this.#descriptor);
    this.#descriptor = undefined;
    this.#file.close();
  }
}

function logOf(server: Served): string {
  return Deno.readTextFileSync(`${server.dir}/log/log`).replace(/^\S+ /gm, "");
}

async function withLog(server: Served): Promise<string> {
  await Deno.mkdir(`${server.dir}/log`);
  return `${server.dir}/log`;
}

serverTest("input stays open, output is logged and shown to whoever attaches", async (server) => {
  await server.create("web", ["echo"], { log: await withLog(server), stdin: true });
  const [first, keys] = await attach(server, "web");
  await server.stage2.start("web");
  keys.type("hel");
  await first.shows("hel"); // A log has no half lines; who looks on does.
  assertEquals(logOf(server), "");
  const [second, further] = await attach(server, "web");
  further.type("lo\n");
  await first.shows("lo\n");
  await second.shows("lo\n");
  for (const part of [first, keys, further]) part[Symbol.dispose]();
  await first.ended;

  // Neither the client's end nor the server's is the end of the input.
  await server.killServer();
  await server.restart();
  const [third, again] = await attach(server, "web");
  again.type("still here\n");
  await third.shows("still here\n");
  await second.shows("still here\n");
  await server.stage2.closeInput("web");
  again[Symbol.dispose]();
  assertEquals((await server.ended("web")).status, 0);
  await within("the ends of the screens", Promise.all([second.ended, third.ended]));
  assertEquals(logOf(server), "stdout F hello\nstdout F still here\n");
  assertEquals(await refusal(server.stage2.attach("web")), "signal ESRCH");
  await server.remove("web");
});

serverTest(
  "a reader that is slow gets every byte, one that leaves holds nobody up",
  async (server) => {
    const lines = 50_000;
    const log = await withLog(server);
    await server.create("web", ["write-lines", String(lines)], { log });
    const leaving = new Screen();
    const slow = new Screen();
    for (const screen of [leaving, slow]) {
      await server.stage2.attach("web", [screen.theirs]);
      kernel.close(screen.theirs);
    }
    await server.stage2.start("web");
    await leaving.shows("line 1\n");
    leaving[Symbol.dispose]();
    assertEquals((await server.ended("web")).status, 0);
    await within("the slow one", slow.ended);
    const expected = Array.from({ length: lines }, (_, index) => `line ${index + 1}\n`).join("");
    assert(slow.text === expected, `${slow.text.length} of ${expected.length} bytes`);
    assertEquals(logOf(server).split("\n").length, lines + 1);
    await server.remove("web");
  },
);

serverTest("a container without a log has no output to attach to", async (server) => {
  await server.run("web", ["sleep"]);
  const screen = new Screen();
  assertEquals(await refusal(server.stage2.attach("web", [screen.theirs])), "attach EOPNOTSUPP");
  kernel.close(screen.theirs);
  assertEquals(await server.stage2.attach("web"), undefined);
  assertEquals(await refusal(server.stage2.closeInput("web")), "attach EOPNOTSUPP");
  const size = { rows: 10, columns: 20 };
  assertEquals(await refusal(server.stage2.resize("web", size)), "terminal ENOTTY");
  await server.remove("web");
});

serverTest("a terminal with a log is typed into, logged and resized", async (server) => {
  const log = await withLog(server);
  await server.create("web", ["echo"], { log, stdin: true, terminal: true });
  const [screen, keys] = await attach(server, "web");
  await server.stage2.start("web");
  keys.type("hi\n");
  await screen.shows("hi\r\nhi\r\n"); // The terminal's own echo, and the guest's.
  for (const part of [screen, keys]) part[Symbol.dispose]();
  await server.killServer();
  await server.restart();
  const [later, typing] = await attach(server, "web");
  typing.type("again\n\x04");
  assertEquals((await server.ended("web")).status, 0);
  await later.ended;
  assertEquals(later.text, "again\r\nagain\r\n");
  const lines = ["hi", "hi", "again", "again"].map((line) => `stdout F ${line}\r\n`);
  assertEquals(logOf(server), lines.join(""));
  typing[Symbol.dispose]();
  await server.remove("web");
});

serverTest("a terminal has its size from who asks, whoever made it", async (server) => {
  const log = await withLog(server);
  await server.create("web", ["resized"], { log, stdin: true, terminal: true });
  const [screen, keys] = await attach(server, "web");
  await server.stage2.start("web");
  await screen.shows("terminal 0 0\r\n");
  await server.stage2.resize("web", { rows: 24, columns: 80 });
  await screen.shows("terminal 24 80\r\n");
  await server.killServer();
  await server.restart();
  await server.stage2.resize("web", { rows: 50, columns: 65_535 });
  await screen.shows("terminal 50 65535\r\n");
  for (const part of [screen, keys]) part[Symbol.dispose]();
  await server.remove("web");
});

serverTest(
  "a terminal outlives its client and its server, and is handed out again",
  async (server) => {
    const plan = await server.plan("web", ["resized"], { terminal: true });
    const { terminal } = await server.stage2.create(plan, null);
    assert(terminal !== undefined);
    await server.stage2.start("web");
    kernel.close(terminal);
    server.stage2[Symbol.dispose]();
    await server.killServer();
    await server.restart();
    const again = await server.stage2.attach("web");
    assert(again !== undefined);
    assert((await Deno.readLink(`/proc/self/fd/${again}`)).endsWith("ptmx"));
    kernel.close(again);
    await server.stage2.resize("web", { rows: 1, columns: 1 });
    assertEquals((await server.find("web"))?.state, "running");
    await server.remove("web");
  },
);

serverTest("processes of exec are named by their pid, also by the next client", async (server) => {
  await server.run("web", ["sleep"]);
  const first = await server.exec("web", ["sleep"]);
  const second = await server.exec("web", ["resized"], null, "0", true);
  assert(second.terminal !== undefined);
  kernel.close(second.terminal);
  const { processes } = await server.find("web") ?? {};
  assertEquals(processes?.toSorted(), [first.pid, second.pid].toSorted());
  await server.stage2.signal("web", 15, first.pid);
  assertEquals((await first.ended).status, 143);

  server.connect();
  assertEquals((await server.find("web"))?.processes, [second.pid]);
  const size = { rows: 3, columns: 4 };
  await server.stage2.resize("web", size, second.pid);
  const terminal = await server.stage2.attach("web", [], second.pid);
  assert(terminal !== undefined);
  assert((await Deno.readLink(`/proc/self/fd/${terminal}`)).endsWith("ptmx"));
  kernel.close(terminal);
  for (const pid of [first.pid, 1]) {
    assertEquals(await refusal(server.stage2.signal("web", 15, pid)), "supervise ESRCH");
  }
  await server.stage2.kill("web", second.pid);
  assertEquals((await server.processEnded(second.pid)).status, 137);
  assertEquals((await server.find("web"))?.processes, undefined);
  assertEquals((await server.find("web"))?.state, "running");
  await server.remove("web");
});

serverTest(
  "a program talks to stage1 over its socket, then hands it to the next",
  async (server) => {
    const plan = await server.plan("web", ["chain"], { stage1: true });
    assertEquals(await refusal(server.stage2.create(plan, null)), "plan EBADF");
    const [ours, theirs] = kernel.pair();
    await server.stage2.create(plan, null, theirs);
    kernel.close(theirs);
    await server.stage2.start("web");
    const heard = async () => {
      const packet = await within("a link", kernel.receive(ours, 100));
      return new TextDecoder().decode(packet?.bytes);
    };
    assertEquals(await heard(), "link 2 ");
    kernel.send(ours, new TextEncoder().encode("10.0.0.2"));
    assertEquals(await heard(), "link 2 10.0.0.2");
    assertEquals((await server.ended("web")).status, 0);
    // Nobody else in the container has it.
    assertEquals(await within("its end", kernel.receive(ours, 100)), null);
    kernel.close(ours);
    await server.remove("web");
  },
);

serverTest(
  "a graceful stop sends the image's signal, and kills when its time is over",
  async (server) => {
    const powerFail = 30; // What asks the init to stop.
    await server.run("polite", ["catch"], { stop: { signal: 10, limitMs: 20_000 } });
    await server.run("stubborn", ["sleep"], { stop: { signal: 28, limitMs: 300 } });
    await server.stage2.signal("polite", powerFail);
    assertEquals((await server.ended("polite")).status, 0);
    const before = performance.now();
    await server.stage2.signal("stubborn", powerFail);
    assertEquals((await server.ended("stubborn")).status, 137);
    assert(performance.now() - before >= 300);
    for (const id of ["polite", "stubborn"]) await server.remove(id);
  },
);
