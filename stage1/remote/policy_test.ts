import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { fuzz } from "../../tests/fuzz.ts";
import { Containers, Images, System, Volumes } from "../api/kurma.gen.ts";
import { hostThings, type Restrictions } from "../containers/restrictions.ts";
import {
  both,
  checkPolicy,
  defaultClientLimits,
  examplePolicy,
  loadPolicy,
  openPolicy,
  requireMethod,
  restrictionsFor,
} from "./policy.ts";
import { PolicyFile } from "./policy_file.ts";

Deno.test("a policy says what is forbidden to whom", async () => {
  const policy = await checkPolicy(`
everyone:
  signedImages: true
roles:
  admin: { hostPaths: [/srv], forbid: [api-access] }
clients:
  ci:
    hostPaths: [/srv/ci, /home]
    forbid: [privileged]
    registries: [docker.io/library]
limits:
  callsPerSecond: 2
hosts: [kurma.example.com, "[::1]"]
origins: ["https://dash.example.com"]
`);
  assertEquals(policy.limits, { ...defaultClientLimits, callsPerSecond: 2 });
  assertEquals(policy.hosts, ["kurma.example.com", "[::1]"]);
  const table: [client: { name: string; role: "operator" | "admin" }, Restrictions | undefined][] =
    [
      [{ name: "root", role: "admin" }, {
        forbid: ["api-access"],
        hostPaths: ["/srv"],
        signedImages: true,
      }],
      [{ name: "ci", role: "admin" }, {
        forbid: ["privileged", "api-access"],
        hostPaths: ["/srv/ci"],
        registries: ["docker.io/library"],
        signedImages: true,
      }],
      // A role that has no path is not given one by a policy.
      [{ name: "constructor", role: "operator" }, {
        ...restrictionsFor(openPolicy, { name: "any", role: "operator" })!,
        signedImages: true,
      }],
    ];
  for (const [client, expected] of table) assertEquals(restrictionsFor(policy, client), expected);
  assertEquals(restrictionsFor(openPolicy, { name: "root", role: "admin" }), undefined);
});

Deno.test("what two forbid together is what each forbids", () => {
  const any: Restrictions = { forbid: [] };
  const table: [Partial<Restrictions>, Partial<Restrictions>, Partial<Restrictions>][] = [
    [{}, {}, {}],
    [{ hostPaths: ["/srv"] }, {}, { hostPaths: ["/srv"] }],
    [{ hostPaths: ["/srv"] }, { hostPaths: [] }, { hostPaths: [] }],
    [{ hostPaths: ["/srv", "/home"] }, { hostPaths: ["/srv/a", "/var"] }, {
      hostPaths: ["/srv/a"],
    }],
    [{ hostPaths: ["/"] }, { hostPaths: ["/srv"] }, { hostPaths: ["/srv"] }],
    [{ hostPaths: ["/srv"] }, { hostPaths: ["/srv2"] }, { hostPaths: [] }],
    [{ registries: ["a.example"] }, { registries: ["a.example/x", "b.example"] }, {
      registries: ["a.example/x"],
    }],
    [{ forbid: ["seccomp"] }, { forbid: ["devices"] }, { forbid: ["devices", "seccomp"] }],
    [{ signedImages: true }, { signedImages: false }, { signedImages: true }],
    [{}, { remoteRegistries: true }, { remoteRegistries: true }],
  ];
  for (const [one, other, together] of table) {
    for (const [a, b] of [[one, other], [other, one]]) {
      assertEquals(both({ ...any, ...a }, { ...any, ...b }), { ...any, ...together });
    }
  }
});

Deno.test("methods are forbidden by name or by service", async () => {
  const policy = await checkPolicy(`
everyone: { methods: [System/Reload] }
roles: { operator: { methods: [Volumes/*] } }
clients: { ci: { methods: [Containers/Exec] } }
`);
  const { exec } = Containers.method;
  const ci = { name: "ci", role: "admin" } as const;
  const op = { name: "op", role: "operator" } as const;
  const says = async (client: typeof ci | typeof op, method: Parameters<typeof requireMethod>[2]) =>
    (await rejection(() => requireMethod(policy, client, method))).message;
  assertEquals(
    await says(ci, exec),
    'Cannot call Containers/Exec: the policy forbids it to "ci"',
  );
  assertEquals(
    await says(op, Volumes.method.list),
    'Cannot call Volumes/List: the policy forbids it to "op"',
  );
  assertEquals(
    await says(ci, System.method.reload),
    'Cannot call System/Reload: the policy forbids it to "ci"',
  );
  assertEquals(
    await says(op, Images.method.import),
    'Cannot call Images/Import: "op" is an operator',
  );
  requireMethod(policy, op, exec);
  requireMethod(policy, ci, Volumes.method.list);
});

