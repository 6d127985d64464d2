import { KurmaError } from "../../../ffi/errors.ts";
import { assertEquals, rejection } from "../../../tests/assert.ts";
import { isolate, type Isolation, type Origin } from "./isolators.ts";

function from(origin: Origin, name: string, value: unknown): Isolation {
  return isolate([{ name, value }], origin, "the app");
}

/** What a request's isolator comes to. */
const enforced: [name: string, value: unknown, part: Partial<Isolation>][] = [
  ["resource/cpu", { request: "250m", limit: "1.5" }, { resources: { cpus: 1.5, cpuShares: 256 } }],
  ["resource/cpu", { limit: 2 }, { resources: { cpus: 2 } }],
  ["resource/memory", { request: "1G", limit: "2Gi" }, {
    resources: { memory: 2 ** 31, memoryReservation: 1e9 },
  }],
  ["os/linux/capabilities-retain-set", { set: ["CAP_NET_ADMIN", "CAP_NET_ADMIN"] }, {
    capabilities: { drop: ["ALL"], add: ["CAP_NET_ADMIN"] },
  }],
  ["os/linux/capabilities-remove-set", { set: ["CAP_MKNOD"] }, {
    capabilities: { drop: ["CAP_MKNOD"] },
  }],
  ["os/linux/capabilities-revoke-set", { set: ["CAP_CHOWN"] }, {
    capabilities: { drop: ["CAP_CHOWN"] },
  }],
  ["os/linux/no-new-privileges", false, { security: { noNewPrivileges: false } }],
  ["os/linux/seccomp-retain-set", { set: ["@appc.io/all"] }, {
    security: { seccomp: "unconfined" },
  }],
  ["os/linux/seccomp-remove-set", { set: ["@appc.io/empty"] }, {
    security: { seccomp: "default" },
  }],
  ["os/linux/seccomp-retain-set", { set: ["read", "execve"], errno: "EPERM" }, {
    security: {
      seccomp: {
        defaultAction: "SCMP_ACT_ERRNO",
        defaultErrnoRet: 1,
        syscalls: [{
          names: [
            ...["execve", "exit", "exit_group", "rt_sigreturn", "sigreturn", "restart_syscall"],
            "read",
          ],
          action: "SCMP_ACT_ALLOW",
        }],
      },
    },
  }],
  ["os/linux/namespaces", { net: "host", uts: "host", ipc: "" }, {
    namespaces: { network: "host", uts: "host" },
  }],
  ["os/linux/namespaces", ["ipc", "mount", "pid", "uts"], { namespaces: { network: "host" } }],
  ["os/unix/sysctl", { "net.core.somaxconn": "1" }, { sysctls: { "net.core.somaxconn": "1" } }],
  ["os/linux/privileged", true, { security: { privileged: true } }],
  ["os/linux/privileged", false, { security: {} }],
  ["host/privileged", true, { hostTree: true }],
  ["host/api-access", true, { security: { apiAccess: true } }],
];
for (const [name, value, part] of enforced) {
  Deno.test(`a request's ${name} ${JSON.stringify(value)} is enforced`, () => {
    const isolation = from("request", name, value);
    const names = Object.keys(part) as (keyof Isolation)[];
    assertEquals(Object.fromEntries(names.map((key) => [key, isolation[key]])), part);
    assertEquals(isolation.outcomes, [{ name, outcome: "enforced" }]);
  });
}

Deno.test("removing system calls ends the program, or answers as it was asked to", () => {
  const removed = (value: unknown) => {
    const { seccomp } = from("request", "os/linux/seccomp-remove-set", value).security;
    return typeof seccomp === "object" ? seccomp.syscalls ?? [] : [];
  };
  const [killed, others] = removed({ set: ["reboot"] });
  assertEquals(killed, { names: ["reboot"], action: "SCMP_ACT_KILL_PROCESS" });
  assertEquals(others.action, "SCMP_ACT_ERRNO");
  assertEquals(others.names.includes("reboot"), false);
  assertEquals(others.names.includes("kexec_load"), true);
  assertEquals(removed({ set: ["kill"], errno: "ENOTSUP" })[0], {
    names: ["kill"],
    action: "SCMP_ACT_ERRNO",
    errnoRet: 95,
  });
});

