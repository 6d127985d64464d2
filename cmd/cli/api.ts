/**
 * `kurma api`, which is also what `kurma-api` calls: lets callers of other machines in.
 *
 * @module
 */

import { resolve } from "node:path";
import { defaultSocket } from "../../stage1/api/socket.ts";
import { defaultPort } from "../../stage1/api/hosts.ts";
import { KurmaError } from "../../ffi/errors.ts";
import type { Authority } from "../../stage1/remote/authority.ts";
import type { Bundle } from "../../stage1/remote/bundle.ts";
import type { Credential } from "../../stage1/remote/credentials.ts";
import { roleOrder } from "../../stage1/remote/roles.ts";
import { whole } from "./amounts.ts";
import { command, type Group, type Printed } from "./command.ts";
import type { Context } from "./context.ts";
import { BadValue, boolean, choice, type Flag, list as texts, string } from "./flags.ts";
import { rowsOutput, shown, structured, textOutput } from "./output.ts";

const dir = {
  dir: string("Where its certificates are; else the folder api of --config", {
    placeholder: "DIR",
  }),
};

const listen: Flag<{ hostname: string; port: number }> = {
  summary: "Where to listen; [::] is all addresses of both kinds",
  placeholder: "ADDRESS:PORT",
  absent: `default 0.0.0.0:${defaultPort}`,
  read(occurrences) {
    const text = occurrences.at(-1) ?? `0.0.0.0:${defaultPort}`;
    const [, six, four, digits] = /^(?:\[([\dA-Fa-f:.]+)\]|([\w.-]*)):(\d{1,5})$/.exec(text) ?? [];
    const port = Number(digits);
    if (digits === undefined || port > 65_535) {
      throw new BadValue(text, "an address and a port, as 0.0.0.0:12312");
    }
    return { hostname: six ?? (four || "0.0.0.0"), port };
  },
};

const names = {
  name: texts("A host name that clients use", { short: "n", placeholder: "NAME" }),
  address: texts("An address that clients use", { short: "a", placeholder: "ADDRESS" }),
};

const role = choice("What the client may do", roleOrder, {
  short: "r",
  placeholder: "ROLE",
});

const file = string("Where to write what the client imports; - is standard output", {
  short: "f",
  placeholder: "FILE",
});

const days = whole("How long it is good for; a year without it", { min: 1, placeholder: "DAYS" });
const usualDays = 365;

const serve = command({
  summary: "Let callers of other machines in, who show a certificate or a token",
  details: [
    "Speaks TLS 1.3 alone, by the OpenSSL 3 of this machine, and passes on to the daemon's socket what " +
    "the caller's role allows. A certificate that is revoked ends its connections at once.",
  ],
  args: [],
  flags: {
    listen,
    socket: string(`The daemon's socket; ${defaultSocket} without it`, { placeholder: "PATH" }),
    ...dir,
    "allow-tokens": boolean("Let callers show a token of kurma api token instead"),
    "insecure-loopback": boolean("Without TLS, with tokens, on an address of loopback only"),
  },
  instead: {
    "-H": "Use --listen for where to listen, and --socket for the daemon",
    "--tls": "It is always on; kurma api init makes the certificates",
    "--port": `Use --listen 0.0.0.0:PORT`,
  },
  examples: [
    ["kurma api serve", "On all addresses of this machine"],
    ["kurma api serve --listen 192.0.2.1:12312 --allow-tokens", "On one, also with tokens"],
    ["kurma api serve --insecure-loopback --listen 127.0.0.1:8080", "Behind a proxy of your own"],
  ],
  async run(context, _args, flags) {
    const { serveApi } = await import("./api_serve.ts");
    const { socket = defaultSocket, "allow-tokens": tokens } = flags;
    return await serveApi({
      ...flags.listen,
      socket: resolve(socket),
      authority: await authorityOf(context, flags),
      access: flags["insecure-loopback"] ? "loopback" : tokens ? "tokens" : "certificates",
    });
  },
});

const init = command({
  summary: "Make a CA, a certificate of the server, and one of the first client, an admin",
  details: [
    "Clients use the names and addresses that stand here, and the first of them is in what they import. " +
    "Without any they are the host name and the addresses of this machine.",
  ],
  args: [],
  flags: {
    ...names,
    ...dir,
    client: string("The name of the first client; admin without it", { placeholder: "NAME" }),
    days,
    file,
    output: textOutput,
  },
  examples: [
    ["kurma api init --name host.example.com", "Writes admin.json for kurma context import"],
    ["kurma api init --name host --address 192.0.2.1 -f - > admin.json", "By name and address"],
  ],
  async run(context, _args, { name, address, client = "admin", days = usualDays, ...flags }) {
    const authority = await authorityOf(context, flags);
    const given = [...name, ...address];
    await authority.create(given.length > 0 ? given : ownNames());
    const request = { name: client, role: "admin" as const, days };
    return await handOver(await authority.client(request), flags);
  },
});

