//! What a plan may not ask for although each of its parts is well formed. All is refused
//! before anything is made, with the key that is in question.

const std = @import("std");
const cpus = @import("cpus.zig");
const hooks = @import("hooks");
const linux = @import("linux");
const mount_options = @import("mount_options.zig");
const plan_module = @import("plan.zig");
const seccomp = @import("seccomp");
const sysctl = @import("sysctl.zig");
const Plan = plan_module.Plan;
const Problem = plan_module.Problem;
const Kind = plan_module.Namespace.Kind;

const Invalid = error{Invalid};

pub fn check(plan: *const Plan, problem: *Problem) Invalid!void {
    const config = &plan.config;
    try checkProcess(&config.process, "config.process", problem);
    try checkNamespaces(plan, problem);
    if (plan.joins(.mount)) try checkJoinedTree(plan, problem);
    const has_ids = config.linux.uidMappings.len > 0 and config.linux.gidMappings.len > 0;
    if (plan.has(.user) and !has_ids) return problem.setAt("A user namespace needs", &.{"config.linux.uidMappings and gidMappings"});
    if (!plan.has(.user) and config.linux.uidMappings.len + config.linux.gidMappings.len > 0) {
        return problem.setAt("Needs a user namespace:", &.{"config.linux.uidMappings"});
    }
    for ([_]struct { ?plan_module.Text, []const u8 }{ .{ config.hostname, "hostname" }, .{ config.domainname, "domainname" } }) |name| {
        if (name[0] != null and !plan.makes(.uts)) return problem.setAt("Needs a new uts namespace:", &.{ "config", name[1] });
    }
    if (config.linux.timeOffsets.len > 0 and !plan.makes(.time)) return problem.setAt("Needs a new time namespace:", &.{"config.linux.timeOffsets"});
    for (config.linux.timeOffsets) |offset| {
        for ([_][]const u8{ "monotonic", "boottime" }) |clock| {
            if (std.mem.eql(u8, offset.key, clock)) break;
        } else return problem.setAt("No such clock:", &.{ "config.linux.timeOffsets", offset.key });
        if (offset.value.nanosecs >= std.time.ns_per_s) return problem.setAt("Out of range:", &.{ "config.linux.timeOffsets", offset.key, "nanosecs" });
    }
    for (config.linux.sysctl) |entry| {
        if (linux.weakness.has(.settings)) break;
        if (sysctl.problem(plan, entry.key, entry.value)) |why| return problem.setAt(why, &.{ "config.linux.sysctl", entry.key });
    }
    try checkMounts(plan, problem);
    for (config.linux.devices) |device| {
        if (device.path.len < 2 or device.path[0] != '/') return problem.setAt("Not an absolute path:", &.{ "config.linux.devices", device.path });
        if (device.type != .p and (device.major == null or device.minor == null)) return problem.setAt("Needs a major and a minor number:", &.{ "config.linux.devices", device.path });
    }
    if (config.linux.personality) |personality| try checkPersonality(personality, "config.linux.personality", problem);
    if (config.hooks.firstInvalid()) |place| {
        var index: [8]u8 = undefined;
        const entry = linux.text.print(&index, "{d}", .{place.entry}) catch unreachable; // A u16 fits.
        return problem.setAt("Not an absolute path, a time limit of 0, or a nameless variable:", &.{ "config.hooks", @tagName(place.point), entry });
    }
    if (config.linux.seccomp) |filter| {
        try checkListener(filter, "config.linux.seccomp", problem);
        if (filter.listenerPath != null and plan.kurma.rpc != null) return problem.setAt("The text RPC has no listener for what it starts:", &.{"kurma.rpc"});
    }
}

pub fn checkProcess(process: *const plan_module.Process, path: []const u8, problem: *Problem) Invalid!void {
    if (process.args.len == 0) return problem.setAt("No command in the plan:", &.{ path, "args" });
    for (process.env) |variable| {
        // A name without a value is nobody's request for ours.
        if ((std.mem.findScalar(u8, variable, '=') orelse 0) == 0) return problem.setAt("Not NAME=value:", &.{ path, "env" });
    }
    if (process.scheduler) |scheduler| {
        // The init would have it and not the command, or nothing could be forked.
        const fork = "It does not outlive a fork:";
        if (scheduler.policy == .SCHED_DEADLINE) return problem.setAt(fork, &.{ path, "scheduler", @tagName(scheduler.policy) });
        for (scheduler.flags) |flag| if (flag == .SCHED_FLAG_RESET_ON_FORK) return problem.setAt(fork, &.{ path, "scheduler", @tagName(flag) });
        if (scheduler.runtime | scheduler.deadline | scheduler.period != 0) return problem.setAt("Only SCHED_DEADLINE has", &.{ path, "scheduler", "runtime" });
    }
    if (process.execCPUAffinity) |affinity| {
        var set: cpus.Set = undefined;
        for ([_]?plan_module.Text{ affinity.initial, affinity.final }) |list| {
            if (!cpus.parse(list orelse continue, &set)) return problem.setAt("Not a list of CPUs:", &.{ path, "execCPUAffinity" });
        }
    }
}