Deno.test("a policy that says what nobody understands is refused, not passed over", async () => {
  const table: [text: string, message: RegExp][] = [
    ["everyone: [", /^Cannot use policy "policy\.yaml": /],
    ["- a", /it is not a mapping/],
    ["everybody: {}", /everybody: unknown field; there are everyone, roles, clients/],
    ["roles: { root: {} }", /roles\.root: unknown field/],
    ["everyone: { forbid: [privilege] }", /everyone\.forbid\[0\]: expected "privileged"/],
    ["everyone: { forbid: privileged }", /everyone\.forbid: expected a list/],
    ["everyone: { hostPaths: [srv] }", /hostPaths\[0\]: expected an absolute path/],
    ["everyone: { hostPaths: [/srv/../etc] }", /hostPaths\[0\]: expected an absolute path/],
    ["everyone: { hostPaths: [/srv/] }", /hostPaths\[0\]: expected an absolute path/],
    ["everyone: { registries: ['https://a'] }", /registries\[0\]: expected a registry/],
    ["everyone: { methods: [Containers/Exce] }", /methods\[0\]: expected a method of the API/],
    ["everyone: { methods: ['*'] }", /methods\[0\]: expected SERVICE\/METHOD/],
    ["everyone: { signedImages: yes }", /signedImages: expected true or false/],
    ["hosts: ['Kurma.example.com:12312']", /hosts\[0\]: expected a host name/],
    ["origins: ['https://dash.example.com/']", /origins\[0\]: expected an origin/],
    ["origins: ['*']", /origins\[0\]: expected an origin/],
    [
      `everyone: { hostPaths: [/${"x".repeat(4000)}, /${"y".repeat(4000)}, /${"z".repeat(4000)}] }`,
      /everyone: expected rules of at most 12000 characters/,
    ],
    ["limits: { burst: 0 }", /limits\.burst: expected a whole number/],
    [`#${"x".repeat(300_000)}`, /it has more than 262144 characters/],
  ];
  for (const [text, message] of table) {
    assertMatch((await rejection(checkPolicy(text))).message, message, text);
  }
});

Deno.test("the example is one, and all of it once its comments are taken away", async () => {
  assertEquals(await checkPolicy(examplePolicy()), openPolicy);
  const lines = examplePolicy().split("\n").map((line) => line.replace(/^#(?! \S)/, ""));
  const all = await checkPolicy(lines.join("\n"));
  assertEquals(all.roles.operator?.methods, ["Containers/Exec", "Containers/Enter", "Volumes/*"]);
  assertEquals(all.roles.admin?.hostPaths, ["/srv/data"]);
  assertEquals(all.clients.ci?.forbid, ["host-namespaces", "devices"]);
  assertEquals(all.limits, defaultClientLimits);
});

Deno.test("without a file the roles decide; one that others may write is refused", async () => {
  const dir = await Deno.makeTempDir();
  try {
    assertEquals(await loadPolicy(`${dir}/policy.yaml`), openPolicy);
    await Deno.writeTextFile(`${dir}/policy.yaml`, "hosts: [a.example]", { mode: 0o600 });
    assertEquals((await loadPolicy(`${dir}/policy.yaml`)).hosts, ["a.example"]);
    await Deno.chmod(`${dir}/policy.yaml`, 0o666);
    assertMatch((await rejection(loadPolicy(`${dir}/policy.yaml`))).message, /policy\.yaml/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("the policy that the documentation shows is one", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/remote-roles.md", import.meta.url));
  const policy = await checkPolicy(/^```yaml\n([^]*?)^```$/m.exec(page)?.[1] ?? "");
  assertEquals(policy.everyone.forbid, hostThings);
  assertEquals(policy.limits, defaultClientLimits);
});

const seed = examplePolicy().replace(/^#(?! \S)/gm, "");

fuzz("checkPolicy()", 500, async (mutator) => {
  const text = mutator.text(seed, [
    ...["\n", ":", "[", "}", "- ", "&a *a", "\t", "!!x", "1", '"', "~", "/../", "*", "everyone:"],
  ]);
  const { limits, clients, everyone } = await checkPolicy(text);
  assert(limits.burst >= 1 && limits.callsPerSecond > 0 && limits.callsAtOnce >= 1);
  assert(Object.keys(clients).every((name) => name !== ""));
  assert((everyone.hostPaths ?? []).every((path) => path.startsWith("/")));
});

Deno.test("a change of the file holds from the next call on, and a mistake changes nothing", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/policy.yaml`;
  // As an editor does it, so that each content is a file of its own.
  const write = async (text: string) => {
    await Deno.writeTextFile(`${path}.new`, text, { mode: 0o600 });
    await Deno.rename(`${path}.new`, path);
  };
  try {
    const mistakes: unknown[] = [];
    const file = await PolicyFile.open(path, (error) => mistakes.push(error));
    assertEquals(await file.current(), openPolicy);
    await write("hosts: [a.example]");
    assertEquals((await Promise.all([file.current(), file.current()])).map(({ hosts }) => hosts), [
      ["a.example"],
      ["a.example"],
    ]);
    await write("hosts: {}");
    assertEquals((await file.current()).hosts, ["a.example"]);
    assertEquals((await file.current()).hosts, ["a.example"]);
    assertEquals(mistakes.length, 1);
    await write("hosts: [b.example]");
    assertEquals((await file.current()).hosts, ["b.example"]);
    await Deno.remove(path);
    assertEquals((await file.current()).hosts, ["b.example"]);
    assertMatch(String(mistakes.at(-1)), /it is gone$/);
    await write("- wrong");
    assertMatch(
      (await rejection(PolicyFile.open(path, () => {}))).message,
      /^Cannot use policy .*: it is not a mapping$/,
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
