import { assert, assertEquals, rejection } from "../../tests/assert.ts";
import {
  checkSettings,
  differences,
  flagName,
  loadConfiguration,
  paths,
  variableName,
} from "./load.ts";
import { effective, exampleText, referenceText } from "./text.ts";

/** Calls `use` with the path of a file of that text, which is removed afterwards. */
async function withFile<T>(text: string, use: (path: string) => Promise<T>): Promise<T> {
  const path = await Deno.makeTempFile({ suffix: ".yml" });
  try {
    await Deno.writeTextFile(path, text);
    return await use(path);
  } finally {
    await Deno.remove(path);
  }
}

function load(text: string, flags: [string, string][] = [], environment = {}) {
  return withFile(text, (file) => loadConfiguration({ file, flags: new Map(flags), environment }));
}

Deno.test("nothing at all gives the defaults", async () => {
  const { settings, directories, pods, notes } = await load("");
  assertEquals(settings.socketPath, "/run/kurma/kurma.sock");
  assertEquals(settings.socketPermissions, 0o660);
  assertEquals(settings.log.level, "info");
  assertEquals(settings.containers.resources, { pids: 4096 });
  assertEquals([settings.legacyApi.address, settings.metrics.address], ["", ""]);
  assertEquals(directories, {
    state: "/var/lib/kurma",
    containers: "/var/lib/kurma/containers",
    images: "/var/lib/kurma",
    volumes: "/var/lib/kurma/volumes",
  });
  assertEquals([pods, notes], [[], []]);
});

Deno.test("a file of the original is understood, and what does nothing is told", async () => {
  const { settings, directories, pods, notes } = await load(`
socketPath: /run/kurma.sock
socketPermissions: 0666
parentCgroupName: kurma
podsDirectory: /srv/pods
imagesDirectory: /srv/images
volumesDirectory: /srv/volumes
defaultStagerImage: file:///stager.aci
prefetchImages: [example.com/a:1]
podNetworks:
  - {name: front, aci: kurma.io/cni-netplugin, type: bridge}
initialPods:
  - example.com/b:1
  - {name: web, apps: [{name: web, image: {name: example.com/web}}]}
`);
  assertEquals(settings.socketPermissions, 0o666);
  assertEquals(directories.containers, "/srv/pods");
  assertEquals(pods.map(({ name, apps }) => [name, apps[0].name, apps[0].image]), [
    ["initial-pod-1", "b", "example.com/b:1"],
    ["web", "web", "example.com/web"],
  ]);
  assertEquals(notes.map((note) => note.split(" does nothing")[0]), [
    "Setting podNetworks",
    "Setting parentCgroupName",
    "Setting defaultStagerImage",
  ]);
});

Deno.test("variables count over the file, and flags over both", async () => {
  const { settings } = await load(
    "log: {level: warn, format: json}\nprefetchImages: [a]\n",
    [["log.level", "debug"], ["stopContainers", "true"]],
    {
      KURMAD_LOG_LEVEL: "error",
      KURMAD_LOG_FORMAT: "text",
      KURMAD_CONTAINERS_STOP_LIMIT: "1m30s",
      KURMAD_PREFETCH_IMAGES: "[b, c]",
      KURMAD_LOG_MAX_SIZE: "1MiB",
      KURMA_ROOT: "/elsewhere",
    },
  );
  assertEquals([settings.log.level, settings.log.format], ["debug", "text"]);
  assertEquals(settings.containers.stopLimit, 90_000);
  assertEquals(settings.prefetchImages, ["b", "c"]);
  assertEquals(settings.log.maxSize, 1 << 20);
  assertEquals(settings.stopContainers, true);
});

Deno.test("each setting has a flag and a variable of its own", () => {
  assertEquals(variableName("containers.logMaxSize"), "KURMAD_CONTAINERS_LOG_MAX_SIZE");
  assertEquals(flagName("containers.logMaxSize"), "containers-log-max-size");
  const names = [...paths.keys()].map(flagName);
  assertEquals(new Set(names).size, names.length);
});

const permissions: [string, number][] = [
  ["0666", 0o666],
  ["0o660", 0o660],
  ['"0640"', 0o640],
  ["432", 0o660],
];
for (const [text, mode] of permissions) {
  Deno.test(`permissions ${text} are ${mode.toString(8)}`, async () => {
    assertEquals((await load(`socketPermissions: ${text}`)).settings.socketPermissions, mode);
  });
}

