import { KurmaError } from "../../ffi/errors.ts";
import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { create, programOf, settingsOf } from "./create.ts";
import { interpret, UsageError } from "./parse.ts";
import { split } from "./split.ts";

/** The settings that the words of a command line come to. */
function settings(...words: string[]) {
  const line = split("kurma create", create.flags, [...words, "image", "sh", "-c", "x"], true);
  const { args, flags } = interpret("kurma create", create, line, {});
  return settingsOf(args.command as string[], flags as Parameters<typeof settingsOf>[1], {
    MINE: "mine",
  });
}

const nothing = settings();

Deno.test("settingsOf() asks for nothing that nobody asked for", () => {
  assertEquals(nothing, {
    command: ["sh", "-c", "x"],
    env: [],
    groups: [],
    terminal: false,
    openInput: false,
    removeWhenEnded: false,
    labels: {},
    mounts: [],
    resources: { processLimits: [] },
    security: {
      privileged: false,
      capabilitiesAdd: [],
      capabilitiesDrop: [],
      hostUsers: false,
      readOnlyRoot: false,
      devices: [],
      sysctls: {},
    },
  });
});

const none = String(2n ** 64n - 1n);
const cases: [words: string[], part: Record<string, unknown>][] = [
  [["-it"], { terminal: true, openInput: true }],
  [["-e", "A=1", "--env", "MINE"], { env: ["A=1", "MINE=mine"] }],
  [["-w", "/srv", "-u", "app:app", "--hostname", "h"], {
    workingDir: "/srv",
    user: "app:app",
    hostname: "h",
  }],
  [["--entrypoint", '["a", "b"]'], { entrypoint: { words: ["a", "b"] } }],
  [["--network", "host"], { network: "host" }],
  [["--network=container:db"], { network: "container:db" }],
  [["-l", "a=b=c", "--label", "d"], { labels: { a: "b=c", d: "" } }],
  [["--rm", "--group-add", "7"], { removeWhenEnded: true, groups: ["7"] }],
  [["-v", "data:/data", "-v", "/etc:/host:ro"], {
    mounts: [
      { target: "/data", readOnly: false, volume: { name: "data" } },
      { target: "/host", readOnly: true, bind: { path: "/etc", recursive: true } },
    ],
  }],
  [["-v", "./x:/x:rw"], {
    mounts: [
      { target: "/x", readOnly: false, bind: { path: `${Deno.cwd()}/x`, recursive: true } },
    ],
  }],
  [["--tmpfs", "/tmp", "--tmpfs", "/run:size=1m,mode=755,ro,nosuid"], {
    mounts: [
      { target: "/tmp", readOnly: false, tmpfs: { maxBytes: "0", mode: 0o1777 } },
      { target: "/run", readOnly: true, tmpfs: { maxBytes: "1048576", mode: 0o755 } },
    ],
  }],
  [["-m", "64m", "--cpus", "1.5", "--pids-limit=-1", "--cpuset-cpus", "0-1", "--swap", "0"], {
    resources: {
      memoryBytes: "67108864",
      swapBytes: "0",
      cpuMillis: "1500",
      cpus: "0-1",
      pids: 0,
      processLimits: [],
    },
  }],
  [["--ulimit", "nofile=10:20", "--ulimit", "core=-1"], {
    resources: {
      processLimits: [
        { type: "nofile", soft: "10", hard: "20" },
        { type: "core", soft: none, hard: none },
      ],
    },
  }],
  [["--restart", "on-failure:3"], { restart: { mode: "MODE_ON_FAILURE", maxRetries: 3 } }],
  [["--restart", "unless-stopped"], { restart: { mode: "MODE_UNLESS_STOPPED" } }],
  [["--cap-add", "net_raw", "--cap-drop=ALL", "--read-only", "--userns", "host"], {
    security: {
      ...nothing.security,
      capabilitiesAdd: ["CAP_NET_RAW"],
      capabilitiesDrop: ["ALL"],
      readOnlyRoot: true,
      hostUsers: true,
    },
  }],
  [["--api", "viewer"], {
    security: { ...nothing.security, apiAccess: true, apiRole: "API_ROLE_VIEWER" },
  }],
  [["--security-opt", "no-new-privileges:false", "--security-opt", "seccomp=unconfined"], {
    security: { ...nothing.security, noNewPrivileges: false, seccomp: "none" },
  }],
  [["--device", "/dev/fuse", "--device", "/dev/a:/dev/b:r", "--sysctl", "net.x=1", "--pid=host"], {
    security: {
      ...nothing.security,
      devices: [{ path: "/dev/fuse" }, { path: "/dev/a", target: "/dev/b", access: "r" }],
      sysctls: { "net.x": "1" },
      pidNamespace: "host",
    },
  }],
  [["--stop-signal", "INT", "--stop-timeout", "1m"], { stopSignal: "INT", stopTimeout: "60s" }],
  [["--health-cmd", "true", "--health-interval=500ms", "--health-retries", "2"], {
    healthCheck: { test: ["CMD-SHELL", "true"], interval: "0.5s", retries: 2 },
  }],
  [["--no-healthcheck"], { healthCheck: { test: ["NONE"] } }],
];
for (const [words, part] of cases) {
  Deno.test(`settingsOf() understands ${words.join(" ")}`, () => {
    assertEquals(settings(...words), { ...nothing, ...part });
  });
}