const client = command({
  summary: "Make a certificate for a client",
  details: [
    "The key is kept nowhere but in the file, which the client imports: kurma context import FILE. A " +
    "viewer looks, an operator also uses containers, an admin does all that root may.",
  ],
  args: ["name"],
  flags: { role, days, file, ...dir, output: textOutput },
  examples: [
    ["kurma api client alice --role operator", "Writes alice.json"],
    ["kurma api client ci --days 30 -f -", "To standard output, for a month"],
  ],
  async run(context, { name }, { role, days = usualDays, ...flags }) {
    const authority = await authorityOf(context, flags);
    return await handOver(await authority.client({ name, role, days }), flags);
  },
});

const renew = command({
  summary: "Make another certificate of the server, by the same CA",
  details: ["kurma-api has to be started again; clients notice nothing."],
  args: [],
  flags: { ...names, ...dir, output: textOutput },
  examples: [
    ["kurma api renew", "With the same names"],
    ["kurma api renew --name host.example.com --name host", "With these alone"],
  ],
  async run(context, _args, { name, address, output, ...flags }) {
    const authority = await authorityOf(context, flags);
    const names = await authority.renew([...name, ...address]);
    const expires = authority.serverExpires().toISOString();
    return output === "text"
      ? `A certificate for ${names.join(", ")}, until ${expires}`
      : await structured({ names, expires }, output);
  },
});

const list = command({
  summary: "List the certificates that were made",
  aliases: ["ls"],
  args: [],
  flags: { output: rowsOutput, ...dir },
  examples: [
    ["kurma api list", "All, and which still count"],
    ["kurma api list -o json | jq -r '.[] | select(.revoked) | .name'", "For a script"],
  ],
  run: (context, _args, flags) => rowsOf("certificate", context, flags),
});

const revokeFlags = { ...dir, output: textOutput };

const revoke = command({
  summary: "Revoke certificates: from now on they count no longer",
  details: ["Connections that are open with them end at once, where kurma-api runs."],
  args: ["reference+"],
  flags: revokeFlags,
  examples: [
    ["kurma api revoke alice", "All certificates of that name"],
    ["kurma api revoke 5f3c09aa", "One, by the first digits of its fingerprint"],
  ],
  run: (context, { reference }, flags) => revoked("certificate", reference, context, flags),
});

const policy = command({
  summary: "Print a policy to start from, or check one",
  details: [
    "The policy is policy.yaml in the folder of the certificates; without it the roles alone decide. A " +
    "change holds at once.",
  ],
  args: ["action", "file?"],
  choices: { action: ["example", "check"] },
  flags: dir,
  examples: [
    ["kurma api policy example > /etc/kurma/api/policy.yaml", "All of it commented out"],
    ["kurma api policy check", "The one that kurma-api reads"],
    ["kurma api policy check ./policy.yaml", "Before it is put there"],
  ],
  async run(context, { action, file }, flags) {
    const { examplePolicy, loadPolicy } = await import("../../stage1/remote/policy.ts");
    if (action === "example") return examplePolicy().trimEnd();
    const { folder } = await authorityOf(context, flags);
    const path = resolve(file ?? `${folder}/policy.yaml`);
    try {
      Deno.statSync(path);
    } catch (cause) {
      throw new KurmaError("missing", `Cannot read "${path}"`, {
        cause,
        fix: "Write one: kurma api policy example",
      });
    }
    await loadPolicy(path);
    return `${path} is in order`;
  },
});

