import { assert, assertEquals, rejection } from "../tests/assert.ts";
import { configCommand, helpText, readCommandLine } from "./kurmad_config.ts";

const lines: [
  args: string[],
  file: string | undefined,
  flags: [string, string][],
  words: string[],
][] = [
  [[], undefined, [], []],
  [["--config", "/a.yml"], "/a.yml", [], []],
  [["-configFile=/a.yml"], "/a.yml", [], []],
  [["-configFile", "/a.yml", "--debug"], "/a.yml", [["debug", "true"]], []],
  [["--debug=false", "--log-level", "warn"], undefined, [["debug", "false"], [
    "log.level",
    "warn",
  ]], []],
  [["config", "check", "/a.yml"], undefined, [], ["config", "check", "/a.yml"]],
];
for (const [args, file, flags, words] of lines) {
  Deno.test(`kurmad ${args.join(" ")}`, () => {
    const line = readCommandLine(args);
    assertEquals([line.file, [...line.flags ?? []], line.words], [file, flags, words]);
  });
}

const wrong: [args: string[], message: string][] = [
  [["--loud"], 'Unknown flag "--loud"'],
  [["-x"], 'Unknown flag "-x"'],
  [["--log-level"], "Flag --log-level needs a value"],
];
for (const [args, message] of wrong) {
  Deno.test(`kurmad ${args.join(" ")} is refused`, async () => {
    assertEquals((await rejection(() => readCommandLine(args))).message, message);
  });
}

Deno.test("kurmad config example passes kurmad config check", async () => {
  const path = await Deno.makeTempFile({ suffix: ".yml" });
  try {
    await Deno.writeTextFile(path, await configCommand(readCommandLine(["config", "example"]), {}));
    const line = readCommandLine(["config", "check", path]);
    assertEquals(await configCommand(line, {}), `${path} is in order: 0 initial pods`);
    await Deno.writeTextFile(path, "lgo: {}");
    const error = await rejection(configCommand(line, {}));
    assert(error.message.startsWith(`Cannot use "${path}": lgo: unknown field`));
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("kurmad config with other words is refused", async () => {
  for (const words of [["config"], ["config", "chekc"], ["config", "example", "x"]]) {
    const error = await rejection(configCommand(readCommandLine(words), {}));
    assert(error.message.startsWith("Unknown command"), error.message);
  }
});

Deno.test("kurmad --help names every setting's flag and variable", async () => {
  const text = await helpText();
  assert(text.includes("--log-level=VALUE"));
  assert(text.includes("KURMAD_LOG_LEVEL"));
});
