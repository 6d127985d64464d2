//! What stage1 asks for: an OCI runtime-spec config.json in Kurma's envelope. Keys
//! that are not named here are refused, so what is here is what is carried out.
//!
//! Source: OCI runtime-spec 1.3, config.md and config-linux.md.

const std = @import("std");
const cgroup = @import("cgroup");
const linux = @import("linux");
const landlock = @import("landlock");
const seccomp = @import("seccomp");
const json = @import("json.zig");
const Mapping = @import("userns.zig").Mapping;

pub const Problem = json.Problem;
pub const Map = json.Map;
pub const Text = [:0]const u8;

/// More than any configuration needs; what is longer is refused unread.
pub const max_bytes = 4 * 1024 * 1024;

pub const Plan = struct {
    kurma: Envelope,
    config: Config,

    /// Whether the container has this namespace for itself.
    pub fn has(plan: *const Plan, kind: Namespace.Kind) bool {
        for (plan.config.linux.namespaces) |namespace| if (namespace.type == kind) return true;
        return false;
    }

    /// Whether the container has a cgroup of its own.
    pub fn hasCgroup(plan: *const Plan) bool {
        return plan.kurma.cgroup or plan.config.linux.resources != null;
    }
};

/// What config.json has no word for.
pub const Envelope = struct {
    /// The container's name in messages and in the cgroup tree.
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
};

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
};

pub const Linux = struct {
    namespaces: []const Namespace = &.{},
    uidMappings: []const Mapping = &.{},
    gidMappings: []const Mapping = &.{},
    maskedPaths: []const Text = &.{},
    readonlyPaths: []const Text = &.{},
    resources: ?cgroup.Limits = null,
    seccomp: ?seccomp.oci.Seccomp = null,
};

pub const Namespace = struct {
    type: Kind,

    pub const Kind = enum { mount, pid, network, ipc, uts, cgroup, user };
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
    },
    process: Process,
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
    if (plan.config.process.args.len == 0) return problem.set("No command in the plan:");
    try checkEnvironment(plan.config.process.env, problem);
    if (!plan.has(.mount)) return problem.set("No mount namespace of its own in the plan:");
    return plan;
}

/// Reads the plan of a further process.
pub fn parseExec(arena: std.mem.Allocator, text: []const u8, problem: *Problem) error{Invalid}!ExecPlan {
    const plan = try json.decode(ExecPlan, arena, text, problem);
    if (plan.process.args.len == 0) return problem.set("No command in the plan:");
    try checkEnvironment(plan.process.env, problem);
    return plan;
}

/// A name without a value is nobody's request for ours.
fn checkEnvironment(env: []const Text, problem: *Problem) error{Invalid}!void {
    for (env) |variable| {
        if ((std.mem.findScalar(u8, variable, '=') orelse 0) == 0) return problem.set("A variable of the environment is not NAME=value in the plan:");
    }
}

test "an unknown isolation is refused by name, not ignored" {
    var buffer: [16 * 1024]u8 = undefined;
    var fixed: std.heap.FixedBufferAllocator = .init(&buffer);
    var problem: Problem = .{};
    const text =
        \\{"kurma":{"id":"a","scratch":"/s"},"config":{"ociVersion":"1.3.0","process":{"args":["/x"]},
        \\"linux":{"intelRdt":{}}}}
    ;
    try std.testing.expectError(error.Invalid, parse(fixed.allocator(), text, &problem));
    try std.testing.expectEqualStrings("Unknown key \"config.linux.intelRdt\"", problem.text());
}
