import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { KurmaError } from "../../../ffi/errors.ts";
import {
  decideByName,
  loadPolicy,
  openPolicy,
  parsePolicy,
  requireAccepted,
  ruleFor,
} from "./policy.ts";
import { trustedKeys } from "./files.ts";

const text = `
default: reject
rules:
  docker.io/library: accept
  example.com: signed-by
  example.com/team: accept
  example.com/team/app: reject
  127.0.0.1:5000/ops: { signed-by: [ops.pub, /abs/b.asc], identity: build.example.com/ops }
`;

const choices: Record<string, string> = {
  "docker.io/library/busybox": "docker.io/library",
  "docker.io/library2/busybox": "default",
  "docker.io/other": "default",
  "example.com/x": "example.com",
  "example.com.evil.example/x": "default",
  "example.com/team": "example.com/team",
  "example.com/teams": "example.com",
  "example.com/team/app/x": "example.com/team/app",
  "127.0.0.1:5000/ops/a": "127.0.0.1:5000/ops",
  "127.0.0.1:5001/ops/a": "default",
  "local": "default",
};
for (const [name, prefix] of Object.entries(choices)) {
  Deno.test(`the rule for ${name} is that of ${prefix}`, async () => {
    assertEquals(ruleFor(await parsePolicy(text, "/etc/kurma/policy.yaml"), name).prefix, prefix);
  });
}

Deno.test("a rule's keys are found relative to the policy", async () => {
  const policy = await parsePolicy(text, "/etc/kurma/policy.yaml");
  assertEquals(ruleFor(policy, "127.0.0.1:5000/ops"), {
    prefix: "127.0.0.1:5000/ops",
    demand: "signed-by",
    keys: ["/etc/kurma/ops.pub", "/abs/b.asc"],
    identity: "build.example.com/ops",
  });
});

Deno.test("a name decides where no signature is needed", async () => {
  const policy = await parsePolicy(text, "/policy.yaml");
  assertEquals(decideByName(policy, "example.com/x"), undefined);
  assertEquals(decideByName(policy, "docker.io/library/x"), {
    verdict: "accept",
    rule: "docker.io/library",
    reason: '"docker.io/library" accepts it',
  });
  const rejected = decideByName(policy, "elsewhere.example/x");
  assert(rejected);
  const error = await rejection(() => requireAccepted(rejected, "elsewhere.example/x"));
  assert(error instanceof KurmaError && error.code === "denied");
  assertMatch(`${error.message}; ${error.fix}`, /"default" rejects it; .*rule for "default"/);
});

Deno.test("without a policy all is accepted; an empty one is the same", async () => {
  assertEquals(await loadPolicy("/nowhere/policy.yaml"), openPolicy);
  assertEquals(await parsePolicy("", "/policy.yaml"), openPolicy);
});

const refusals: [string, RegExp][] = [
  ["default: maybe", /"maybe" is not a demand; A demand is accept/],
  ["rules: [a]", /"rules" is not a mapping/],
  ["rules: { a: allow }", /"allow" is not a demand/],
  ["rules: { a: { signedBy: [x] } }", /"signedBy" is not one of signed-by/],
  ["rules: { a: { signed-by: x } }", /is not a list of paths/],
  ["rules: { a: { signed-by: [] } }", /names no key/],
  ["rules: { 'a/': accept }", /is not a prefix of names/],
  ["rules: { 'A': accept }", /is not a prefix of names/],
  ["rules: { a: accept, a: reject }", /unique/],
  ["other: 1", /"other" is not one of default and rules/],
  ["rules: {", /Cannot use policy/],
  ["rules: { a: !!js accept }", /Unresolved tag/],
];
for (const [text, message] of refusals) {
  Deno.test(`a policy is refused: ${text}`, async () => {
    const error = await rejection(parsePolicy(text, "/policy.yaml"));
    assert(error instanceof KurmaError);
    assertMatch(`${error.message}; ${error.fix}`, message);
  });
}

Deno.test("keys count for their prefix and below; what others may write counts nowhere", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/example.com/team`, { recursive: true });
    await Deno.mkdir(`${folder}/other.example`);
    for (
      const key of [
        "root.pub",
        "example.com/a.pub",
        "example.com/team/b.pub",
        "other.example/c.pub",
        "x.asc",
      ]
    ) {
      await Deno.writeTextFile(`${folder}/${key}`, key, { mode: 0o600 });
    }
    const names = async (name: string) =>
      (await trustedKeys(folder, name, "pem")).map(({ path }) => path.slice(folder.length + 1));
    assertEquals(await names("example.com/team/app"), [
      "root.pub",
      "example.com/a.pub",
      "example.com/team/b.pub",
    ]);
    assertEquals(await names("example.com/x"), ["root.pub", "example.com/a.pub"]);
    assertEquals(await names("example.com/x/../../other.example"), [
      "root.pub",
      "example.com/a.pub",
    ]);
    assertEquals(await trustedKeys(`${folder}/absent`, "x", "pem"), []);

    await Deno.chmod(`${folder}/example.com/a.pub`, 0o620);
    const error = await rejection(names("example.com/x"));
    assertMatch(error.message, /Cannot trust ".*a\.pub": others may write it/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
