import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { authFiles, type Credential, credentialsFrom } from "./credentials.ts";

async function find(
  config: unknown,
  registry: string,
  repository = "team/app",
): Promise<Credential | undefined> {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, typeof config === "string" ? config : JSON.stringify(config));
    return await credentialsFrom([`${file}.absent`, file]).find(registry, repository);
  } finally {
    await Deno.remove(file);
  }
}

const password = (username: string, password: string) => ({ kind: "password", username, password });

const files: [string, unknown, string, unknown][] = [
  [
    "by host",
    { auths: { "example.com": { auth: btoa("a:b:c") } } },
    "example.com",
    password("a", "b:c"),
  ],
  [
    "with its port only",
    { auths: { "example.com": { auth: btoa("a:b") } } },
    "example.com:5000",
    undefined,
  ],
  [
    "the most specific name first",
    {
      auths: {
        "example.com": { auth: btoa("host:x") },
        "example.com/team": { auth: btoa("team:x") },
        "example.com/team/app2": { auth: btoa("other:x") },
      },
    },
    "example.com",
    password("team", "x"),
  ],
  [
    "under Docker Hub's old name",
    { auths: { "https://index.docker.io/v1/": { auth: btoa("a:b") } } },
    "docker.io",
    password("a", "b"),
  ],
  [
    "in plain fields",
    { auths: { "example.com": { username: "a", password: "b" } } },
    "example.com",
    password("a", "b"),
  ],
  [
    "NUL-padded",
    { auths: { "example.com": { auth: btoa("a:b\0\0") } } },
    "example.com",
    password("a", "b"),
  ],
  ["as identity token", { auths: { "example.com": { identitytoken: "t" } } }, "example.com", {
    kind: "identity",
    token: "t",
  }],
  ["as access token", { auths: { "example.com": { registrytoken: "t" } } }, "example.com", {
    kind: "access",
    token: "t",
  }],
  ["as an empty entry", { auths: { "example.com": {} } }, "example.com", undefined],
  ["not as __proto__", { auths: {} }, "__proto__", undefined],
];
for (const [name, config, registry, expected] of files) {
  Deno.test(`an auth file is read: ${name}`, async () => {
    assertEquals<unknown>(await find(config, registry), expected);
  });
}

const broken: [unknown, RegExp][] = [
  ["{", /Cannot read auth file ".*": it is not JSON/],
  [{ auths: { "example.com": { auth: "%%%" } } }, /an "auth" is not base64 of user:password/],
  [{ auths: { "example.com": { auth: btoa("nocolon") } } }, /is not base64 of user:password/],
  [{ credHelpers: { "example.com": "../../bin/sh" } }, /Cannot run a credential helper named/],
  [{ credsStore: "kurma-test-absent" }, /Cannot run credential helper "docker-credential-kurma/],
];
for (const [config, message] of broken) {
  Deno.test(`an auth file is refused: ${JSON.stringify(config)}`, async () => {
    assertMatch((await rejection(find(config, "example.com"))).message, message);
  });
}

/** Runs `work` with `docker-credential-test` on PATH, being this shell script. */
async function withHelper(script: string, work: () => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  const path = Deno.env.get("PATH") ?? "";
  try {
    const helper = `${folder}/docker-credential-test`;
    await Deno.writeTextFile(helper, `#!/bin/sh\n${script}\n`);
    await Deno.chmod(helper, 0o755);
    Deno.env.set("PATH", `${folder}:${path}`);
    await work();
  } finally {
    Deno.env.set("PATH", path);
    await Deno.remove(folder, { recursive: true });
  }
}

const config = {
  credHelpers: { "example.com": "test", "docker.io": "test" },
  auths: { "example.com": { auth: btoa("fallback:x") } },
};

Deno.test("a helper is told the server and gives the password", async () => {
  await withHelper(
    `read server; echo "{\\"Username\\":\\"$1\\",\\"Secret\\":\\"$server\\"}"`,
    async () => {
      assertEquals<unknown>(await find(config, "example.com"), password("get", "example.com"));
      assertEquals<unknown>(
        await find(config, "docker.io"),
        password("get", "https://index.docker.io/v1/"),
      );
    },
  );
});

Deno.test("a helper's <token> is an identity token", async () => {
  await withHelper(`echo '{"Username":"<token>","Secret":"t"}'`, async () => {
    assertEquals(await find(config, "example.com"), { kind: "identity", token: "t" });
  });
});

Deno.test("a helper that does not know the server leaves it to the file", async () => {
  await withHelper("echo credentials not found in native keychain; exit 1", async () => {
    assertEquals<unknown>(await find(config, "example.com"), password("fallback", "x"));
  });
});

const helpers: [string, string, RegExp][] = [
  ["fails", "echo locked; exit 1", /Cannot use credential helper .*: "locked"/],
  ["says no JSON", "echo hello", /it is not JSON/],
  ["says too much", "head -c 100000 /dev/zero", /says more than 64 KiB/],
];
for (const [name, script, message] of helpers) {
  Deno.test(`a helper that ${name} is an error`, async () => {
    await withHelper(script, async () => {
      assertMatch((await rejection(find(config, "example.com"))).message, message);
    });
  });
}

Deno.test("a helper that hangs ends with the pull, also with its children", async () => {
  await withHelper("sleep 20 & wait", async () => {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, JSON.stringify(config));
    const start = performance.now();
    const error = await rejection(
      credentialsFrom([file]).find("example.com", "app", AbortSignal.timeout(100)),
    );
    assertEquals(error.name, "TimeoutError");
    assert(performance.now() - start < 5_000);
    await Deno.remove(file);
  });
});

Deno.test("authFiles() lists podman's and Docker's places in their order", () => {
  assertEquals(authFiles({ HOME: "/root", XDG_RUNTIME_DIR: "/run/user/0" }, 0), [
    "/run/user/0/containers/auth.json",
    "/run/containers/0/auth.json",
    "/root/.config/containers/auth.json",
    "/root/.docker/config.json",
  ]);
  assertEquals(authFiles({ HOME: "/root", REGISTRY_AUTH_FILE: "/a" }, 0), ["/a"]);
  assertEquals(authFiles({}, 7), ["/run/containers/7/auth.json"]);
});
