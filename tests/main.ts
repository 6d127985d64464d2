/**
 * `make test`: the native tests, the unit tests beside the code, and the tests of the
 * whole binary, one after the other since the last ones measure what the others would
 * disturb. The last line counts them all: `N passed, N failed`, and `, N skipped` when
 * some said aloud why they could not run. Those that failed are the lines before it, each
 * with its place and its reason, for whoever sees the end of a long output only.
 *
 *   deno run -A tests/main.ts [FILE...]     only these files of tests/
 *
 * @module
 */

interface Count {
  passed: number;
  failed: number;
  skipped: number;
  /** What to say of those that failed. */
  failures?: string[];
}

const decoder = new TextDecoder();
const junit = "build/tests.xml";

/** Runs a command with its output shown; true if it exited 0. */
async function show(command: string, args: string[]): Promise<boolean> {
  return (await new Deno.Command(command, { args, stdin: "null" }).spawn().status).success;
}

/** Inputs of each fuzz test of the native part. */
const fuzz = Deno.env.has("KURMA_SOAK") ? 1_000_000 : 100_000;

/** `zig build test`, counted by its summary: `5/6 tests passed (1 skipped)`. */
async function native(): Promise<Count> {
  const { success, stderr } = await new Deno.Command("zig", {
    args: ["build", "test", "--summary", "all", `-Dfuzz=${fuzz}`],
    stdin: "null",
    stdout: "inherit",
  }).output();
  const said = decoder.decode(stderr);
  await Deno.stderr.write(stderr);
  console.log(`Fuzz tests of the native part: ${fuzz} inputs each`);
  const tests = /(\d+)\/(\d+) tests passed/.exec(said);
  const skipped = Number(/tests passed.*?(\d+) skipped/.exec(said)?.[1] ?? 0);
  const passed = Number(tests?.[1] ?? 0);
  const failed = Number(tests?.[2] ?? 0) - passed - skipped;
  return { passed, failed: success ? failed : Math.max(failed, 1), skipped };
}

/** Runs `deno test` behind `prefix` and counts its report. */
async function deno(prefix: string[], args: string[]): Promise<Count> {
  await Deno.remove(junit).catch(unlessMissing);
  const [command, ...rest] = [...prefix, "deno", "test", "-A", `--junit-path=${junit}`, ...args];
  const success = await show(command, rest);
  const report = await Deno.readTextFile(junit).catch(unlessMissing) ?? "";
  const cases = report.split("<testcase").slice(1);
  const failures = cases.filter((text) => /<(failure|error)\b/.test(text)).map(told);
  const failed = failures.length;
  const skipped = cases.filter((text) => text.includes("<skipped")).length;
  const passed = cases.length - failed - skipped;
  // A file that does not even load fails without a test case.
  return { passed, failed: success ? failed : Math.max(failed, 1), skipped, failures };
}

/** A failed `<testcase>` in a line: `NAME (FILE:LINE): REASON`. */
function told(text: string): string {
  const name = /name="([^"]*)"/.exec(text)?.[1] ?? "";
  const reason = /<(?:failure|error)\b[^>]*message="(?:Uncaught )?([^"]*)"/.exec(text)?.[1] ?? "";
  // The first of ours that the failure went through; else where the test is defined.
  const place = /file:\/\/(\S+_test\.ts:\d+)/.exec(text)?.[1].replace(`${Deno.cwd()}/`, "") ??
    /classname="([^"]*)"/.exec(text)?.[1];
  return `${plain(name)} (${place}): ${shortened(plain(reason).replaceAll(/\s+/g, " "))}`;
}

/** A long reason without its middle: it ends with what a command printed, or how values differ. */
function shortened(reason: string): string {
  return reason.length > 600 ? `${reason.slice(0, 250)} … ${reason.slice(-350)}` : reason;
}

/** XML's characters as themselves. */
function plain(text: string): string {
  const characters = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replaceAll(/&(\w+);/g, (whole, name: string) => {
    return characters[name as keyof typeof characters] ?? whole;
  });
}

function unlessMissing(error: Error): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** All `*_test.ts` below `folder`, but for what was built or fetched. */
function testFiles(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (name.startsWith(".") || path === "./build" || path === "./dist") return [];
    if (isDirectory) return testFiles(path);
    return name.endsWith("_test.ts") ? [path] : [];
  }).sort();
}

const isWhole = (path: string) => path.startsWith("./tests/");
const counts: Count[] = [];
if (Deno.args.length > 0) {
  counts.push(await deno(["tests/isolated"], Deno.args));
} else {
  const files = testFiles(".");
  counts.push(await native());
  counts.push(await deno([], files.filter((path) => !isWhole(path))));
  counts.push(await deno(["tests/isolated"], files.filter(isWhole)));
}

const sum = (key: Exclude<keyof Count, "failures">) =>
  counts.reduce((total, count) => total + count[key], 0);
const failed = sum("failed");
const skipped = sum("skipped");
for (const failure of counts.flatMap(({ failures = [] }) => failures)) {
  console.log(`FAILED ${failure}`);
}
console.log(
  `${sum("passed")} passed, ${failed} failed` + (skipped > 0 ? `, ${skipped} skipped` : ""),
);
Deno.exit(failed > 0 ? 1 : 0);
