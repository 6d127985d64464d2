import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { type Command, type Entry, isGroup } from "./command.ts";
import { called, common, entryOf } from "./commands.ts";
import { helpFor } from "./help.ts";
import { interpret, UsageError } from "./parse.ts";
import { split } from "./split.ts";
import { top } from "./surface.ts";

/** Everything that words call, with those words. */
function* entries(path: string[], entry: Entry): Generator<[path: string[], entry: Entry]> {
  yield [path, entry];
  if (!isGroup(entry)) return;
  for (const [word, below] of Object.entries(entry.commands)) {
    yield* entries([...path, word], below);
  }
}

/** The words of a command line as a shell splits them, up to a pipe or a redirection. */
function shellWords(line: string): string[] {
  const words = line.split(/ [|<>]|\)/, 1)[0].match(/'[^']*'|"[^"]*"|\S+/g) ?? [];
  return words.map((word) => word.replace(/^(['"])(.*)\1$/, "$2"));
}

const table = await top();

for (const [path, entry] of entries([], table)) {
  const name = ["kurma", ...path].join(" ");

  Deno.test(`help about ${name} fits 80 columns and has examples`, async () => {
    const help = await helpFor(path, 80);
    assert.deepEqual(help.split("\n").filter((line) => line.length > 80), []);
    assert.ok(entry.examples.length >= 2, "two examples at least");
    assert.doesNotMatch(entry.summary, /\.$/);
  });

  for (const [line] of entry.examples) {
    Deno.test(`the example "${line}" is a command line that parses`, async () => {
      const [program, ...words] = shellWords(line.slice(line.indexOf("kurma")));
      assertEquals(program, "kurma");
      let found: Entry = table;
      const followed: string[] = [];
      while (isGroup(found)) {
        const [word] = words.splice(0, 1);
        found = await entryOf(followed, found, word);
        followed.push(word);
      }
      assert.deepEqual(followed.slice(0, path.length), path);
      understood(followed, found, words);
    });
  }
}

function understood(path: string[], command: Command, words: string[]) {
  const name = ["kurma", ...path].join(" ");
  const flags = { ...common, ...command.flags };
  return interpret(name, command, split(name, flags, words, command.passthrough), {});
}

Deno.test("no flag of a command hides one that every command has", () => {
  for (const [, entry] of entries([], table)) {
    if (isGroup(entry)) continue;
    for (const [name, { short }] of Object.entries(entry.flags)) {
      assert.ok(!Object.hasOwn(common, name), name);
      assert.ok(short !== "h", name);
    }
  }
});

Deno.test("helpFor() knows the roles of the program too", async () => {
  assertMatch(await helpFor(["daemon"], 80), /^The daemon.*\n\nUsage: kurmad, or kurma daemon/);
});

Deno.test("called() finds a command by its other name too", async () => {
  assertEquals(await called("ps"), await called("list"));
  assertEquals(await called("unpause"), await called("resume"));
});

Deno.test("called() says of a role that it comes first", async () => {
  const error = await rejection(() => called("daemon"));
  assert.ok(error instanceof UsageError);
  assertMatch(error.message, /"daemon" is a role/);
  assertMatch(error.fix ?? "", /Write kurma daemon first/);
});

for (
  const [words, path] of [
    [["rmi"], "kurma image rm"],
    [["images"], "kurma image list"],
    [["container", "ps"], "kurma ps"],
    [["POD", "Create"], "kurma pod create"],
  ] as const
) {
  Deno.test(`helpFor() takes ${words.join(" ")} for ${path}`, async () => {
    assert.ok((await helpFor(words, 80)).includes(`\nUsage: ${path} [FLAG...]`));
  });
}

Deno.test("a word of other tools is refused with what to write here", async () => {
  for (const [word, fix] of Object.entries(table.elsewhere ?? {})) {
    const error = await rejection(() => helpFor([word], 80));
    assert.ok(error instanceof UsageError);
    assertEquals([error.message, error.fix], [`Unknown command "${word}"`, fix]);
  }
});

Deno.test("a shortcut hides no command, and leads to one", async () => {
  for (const [word, words] of Object.entries(table.shortcuts ?? {})) {
    assert.ok(!Object.hasOwn(table.commands, word), word);
    await helpFor(words, 80);
  }
});

for (
  const [words, message, fix] of [
    [["versoin"], 'Unknown command "versoin"', "Did you mean kurma version?"],
    [["deamon"], 'Unknown command "deamon"', "Did you mean kurma daemon?"],
    [["xyzzy"], 'Unknown command "xyzzy"', "See kurma --help"],
    [["toString"], 'Unknown command "toString"', "See kurma --help"],
    [["version", "of"], 'Unknown command "version of"', "See kurma version --help"],
  ] as const
) {
  Deno.test(`helpFor() answers ${words.join(" ")} with: ${fix}`, async () => {
    const error = await rejection(() => helpFor(words, 80));
    assert.ok(error instanceof UsageError);
    assertEquals([error.message, error.fix], [message, fix]);
  });
}
