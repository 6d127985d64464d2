/**
 * `make proto`: checks the .proto files of stage1/api and writes the TypeScript of each
 * beside it, as NAME.gen.ts. Both tools are npm packages that deno.json pins; once they
 * are in Deno's cache no network is needed.
 *
 * @module
 */

import settings from "../deno.json" with { type: "json" };

const api = new URL("../stage1/api/", import.meta.url).pathname;

/**
 * Checks the .proto files by the rules of buf.yaml: every field, method and value has a
 * comment.
 *
 * @throws With what buf found.
 */
export async function lint(): Promise<void> {
  await buf(["lint"]);
}

/**
 * What the .proto files give now.
 *
 * @returns The text of each generated file, by its path below stage1/api.
 */
export async function generate(): Promise<Map<string, string>> {
  const out = await Deno.makeTempDir({ prefix: "kurma-proto-" });
  try {
    const plugin = settings.imports["@bufbuild/protoc-gen-es"];
    const template = {
      version: "v2",
      plugins: [{
        local: [Deno.execPath(), "run", "--quiet", "--allow-all", plugin],
        out,
        opt: ["target=ts", "import_extension=ts", "json_types=true"],
      }],
    };
    await buf(["generate", "--template", JSON.stringify(template)]);
    const files = new Map<string, string>();
    for (const [path, folder] of sources) {
      const made = path.replace(/\.proto$/, "_pb.ts");
      files.set(
        `${folder}${path.replace(/\.proto$/, ".gen.ts")}`,
        await Deno.readTextFile(`${out}/${made}`),
      );
    }
    return files;
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

/** The .proto files as others import them, and the folder below which each is. */
const sources = [
  ["kurma.proto", ""],
  ["client.proto", "legacy/"],
  ["grpc/health/v1/health.proto", "standard/"],
  ["grpc/reflection/v1/reflection.proto", "standard/"],
  ["grpc/reflection/v1alpha/reflection.proto", "standard/"],
] as const;

async function buf(args: readonly string[]): Promise<void> {
  await run(Deno.execPath(), ["cache", "--quiet", settings.imports["@bufbuild/buf"]]);
  const path = new URL(import.meta.resolve("@bufbuild/buf/bin/buf")).pathname;
  await run(path, args);
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd: api,
    env: { BUF_CACHE_DIR: new URL("../build/buf", import.meta.url).pathname },
    stdin: "null",
  }).output();
  if (success) return;
  const decoder = new TextDecoder();
  throw new Error(
    `${program} ${args[0]} failed\n${decoder.decode(stdout)}${decoder.decode(stderr)}`,
  );
}

if (import.meta.main) {
  await lint();
  for (const [path, text] of await generate()) await Deno.writeTextFile(`${api}${path}`, text);
}