const mistakes: [words: string[], fix: RegExp][] = [
  [["-v", "/data"], /Volumes have names here: write NAME:PATH/],
  [["-v", "a:b"], /Write VOLUME:PATH/],
  [["-v", "a:/b:ro:x"], /Write VOLUME:PATH/],
  [["-v", "a:/b:cached"], /ro and rw are known/],
  [["--tmpfs", "/tmp:exec"], /size=64m/],
  [["--network", "bridge"], /none, host or container:NAME/],
  [["--restart", "always:3"], /on-failure:3/],
  [["--cpus", "0"], /2 or 0\.5/],
  [["--cpus", "many"], /2 or 0\.5/],
  [["--ulimit", "nofile"], /NAME=SOFT/],
  [["--device", "fuse"], /\/dev\/NAME/],
  [["--label", "=x"], /NAME=VALUE/],
  [["--security-opt", "apparmor=none"], /AppArmor is not used/],
  [["--security-opt", "seccomp=/nowhere.json"], /Check the path/],
  [["--security-opt", "x"], /seccomp=FILE/],
];
for (const [words, fix] of mistakes) {
  Deno.test(`settingsOf() refuses ${words.join(" ")}, saying what to write`, async () => {
    const error = await rejection(() => settings(...words));
    assert(error instanceof KurmaError);
    assertMatch(error.fix ?? "", fix);
  });
}

for (const flag of ["-d", "-p", "--mount", "--link", "--init", "--cpu-shares", "--gpus"]) {
  Deno.test(`kurma create says what to use instead of ${flag}`, async () => {
    const error = await rejection(() =>
      split("kurma create", create.flags, [flag, "x", "image"], true, create.instead)
    );
    assert(error instanceof UsageError);
    assertMatch(error.message, /^Unknown flag -/);
    assertEquals(error.fix, create.instead?.[flag]);
  });
}

for (
  const [text, words] of [
    ["/bin/sh", ["/bin/sh"]],
    ["", [""]],
    ["a b", ["a b"]],
    ['["sh", "-c"]', ["sh", "-c"]],
    ["[]", []],
  ] as const
) {
  Deno.test(`programOf() takes ${text} for ${JSON.stringify(words)}`, () => {
    assertEquals(programOf(text), words);
  });
}

for (const text of ["[", "[1]", '["a", ["b"]]', "[sh]"]) {
  Deno.test(`programOf() refuses ${text}`, async () => {
    const error = await rejection(() => programOf(text));
    assertEquals(error.message, `Cannot use "${text}" for --entrypoint: no list of strings`);
  });
}
