import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { bareConfig } from "../images/image.ts";
import { check } from "../schema.ts";
import { allCapabilities } from "./capabilities.ts";
import { resolve } from "./resolve.ts";
import {
  coverOf,
  forbiddenHold,
  fromAllowedFolders,
  type Hold,
  holdsOf,
  hostThings,
  podHoldsOf,
  requireOrigin,
  type Restrictions,
  restrictionsSchema,
  volumesFromAllowedFolders,
} from "./restrictions.ts";
import type { ContainerSpec, PodSpec } from "./spec.ts";

const image = { ...bareConfig, command: ["/bin/serve"] };

/** What a container with these settings has of the host. */
function held(wanted: Partial<ContainerSpec>, hostUsers = false): string[] {
  const meant = resolve(image, { image: "web", ...wanted });
  return [...holdsOf(meant, hostUsers)].map(({ thing, words }) => `${thing}: ${words}`);
}

Deno.test("what a container has of the host is seen, whatever the setting", () => {
  const table: [Partial<ContainerSpec>, string[]][] = [
    [{}, []],
    [{ env: ["A=b"], mounts: [{ type: "volume", source: "v", target: "/v" }] }, []],
    [{ mounts: [{ type: "tmpfs", target: "/t" }], resources: { memory: 1e9 } }, []],
    [{ capabilities: { drop: ["CAP_KILL"], add: ["CAP_CHOWN"] } }, []],
    [{ security: { noNewPrivileges: false, readOnlyRoot: true } }, []],
    [{ namespaces: { network: "container:other" } }, []],
    [{ security: { hostTree: true } }, [
      "privileged: the host's file tree",
      "host-namespaces: the host's users",
    ]],
    [{ security: { apiAccess: true } }, ["api-access: the API of kurmad"]],
    [{ security: { seccomp: "unconfined" } }, ["seccomp: system calls beyond the default filter"]],
    [{ security: { seccomp: { defaultAction: "SCMP_ACT_ERRNO" } } }, [
      "seccomp: system calls beyond the default filter",
    ]],
    [{ security: { maskedPaths: [] } }, [
      "privileged: paths of /proc and /sys that others do not see",
    ]],
    [{ security: { readOnlyPaths: ["/proc/bus"] } }, [
      "privileged: paths of /proc and /sys that others do not see",
    ]],
    [{ capabilities: { add: ["CAP_SYS_ADMIN", "CAP_BPF"] } }, [
      "capabilities: CAP_SYS_ADMIN, CAP_BPF",
    ]],
    [{ capabilities: { add: ["ALL"] } }, ["capabilities: all capabilities"]],
    [{ capabilities: { add: ["ALL"], drop: ["CAP_BPF"] } }, [
      `capabilities: ${
        allCapabilities.filter((name) => !/CHOWN|DAC_OV|FSETID|FOWNER|SETGID|SETUID/.test(name))
          .filter((name) => !/SETFCAP|SETPCAP|NET_BIND|SYS_CHROOT|KILL|CAP_BPF/.test(name))
          .join(", ")
      }`,
    ]],
    [{ ulimits: [{ name: "nofile", soft: -1 }, { name: "rtprio", soft: 0 }] }, []],
    [{ ulimits: [{ name: "rtprio", soft: 0, hard: 50 }] }, [
      "capabilities: a priority before all others of the host",
    ]],
    [{ resources: { oomScoreAdj: 500 } }, []],
    [{ resources: { oomScoreAdj: -500 } }, [
      "capabilities: precedence when the host has no memory left",
    ]],
    [{ devices: [{ path: "/dev/kvm" }] }, ['devices: the device "/dev/kvm"']],
    [{ sysctls: { "net.core.somaxconn": "1" } }, [
      'sysctls: the kernel setting "net.core.somaxconn"',
    ]],
    [{ mounts: [{ type: "bind", source: "/srv/", target: "/x", subPath: "a/b" }] }, [
      'host-paths: the host\'s path "/srv/a/b"',
    ]],
    ...(["network", "pid", "ipc", "uts", "cgroup"] as const).map((
      kind,
    ): [Partial<ContainerSpec>, string[]] => [
      { namespaces: { [kind]: "host" } },
      [`host-namespaces: the host's ${kind} namespace`],
    ]),
    [{ namespaces: { user: "host" } }, ["host-namespaces: the host's users"]],
  ];
  for (const [wanted, expected] of table) assertEquals(held(wanted), expected);
  assertEquals(held({}, true), ["host-namespaces: the host's users"]);
  assertEquals(held({ security: { privileged: true } })[0], "privileged: all rights of the host");
});

Deno.test("what a pod has of the host beside its apps is seen too", () => {
  const held = (spec: Partial<PodSpec>) =>
    [...podHoldsOf({ apps: [], ...spec })].map(({ thing, words }) => `${thing}: ${words}`);
  assertEquals(held({}), []);
  assertEquals(held({ namespaces: { network: "none", pid: "private", user: "auto" } }), []);
  assertEquals(held({ namespaces: { network: "host", user: "host" } }), [
    "host-namespaces: the host's network namespace",
    "host-namespaces: the host's users",
  ]);
  assertEquals(held({ sysctls: { "kernel.domainname": "x" } }), [
    'sysctls: the kernel setting "kernel.domainname"',
  ]);
  assertEquals(
    held({
      volumes: [
        { name: "a", kind: "empty" },
        { name: "b", kind: "named" },
        { name: "c", kind: "host", source: "/etc" },
      ],
    }),
    ['host-paths: the host\'s path "/etc"'],
  );
});

