//! What stage1 asks for: an OCI runtime-spec config.json in Kurma's envelope. Keys
//! that are not named here are refused, so what is here is what is carried out.
//!
//! Source: OCI runtime-spec 1.3, config.md and config-linux.md.

const std = @import("std");
const cgroup = @import("cgroup");
const hooks = @import("hooks");
const linux = @import("linux");
const landlock = @import("landlock");
const seccomp = @import("seccomp");
const json = @import("json.zig");
const plan_check = @import("plan_check.zig");
const Mapping = @import("userns.zig").Mapping;

pub const Problem = json.Problem;
pub const Map = json.Map;
pub const Text = [:0]const u8;

/// More than any configuration needs; what is longer is refused unread.
pub const max_bytes = 4 * 1024 * 1024;

pub const Plan = struct {
    kurma: Envelope,
    config: Config,

    /// Whether the container is in a namespace of this kind that is not the host's.
    pub fn has(plan: *const Plan, kind: Namespace.Kind) bool {
        return plan.makes(kind) or plan.joins(kind);
    }

    /// Whether it has one that is made for it.
    pub fn makes(plan: *const Plan, kind: Namespace.Kind) bool {
        for (plan.config.linux.namespaces) |namespace| if (namespace.type == kind) return namespace.path == null;
        return false;
    }

    /// Whether it enters one that is there already.
    pub fn joins(plan: *const Plan, kind: Namespace.Kind) bool {
        for (plan.config.linux.namespaces) |namespace| if (namespace.type == kind and namespace.path != null) return true;
        for (plan.kurma.join) |joined| if (joined.type == kind) return true;
        return false;
    }

    /// The container's folder as its hooks know it.
    pub fn bundle(plan: *const Plan) Text {
        return plan.kurma.bundle orelse plan.kurma.scratch;
    }

    /// Whether the container has a cgroup of its own.
    pub fn hasCgroup(plan: *const Plan) bool {
        return plan.kurma.cgroup or plan.config.linux.resources != null;
    }
};

/// What config.json has no word for.
pub const Envelope = struct {
    /// The container's name in messages and in the cgroup tree. `PARENT/NAME` puts its cgroup
    /// into that of the parent, with all others that have the same.
    id: Text,
    /// Folders with the image's layers, the lowest first. Empty: `config.root.path` is the root.
    layers: []const Text = &.{},
    /// A folder of this container alone, with `upper` and `work` in it. It is removed
    /// when the container is gone.
    scratch: Text,
    /// `user[:group]`, names or numbers, looked up in the image's own /etc/passwd and
    /// /etc/group; replaces `config.process.user`.
    user: ?Text = null,
    /// `default`: our own filter of system calls, made for the bounding set. With
    /// `config.linux.seccomp` it stays `none`: that one is used.
    seccomp: Seccomp = .none,
    /// A cgroup of its own, named by its id; `config.linux.resources` implies it.
    cgroup: bool = false,
    /// What it writes goes with it: nobody waits for it to be on the disk.
    ephemeral: bool = false,
    /// What Landlock takes from every process of the container; null for nothing.
    landlock: ?landlock.plan.Config = null,
    /// Where the main process's output goes, instead of our 1 and 2.
    log: ?Log = null,
    /// Where the container's init listens for the text RPC (stage3/protocol.md): a path
    /// of the host, at most 107 bytes.
    rpc: ?Text = null,
    stop: Stop = .{},
    /// Its stdin, or what its terminal reads, stays open, and is had by attaching.
    stdin: bool = false,
    /// A socket to stage1 comes with the request, for the command to inherit: its number is
    /// in `KURMA_STAGE1_FD`. With the server only.
    stage1: bool = false,
    /// Namespaces of other containers of this server, which its own take the place of: not
    /// named in `config.linux.namespaces`. A name cannot come to mean another process, as
    /// a path with a pid in it can.
    join: []const Joined = &.{},
    /// What hooks are told as the bundle; `scratch` if left out.
    bundle: ?Text = null,
    /// Whether its processes share a session keyring of their own, or ours.
    keyring: Keyring = .own,
};

pub const Joined = struct { type: Namespace.Kind, container: Text };

