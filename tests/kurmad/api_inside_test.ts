/**
 * The API in a container: what may be done with it is the role's that it was given for.
 *
 * @module
 */

import { openTransport } from "../../stage1/api/client_streams.ts";
import { ApiClient } from "../../stage1/api/client.ts";
import type { Role } from "../../stage1/remote/roles.ts";
import { type Via, viaHeader, writeVia } from "../../stage1/api/via.ts";
import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { binary, mustRun, run } from "../harness.ts";
import { until } from "../stage2/served.ts";
import { attempt, isAllowed, methods, nameOf } from "../remote/every_method.ts";
import { roles } from "../remote/brokered.ts";
import { type Kurmad, kurmadTest } from "./daemon.ts";

const folder = "/var/lib/kurma";

/** Starts a container that has the API, and tells where its socket is, seen from here. */
async function withApi(kurmad: Kurmad, role: Role): Promise<string> {
  const apiRole = `API_ROLE_${role.toUpperCase() as Uppercase<Role>}` as const;
  await kurmad.run(role, "sleep 1000", { security: { apiAccess: true, apiRole } });
  const { container } = await kurmad.api.call("Containers", "Get", { container: role });
  assertEquals(container?.settings?.security?.apiRole, apiRole);
  return `/proc/${container?.pid}/root${folder}/kurma.sock`;
}

kurmadTest("whoever has the API inside may call what its role may, and no more", async (kurmad) => {
  const counts = { allowed: 0, denied: 0 };
  for (const role of roles) {
    // As root, who may do everything over kurmad's own socket: it is the socket that counts.
    using open = openTransport(await withApi(kurmad, role));
    for (const method of methods) {
      const error = await attempt(open.transport, method);
      const isDenied = /^Cannot call \w/.test(error?.rawMessage ?? "");
      assertEquals(isDenied, !isAllowed(role, method), `${role} ${nameOf(method)}: ${error}`);
      counts[isDenied ? "denied" : "allowed"]++;
    }
  }
  console.log(`the API inside: ${counts.allowed} calls allowed, ${counts.denied} denied`);
});

kurmadTest("an operator's API inside gives nothing of the host", async (kurmad) => {
  await kurmad.run("privileged", "sleep 1000", { security: { privileged: true } });
  const api = new ApiClient(await withApi(kurmad, "operator"));
  const image = "box"; // A path of the host is no image of his.
  await mustRun([binary, "image", "import", "-H", kurmad.socket, kurmad.image, "--name", image]);
  const start = (name: string, security: Record<string, boolean>) =>
    api.call("Containers", "Create", {
      name,
      image,
      start: true,
      settings: { command: ["true"], security },
    });

  await start("plain", {});
  assertMatch(
    (await rejection(() => start("p", { privileged: true }))).message,
    /rights of the host/,
  );
  assertMatch(
    (await rejection(() => start("a", { apiAccess: true }))).message,
    /the API of kurmad/,
  );
  const stop = () => api.call("Containers", "Stop", { container: "privileged" });
  assertMatch((await rejection(stop)).message, /rights of the host/);
  // Nor does he get further by speaking for somebody who may do more.
  const told = await fetchVia(api.host);
  assertMatch(told, /permission_denied.*Cannot call on behalf of another/);
});

/** Asks over a socket for the version, in the name of an administrator. */
async function fetchVia(socket: string): Promise<string> {
  using http = Deno.createHttpClient({ proxy: { transport: "unix", path: socket } });
  const via: Via = {
    ...{ name: "root", fingerprint: "", address: "" },
    role: "admin",
    credential: "certificate",
  };
  const response = await fetch("http://kurma/kurma.v1.System/Version", {
    method: "POST",
    headers: { "content-type": "application/json", [viaHeader]: writeVia(via) },
    body: "{}",
    client: http,
  });
  return await response.text();
}

kurmadTest(
  "the API inside is there again with the next kurmad, and nobody's to replace",
  async (kurmad) => {
    const socket = await withApi(kurmad, "viewer");
    await kurmad.restarted();
    const { containers = [] } = await new ApiClient(socket).call("Containers", "List", {});
    assertEquals(containers.map(({ name }) => name), ["viewer"]);
    for (const command of [["rm", `${folder}/kurma.sock`], ["touch", `${folder}/other`]]) {
      const { code, errorOutput } = await kurmad.exec("viewer", command);
      assert(code !== 0);
      assertMatch(errorOutput, /Read-only file system/);
    }
  },
);

/** Kurma itself, where a container has no other program: with the libraries of this machine. */
const withKurma = [
  { target: "/bin/kurma", readOnly: true, bind: { path: binary } },
  ...["/lib", "/lib64"].map((target) => ({
    target,
    readOnly: true,
    bind: { path: Deno.realPathSync(target) },
  })),
];

kurmadTest("kurma inside finds the API that it was given", async (kurmad) => {
  const security = { apiAccess: true, apiRole: "API_ROLE_VIEWER" } as const;
  await kurmad.run("looks", "sleep 1000", { security, mounts: withKurma });
  assertMatch((await kurmad.exec("looks", ["kurma", "list"])).output, /^looks +/m);
  const { code, errorOutput } = await kurmad.exec("looks", ["kurma", "stop", "looks"]);
  assertMatch(errorOutput, /Cannot call Containers\/Stop: the API is here for viewers/);
  assertMatch(errorOutput, /Make the container with the API for operators: --api operator/);
  assertEquals(code, 5);
});

kurmadTest("kurma-api serves out of a container", async (kurmad) => {
  const papers = `${kurmad.dir}/papers`;
  const admin = `${kurmad.dir}/admin.json`;
  await mustRun([binary, "api", "init", "--dir", papers, "--name", "localhost", "-f", admin]);
  const serve = "kurma api serve --dir /papers --listen 127.0.0.1:12312 --socket $KURMA_HOST";
  await kurmad.run("broker", `exec ${serve} 2>&1`, {
    network: "host",
    security: { apiAccess: true, hostUsers: true },
    mounts: [...withKurma, { target: "/papers", bind: { path: papers } }],
  });
  const env = { HOME: kurmad.dir, XDG_CONFIG_HOME: `${kurmad.dir}/config` };
  await mustRun([binary, "context", "import", admin, "--use"], { env });
  const listed = await until("an answer of kurma-api", async () => {
    const { status, stdout } = await run([binary, "list"], { env });
    return status === 0 ? stdout : undefined;
  });
  assertMatch(listed, /^broker +/m);
});
