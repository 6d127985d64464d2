/**
 * Repo manners as a test, part of `make ok`: what no formatter or compiler checks but
 * a reader would trip over. Prints one line a finding, `FILE:LINE: what`, and exits 1
 * if there are any.
 *
 * @module
 */

interface Source {
  path: string;
  text: string;
}

/** A rule looks at one file and names what is wrong with it, with the line's number. */
type Rule = (source: Source) => Iterable<[line: number, finding: string]>;

/** Past this a file holds two subjects. */
const maxLines = 600;

/** Who may import whom: each folder only those behind it. The entry is `main.ts`. */
const layers = ["main.ts", "cmd", "stage1", "stage2", "stage3", "ffi"];

/** Who may load native code: our own, and the host's OpenSSL. */
const doors = ["ffi/mod.ts", "ffi/openssl.ts"];

/** What no file in a checkout should know: where this checkout is, and so any one machine. */
const machinePath = new RegExp(`${RegExp.escape(Deno.cwd())}(?![\\w-])`);

const rules: Record<string, Rule> = {
  *unfinished({ text }) {
    yield* matches(text, /\b(TO(?:)DO|FIX(?:)ME|X(?:)XX)\b/g, (found) => `${found} left behind`);
  },

  *swallowed({ path, text }) {
    if (!path.endsWith(".ts")) return;
    const empty = /\bcatch\s*(\([^)]*\)\s*)?\{(\s|\/\/[^\n]*)*\}/g;
    yield* matches(text, empty, () => "empty catch: handle the error, or say which one is fine");
  },

  *untyped({ path, text }) {
    if (!path.endsWith(".ts") || isGenerated(path)) return;
    yield* matches(text, /(:|\bas|<)\s*any\b(?!\w)/g, () => "`any`: name the type, or `unknown`");
  },

  *long({ path, text }) {
    const lines = text.split("\n").length - 1;
    if (/\.(ts|zig)$/.test(path) && lines > maxLines && !isGenerated(path)) {
      yield [lines, `${lines} lines: past ${maxLines} suspect two subjects`];
    }
  },

  *headless({ path, text }) {
    if (isGenerated(path)) return;
    if (path.endsWith(".zig") && !text.startsWith("//! ")) yield [1, "no //! header"];
    if (path.endsWith(".ts") && !path.endsWith("_test.ts") && !/^\/\*\*[^]*?@module/.test(text)) {
      yield [1, "no /** header with @module"];
    }
  },

  *upward({ path, text }) {
    if (!path.endsWith(".ts") || path.endsWith("_test.ts")) return;
    const own = layerOf(path);
    if (own < 0) return;
    for (const [line, target] of imports(path, text)) {
      const layer = layerOf(target);
      const inside = target.startsWith("build/native/");
      if (layer >= 0 ? layer < own : !inside) yield [line, `imports ${target}, which is above it`];
    }
  },

  *dangling({ path, text }) {
    if (!path.endsWith(".md")) return;
    for (const link of text.matchAll(/\]\(([^)\s#]+)(#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(link[1])) continue;
      const target = resolve(path, link[1]);
      if (!exists(target)) yield [lineAt(text, link.index), `links to ${target}, which is missing`];
    }
  },

  *homely({ text }) {
    yield* matches(text, machinePath, (found) => `"${found}": a path of one machine`);
  },

  *scattered({ path, text }) {
    if (!path.endsWith(".ts") || doors.includes(path)) return;
    const finding = `opens native code; only ${doors.join(" and ")} do`;
    yield* matches(text, /\bDeno\.dl(?:)open\(/g, () => finding);
  },
};

const findings: string[] = [];
for (const source of await sources()) {
  for (const rule of Object.values(rules)) {
    for (const [line, finding] of rule(source)) findings.push(`${source.path}:${line}: ${finding}`);
  }
}
findings.push(...sharedNumbers(), ...await staleBindings());
for (const finding of findings) console.error(finding);
if (findings.length > 0) Deno.exit(1);

/** The text files that git knows, or would if they were added. */
async function sources(): Promise<Source[]> {
  const { success, stdout } = await new Deno.Command("git", {
    args: ["ls-files", "--cached", "--others", "--exclude-standard"],
  }).output();
  if (!success) throw new Error("git ls-files failed: tidy looks at a checkout");
  const paths = new TextDecoder().decode(stdout).split("\n");
  return paths.filter((path) => path !== "" && Deno.lstatSync(path).isFile).flatMap((path) => {
    const text = new TextDecoder().decode(Deno.readFileSync(path));
    return text.includes("\0") ? [] : [{ path, text }];
  });
}

/** A decision is known by its number, so no two have the same. */
function sharedNumbers(): string[] {
  const names = [...Deno.readDirSync("docs/decisions")].map(({ name }) => name).sort();
  return names.filter((name, index) =>
    /^\d/.test(name) && name.slice(0, 3) === names[index - 1]?.slice(0, 3)
  )
    .map((name) => `docs/decisions/${name}:1: another decision has the number ${name.slice(0, 3)}`);
}

/** ffi/abi.gen.ts has to be what the export table gives now; it is left as it was. */
async function staleBindings(): Promise<string[]> {
  const path = "ffi/abi.gen.ts";
  const committed = await Deno.readTextFile(path);
  const { success } = await new Deno.Command("zig", {
    args: ["build", "bindings"],
    stdout: "inherit",
    stderr: "inherit",
  }).spawn().status;
  if (!success) return [`${path}:1: zig build bindings failed`];
  const fresh = await Deno.readTextFile(path);
  if (fresh === committed) return [];
  await Deno.writeTextFile(path, committed);
  return [`${path}:1: older than ffi/libkurma.zig: run make bindings`];
}

function* matches(
  text: string,
  pattern: RegExp,
  say: (found: string) => string,
): Iterable<[number, string]> {
  for (const match of text.matchAll(new RegExp(pattern, "g"))) {
    yield [lineAt(text, match.index), say(match[0])];
  }
}

/** The files that a module imports, static or dynamic, from the checkout's root. */
function* imports(path: string, text: string): Iterable<[number, string]> {
  for (const match of text.matchAll(/\b(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
    yield [lineAt(text, match.index), resolve(path, match[1])];
  }
}

function layerOf(path: string): number {
  return layers.indexOf(path.split("/")[0]);
}

function isGenerated(path: string): boolean {
  return path.includes(".gen.");
}

function resolve(from: string, target: string): string {
  return decodeURIComponent(new URL(target, `file:///${from}`).pathname.slice(1));
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path === "" ? "." : path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}
