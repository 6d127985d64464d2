/**
 * One config.json, run by runc and through our server: the guest has to report the same.
 *
 * @module
 */

import type { Config, Plan } from "../../stage2/spec.ts";
import { assert, assertEquals } from "../assert.ts";
import { parseReport, type Report } from "../guest/report.ts";
import { mustRun } from "../harness.ts";
import { guest, Output, serverTest } from "./served.ts";

const capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"];

/** As root of the host, since runc 1.1 makes no idmapped root. */
function configuration(root: string, volume: string) {
  return {
    ociVersion: "1.0.2",
    hostname: "sea",
    domainname: undefined,
    root: { path: root, readonly: true },
    process: {
      args: [guest],
      env: ["PATH=/bin", "A=b c"],
      cwd: "/etc",
      noNewPrivileges: true,
      user: { uid: 1000, gid: 1001, umask: 0o027, additionalGids: [5, 6] },
      oomScoreAdj: 300,
      capabilities: {
        bounding: capabilities,
        effective: ["CAP_KILL"],
        permitted: ["CAP_KILL", "CAP_CHOWN"],
        inheritable: ["CAP_KILL"],
        ambient: ["CAP_KILL"],
      },
      rlimits: [
        { type: "RLIMIT_NOFILE", soft: 100, hard: 200 },
        { type: "RLIMIT_CORE", soft: 0, hard: 1000 },
        { type: "RLIMIT_NPROC", soft: 50, hard: 60 },
        { type: "RLIMIT_STACK", soft: 1048576, hard: 2097152 },
        { type: "RLIMIT_FSIZE", soft: 4096000, hard: 8192000 },
        { type: "RLIMIT_MSGQUEUE", soft: 1000, hard: 2000 },
      ],
    },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec"] },
      {
        destination: "/dev",
        type: "tmpfs",
        source: "tmpfs",
        options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
      },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
      },
      {
        destination: "/dev/shm",
        type: "tmpfs",
        source: "shm",
        options: ["nosuid", "noexec", "nodev", "mode=1777", "size=1024k"],
      },
      {
        destination: "/dev/mqueue",
        type: "mqueue",
        source: "mqueue",
        options: ["nosuid", "noexec", "nodev"],
      },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "nodev", "ro"] },
      { destination: "/tmp", type: "bind", source: volume, options: ["rbind", "ro", "nosuid"] },
    ],
    linux: {
      namespaces: ["mount", "pid", "ipc", "uts", "network"].map((type) => ({ type })),
      devices: [
        { type: "c", path: "/dev/fuse", major: 10, minor: 229, fileMode: 0o640, uid: 3, gid: 4 },
      ],
      sysctl: {
        "net.ipv4.ip_forward": "1",
        "net.core.somaxconn": "99",
        "net.ipv4.ping_group_range": "0 5",
        "net.ipv4.ip_unprivileged_port_start": "80",
        "kernel.msgmax": "10000",
        "kernel.shmmax": "1000000",
        "kernel.sem": "100 32000 50 64",
        "fs.mqueue.msg_max": "11",
      },
      maskedPaths: ["/proc/kcore", "/proc/acpi", "/sys/firmware"],
      readonlyPaths: ["/proc/sys", "/proc/bus"],
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [{ names: ["acct"], action: "SCMP_ACT_ERRNO" }],
      },
    },
  };
}

/** What is compared, by name. Lists are in an order that does not matter. */
function fields(report: Report): Record<string, unknown> {
  const mount = (target: string) => {
    const line = report.mounts.findLast((line) => line.split(" ")[4] === target);
    if (!line) return "none";
    const [head, tail] = line.split(" - ");
    // Sizes and devices of the superblock differ from run to run.
    return `${head.split(" ")[5].split(",").sort()} ${tail.split(" ")[0]}`;
  };
  const seen: Record<string, unknown> = {
    args: report.args,
    env: report.env.filter((variable) => !variable.startsWith("HOME=")).sort(),
    cwd: report.cwd,
    umask: report.umask,
    hostname: report.hostname,
    oomScoreAdj: report.oom_score_adj,
    personality: report.personality,
    nice: report.nice,
    scheduler: report.scheduler,
    ioPriority: report.io_priority,
    links: report.links.map((line) => line.split(":")[0].trim()).slice(2),
  };
  const status = ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
  for (const name of [...status, "NoNewPrivs", "Seccomp"]) seen[name] = report.status[name];
  for (const name of Object.keys(report.rlimits)) seen[`rlimit ${name}`] = report.rlimits[name];
  for (const name of Object.keys(report.sysctls)) seen[`sysctl ${name}`] = report.sysctls[name];
  const targets = ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/tmp"];
  const covered = ["/proc/kcore", "/proc/sys", "/proc/bus", "/sys/firmware"];
  for (const target of [...targets, ...covered]) seen[`mount ${target}`] = mount(target);
  for (const name of Object.keys(report.devices)) seen[`device ${name}`] = report.devices[name];
  return seen;
}

/** Wanted by design: not compared. */
const different: Record<string, string> = {
  "device core": "a link to /proc/kcore, which is masked: of no use, and we make none",
  "mount /sys/firmware": "the empty folder that masks it is nosuid, nodev and noexec as well",
};

serverTest("the guest reports of one configuration what it reports under runc", async (server) => {
  const root = `${server.dir}/image`;
  const volume = `${server.dir}/volume`;
  await Deno.mkdir(volume);
  await Deno.mkdir(`${root}/tmp`);
  const bundle = `${server.dir}/bundle`;
  await Deno.mkdir(bundle);
  const config = configuration(root, volume);
  await Deno.writeTextFile(`${bundle}/config.json`, JSON.stringify(config));
  const runc = ["runc", "--root", `${server.dir}/runc`, "run", "--bundle", bundle, "compared"];
  const theirs = fields(parseReport(await mustRun(runc)));

  const scratch = `${server.dir}/compared`;
  await Deno.mkdir(scratch);
  const plan: Plan = {
    kurma: { id: "compared", layers: [], scratch },
    config: config as unknown as Config,
  };
  using written = new Output();
  await server.stage2.create(plan, written.streams);
  await server.stage2.start("compared");
  assertEquals((await server.ended("compared")).status, 0);
  const ours = fields(parseReport(written.text));
  await server.remove("compared");

  const names = new Set([...Object.keys(theirs), ...Object.keys(ours)]);
  for (const name of Object.keys(different)) names.delete(name);
  // What neither has, or shows, says nothing.
  const nothing = (value: unknown) => typeof value === "string" && /^(none|E[A-Z]+)$/.test(value);
  for (const name of names) {
    if (nothing(ours[name]) && nothing(theirs[name])) names.delete(name);
  }
  const differing = [...names].filter((name) =>
    JSON.stringify(ours[name]) !== JSON.stringify(theirs[name])
  );
  assertEquals(differing.map((name) => [name, ours[name], theirs[name]]), []);
  console.log(`${names.size} fields are the same under runc and under the server`);
  assert(names.size >= 40);
});
