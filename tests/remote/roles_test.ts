/**
 * Who may call what through the broker, and what containers may be given by whom.
 *
 * @module
 */

import { create, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { type Code } from "@connectrpc/connect";
import type { KurmaError } from "../../ffi/errors.ts";
import { kurmaError, openTransport } from "../../stage1/api/client_streams.ts";
import { Containers, CreateContainerRequestSchema, Pods } from "../../stage1/api/kurma.gen.ts";
import { openPolicy } from "../../stage1/remote/policy.ts";
import type { Role } from "../../stage1/remote/roles.ts";
import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { binary, mustRun } from "../harness.ts";
import { until } from "../stage2/served.ts";
import { tar } from "../tar_fixture.ts";
import { attempt, harmless, isAllowed, methods, nameOf } from "./every_method.ts";
import { type Brokered, brokerTest, roles, storedImage } from "./brokered.ts";

brokerTest("each role may call its methods, and no other", async (broker) => {
  const counts = { allowed: 0, denied: 0 };
  for (const role of roles) {
    using open = openTransport(broker.socket(role));
    for (const method of methods) {
      const mayCall = isAllowed(role, method);
      const error = await attempt(open.transport, method);
      const said = `${role} ${nameOf(method)}: ${error?.message}`;
      const isDenied = /^Cannot call \w/.test(error?.rawMessage ?? "");
      assertEquals(isDenied, !mayCall, said);
      counts[mayCall ? "allowed" : "denied"]++;
      if (mayCall) continue;
      const { code, fix } = kurmaError(error) as { code: string; fix: string };
      assertEquals(code, "denied", said);
      assertMatch(fix, /^Use a certificate or a token of the role (operator|admin)$/);
    }
  }
  // Nothing came of it but lines of the audit, of refused ones too.
  const kept = await broker.kurmad.api.call("Containers", "List", {});
  assertEquals(kept.containers ?? [], []);
  const refused = broker.audited.filter(({ outcome }) => outcome === "permission_denied");
  assert(
    refused.some(({ method, peer }) =>
      method === "kurma.v1.Containers/Exec" && peer?.kind === "tls" && peer.name === "the-viewer"
    ),
  );
  console.log(
    `roles: ${methods.length} methods x ${roles.length} roles, ${counts.allowed} allowed, ` +
      `${counts.denied} denied`,
  );
});

/** Security settings that give something of the host, and what is said of them. */
const gifts: readonly [words: RegExp, settings: Record<string, unknown>][] = [
  [/all rights of the host/, { security: { privileged: true } }],
  [/the API of kurmad/, { security: { apiAccess: true } }],
  [/the host's network namespace/, { network: "host" }],
  [/the host's pid namespace/, { security: { pidNamespace: "host" } }],
  [/the host's ipc namespace/, { security: { ipcNamespace: "host" } }],
  [/the host's uts namespace/, { security: { utsNamespace: "host" } }],
  [/the host's users/, { security: { hostUsers: true } }],
  [/the device "\/dev\/null"/, { security: { devices: [{ path: "/dev/null" }] } }],
  [/CAP_SYS_ADMIN/, { security: { capabilitiesAdd: ["SYS_ADMIN"] } }],
  [/all capabilities/, { security: { capabilitiesAdd: ["ALL"] } }],
  [/the kernel setting/, { security: { sysctls: { "net.core.somaxconn": "9" } } }],
  [/beyond the default filter/, { security: { seccomp: "none" } }],
  [/beyond the default filter/, {
    security: { seccomp: '{"defaultAction":"SCMP_ACT_ALLOW"}' },
  }],
  [/the host's path "\/etc"/, { mounts: [{ target: "/x", bind: { path: "/etc" } }] }],
  [/the host's path "\/"/, { mounts: [{ target: "/x", readOnly: true, bind: { path: "/" } }] }],
];

/** Isolators that do the same, in a manifest's app. */
const isolators: readonly [words: RegExp, name: string, value: unknown][] = [
  [/all rights of the host/, "os/linux/privileged", true],
  [/the API of kurmad/, "host/api-access", true],
  [/CAP_SYS_ADMIN/, "os/linux/capabilities-retain-set", { set: ["CAP_SYS_ADMIN"] }],
  [/beyond the default filter/, "os/linux/seccomp-remove-set", { set: ["reboot"] }],
];

/** Of the pod itself. */
const podIsolators: readonly [words: RegExp, name: string, value: unknown][] = [
  [/the host's network namespace/, "os/linux/namespaces", { net: "host" }],
  [/the host's users/, "os/linux/namespaces", { user: "host" }],
  [/the kernel setting/, "os/unix/sysctl", { "net.core.somaxconn": "9" }],
];

/** An ACI of busybox whose own manifest asks for something. */
async function aciWith(broker: Brokered, name: string, value: unknown): Promise<string> {
  const path = `${broker.kurmad.dir}/asks.aci`;
  const manifest = {
    acKind: "ImageManifest",
    acVersion: "0.8.11",
    name: "example.com/asks",
    labels: [{ name: "os", value: "linux" }, { name: "arch", value: "amd64" }],
    app: { exec: ["/bin/true"], user: "0", group: "0", isolators: [{ name, value }] },
  };
  await Deno.writeFile(
    path,
    tar([
      { name: "manifest", content: JSON.stringify(manifest) },
      { name: "rootfs/", type: "directory" },
    ]),
  );
  const told = await mustRun([
    ...[binary, "image", "import", "--root", `${broker.kurmad.dir}/state`, path],
  ]);
  return told.trim();
}

brokerTest("an operator gives nothing of the host away, at whatever level", async (broker) => {
  let refused = 0;
  const isRefused = async (words: RegExp, call: (role: Role) => Promise<unknown>) => {
    const error = await rejection(call("operator")) as Error & { code?: string };
    assertMatch(`${error.message}: ${(error.cause as Error | undefined)?.message}`, words);
    assertEquals(error.code, "denied", error.message);
    refused++;
  };
  const isGranted = async (call: (role: Role) => Promise<unknown>) => {
    await call("admin").catch((error) => assert(error.code !== "denied", error.message));
  };
  let count = 0;
  for (const [words, settings] of gifts) {
    const container = (role: Role) =>
      broker.api(role).call("Containers", "Create", {
        name: `c${count++}`,
        image: storedImage,
        settings: { command: ["true"], ...settings },
      });
    await isRefused(words, container);
    await isGranted(container);
    if (words.source.includes("namespace") || words.source.includes("users")) continue;
    await isRefused(words, (role) =>
      broker.api(role).call("Pods", "Create", {
        apps: [{ name: "app", image: storedImage, settings: { command: ["true"], ...settings } }],
      }));
  }
  // Likewise by whatever method makes a container, and no such image is looked for.
  using open = openTransport(broker.socket("operator"));
  for (const method of Containers.methods) {
    const { input } = method;
    const start = input.fields.find(({ name }) => name === "start")?.message;
    const made = CreateContainerRequestSchema.typeName;
    if (input.typeName !== made && start?.typeName !== made) continue;
    const asked: (readonly [RegExp, Record<string, unknown>])[] = [
      ...gifts.map(([words, settings]) => [words, { image: storedImage, settings }] as const),
      [/paths of the host are not yours/, { image: "/etc/passwd" }],
      [/127\.0\.0\.1 is this machine or its link/, { image: "127.0.0.1:1/x" }],
    ];
    for (const [words, request] of asked) {
      const json = request as JsonValue;
      const message = input.typeName === made
        ? fromJson(input, json)
        : fromJson(input, { start: json });
      const error = await attempt(open.transport, method, message);
      const { code, message: said, cause } = kurmaError(error) as KurmaError;
      assertMatch(`${said}: ${(cause as Error | undefined)?.message}`, words);
      assertEquals(code, "denied", said);
      refused++;
    }
  }
  const { images = [] } = await broker.kurmad.api.call("Images", "List", {});
  const id = images[0]?.id ?? "";
  const pod =
    (own: unknown[], apps: unknown[], image = id, volumes: unknown[] = []) => (role: Role) =>
      broker.api(role).call("Pods", "Create", {
        manifest: JSON.stringify({
          acVersion: "0.8.11",
          acKind: "PodManifest",
          apps: [{
            name: "app",
            image: { id: image },
            app: { exec: ["/bin/true"], user: "0", group: "0", isolators: apps },
          }],
          isolators: own,
          volumes,
        }),
      });
  for (const [words, name, value] of isolators) {
    await isRefused(words, pod([], [{ name, value }]));
  }
  for (const [words, name, value] of podIsolators) {
    await isRefused(words, pod([{ name, value }], []));
  }
  const volume = { name: "host", kind: "host", source: "/etc" };
  await isRefused(/the host's path "\/etc"/, pod([], [], id, [volume]));
  for (const name of ["os/linux/privileged", "host/privileged", "host/api-access"]) {
    const image = await aciWith(broker, name, true);
    const container = (settings: Record<string, unknown>) => (role: Role) =>
      broker.api(role).call("Containers", "Create", { image, settings });
    // The image alone does not get it, and who may not give it cannot grant it.
    await isRefused(/it wants/, container({}));
    const grant = name === "host/api-access" ? { apiAccess: true } : { privileged: true };
    await isRefused(/which you may not give it/, container({ security: grant }));
    // A manifest's app has no users of its own, which that one needs: it is refused as it is.
    if (name === "host/privileged") continue;
    await isRefused(/which you may not give it/, pod([], [{ name, value: true }], image));
  }
  const path = `${broker.kurmad.dir}/asks.aci`;
  await isRefused(
    /paths of the host are not yours/,
    (role) => broker.api(role).call("Containers", "Create", { image: path }),
  );
  // What gives nothing away is an operator's.
  await broker.api("operator").call("Containers", "Create", {
    name: "fine",
    image: storedImage,
    settings: {
      command: ["true"],
      mounts: [{ target: "/data", volume: { name: "data" } }, { target: "/t", tmpfs: {} }],
      security: { capabilitiesDrop: ["ALL"], readOnlyRoot: true },
    },
  });
  const { containers = [] } = await broker.kurmad.api.call("Containers", "List", {});
  const made = containers.map(({ name = "" }) => name).filter((name) => !/^c\d+$/.test(name));
  assertEquals(made, ["fine"]);
  assertEquals((await broker.kurmad.api.call("Pods", "List", {})).pods ?? [], []);
  console.log(`gifts: ${refused} requests of an operator refused`);
});

brokerTest("who may not give something does not reach what has it", async (broker) => {
  const command = ["sleep", "1000"];
  await broker.api("admin").call("Containers", "Create", {
    name: "mighty",
    image: storedImage,
    start: true,
    settings: { command, network: "host", security: { hostUsers: true }, stopTimeout: "0.1s" },
  });
  await broker.api("admin").call("Pods", "Create", {
    name: "pod",
    network: "host",
    apps: [{ name: "app", image: storedImage, settings: { command } }],
  });
  using open = openTransport(broker.socket("operator"));
  let refused = 0;
  for (const service of [Containers, Pods]) {
    for (const method of service.methods) {
      const message = harmless(method.input) as Message & Record<string, unknown>;
      const start = (message.message as { value?: Record<string, unknown> } | undefined)?.value;
      const about = start ?? message;
      if ("container" in about) about.container = "mighty";
      else if ("pod" in about && !("image" in about)) about.pod = "pod";
      else continue;
      if (["Get", "Logs", "Top", "Wait"].includes(method.name)) continue; // They only look.
      const error = await attempt(open.transport, method, message);
      assertMatch(error?.rawMessage ?? "", /^Cannot reach (container|pod) ".*": it has the host's/);
      refused++;
    }
  }
  // An app of the pod is no way round it, nor is a namespace that is joined.
  const exec = await attempt(
    open.transport,
    Containers.method.exec,
    create(Containers.method.exec.input, {
      message: { case: "start", value: { container: "pod-app", command } },
    }),
  );
  assertMatch(exec?.rawMessage ?? "", /^Cannot reach container "pod-app"/);
  const join = (network: string) =>
    broker.api("operator").call("Containers", "Create", {
      name: "joins",
      image: storedImage,
      settings: { command, network },
    });
  assertMatch((await rejection(join("container:mighty"))).message, /^Cannot reach container/);
  const pruned = await broker.api("operator").call("Pods", "Prune", {});
  assertEquals(pruned.ids ?? [], []);
  const { containers = [] } = await broker.kurmad.api.call("Containers", "List", {});
  assertEquals(containers.map(({ name, state }) => [name, state]), [
    ["mighty", "CONTAINER_STATE_RUNNING"],
    ["pod-app", "CONTAINER_STATE_NEW"],
  ]);
  console.log(`reach: ${refused} methods refused on what has more`);

  // What is joined goes by its id: another of the same name is not meant later.
  const own = { image: storedImage, settings: { command, stopTimeout: "0.1s" } };
  await broker.api("operator").call("Containers", "Create", { name: "own", start: true, ...own });
  await join("container:own");
  const { container } = await broker.api("operator").call("Containers", "Get", {
    container: "joins",
  });
  assertMatch(container?.settings?.network ?? "", /^container:[0-9a-f]{32}$/);
  const privileged = create(Containers.method.exec.input, {
    message: { case: "start", value: { container: "own", command: ["true"], privileged: true } },
  });
  const denied = await attempt(open.transport, Containers.method.exec, privileged);
  assertMatch(denied?.rawMessage ?? "", /^Cannot run a privileged command/);
});

brokerTest("a policy forbids more, and a change of it holds at once", async (broker) => {
  const { dir } = broker.kurmad;
  await Deno.mkdir(`${dir}/srv/data/deep`, { recursive: true });
  await Deno.writeTextFile(`${dir}/srv/data/deep/file`, "data");
  await Deno.writeTextFile(`${dir}/srv/secret`, "secret");
  // Who may write there makes a way out.
  await Deno.symlink("..", `${dir}/srv/data/out`);
  broker.policy = {
    ...openPolicy,
    everyone: { remoteRegistries: true },
    roles: { admin: { hostPaths: [`${dir}/srv/data`], forbid: ["privileged"] } },
    clients: { "the-admin": { methods: ["Images/Import", "Volumes/*"] } },
  };
  const api = broker.api("admin");
  const reads = async (path: string, name: string) => {
    const { container } = await api.call("Containers", "Create", {
      name,
      image: storedImage,
      start: true,
      settings: {
        command: ["sh", "-c", "cat /x/file"],
        mounts: [{ target: "/x", bind: { path } }],
      },
    });
    await api.call("Containers", "Wait", { container: name });
    using streams = broker.streams("admin");
    let said = "";
    for await (const { lines } of streams.containers.logs({ container: name })) {
      for (const { text } of lines) said += new TextDecoder().decode(text);
    }
    return { said, path: container?.settings?.mounts?.[0].bind?.path };
  };
  const { said, path } = await reads(`${dir}/srv/data/deep`, "within");
  assertEquals(said, "data");
  assertEquals(path, `${dir}/srv/data/deep`);
  for (const outside of [`${dir}/srv`, "/", `${dir}/srv/data2`]) {
    assertMatch((await rejection(reads(outside, "without"))).message, /the host's path/);
  }
  const link = await rejection(reads(`${dir}/srv/data/out`, "link"));
  assertMatch((link.cause as Error | undefined)?.message ?? "", /ELOOP|EXDEV/);
  const privileged = {
    image: storedImage,
    settings: { command: ["true"], security: { privileged: true } },
  };
  const refused = await rejection(api.call("Containers", "Create", privileged));
  assertMatch(refused.message, /all rights of the host/);
  const volume = await rejection(api.call("Volumes", "List", {}));
  assertEquals(volume.message, 'Cannot call Volumes/List: the policy forbids it to "the-admin"');
  // The longest that a policy may say arrives as a whole.
  const many = (prefix: string) =>
    Array.from({ length: 60 }, (_, n) => `${prefix}${n}`.padEnd(190, "x"));
  broker.policy = {
    ...openPolicy,
    everyone: { hostPaths: many("/srv/") },
    roles: { admin: { registries: many("registry.example.com/") } },
  };
  const bind = { target: "/x", bind: { path: many("/srv/")[59] } };
  const long = { image: "hello", settings: { mounts: [bind] } };
  await api.call("Containers", "Create", { ...long, name: "long" });
  const longer = { ...bind, bind: { path: `${bind.bind.path}x` } };
  const outside = api.call("Containers", "Create", { ...long, settings: { mounts: [longer] } });
  assertMatch((await rejection(outside)).message, /the host's path/);
  broker.policy = openPolicy;
  await api.call("Volumes", "List", {});
  await api.call("Containers", "Create", privileged);
});

brokerTest(
  "images come from where they may, and from no address of this machine",
  async (broker) => {
    using server = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    let asked = 0;
    const accepting = (async () => {
      for await (const connection of server) {
        asked++;
        connection.close();
      }
    })();
    const { port } = server.addr as Deno.NetAddr;
    const pull = async (role: Role, reference: string) => {
      using streams = broker.streams(role);
      try {
        for await (const _ of streams.images.pull({ reference })) continue;
      } catch (error) {
        return kurmaError(error) as Error & { code: Code };
      }
      throw new Error(`${reference} was pulled`);
    };
    const onLink = /this machine or its link|is a link-local address/;
    const own = [
      `127.0.0.1:${port}/x`,
      `localhost:${port}/x`,
      `127.1.2.3:${port}/x`,
      `[::1]:${port}/x`,
      `[::ffff:7f00:1]:${port}/x`,
      "169.254.169.254/latest",
      "[fe80::1]/x",
      `https://127.0.0.1:${port}/x.aci`,
      `https://2130706433:${port}/x.aci`,
      "0.0.0.0:1/x",
    ];
    for (const reference of own) {
      const { message, code } = await pull("operator", reference);
      assertEquals(
        [String(code), onLink.test(message)],
        ["denied", true],
        message,
      );
      // A container that is made of it does not get there either.
      const create = broker.api("operator").call("Containers", "Create", { image: reference });
      assertMatch(String((await rejection(create)).cause), onLink);
    }
    assertEquals(asked, 0);
    broker.policy = {
      ...openPolicy,
      everyone: { registries: ["registry.example.com/ops"], signedImages: true },
    };
    for (const reference of ["busybox", "registry.example.com/opsx/a", "registry.example.com/a"]) {
      const { message, fix } = await pull("admin", reference) as Error & { fix?: string };
      assertMatch(message, /^Cannot pull ".*": its registry is not allowed$/);
      assertEquals(fix, "Use an image of registry.example.com/ops");
    }
    const unsigned = broker.api("admin").call("Containers", "Create", { image: storedImage });
    assertMatch((await rejection(unsigned)).message, /nobody has signed it/);
    await broker.api("admin").call("Containers", "Create", { image: "hello", name: "hello" });
    console.log(`registries: ${own.length} addresses of this machine refused, ${asked} asked`);
    server.close();
    await accepting;
  },
);

brokerTest(
  "kurmad names the remote caller in its audit, and only root speaks for one",
  async (broker) => {
    await broker.api("operator").call("Volumes", "Create", { name: "data" });
    const line = await until("a line of the audit", async () => {
      const text = await Deno.readTextFile(`${broker.kurmad.dir}/audit`).catch(() => "");
      return text.split("\n").find((line) => line.includes("Volumes/Create"));
    });
    const { uid, pid, via, method, subject, outcome } = JSON.parse(line);
    assertEquals([uid, pid, method, subject, outcome], [
      ...[0, Deno.pid, "kurma.v1.Volumes/Create", "data", "ok"],
    ]);
    assertEquals(via, { certificate: "the-operator", address: "192.0.2.1:40312" });

    const forged = encodeURIComponent(JSON.stringify({
      ...{ name: "root", role: "admin", credential: "certificate" },
      ...{ fingerprint: "", address: "" },
    }));
    const asked = async (socket: string, header: string, prefix: readonly string[] = []) =>
      JSON.parse(
        await mustRun([
          ...[...prefix, "curl", "-s", "--unix-socket", socket, "-H", `kurma-via: ${header}`],
          ...["-H", "content-type: application/json", "-d", "{}"],
          "http://kurma/kurma.v1.System/Ping",
        ]),
      );
    const denied = "Cannot call on behalf of another: kurma-via is root's";
    // Neither a remote caller, nor whoever else may use the socket.
    assertEquals((await asked(broker.socket("viewer"), forged)).message, denied);
    await Deno.chmod(broker.kurmad.dir, 0o755);
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    assertEquals((await asked(`${broker.kurmad.dir}/kurma.sock`, forged, nobody)).message, denied);
    assertEquals(await asked(`${broker.kurmad.dir}/kurma.sock`, forged), {});
    // What it does not understand it does not pass over.
    const newer = encodeURIComponent(JSON.stringify({
      ...JSON.parse(decodeURIComponent(forged)),
      restrictions: { forbid: ["something-new"] },
    }));
    assertEquals((await asked(`${broker.kurmad.dir}/kurma.sock`, newer)).code, "invalid_argument");
  },
);