const told: [Origin, name: string, value: unknown, outcome: string][] = [
  ["request", "resource/block-bandwidth", { default: true, limit: "2M" }, "ignored"],
  ["request", "resource/block-iops", { default: true, limit: "1000" }, "ignored"],
  ["request", "resource/network-bandwidth", { default: true, limit: "1G" }, "ignored"],
  ["request", "os/linux/selinux-context", { user: "system_u" }, "ignored"],
  ["request", "example.com/unheard-of", { any: ["thing"] }, "ignored"],
  ["request", "constructor", 1, "ignored"],
  ["image", "os/linux/no-new-privileges", false, "modified"],
  ["image", "os/linux/seccomp-retain-set", { set: ["@appc.io/all"] }, "modified"],
  ["image", "os/linux/seccomp-remove-set", { set: ["reboot"] }, "modified"],
  ["image", "os/linux/namespaces", { net: "host" }, "modified"],
  ["image", "os/linux/namespaces", { net: "" }, "enforced"],
  ["image", "os/unix/sysctl", { "net.core.somaxconn": "1" }, "ignored"],
  ["image", "os/linux/capabilities-retain-set", { set: ["CAP_SYS_ADMIN"] }, "modified"],
  ["image", "os/linux/no-new-privileges", true, "enforced"],
];
for (const [origin, name, value, outcome] of told) {
  Deno.test(`of the ${origin}, ${name} ${JSON.stringify(value)} is ${outcome}`, () => {
    const isolation = from(origin, name, value);
    assertEquals(isolation.outcomes.map((each) => [each.name, each.outcome]), [[name, outcome]]);
    if (origin === "image") {
      assertEquals([isolation.namespaces, isolation.sysctls, isolation.hostTree], [{}, {}, false]);
      assertEquals(isolation.security.seccomp, undefined);
      assertEquals(isolation.capabilities?.add, undefined);
    }
  });
}

for (const name of ["host/privileged", "os/linux/privileged", "host/api-access"] as const) {
  Deno.test(`an image does not take ${name}, and gets it where it is granted`, async () => {
    const error = await rejection(() => from("image", name, true));
    assertEquals(error instanceof KurmaError && error.code, "denied");
    assertEquals(error.message, `Cannot run the app: it wants ${name}`);
    const granted = isolate([{ name, value: true }], "image", "the app", [name]);
    assertEquals(granted.outcomes, [{ name, outcome: "enforced" }]);
    assertEquals(from("image", name, false).outcomes, [{ name, outcome: "enforced" }]);
  });
}

const wrong: [name: string, value: unknown][] = [
  ["resource/cpu", {}],
  ["resource/cpu", { limit: "0" }],
  ["resource/cpu", { limit: "1X" }],
  ["resource/cpu", { default: true, limit: "1" }],
  ["resource/cpu", { request: "2", limit: "1" }],
  ["resource/memory", { limit: "-1" }],
  ["resource/memory", { limit: "1e99" }],
  ["resource/memory", "1G"],
  ["resource/block-iops", { limit: "1" }],
  ["resource/block-iops", { default: true, limit: "1", request: "1" }],
  ["os/linux/capabilities-retain-set", { set: [] }],
  ["os/linux/capabilities-retain-set", { set: ["CAP_FLY"] }],
  ["os/linux/capabilities-remove-set", ["CAP_KILL"]],
  ["os/linux/no-new-privileges", "true"],
  ["os/linux/seccomp-retain-set", { set: [] }],
  ["os/linux/seccomp-retain-set", { set: ["read"], errno: "EWHAT" }],
  ["os/linux/seccomp-retain-set", { set: ["@appc.io/empty"] }],
  ["os/linux/seccomp-remove-set", { set: ["READ"] }],
  ["os/linux/seccomp-remove-set", { set: ["read"], extra: 1 }],
  ["os/linux/namespaces", { net: "container" }],
  ["os/linux/namespaces", { mount: "host" }],
  ["os/linux/namespaces", ["network"]],
  ["os/unix/sysctl", { a: 1 }],
  ["os/unix/sysctl", null],
  ["host/privileged", 1],
];
for (const [name, value] of wrong) {
  Deno.test(`${name} ${JSON.stringify(value)} is refused, and what it has to be is said`, async () => {
    const error = await rejection(() => from("request", name, value));
    assertEquals(error instanceof KurmaError && [error.code, error.fix !== undefined], [
      "invalid",
      true,
    ]);
  });
}

Deno.test("the last isolator of a name counts", () => {
  const isolation = isolate(
    [
      { name: "resource/memory", value: { limit: "1G" } },
      { name: "resource/memory", value: { limit: "2G" } },
    ],
    "request",
    "the app",
  );
  assertEquals(isolation.resources, { memory: 2e9 });
  assertEquals(isolation.outcomes.length, 1);
});

Deno.test("a set to retain and one to remove exclude each other", async () => {
  const set = { set: ["CAP_KILL"] };
  const error = await rejection(() =>
    isolate(
      [
        { name: "os/linux/capabilities-retain-set", value: set },
        { name: "os/linux/capabilities-remove-set", value: set },
      ],
      "request",
      "the app",
    )
  );
  assertEquals(
    error.message,
    "Cannot use the app: it has both os/linux/capabilities-retain-set and " +
      "os/linux/capabilities-remove-set",
  );
});
