/**
 * Attacks on what all containers share: files of the kernel, cgroups, devices, memory.
 *
 * @module
 */

import { type Attack, attacker, type Outcome, type Target, type Wish } from "./target.ts";

/** Files of procfs and sysfs that change the machine or tell of it. */
const machineFiles = [
  ...["core_pattern", "modprobe", "hotplug", "poweroff_cmd", "hostname", "domainname", "panic"],
  ...["sysrq", "randomize_va_space", "kptr_restrict", "dmesg_restrict", "perf_event_paranoid"],
  ...["unprivileged_bpf_disabled", "yama/ptrace_scope", "threads-max", "pid_max", "printk"],
].map((name) => `/proc/sys/kernel/${name}`).concat(
  ...["fs/suid_dumpable", "fs/file-max", "fs/protected_symlinks", "vm/overcommit_memory"],
  ...["vm/drop_caches", "vm/panic_on_oom", "net/ipv4/ip_forward"],
).map((name) => name.startsWith("/") ? name : `/proc/sys/${name}`).concat(
  ...["/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/fs/nfsd/threads"],
  ...["/proc/mtrr", "/proc/bus/pci/00/00.0", "/proc/sys/fs/binfmt_misc/register"],
  ...["/sys/kernel/uevent_helper", "/sys/kernel/vmcoreinfo", "/sys/kernel/notes"],
  ...["/sys/power/state", "/sys/kernel/mm/ksm/run", "/sys/module/kernel/parameters/panic"],
);

const machineSecrets = [
  ...["acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi"],
  ...["timer_list", "timer_stats"],
].map((name) => `/proc/${name}`).concat(
  ...[
    "/sys/firmware/dmi/tables/DMI",
    "/sys/firmware/memmap/0/start",
    "/sys/firmware/acpi/tables/FACP",
  ],
  ...["/sys/devices/virtual/powercap/intel-rapl/uevent", "/sys/devices/virtual/powercap/uevent"],
);

/** Opens each for writing and writes nothing; reads one byte of the secrets. */
const touch = `
  for file in ${machineFiles.join(" ")}; do
    [ -e $file ] && there=x$there && guest try-open $file write >/dev/null && echo "writes $file"
  done
  for file in ${machineSecrets.join(" ")}; do
    [ -e $file ] && there=x$there
    [ -f $file ] && [ -n "$(head -c 1 $file 2>/dev/null)" ] && echo "reads $file"
    [ -d $file ] && [ -n "$(ls $file)" ] && echo "lists $file"
  done
  echo "\${#there} there"
`;

async function wish(target: Target, wanted: Wish, got: RegExp): Promise<Outcome> {
  const seen = await target.run(wanted);
  return { got: got.test(seen), seen };
}

const mib = 1024 * 1024;
const small: Wish = {
  run: [],
  wanted: { cgroup: true, resources: { memory: { limit: 32 * mib } } },
};

/** Lets the cpusets that are made beside ours have what ours has, for a time. */
async function inheritedCpusets(): Promise<AsyncDisposable> {
  const line = (await Deno.readTextFile("/proc/self/mountinfo")).split("\n")
    .find((text) => / - cgroup .*\bcpuset\b/.test(text));
  const file = line && `${line.split(" ")[4]}/cgroup.clone_children`;
  const set = async (value: string) => {
    if (file) await Deno.writeTextFile(file, value);
  };
  await set("1");
  return { [Symbol.asyncDispose]: () => set("0") };
}