pub const Keyring = enum { own, inherited };

/// Files `log`, `log.1`, … in a folder of this container alone, which becomes its root's.
pub const Log = struct {
    directory: Text,
    /// Bytes of each file.
    maxSize: u64 = 10 * 1024 * 1024,
    maxFiles: u32 = 3,
};

/// How the main process is asked to end, and how long it may take.
pub const Stop = struct {
    signal: u32 = 15,
    limitMs: u32 = 10_000,
};

pub const Seccomp = enum { none, default };

pub const Config = struct {
    ociVersion: Text,
    process: Process,
    root: Root = .{},
    hostname: ?Text = null,
    domainname: ?Text = null,
    mounts: []const Mount = &.{},
    annotations: Map = &.{},
    hooks: hooks.Hooks = .{},
    linux: Linux = .{},
};

pub const Root = struct {
    path: ?Text = null,
    readonly: bool = false,
};

pub const Process = struct {
    terminal: bool = false,
    consoleSize: ?ConsoleSize = null,
    user: User = .{},
    args: []const Text,
    env: []const Text = &.{},
    cwd: Text = "/",
    noNewPrivileges: bool = false,
    capabilities: ?Capabilities = null,
    rlimits: []const Rlimit = &.{},
    oomScoreAdj: ?i32 = null,
    scheduler: ?Scheduler = null,
    ioPriority: ?IoPriority = null,
    /// For further processes only; checked in the container's plan.
    execCPUAffinity: ?Affinity = null,

    pub const refused = [_]json.Refusal{
        .{ .key = "apparmorProfile", .why = "Profiles of AppArmor are not set:" },
        .{ .key = "selinuxLabel", .why = "Labels of SELinux are not set:" },
    };
};

/// sched_setattr(2).
pub const Scheduler = struct {
    policy: Policy,
    nice: i32 = 0,
    priority: u32 = 0,
    flags: []const Flag = &.{},
    runtime: u64 = 0,
    deadline: u64 = 0,
    period: u64 = 0,

    pub const Policy = enum { SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE, SCHED_DEADLINE };

    /// The position is the bit.
    pub const Flag = enum {
        SCHED_FLAG_RESET_ON_FORK,
        SCHED_FLAG_RECLAIM,
        SCHED_FLAG_DL_OVERRUN,
        SCHED_FLAG_KEEP_POLICY,
        SCHED_FLAG_KEEP_PARAMS,
        SCHED_FLAG_UTIL_CLAMP_MIN,
        SCHED_FLAG_UTIL_CLAMP_MAX,
    };
};

/// ioprio_set(2).
pub const IoPriority = struct {
    class: enum { IOPRIO_CLASS_NONE, IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE },
    priority: u3 = 0,
};

/// Lists of CPUs, `0-2,7`: before the process is in the container's cgroup, and then.
pub const Affinity = struct {
    initial: ?Text = null,
    final: ?Text = null,
};

/// In characters.
pub const ConsoleSize = struct { height: u16, width: u16 };

pub const User = struct {
    uid: u32 = 0,
    gid: u32 = 0,
    umask: ?u32 = null,
    additionalGids: []const u32 = &.{},
};

pub const Capabilities = struct {
    bounding: []const Text = &.{},
    effective: []const Text = &.{},
    inheritable: []const Text = &.{},
    permitted: []const Text = &.{},
    ambient: []const Text = &.{},
};

pub const Rlimit = struct {
    type: Text,
    soft: u64,
    hard: u64,
};

pub const Mount = struct {
    destination: Text,
    type: ?Text = null,
    source: ?Text = null,
    /// Below `source`, for a bind mount: no link on the way is followed, and none leads out.
    subPath: ?Text = null,
    options: []const Text = &.{},
    /// Owners in the source, `containerID` and up, are shown as `hostID` and up.
    uidMappings: []const Mapping = &.{},
    gidMappings: []const Mapping = &.{},
};