const wrong: [what: string, text: string, message: string][] = [
  ["an unknown key", "sockets: /a", "sockets: unknown field; there are stateDirectory,"],
  ["an unknown key in a section", "log: {colr: auto}", "log.colr: unknown field; there are level,"],
  ["a relative path", "socketPath: ./kurma.sock", 'expected an absolute path without .., not "./'],
  ["permissions that are none", "socketPermissions: 0999", "expected permissions as in 0o660"],
  ["no section", "log: debug", 'log: expected an object, not "debug"'],
  ["a word that is none", "log: {level: loud}", 'expected "debug", "info", "warn" or "error"'],
  ["a size that is none", "images: {maxBytes: lots}", "images.maxBytes: expected a size"],
  [
    "a time that is none",
    "containers: {stopLimit: 3 days}",
    "containers.stopLimit: expected a time",
  ],
  ["an address without a port", "metrics: {address: localhost}", "expected HOST:PORT, unix:/PATH"],
  [
    "limits that are none",
    "containers: {resources: {memory: lots}}",
    "containers.resources.memory: expected a whole number of bytes",
  ],
  ["a pod that is none", "initialPods: [5]", "it is neither an image nor a pod"],
  [
    "two pods of one name",
    "initialPods: [{name: a, apps: [{name: x, image: y}]}, {name: a, apps: [{name: x, image: y}]}]",
    'another pod is called "a"',
  ],
  ["a pod without apps", "initialPods: [{name: a, apps: []}]", "apps: expected one app at least"],
  ["the same key twice", "debug: true\ndebug: false", "unique"],
  ["no mapping", "- debug", "it is not a mapping"],
  ["no YAML", "a: [", "Cannot read"],
];
for (const [what, text, message] of wrong) {
  Deno.test(`settings with ${what} are refused`, async () => {
    const error = await rejection(load(text));
    assert(error.message.includes(message), error.message);
  });
}

Deno.test("an unknown variable is refused, and so is a file that others may write", async () => {
  const unknown = await rejection(load("", [], { KURMAD_LEVEL: "debug" }));
  assertEquals(unknown.message, 'Cannot use the variable "KURMAD_LEVEL": no such setting');
  const open = await rejection(withFile("debug: true", async (file) => {
    await Deno.chmod(file, 0o666);
    return await loadConfiguration({ file });
  }));
  assert(open.message.endsWith("others may write it"), open.message);
  const missing = await rejection(loadConfiguration({ file: "/nowhere/kurmad.yml" }));
  assertEquals(missing.message, 'Cannot read "/nowhere/kurmad.yml": no such file');
});

Deno.test("a reload tells what waits for a restart", () => {
  const before = checkSettings({}, "before").settings;
  const after = checkSettings({ debug: true, socketPath: "/s", log: { level: "warn" } }, "after");
  assertEquals(differences(before, after.settings), {
    now: ["debug", "log.level"],
    later: ["socketPath"],
  });
});

Deno.test("the example is right, names every setting, and is the defaults where it can be", async () => {
  const text = exampleText();
  const uncommented = text.replace(/^( *)#(?! \S)/gm, "$1");
  const { settings } = await load(uncommented);
  assertEquals(settings.log, checkSettings({}, "defaults").settings.log);
  assertEquals(settings.legacyApi.address, "127.0.0.1:12311");
  for (const [path, { obsolete }] of paths) {
    const name = path.split(".").at(-1);
    assertEquals(text.includes(`#${name}:`), obsolete === undefined, path);
  }
  assert(text.split("\n").every((line) => line.length <= 100));
  assertEquals((await load(text)).settings, checkSettings({}, "defaults").settings);
});

Deno.test("docs/configuration.md has every setting as the program has it", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/configuration.md", import.meta.url));
  assert(page.includes(referenceText()), `The table has to be:\n\n${referenceText()}`);
});

Deno.test("effective() is what the same settings could be written as", async () => {
  const { settings } = await load("log: { maxSize: 5MiB }\nsocketPermissions: 0o600\n");
  const written = effective(settings);
  assertEquals(checkSettings(written, "it").settings, settings);
  assert.match(JSON.stringify(written), /"socketPermissions":"0o600".*"maxSize":"5MiB"/);
});