export const machine: readonly Attack[] = [
  {
    number: 51,
    what: "write to and read from what procfs and sysfs have of the machine",
    leftOut: ["masked_paths", "readonly_paths"],
    carryOut: (target) => wish(target, { run: touch, hostUsers: true }, /^(writes|reads|lists) /m),
    refused: /^\d\d there\n0$/,
  },
  {
    number: 52,
    what: "mount a hierarchy of cgroups, for its release_agent",
    leftOut: ["capabilities", "filter"],
    eachIsEnough: true,
    carryOut: (target) =>
      wish(target, {
        run: "mount -t cgroup -o memory none /tmp 2>&1; ls /tmp",
        hostUsers: true,
      }, /cgroup.procs/),
    refused: /^mount: permission denied.*\n0$/,
  },
  {
    number: 53,
    what: "have a cgroup beside those of containers, by a name with ..",
    leftOut: ["cgroup_names"],
    async carryOut(target) {
      // Or a cpuset beside ours would be born empty, and take no process.
      await using _ = await inheritedCpusets();
      const name = "../escaped";
      const seen = await target.run({
        run: ["/bin/true"],
        kurma: { id: name },
        wanted: { cgroup: true },
      });
      return { got: seen === "0", seen };
    },
    refused: /^cgroup EINVAL$/,
  },
  {
    number: 54,
    what: "fork without end",
    leftOut: ["limits"],
    carryOut: (target) =>
      wish(target, {
        run: [attacker, "fork", "100"],
        wanted: { cgroup: true, resources: { pids: { limit: 20 } } },
      }, /^100 children/),
    refused: /^EAGAIN after 1\d\n1$/,
  },
  {
    number: 54,
    what: "use more memory than it was given",
    leftOut: ["limits"],
    carryOut: (target) => wish(target, { ...small, run: [attacker, "allocate", "64"] }, /^64 MiB/),
    refused: /^137$/,
  },
  {
    number: 54,
    what: "fill a memory file system beyond the memory it was given",
    leftOut: ["limits"],
    carryOut: (target) =>
      wish(target, { ...small, run: [attacker, "fill", "/dev/shm/f", "48"] }, /^48 MiB/),
    refused: /^137$/,
  },
  {
    number: 55,
    what: "make a device node of the host and open it",
    leftOut: ["devices"],
    carryOut: (target) =>
      wish(target, {
        run: "mknod /tmp/fuse c 10 229 && head -c 0 </tmp/fuse && echo opened",
        hostUsers: true,
        capabilities: ["CAP_MKNOD"],
        wanted: { cgroup: true },
      }, /opened/),
    refused: /^.*Operation not permitted\n1$/s,
  },
  {
    number: 56,
    what: "give a hook of the host a variable that loads code into it",
    leftOut: ["hook_environment"],
    async carryOut(target) {
      const path = `${target.dir}/hook`;
      await Deno.writeTextFile(path, `#!/bin/sh\n/usr/bin/env >${path}-env\n`, { mode: 0o700 });
      const seen = await target.run({
        run: ["/bin/true"],
        process: { env: ["PATH=/bin", "LD_PRELOAD=/tmp/evil.so", "NODE_OPTIONS=-r /tmp/evil.js"] },
        hooks: { createRuntime: [{ path }] },
      });
      const env = await Deno.readTextFile(`${path}-env`);
      return { got: env.includes("evil"), seen: `${seen} ${env}` };
    },
    refused: /^0 PATH=/m,
  },
  {
    number: 57,
    what: "set what the whole machine has, by a name or a value",
    leftOut: ["settings"],
    async carryOut(target) {
      // To what it is: whoever succeeds changes nothing.
      const own = (await Deno.readTextFile("/proc/sys/vm/stat_interval")).trim();
      const tries = [
        ["vm.stat_interval", own],
        ["net.ipv4.ip_forward", `0+vm.stat_interval=${own}`],
        ["net.ipv4.ip_forward", `0\nvm.stat_interval=${own}`],
        ["net.ipv4.ip_forward=0+vm.stat_interval", own],
        ["net/../vm/stat_interval", own],
        ["net.ipv4...vm.stat_interval", own],
      ];
      const seen: string[] = [];
      for (const [name, value] of tries) {
        const linux = { sysctl: { [name]: value } };
        seen.push(await target.run({ run: ["/bin/true"], hostUsers: true, linux }));
      }
      return { got: seen.includes("0"), seen: seen.join(", ") };
    },
    refused:
      /^Cannot carry out the plan: The whole machine has it: "config.linux.sysctl.vm.stat_interval"/,
  },
];
