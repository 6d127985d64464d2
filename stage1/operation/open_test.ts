import { RecordingKernel } from "../../tests/recording_kernel.ts";
import { assertEquals, rejection } from "../../tests/assert.ts";
import { checkSettings } from "../config/load.ts";
import type { Settings } from "../config/settings.ts";
import { Registry } from "./metrics.ts";
import { openAudit, openLog, serveMetrics } from "./open.ts";

function settings(document: unknown): Settings {
  return checkSettings(document, "settings").settings;
}

Deno.test("log and audit go where the settings say", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const wanted = settings({
      log: { target: `${folder}/log`, format: "json", level: "warn" },
      audit: { target: `${folder}/audit` },
    });
    const kernel = new RecordingKernel();
    {
      await using log = openLog(wanted, kernel);
      log.write("info", "not this");
      log.write("error", "this");
      await using audit = openAudit(wanted, log);
      await audit.record({ caller: { pid: 1, uid: 0, gid: 0 }, method: "a/B" }, { tookMs: 0 });
    }
    assertEquals(JSON.parse(await Deno.readTextFile(`${folder}/log`)).message, "this");
    assertEquals(JSON.parse(await Deno.readTextFile(`${folder}/audit`)).method, "a/B");
    {
      await using log = openLog(settings({ log: { target: "syslog" } }), kernel);
      log.write("info", "said");
    }
    assertEquals(kernel.log.length, 1);
    const error = await rejection(() =>
      openLog(settings({ log: { target: `${folder}/a/b` } }), kernel)
    );
    assertEquals(error.message, `Cannot write the log to "${folder}/a/b"`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

for (const kind of ["tcp", "unix"] as const) {
  Deno.test(`metrics are served by ${kind}, and nothing else is`, async () => {
    const folder = await Deno.makeTempDir();
    const registry = new Registry();
    registry.gauge("up", "Whether.").set(1);
    const server = serveMetrics(kind === "tcp" ? "127.0.0.1:0" : `unix:${folder}/m`, registry);
    const proxy = { transport: "unix", path: `${folder}/m` } as const;
    const client = kind === "unix" ? Deno.createHttpClient({ proxy }) : undefined;
    try {
      const port = server.addr.transport === "tcp" ? server.addr.port : 80;
      const ask = (path: string, method = "GET") =>
        fetch(`http://127.0.0.1:${port}${path}`, { method, client });
      const answer = await ask("/metrics");
      assertEquals(await answer.text(), "# HELP up Whether.\n# TYPE up gauge\nup 1\n");
      assertEquals(
        answer.headers.get("content-type")?.startsWith("text/plain; version=0.0.4"),
        true,
      );
      for (
        const [path, method, status] of [["/", "GET", 404], ["/metrics", "POST", 405]] as const
      ) {
        const other = await ask(path, method);
        await other.body?.cancel();
        assertEquals(other.status, status);
      }
    } finally {
      client?.close();
      await server.shutdown();
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("an address that cannot be had is an error with its name", async () => {
  const error = await rejection(() => serveMetrics("192.0.2.1:1", new Registry()));
  assertEquals(error.message, 'Cannot serve metrics at "192.0.2.1:1"');
});