const token: Group = {
  summary: "Tokens, for callers that cannot show a certificate",
  commands: {
    create: command({
      summary: "Make a token",
      details: [
        "It is shown once, in the file that the client imports; here only its hash is kept. kurma-api " +
        "takes tokens if it runs with --allow-tokens.",
      ],
      args: ["name"],
      flags: { role, days, file, ...dir, output: textOutput },
      examples: [
        ["kurma api token create ci --role operator --days 30", "Writes ci.json"],
        ["kurma api token create curl -f - | jq -r .token", "The token alone"],
      ],
      async run(context, { name }, { role, days = usualDays, ...flags }) {
        const authority = await authorityOf(context, flags);
        return await handOver(await authority.token({ name, role, days }), flags);
      },
    }),
    list: command({
      summary: "List the tokens that were made",
      aliases: ["ls"],
      args: [],
      flags: { output: rowsOutput, ...dir },
      examples: [
        ["kurma api token list", "All, and which still count"],
        ["kurma api token list -o name", "Their fingerprints"],
      ],
      run: (context, _args, flags) => rowsOf("token", context, flags),
    }),
    revoke: command({
      summary: "Revoke tokens: from now on they count no longer",
      args: ["reference+"],
      flags: revokeFlags,
      examples: [
        ["kurma api token revoke ci", "All tokens of that name"],
        ["kurma api token revoke 5f3c09aa", "One, by the first digits of its fingerprint"],
      ],
      run: (context, { reference }, flags) => revoked("token", reference, context, flags),
    }),
  },
  examples: [
    ["kurma api token create ci --role operator", "A token for a program"],
    ["kurma api token revoke ci", "Take it back"],
  ],
};

export const api: Group = {
  summary: "The broker that lets remote callers in",
  commands: { serve, init, client, list, revoke, renew, token, policy },
  examples: [
    ["kurma api init --name host.example.com", "Certificates, for the start"],
    ["kurma api serve", "Listen on all addresses; kurma-api alone does the same"],
    ["kurma api client alice --role operator", "Let one more in"],
  ],
};

async function authorityOf(
  { config }: Context,
  { dir }: { dir: string | undefined },
): Promise<Authority> {
  const { Authority } = await import("../../stage1/remote/authority.ts");
  return new Authority(resolve(dir ?? `${config}/api`));
}

/** How a command answers that has one thing to say. */
type TextForm = "text" | "json" | "yaml";

/** Writes what a client imports, and says where; or says it itself, to `-`. */
async function handOver(
  { credential, ...bundle }: Bundle & { credential: Credential },
  { file, output }: { file: string | undefined; output: TextForm },
): Promise<string> {
  const { bundleText } = await import("../../stage1/remote/bundle.ts");
  if (file === "-") return bundleText(bundle).trimEnd();
  const path = resolve(file ?? `${credential.name}.json`);
  await writeNew(path, bundleText(bundle));
  return output === "text" ? path : await structured({ ...credential, file: path }, output);
}

/** @throws {KurmaError} `state`: something is there. */
async function writeNew(path: string, text: string): Promise<void> {
  const { writeSecret } = await import("../../stage1/remote/files.ts");
  try {
    Deno.lstatSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    writeSecret(path, text);
    return;
  }
  throw new KurmaError("state", `Cannot write "${path}": something is there`, {
    fix: "Remove it, or name another file with --file",
  });
}

async function rowsOf(
  kind: Credential["kind"],
  context: Context,
  { output, ...flags }: { output: Parameters<typeof shown>[1]; dir: string | undefined },
): Promise<string | Printed> {
  const { credentials } = await authorityOf(context, flags);
  const rows = [...credentials.all().values()].filter((each) => each.kind === kind);
  const columns = [
    { title: "NAME", text: ({ name }: Credential) => name },
    { title: "ROLE", text: ({ role }: Credential) => role },
    {
      title: "STATUS",
      text: ({ kind, fingerprint }: Credential) => credentials.standing(kind, fingerprint),
    },
    { title: "ISSUED", text: ({ issued }: Credential) => issued.slice(0, 10) },
    { title: "EXPIRES", text: ({ expires }: Credential) => expires.slice(0, 10) },
    {
      title: "SHA-256",
      text: ({ fingerprint }: Credential) => fingerprint.slice(0, 16),
    },
  ];
  return await shown({ rows, columns, name: ({ fingerprint }) => fingerprint }, output, context);
}

async function revoked(
  kind: Credential["kind"],
  references: readonly string[],
  context: Context,
  { output, ...flags }: { output: TextForm; dir: string | undefined },
): Promise<string> {
  const { credentials } = await authorityOf(context, flags);
  const ended: Credential[] = [];
  for (const reference of references) ended.push(...await credentials.revoke(kind, reference));
  return output === "text"
    ? ended.map(({ name, fingerprint }) => `${name} ${fingerprint}`).join("\n")
    : await structured(ended, output);
}

/** What clients may call this machine by. */
function ownNames(): string[] {
  const addresses = Deno.networkInterfaces().map(({ address }) => address)
    .filter((address) => !/^fe80:/i.test(address)); // They mean nothing without an interface.
  return [...new Set([Deno.hostname(), ...addresses])];
}
