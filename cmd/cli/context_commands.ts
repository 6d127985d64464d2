/**
 * `kurma context`: daemons by name, here and elsewhere.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { endpointOf } from "../../stage1/api/hosts.ts";
import { defaultSocket } from "../../stage1/api/socket.ts";
import type { Bundle } from "../../stage1/remote/bundle.ts";
import { command, type Group } from "./command.ts";
import { Contexts, ownContext } from "./contexts.ts";
import { boolean, string } from "./flags.ts";
import { rowsOutput, shown, structured, textOutput } from "./output.ts";
import { UsageError } from "./parse.ts";

/** A context as people see it: nothing of it is secret. */
interface Shown {
  readonly name: string;
  readonly host: string;
  readonly current: boolean;
  readonly credential: "certificate" | "token" | "none";
  readonly certificate?: { subject: string; role: string; expires: string; fingerprint: string };
}

const replaces = boolean("Replace the one of that name", { short: "f" });
const uses = boolean("Use it from now on");

const create = command({
  summary: "Make a context",
  details: [
    "HOST is as for -H: the path of a socket, tcp://HOST[:PORT], ssh://[USER@]HOST[:PORT], or a host " +
    "name. With kurma-api, it is easier to import what kurma api client wrote.",
  ],
  args: ["name", "host"],
  flags: {
    ca: string("Who signs the server's certificate, PEM", { placeholder: "FILE" }),
    cert: string("Your certificate, PEM", { placeholder: "FILE" }),
    key: string("Its key, PEM", { placeholder: "FILE" }),
    "token-file": string("A token instead; - reads standard input", { placeholder: "FILE" }),
    use: uses,
    force: replaces,
    output: textOutput,
  },
  instead: {
    "--docker": "Write the host behind the name: kurma context create NAME ssh://USER@HOST",
    "--token": "Others would see it; write it into a file for --token-file",
  },
  examples: [
    ["kurma context create lab ssh://root@lab.example.com", "Through your ssh"],
    [
      "kurma context create ci tcp://host.example.com --ca ca.pem --token-file token",
      "With a token of kurma api token",
    ],
  ],
  async run({ env }, { name, host }, { ca, cert, key, ...flags }) {
    endpointOf(host, "/");
    if ((cert === undefined) !== (key === undefined)) {
      throw new UsageError("--cert and --key belong together", "Give both, or neither");
    }
    const token = flags["token-file"];
    const { bundleText, parseBundle } = await import("../../stage1/remote/bundle.ts");
    const bundle = parseBundle(
      bundleText({
        host: host.includes("/") && !host.includes("://") ? absolute(host) : host,
        ca: read(ca),
        certificate: read(cert),
        key: read(key),
        token: read(token)?.trim(),
      }),
      `context "${name}"`,
    );
    return await keep(new Contexts(env), name, bundle, flags);
  },
});

const importer = command({
  summary: "Take a context from a file of kurma api client or kurma api token",
  args: ["file"],
  flags: {
    name: string("Call it so; else as the file is called", { placeholder: "NAME" }),
    use: uses,
    force: replaces,
    output: textOutput,
  },
  examples: [
    ["kurma context import alice.json --use", "And use it from now on"],
    [
      "kurma context import - --name host < alice.json",
      "Without a file",
    ],
  ],
  async run({ env }, { file }, { name, ...flags }) {
    const named = name ?? (file === "-" ? undefined : baseName(file));
    if (named === undefined) {
      throw new UsageError("import needs --name for standard input", "Add --name NAME");
    }
    const { parseBundle } = await import("../../stage1/remote/bundle.ts");
    const bundle = parseBundle(read(file) ?? "", file === "-" ? "standard input" : `"${file}"`);
    endpointOf(bundle.host, "/");
    return await keep(new Contexts(env), named, bundle, flags);
  },
});

const use = command({
  summary: "Use a context from now on",
  details: [
    `It counts where neither -H nor --context nor their variables say otherwise; ${ownContext} is the ` +
    "daemon of this machine.",
  ],
  args: ["context"],
  flags: { output: textOutput },
  examples: [
    ["kurma context use lab", "Commands go there"],
    ["kurma context use default", "Back to this machine"],
  ],
  async run({ env }, { context }, { output }) {
    const contexts = new Contexts(env);
    await contexts.use(context);
    return await told(contexts, context, output);
  },
});

const list = command({
  summary: "List contexts",
  aliases: ["ls"],
  args: [],
  flags: { output: rowsOutput },
  examples: [
    ["kurma context list", "All, with a star at the one in use"],
    ["kurma context list -o json | jq -r '.[].host'", "For a script"],
  ],
  async run({ env, terminal, columns: width }, _args, { output }) {
    const contexts = new Contexts(env);
    const rows: Shown[] = [own(contexts)];
    for (const name of contexts.names()) rows.push(await about(contexts, name));
    const columns = [
      { title: "CURRENT", text: ({ current }: Shown) => current ? "*" : "" },
      { title: "NAME", text: ({ name }: Shown) => name },
      { title: "HOST", text: ({ host }: Shown) => host, shrinks: true },
      { title: "CREDENTIAL", text: ({ credential }: Shown) => credential },
      { title: "ROLE", text: ({ certificate }: Shown) => certificate?.role ?? "-" },
      { title: "EXPIRES", text: ({ certificate }: Shown) => dateOf(certificate?.expires) },
    ];
    return await shown({ rows, columns, name: ({ name }) => name }, output, {
      terminal,
      columns: width,
    });
  },
});

