/**
 * Installs into build/node what programs under Node need that tests run beside Kurma: the
 * packages named here, in the versions of deno.json. `make test` calls it once.
 *
 * @module
 */

import settings from "../deno.json" with { type: "json" };

const folder = new URL("../build/node", import.meta.url).pathname;
const names = ["@grpc/grpc-js", "@grpc/proto-loader"] as const;

await Deno.mkdir(folder, { recursive: true });
const dependencies = Object.fromEntries(
  names.map((name) => [name, settings.imports[name].replace(/^npm:.*@/, "")]),
);
await Deno.writeTextFile(`${folder}/package.json`, JSON.stringify({ dependencies }));
const { success } = await new Deno.Command(Deno.execPath(), {
  args: ["install", "--quiet"],
  cwd: folder,
  stdin: "null",
}).spawn().status;
if (!success) Deno.exit(1);
await Deno.writeTextFile(`${folder}/.made`, "");
