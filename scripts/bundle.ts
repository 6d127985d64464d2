/**
 * Bundles main.ts and what it imports into build/app, the folder that `deno compile`
 * embeds whole: the program and nothing else. Personalities stay in files of their
 * own, so that one does not pay for another's start.
 *
 * @module
 */

import * as esbuild from "esbuild";
import { createRequire, isBuiltin } from "node:module";
import { basename, resolve } from "node:path";

const out = "build/app";

/** What every command loads, each with what it imports in one file: a file more takes 0.1 ms. */
const common = ["cmd/dispatch.ts", "cmd/kurma_cli.ts"];

const banner = "const require = (name) => process.getBuiltinModule(name);";

const ourLibraries = Object.keys(JSON.parse(await Deno.readTextFile("deno.json")).imports);

const version = (await Deno.readTextFile("VERSION")).trim();
const describe = await new Deno.Command("git", { args: ["rev-parse", "--short=12", "HEAD"] })
  .output()
  .catch(() => undefined);
const commit = describe?.success ? new TextDecoder().decode(describe.stdout).trim() : "unknown";
const zig = /^zig\s+(\S+)/m.exec(await Deno.readTextFile("toolchain/pins"))?.[1];

await Deno.remove(out, { recursive: true }).catch(() => {});
const options: esbuild.BuildOptions = {
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "esnext",
  // Every start reads through all that is embedded: 1 MB takes 1.5 ms. Of what is ours only
  // spaces go, in lines that a report of a bug can name. With `minifySyntax`, esbuild 0.25 folds a
  // `using` variable with one use into that use, and what it stands for is never disposed of.
  minifyWhitespace: true,
  lineLimit: 160,
  // CommonJS libraries ask for Node's modules at run time; no module of ours does.
  banner: { js: banner },
  // A literal: an object would be a module of its own that every file imports.
  define: { build: JSON.stringify(JSON.stringify({ version, commit, zig })) },
};
const plugins = [
  { name: "embed", setup: embed },
  { name: "libraries", setup: libraries },
];
// What leaves V8 behind shares no file with what stays, so that either loads as few as it can.
await esbuild.build({ ...options, entryPoints: ["ffi/intercept.ts"], plugins });
const { metafile } = await esbuild.build({
  ...options,
  metafile: true,
  entryPoints: ["main.ts"],
  plugins: [{ name: "together", setup: together }, ...plugins],
});
esbuild.stop();
await shorten(metafile);
await Deno.writeTextFile(`${out}/deno.json`, "{}");

/**
 * Makes text of `import … with { type: "text" }`. Leaves `import … with { type: "bytes" }`
 * to Deno and copies the file beside the bundle.
 */
function embed(build: esbuild.PluginBuild): void {
  build.onLoad({ filter: /\.(bash|fish|zsh)$/ }, async ({ path }) => {
    return { contents: await Deno.readTextFile(path), loader: "text" };
  });
  build.onResolve({ filter: /build\/native\// }, async ({ path }) => {
    const name = path.slice(path.lastIndexOf("/") + 1);
    await Deno.mkdir(out, { recursive: true });
    await Deno.copyFile(`build/native/${name}`, `${out}/${name}`);
    return { path: `./${name}`, external: true };
  });
}

/**
 * Finds npm libraries where Deno keeps them: ours by deno.json, theirs as Node would. One that
 * is both is ours for them too: as CommonJS it would be there a second time. They come in a
 * small form, the largest, OpenPGP.js, in its own.
 */
function libraries(build: esbuild.PluginBuild): void {
  build.onResolve({ filter: /^[^./]/ }, ({ path, importer, kind }) => {
    if (kind === "entry-point" || isBuiltin(path)) return undefined;
    const file = importer.includes("/npm/")
      ? oursIfSame(path, kind, createRequire(importer).resolve(path))
      : oursOf(path);
    return { path: path === "openpgp" ? file.replace(/\.mjs$/, ".min.mjs") : file };
  });
  build.onLoad({ filter: /\/npm\/.*\.[cm]?js$/ }, async ({ path }) => {
    const source = await Deno.readTextFile(path);
    return { contents: (await esbuild.transform(source, { minify: true })).code };
  });
}

function oursOf(path: string): string {
  return new URL(import.meta.resolve(path)).pathname;
}

function oursIfSame(path: string, kind: esbuild.ImportKind, theirs: string): string {
  if (
    kind !== "import-statement" || !ourLibraries.some((name) => `${path}/`.startsWith(`${name}/`))
  ) {
    return theirs;
  }
  const ours = oursOf(path);
  return packageOf(ours) === packageOf(theirs) ? ours : theirs;
}

/** The folder of a file's package: Deno keeps it below its name and its version. */
function packageOf(file: string): string | undefined {
  return /^.*\/npm\/.*?\/\d+\.\d+\.\d+[^/]*\//.exec(file)?.[0];
}

/**
 * Puts each of {@linkcode common} and what it imports into one file. A module gets into the file of
 * those that the same entries import; so each `import()`, which is an entry, imports all of it as
 * well. Not those of main.ts: what they lead to starts without.
 */
function together(build: esbuild.PluginBuild): void {
  const root = Deno.cwd();
  build.onResolve({ filter: /^\.\/ffi\/intercept\.ts$/ }, () => {
    return { path: "./intercept.js", external: true };
  });
  build.onResolve({ filter: /^\./ }, ({ path, kind, importer, resolveDir }) => {
    if (kind !== "dynamic-import" || importer === `${root}/main.ts`) return undefined;
    return { path: resolve(resolveDir, path), namespace: "entry" };
  });
  build.onLoad({ filter: /^/, namespace: "entry" }, ({ path }) => ({
    contents: [...common.map((each) => `import "${root}/${each}";`), `export * from "${path}";`]
      .join("\n"),
    resolveDir: root,
  }));
}

/**
 * Takes out of the way of a start what esbuild has every file load for nothing: its own helpers
 * where none is used, and entries that only pass on what one other file has.
 */
async function shorten({ outputs }: esbuild.Metafile): Promise<void> {
  const helpers = Object.keys(outputs).find((path) =>
    outputs[path].entryPoint === undefined && Object.keys(outputs[path].inputs).length === 0
  );
  const passesOn = new RegExp(
    String
      .raw`^(?:import"[^"]+";)*import\{([^}]+)\}from"([^"]+)";(?:import"[^"]+";)*export\{\1\};$`,
  );
  const texts = new Map<string, string>();
  const passedOn = new Map<string, string>();
  for (const path of Object.keys(outputs)) {
    const text = (await Deno.readTextFile(path))
      .replace(`import"./${basename(helpers ?? "")}";`, "");
    const other = passesOn.exec(text.slice(banner.length).replaceAll("\n", ""))?.[2];
    if (other === undefined) {
      texts.set(path, text);
    } else {
      passedOn.set(`./${basename(path)}`, other);
      await Deno.remove(path);
    }
  }
  for (const [path, text] of texts) {
    await Deno.writeTextFile(
      path,
      text.replace(/(?<=import\(")[^"]+/g, (file) => passedOn.get(file) ?? file),
    );
  }
}