const show = command({
  summary: "Show a context without its secrets",
  aliases: ["inspect"],
  args: ["context?"],
  flags: { output: textOutput },
  examples: [
    ["kurma context show", "The one in use"],
    ["kurma context show lab -o json", "Another one, for a script"],
  ],
  async run({ env, context: given }, { context }, { output }) {
    const contexts = new Contexts(env);
    const wanted = context ?? given ?? contexts.current() ?? ownContext;
    const found = wanted === ownContext ? own(contexts) : await about(contexts, wanted);
    if (output !== "text") return await structured(found, output);
    const { certificate } = found;
    return [
      `Name:         ${found.name}`,
      `Host:         ${found.host}`,
      `In use:       ${found.current ? "yes" : "no"}`,
      `Credential:   ${found.credential}`,
      ...(certificate === undefined ? [] : [
        `  Name:       ${certificate.subject}`,
        `  Role:       ${certificate.role}`,
        `  Expires:    ${certificate.expires}`,
        `  SHA-256:    ${certificate.fingerprint}`,
      ]),
    ].join("\n");
  },
});

const rm = command({
  summary: "Remove contexts",
  details: ["What they show to a server counts on there until it is revoked or expires."],
  args: ["context+"],
  flags: { output: textOutput },
  examples: [
    ["kurma context rm lab", "One"],
    ["kurma context rm lab ci", "Two"],
  ],
  async run({ env }, { context }, { output }) {
    const contexts = new Contexts(env);
    for (const each of context) await contexts.remove(each);
    return output === "text" ? context.join("\n") : await structured({ names: context }, output);
  },
});

export const contextGroup: Group = {
  summary: "Daemons by name, here and elsewhere",
  commands: { create, import: importer, use, list, show, rm },
  examples: [
    ["kurma context import alice.json --use", "Let commands go to another machine"],
    ["kurma context use default", "Back to the daemon of this machine"],
  ],
};

async function keep(
  contexts: Contexts,
  name: string,
  bundle: Bundle,
  { use, force, output }: { use: boolean; force: boolean; output: "text" | "json" | "yaml" },
): Promise<string> {
  await contexts.write(name, bundle, force);
  if (use) await contexts.use(name);
  return await told(contexts, name, output);
}

/** The name of a context, or what there is to know about it. */
async function told(contexts: Contexts, name: string, output: "text" | "json" | "yaml") {
  if (output === "text") return name;
  const found = name === ownContext ? own(contexts) : await about(contexts, name);
  return await structured(found, output);
}

/** This machine's daemon, as if it were one. */
function own(contexts: Contexts): Shown {
  const current = contexts.current() === undefined;
  return { name: ownContext, host: `unix://${defaultSocket}`, current, credential: "none" };
}

async function about(contexts: Contexts, name: string): Promise<Shown> {
  const { host, certificate, token } = await contexts.read(name);
  const current = contexts.current() === name;
  if (certificate === undefined) {
    return { name, host, current, credential: token === undefined ? "none" : "token" };
  }
  const { X509Certificate } = await import("node:crypto");
  const { subject, subjectAltName = "", validTo, fingerprint256 } = new X509Certificate(
    certificate,
  );
  return {
    name,
    host,
    current,
    credential: "certificate",
    certificate: {
      subject: subject.replace(/^CN=/, ""),
      role: /^URI:kurma:role:(\w+)$/.exec(subjectAltName)?.[1] ?? "",
      expires: new Date(validTo).toISOString(),
      fingerprint: fingerprint256.replaceAll(":", "").toLowerCase(),
    },
  };
}

function dateOf(moment: string | undefined): string {
  return moment?.slice(0, 10) ?? "-";
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1).replace(/\.[^.]*$/, "");
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

/** What a file says, of at most 1 MiB; standard input for `-`. */
function read(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const limit = 1 << 20;
  try {
    using file = path === "-" ? undefined : Deno.openSync(path);
    const from = file ?? Deno.stdin;
    const bytes = new Uint8Array(limit + 1);
    let length = 0;
    for (let count: number | null = 0; count !== null && length <= limit; length += count ?? 0) {
      count = from.readSync(bytes.subarray(length));
    }
    if (length > limit) {
      throw new KurmaError("invalid", `Cannot use "${path}": over ${limit} bytes`);
    }
    return new TextDecoder().decode(bytes.subarray(0, length));
  } catch (cause) {
    if (cause instanceof KurmaError) throw cause;
    const missing = cause instanceof Deno.errors.NotFound;
    throw new KurmaError(missing ? "missing" : "denied", `Cannot read "${path}"`, {
      cause,
      fix: missing ? "Check the path" : "Make it readable for you",
    });
  }
}