pub const Linux = struct {
    namespaces: []const Namespace = &.{},
    uidMappings: []const Mapping = &.{},
    gidMappings: []const Mapping = &.{},
    maskedPaths: []const Text = &.{},
    readonlyPaths: []const Text = &.{},
    resources: ?cgroup.Limits = null,
    seccomp: ?seccomp.oci.Seccomp = null,
    devices: []const Device = &.{},
    sysctl: Map = &.{},
    timeOffsets: []const TimeOffset = &.{},
    rootfsPropagation: ?Text = null,
    personality: ?Personality = null,

    pub const refused = [_]json.Refusal{
        .{ .key = "cgroupsPath", .why = "A container's cgroup has the container's name:" },
        .{ .key = "intelRdt", .why = "Shares of caches and memory are not set:" },
        .{ .key = "memoryPolicy", .why = "A program sets its own memory policy:" },
        .{ .key = "mountLabel", .why = "Labels of SELinux are not set:" },
        .{ .key = "netDevices", .why = "Who makes the network moves interfaces, before it is joined:" },
    };
};

pub const Device = struct {
    type: enum { c, b, u, p },
    path: Text,
    major: ?u32 = null,
    minor: ?u32 = null,
    /// Permission bits.
    fileMode: u32 = 0o666,
    /// In the container.
    uid: u32 = 0,
    gid: u32 = 0,
};

/// What the clock of that name shows beside the host's.
pub const TimeOffset = struct {
    key: Text,
    value: struct { secs: i64 = 0, nanosecs: u32 = 0 },

    pub const is_entry = true;
};

/// personality(2).
pub const Personality = struct {
    domain: enum { LINUX, LINUX32 },
    /// None exists.
    flags: []const Text = &.{},
};

pub const Namespace = struct {
    type: Kind,
    /// One that is there already; null for a new one.
    path: ?Text = null,

    pub const Kind = enum { mount, pid, network, ipc, uts, cgroup, user, time };
};

/// A further process in a container.
pub const ExecPlan = struct {
    kurma: struct {
        /// The container's.
        id: Text,
        /// As in `Envelope`.
        user: ?Text = null,
        seccomp: Seccomp = .none,
        landlock: ?landlock.plan.Config = null,
        keyring: Keyring = .own,
        bundle: ?Text = null,
    },
    process: Process,
    /// As `config.linux.personality` of the container.
    personality: ?Personality = null,
    /// As `config.linux.seccomp` of the container.
    seccomp: ?seccomp.oci.Seccomp = null,
};

/// The text of the plan behind `fd`, mapped.
pub fn readFile(failure: *linux.Failure, fd: linux.fd_t) error{Failed}![]const u8 {
    const stat = try linux.file.stat(failure, fd);
    if (stat.size == 0) return failure.fail(.plan, .NODATA);
    if (stat.size > max_bytes) return failure.fail(.plan, .@"2BIG");
    return linux.file.mapPrivate(failure, fd, stat.size);
}

/// Reads a plan. `arena` holds what it points to.
pub fn parse(arena: std.mem.Allocator, text: []const u8, problem: *Problem) error{Invalid}!Plan {
    const plan = try json.decode(Plan, arena, text, problem);
    try plan_check.check(&plan, problem);
    return plan;
}

/// Reads the plan of a further process.
pub fn parseExec(arena: std.mem.Allocator, text: []const u8, problem: *Problem) error{Invalid}!ExecPlan {
    const plan = try json.decode(ExecPlan, arena, text, problem);
    try plan_check.checkProcess(&plan.process, "process", problem);
    if (plan.personality) |personality| try plan_check.checkPersonality(personality, "personality", problem);
    if (plan.seccomp) |filter| try plan_check.checkListener(filter, "seccomp", problem);
    return plan;
}

test "an unknown isolation is refused by name, not ignored" {
    var buffer: [16 * 1024]u8 = undefined;
    var fixed: std.heap.FixedBufferAllocator = .init(&buffer);
    var problem: Problem = .{};
    const text =
        \\{"kurma":{"id":"a","scratch":"/s"},"config":{"ociVersion":"1.3.0","process":{"args":["/x"]},
        \\"linux":{"unheardOf":{}}}}
    ;
    try std.testing.expectError(error.Invalid, parse(fixed.allocator(), text, &problem));
    try std.testing.expectEqualStrings("Unknown key \"config.linux.unheardOf\"", problem.text());
}