pub fn checkPersonality(personality: plan_module.Personality, path: []const u8, problem: *Problem) Invalid!void {
    if (personality.flags.len > 0) return problem.setAt("Unknown value for", &.{ path, "flags" });
}

fn checkNamespaces(plan: *const Plan, problem: *Problem) Invalid!void {
    var seen: std.EnumSet(Kind) = .empty;
    for (plan.config.linux.namespaces) |namespace| {
        if (seen.contains(namespace.type)) return problem.setAt("Given twice:", &.{ "config.linux.namespaces", @tagName(namespace.type) });
        seen.insert(namespace.type);
        if (namespace.path) |path| if (path.len == 0 or path[0] != '/') {
            return problem.setAt("Not an absolute path:", &.{ "config.linux.namespaces", @tagName(namespace.type), "path" });
        };
    }
    for (plan.kurma.join) |joined| {
        if (seen.contains(joined.type)) return problem.setAt("Given twice:", &.{ "kurma.join", @tagName(joined.type) });
        seen.insert(joined.type);
    }
    if (!seen.contains(.mount)) return problem.setAt("No mount namespace of its own in the plan:", &.{"config.linux.namespaces"});
    // Otherwise nothing would end what its main process leaves behind.
    if (!plan.makes(.pid) and !plan.hasCgroup()) return problem.setAt("Without a pid namespace of its own it needs a cgroup:", &.{"kurma.cgroup"});
}

/// The file tree of a joined mount namespace is somebody else's: nothing in it changes.
fn checkJoinedTree(plan: *const Plan, problem: *Problem) Invalid!void {
    const config = &plan.config;
    const given = [_]struct { bool, []const u8 }{
        .{ plan.kurma.layers.len > 0, "kurma.layers" },
        .{ config.root.path != null or config.root.readonly, "config.root" },
        .{ config.mounts.len > 0, "config.mounts" },
        .{ config.linux.maskedPaths.len > 0, "config.linux.maskedPaths" },
        .{ config.linux.readonlyPaths.len > 0, "config.linux.readonlyPaths" },
        .{ config.linux.devices.len > 0, "config.linux.devices" },
        .{ config.linux.rootfsPropagation != null, "config.linux.rootfsPropagation" },
    };
    for (given) |each| if (each[0]) return problem.setAt("Not with a joined mount namespace:", &.{each[1]});
}

fn checkMounts(plan: *const Plan, problem: *Problem) Invalid!void {
    const user = plan.has(.user);
    if (plan.config.linux.rootfsPropagation) |name| {
        const propagation = mount_options.propagationOf(name) orelse return problem.setAt("Unknown value for", &.{"config.linux.rootfsPropagation"});
        if (propagation.kind == linux.mount.Propagation.shared and user) return problem.setAt("The host would see what its root mounts:", &.{"config.linux.rootfsPropagation"});
    }
    for (plan.config.mounts) |*wanted| {
        const options = mount_options.parse(wanted.options);
        for (wanted.options) |name| if (mount_options.isRefused(name)) {
            return problem.setAt("Not carried out:", &.{ "config.mounts", wanted.destination, name });
        };
        if (options.propagation) |propagation| if (propagation.kind == linux.mount.Propagation.shared and user) {
            return problem.setAt("The host would see what its root mounts:", &.{ "config.mounts", wanted.destination, "shared" });
        };
        const mapped = wanted.uidMappings.len > 0;
        if (mapped != (wanted.gidMappings.len > 0)) return problem.setAt("uidMappings and gidMappings belong together:", &.{ "config.mounts", wanted.destination });
        const asked = mapped or options.idmap != .none;
        if (asked and options.bind == .none) return problem.setAt("Only what is bound has owners to map:", &.{ "config.mounts", wanted.destination });
        if (asked and !mapped and !user) return problem.setAt("Without mappings it needs a user namespace:", &.{ "config.mounts", wanted.destination, "idmap" });
    }
}

/// A filter that asks somebody needs somebody to ask, and must let itself be handed over.
pub fn checkListener(filter: seccomp.oci.Seccomp, path: []const u8, problem: *Problem) Invalid!void {
    var asks = filter.defaultAction == .SCMP_ACT_NOTIFY;
    for (filter.syscalls) |rule| {
        if (rule.action != .SCMP_ACT_NOTIFY) continue;
        asks = true;
        for (rule.names) |name| if (std.mem.eql(u8, name, "sendmsg")) {
            return problem.setAt("The listener is handed over with it:", &.{ path, "syscalls", name });
        };
    }
    if (filter.defaultAction == .SCMP_ACT_NOTIFY) return problem.setAt("Nothing could hand the listener over:", &.{ path, "defaultAction" });
    if (asks and filter.listenerPath == null) return problem.setAt("SCMP_ACT_NOTIFY needs", &.{ path, "listenerPath" });
    if (!asks and (filter.listenerPath != null or filter.listenerMetadata != null)) return problem.setAt("Without SCMP_ACT_NOTIFY there is no listener:", &.{ path, "listenerPath" });
}
