import { KernelError } from "../../ffi/kernel.ts";
import { assertEquals, rejection } from "../../tests/assert.ts";
import { Audit } from "./audit.ts";
import { Log } from "./log.ts";
import { type Format, formatters, type Level } from "./log_format.ts";
import { fileSink, type Sink, type SinkLine, syslogSink } from "./log_sinks.ts";

const time = new Date("2026-11-23T19:00:00Z");

/** A sink that keeps its lines, and takes them only when it is let. */
class Kept implements Sink {
  readonly isTerminal = false;
  readonly lines: string[] = [];
  closed = false;
  /** Until it settles nothing is taken. */
  gate: Promise<void> = Promise.resolve();

  async write(lines: readonly SinkLine[]): Promise<void> {
    await this.gate;
    this.lines.push(...lines.map(({ text }) => text));
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

function logTo(sink: Sink, level: Level = "info", format: Format = "text"): Log {
  return new Log({ level, format, sink }, () => time);
}

Deno.test("a log writes what is important enough, in order", async () => {
  const sink = new Kept();
  const log = logTo(sink, "warn");
  log.write("info", "not this");
  log.write("warn", "Cannot stop", { id: "abc", after: 5 });
  log.write("error", "Lost", { error: new Error("why not"), name: "a b" });
  await log.flush();
  assertEquals(sink.lines, [
    "2026-11-23T19:00:00.000Z warn  Cannot stop id=abc after=5",
    '2026-11-23T19:00:00.000Z error Lost error="why not" name="a b"',
  ]);
});

Deno.test("a line is one line, whatever it quotes", () => {
  const line = {
    time,
    level: "error",
    message: "a\nb\x1b[2J",
    fields: { name: "x\r\ny", big: 5n },
  } as const;
  assertEquals(
    formatters.text(line),
    '2026-11-23T19:00:00.000Z error a\\u{a}b\\u{1b}[2J name="x\\\\u{d}\\\\u{a}y" big=5',
  );
  assertEquals(JSON.parse(formatters.json(line)), {
    name: "x\r\ny",
    big: "5",
    time: "2026-11-23T19:00:00.000Z",
    level: "error",
    message: "a\nb\x1b[2J",
  });
  assertEquals(formatters.json(line).includes("\n"), false);
  assertEquals(formatters.colour({ ...line, message: "a" }).slice(0, 5), "\x1b[31m");
});

Deno.test("a field does not pass for a part of the line", () => {
  const forged = formatters.json({ time, level: "info", message: "m", fields: { level: "error" } });
  assertEquals(JSON.parse(forged).level, "info");
});

Deno.test("nobody waits for a slow reader, and what is lost is counted", async () => {
  const sink = new Kept();
  const gate = Promise.withResolvers<void>();
  sink.gate = gate.promise;
  const log = logTo(sink);
  for (let at = 0; at < 1_500; at++) log.write("info", `line ${at}`);
  gate.resolve();
  await log.flush();
  log.write("info", "after");
  await log.flush();
  const lost = sink.lines.filter((line) => line.includes("Lost"));
  assertEquals(sink.lines.length, 1 + 1_000 + 1 + 1); // The first was on its way already.
  assertEquals(lost.map((line) => line.replace(/^.*Lost/, "Lost")), [
    "Lost 499 lines: the log's reader is slow",
  ]);
});

Deno.test("a log that changes writes what waits where it was meant to go", async () => {
  const [before, after] = [new Kept(), new Kept()];
  const log = logTo(before);
  log.write("info", "one");
  await log.change({ level: "debug", format: "json", sink: after });
  log.write("debug", "two");
  await log[Symbol.asyncDispose]();
  assertEquals([before.lines.length, before.closed, after.lines.length, after.closed], [
    1,
    true,
    1,
    true,
  ]);
});

Deno.test("a file is renamed when it is full, and the oldest goes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/kurmad.log`;
    const sink = fileSink({ path, maxSize: 10, maxFiles: 3 });
    for (const text of ["first", "second", "third", "fourth", "fifth"]) {
      await sink.write([{ level: "info", text }]);
    }
    await sink.close();
    const read = (name: string) => Deno.readTextFile(`${folder}/${name}`);
    assertEquals([await read("kurmad.log"), await read("kurmad.log.1")], ["fifth\n", "fourth\n"]);
    assertEquals(await read("kurmad.log.2"), "third\n");
    assertEquals([...Deno.readDirSync(folder)].length, 3);
    const again = fileSink({ path, maxSize: 0, maxFiles: 1 });
    await again.write([{ level: "info", text: "more" }]);
    await again.close();
    assertEquals(await read("kurmad.log"), "fifth\nmore\n");
    assertEquals((Deno.statSync(path).mode ?? 0) & 0o777, 0o640);
    const error = await rejection(() =>
      fileSink({ path: `${folder}/a/b`, maxSize: 0, maxFiles: 1 })
    );
    assertEquals(error.message, `Cannot write the log to "${folder}/a/b"`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("syslog gets each line with its severity; what it does not take is counted", async () => {
  const sent: [string, string][] = [];
  let full = false;
  const kernel = {
    datagram(path: string, bytes: Uint8Array) {
      if (full) throw new KernelError("socket", "EAGAIN", path);
      sent.push([path, new TextDecoder().decode(bytes)]);
    },
  };
  const log = logTo(syslogSink(kernel), "debug");
  for (const level of ["debug", "info", "warn", "error"] as const) log.write(level, level);
  await log.flush();
  assertEquals(sent.map(([path, text]) => [path, /^<\d+>/.exec(text)?.[0]]), [
    ["/dev/log", "<31>"],
    ["/dev/log", "<30>"],
    ["/dev/log", "<28>"],
    ["/dev/log", "<27>"],
  ]);
  full = true;
  log.write("info", "gone");
  await log.flush();
  full = false;
  log.write("info", "again");
  await log.flush();
  assertEquals(sent.at(-1)?.[1].includes("Lost 1 lines"), true);
});

const call = {
  caller: { pid: 5, uid: 1000, gid: 100 },
  method: "kurma.v1.Containers/Stop",
  subject: "abc",
};

Deno.test("an audit line says who did what, and what became of it", async () => {
  const sink = new Kept();
  await new Audit(sink, logTo(new Kept()), () => time).record(call, { tookMs: 1.23456 });
  const denied = { code: "denied", message: "Cannot stop" } as const;
  await new Audit(sink, logTo(new Kept()), () => time).record(call, { error: denied, tookMs: 2 });
  assertEquals(sink.lines.map((line) => JSON.parse(line)), [
    {
      time: time.toISOString(),
      ...call.caller,
      method: call.method,
      subject: "abc",
      outcome: "ok",
      tookMs: 1.2,
    },
    {
      time: time.toISOString(),
      ...call.caller,
      method: call.method,
      subject: "abc",
      outcome: "denied",
      reason: "Cannot stop",
      tookMs: 2,
    },
  ]);
});

Deno.test("lines of calls that end together do not mix", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/audit`;
    {
      await using audit = new Audit(
        fileSink({ path, maxSize: 2_000, maxFiles: 50 }),
        logTo(new Kept()),
      );
      await Promise.all(Array.from({ length: 100 }, () => audit.record(call, { tookMs: 1 })));
    }
    const texts = [...Deno.readDirSync(folder)].map(({ name }) =>
      Deno.readTextFileSync(`${folder}/${name}`).trimEnd().split("\n")
    );
    assertEquals(texts.flat().map((line) => JSON.parse(line).subject), Array(100).fill("abc"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("an audit that cannot be written is an error in the log; none is written to none", async () => {
  const sink = new Kept();
  const log = logTo(sink);
  const broken: Sink = {
    isTerminal: false,
    write: () => Promise.reject(new Error("No space left on device")),
    close: () => Promise.resolve(),
  };
  await new Audit(broken, log).record(call, { tookMs: 1 });
  await new Audit("none", log).record(call, { tookMs: 1 });
  await new Audit("log", log).record(call, { tookMs: 1 });
  await log.flush();
  assertEquals(sink.lines.map((line) => line.split(" ").slice(1, 5).join(" ")), [
    "error Cannot write the",
    "info  audit pid=5",
  ]);
});