Deno.test("each thing is forbidden by its own word", () => {
  for (const thing of hostThings) {
    const hold: Hold = { thing, words: "it" };
    assertEquals(forbiddenHold([hold], { forbid: [thing] }), hold);
    const others = hostThings.filter((other) => other !== thing);
    assertEquals(forbiddenHold([hold], { forbid: others, hostPaths: [] }), undefined);
  }
  const path: Hold = { thing: "host-paths", words: "it", path: "/srv/a" };
  const forbid = hostThings;
  assertEquals(forbiddenHold([path], { forbid }), undefined);
  assertEquals(forbiddenHold([path], { forbid, hostPaths: [] }), path);
  assertEquals(forbiddenHold([path], { forbid, hostPaths: ["/srv"] }), undefined);
});

Deno.test("a folder covers what is below it, and nothing beside it", () => {
  const table: [folders: string[], path: string, cover: string | undefined][] = [
    [[], "/srv", undefined],
    [["/srv"], "/srv", "/srv"],
    [["/srv"], "/srv/", "/srv"],
    [["/srv"], "/srv/a/b", "/srv"],
    [["/srv"], "/srv2", undefined],
    [["/srv"], "/", undefined],
    [["/srv"], "//srv//a/.", "/srv"],
    [["/"], "/anything", "/"],
    [["/"], "/", "/"],
    [["/srv/a", "/srv"], "/srv/a/b", "/srv"],
    [["/srv/a", "/srv/b"], "/srv/b/c", "/srv/b"],
  ];
  for (const [folders, path, cover] of table) assertEquals(coverOf(folders, path), cover, path);
});

Deno.test("what may be mounted is found from the folder that is allowed", () => {
  const restrictions: Restrictions = { forbid: [], hostPaths: ["/srv", "/srv/a"] };
  const bind = (source: string, subPath?: string) => ({
    type: "bind" as const,
    source,
    target: "/x",
    ...(subPath === undefined ? {} : { subPath }),
  });
  const table = [
    [bind("/srv"), bind("/srv")],
    [bind("/srv/b/c"), bind("/srv", "b/c")],
    // Whoever may write in /srv could make /srv/a a link: it is not opened by its path.
    [bind("/srv/a"), bind("/srv", "a")],
    [bind("/srv/a/c"), bind("/srv", "a/c")],
    [bind("/srv/a", "c/d"), bind("/srv", "a/c/d")],
    [bind("/etc"), bind("/etc")],
    [{ type: "tmpfs" as const, target: "/t" }, { type: "tmpfs" as const, target: "/t" }],
  ];
  for (const [given, expected] of table) {
    assertEquals(fromAllowedFolders([given], restrictions), [expected]);
    assertEquals(fromAllowedFolders([given], { forbid: [] }), [given]);
  }
  const volume = { name: "v", kind: "host" as const, source: "/srv/a/b" };
  assertEquals(volumesFromAllowedFolders([volume], restrictions), [
    { ...volume, source: "/srv", subPath: "a/b" },
  ]);
});

Deno.test("an image of the store is judged by how it came there", async () => {
  const from = (from: string, signer?: string) => ({
    from,
    trust: {
      ...{ verdict: "accept" as const, rule: "default", reason: "it is fine" },
      ...(signer ? { signer } : {}),
    },
  });
  const signed: Restrictions = { forbid: [], signedImages: true };
  const few: Restrictions = { forbid: [], registries: ["docker.io/library"] };
  requireOrigin("web", from("docker.io/library/web:1"), { forbid: [] });
  requireOrigin("web", from("docker.io/library/web:1"), few);
  requireOrigin("web", from("docker.io/library/web:1", "ops.pub"), signed);
  requireOrigin("web", undefined, few); // An administrator brought it.
  const refused: [Parameters<typeof requireOrigin>, RegExp][] = [
    [["web", from("evil.example/web:1"), few], /its registry is not allowed/],
    [["web", from("https://evil.example/web.aci"), few], /its registry is not allowed/],
    [["web", from("appc://evil.example/web:1"), few], /its registry is not allowed/],
    [["web", from("docker.io/library/web:1"), signed], /nobody has signed it/],
    [["web", undefined, signed], /nobody has signed it/],
  ];
  for (const [args, message] of refused) {
    assertMatch((await rejection(() => requireOrigin(...args))).message, message);
  }
});

Deno.test("restrictions of a newer broker are refused, not passed over", async () => {
  assertEquals(check(restrictionsSchema, { forbid: [] }, "it"), { forbid: [] });
  for (const newer of [{}, { forbid: ["x"] }, { forbid: [], more: true }, { forbid: "all" }]) {
    assertMatch((await rejection(() => check(restrictionsSchema, newer, "it"))).message, /^Cannot/);
  }
});
