import { bareConfig, type ImageConfig } from "../images/image.ts";
import { assertEquals, rejection } from "../../tests/assert.ts";
import { type Overrides, planContainer } from "./plan.ts";

const image: ImageConfig = {
  ...bareConfig,
  command: ["/bin/serve"],
  env: ["PATH=/bin", "A=image"],
};
const nothing: Overrides = { command: [], env: [], terminal: false };
const place = { id: "0123456789abcdef", layers: ["/low", "/high"], scratch: "/scratch" };

/** What the plan says of the process, for an image and a caller that differ from the above. */
function process(inImage: Partial<ImageConfig>, wanted: Partial<Overrides>) {
  return planContainer(place, { ...image, ...inImage }, { ...nothing, ...wanted }).config.process;
}

const commands: [string, Partial<ImageConfig>, Partial<Overrides>, string[]][] = [
  ["the image's command", {}, {}, ["/bin/serve"]],
  ["the caller's command instead", {}, { command: ["id", "-u"] }, ["id", "-u"]],
  ["the entrypoint before the image's command", { entrypoint: ["/init"] }, {}, [
    "/init",
    "/bin/serve",
  ]],
  ["the entrypoint before the caller's", { entrypoint: ["/init"] }, { command: ["id"] }, [
    "/init",
    "id",
  ]],
  ["the caller's entrypoint without the image's command", { entrypoint: ["/init"] }, {
    entrypoint: ["/bin/sh"],
  }, ["/bin/sh"]],
];
for (const [what, inImage, wanted, args] of commands) {
  Deno.test(`planContainer() runs ${what}`, () => {
    assertEquals(process(inImage, wanted).args, args);
  });
}

Deno.test("planContainer() refuses a container without a command, and says what to do", async () => {
  const error = await rejection(() => process({ command: [] }, {}));
  assertEquals(error.message, "Cannot start a container without a command");
});

Deno.test("the caller's variables win over the image's, and PATH is always there", () => {
  assertEquals(process({}, { env: ["A=mine", "B=x=y"] }).env, ["PATH=/bin", "A=mine", "B=x=y"]);
  assertEquals(process({ env: [] }, {}).env, [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  ]);
  assertEquals(process({ env: ["PATH=/b"] }, { terminal: true }).env, ["PATH=/b", "TERM=xterm"]);
});

const users: [string | undefined, Partial<ImageConfig>, string][] = [
  [undefined, {}, "0"],
  [undefined, { user: "web" }, "web"],
  [undefined, { user: "web", group: "log" }, "web:log"],
  [undefined, { user: "web:srv", group: "log" }, "web:srv"],
  ["1000", { user: "web", group: "log" }, "1000"],
];
for (const [wanted, inImage, user] of users) {
  Deno.test(`user ${wanted ?? "not given"} over the image's ${inImage.user || "none"}: ${user}`, () => {
    const plan = planContainer(place, { ...image, ...inImage }, { ...nothing, user: wanted });
    assertEquals(plan.kurma.user, user);
  });
}

Deno.test("a working directory that is not absolute is refused", async () => {
  assertEquals(process({ workingDir: "/srv" }, {}).cwd, "/srv");
  const error = await rejection(() => process({}, { workingDir: "srv" }));
  assertEquals(error.message, 'Cannot start in "srv": it is not an absolute path');
});

Deno.test("a container is confined unless told otherwise", () => {
  const plan = planContainer({ ...place, firstId: 1_000_000 }, image, nothing);
  const { linux, process } = plan.config;
  assertEquals(linux.namespaces.map(({ type }) => type).sort(), [
    ...["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
  ]);
  assertEquals(linux.uidMappings, [{ containerID: 0, hostID: 1_000_000, size: 65_536 }]);
  assertEquals(process.noNewPrivileges, true);
  assertEquals(plan.kurma.seccomp, "default");
  assertEquals(process.capabilities?.bounding.includes("CAP_SYS_ADMIN"), false);
  assertEquals(process.capabilities?.ambient, []);
  assertEquals(plan.config.hostname, "0123456789ab");
});

Deno.test("without ids of its own, root in the container is the host's", () => {
  const { linux } = planContainer(place, image, nothing).config;
  assertEquals(linux.namespaces.some(({ type }) => type === "user"), false);
  assertEquals(linux.uidMappings, undefined);
});
