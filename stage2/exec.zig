//! A further process in a container that runs: into its namespaces by its pidfd, and
//! from there the same way as its main process.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const cpus = @import("cpus.zig");
const descriptor_limit = @import("descriptor_limit.zig");
const inherited = @import("inherited.zig");
const notify = @import("notify.zig");
const placement = @import("placement.zig");
const plan_module = @import("plan.zig");
const process_settings = @import("process_settings.zig");
const rootfs = @import("rootfs.zig");
const userns = @import("userns.zig");
const state = @import("hooks").state;
const worker = @import("worker.zig");
const Failure = linux.Failure;
const Status = stage3.settings.Status;
const os = linux.os;
const fd_t = linux.fd_t;

/// The container to enter.
pub const Target = struct {
    /// Of its init.
    pidfd: fd_t,
    user_namespace: bool,
    /// It has a cgroup of its own, which the process is to be in.
    cgroup: bool,
};

/// Starts the process of `plan` in `target`, in a worker: it becomes a child of the
/// worker's parent, with our 0 to 2. Returns as `launch.create` does.
pub fn create(target: Target, arena: std.mem.Allocator, plan: *const plan_module.ExecPlan, status: fd_t) Status {
    var failure: Failure = .{};
    var subject: []const u8 = plan.kurma.id;
    const pid = clone(&failure, target, arena, plan, status, &subject) catch return .failed(failure, subject);
    return .{ .kind = .started, .pid = pid };
}

fn clone(failure: *Failure, target: Target, arena: std.mem.Allocator, plan: *const plan_module.ExecPlan, status: fd_t, subject: *[]const u8) error{Failed}!linux.pid_t {
    const filter_listener = try notify.begin(failure, plan.seccomp, try beginState(failure, arena, plan), .running, subject);
    const block = try process_settings.describe(failure, arena, &plan.process, plan.kurma.user, .{ .own = plan.kurma.seccomp, .config = plan.seccomp, .landlock = plan.kurma.landlock }, .{ .status_fd = status, .notify_fd = filter_listener orelse -1 }, subject);
    const pointers = arena.alloc(?[*:0]const u8, plan.process.args.len + plan.process.env.len + 2) catch return failure.fail(.plan, .NOMEM);
    const settings = stage3.settings.read(block, pointers.ptr);
    subject.* = plan.kurma.id;

    // What runtime-spec calls affinity is about this moment: before the cgroup, and in it.
    const affinity = plan.process.execCPUAffinity orelse plan_module.Affinity{};
    if (affinity.initial) |list| {
        subject.* = list;
        try cpus.pin(failure, list);
    }
    subject.* = plan.kurma.id;
    const unified = if (target.cgroup) try placement.join(failure, plan.kurma.id) else null;
    if (affinity.final) |list| {
        subject.* = list;
        try cpus.pin(failure, list);
    }
    subject.* = plan.kurma.id;
    try inherited.take(failure, .{ .id = plan.kurma.id, .process = &plan.process, .personality = plan.personality, .keyring = plan.kurma.keyring, .first = false }, subject);
    subject.* = plan.kurma.id;
    // All at once by descriptor: no moment in half of them, and no pid that could by now
    // be another process's. The PID namespace holds for the child only. setns(2)
    const Clone = linux.process.Clone;
    const all: u32 = Clone.newns | Clone.newpid | Clone.newnet | Clone.newipc | Clone.newuts | Clone.newcgroup;
    const namespaces = if (target.user_namespace) all | Clone.newuser else all;
    const entered = os.setns(target.pidfd, namespaces | Clone.newtime);
    // A kernel may have no time namespaces; then all is in that of the host.
    _ = try failure.check(.clone, if (os.errno(entered) == .INVAL) os.setns(target.pidfd, namespaces) else entered);
    var args: linux.process.CloneArgs = .{ .flags = Clone.parent };
    if (unified) |fd| {
        args.flags |= Clone.into_cgroup;
        args.cgroup = @intCast(fd);
    }
    const pid = try failure.check(.clone, linux.process.clone3(&args));
    if (pid == 0) {
        var child: Child = .{ .target = target, .plan = plan, .settings = settings, .status = status, .filter_listener = filter_listener };
        child.run();
    }
    return @intCast(pid);
}

const Child = struct {
    target: Target,
    plan: *const plan_module.ExecPlan,
    settings: stage3.settings.Settings,
    status: fd_t,
    filter_listener: ?fd_t,
    failure: Failure = .{},
    subject: []const u8 = "",

    fn run(child: *Child) noreturn {
        child.enter() catch stage3.settings.Status.failed(child.failure, child.subject).tell(child.status);
        linux.process.exit(126);
    }

    fn enter(child: *Child) error{Failed}!noreturn {
        const failure = &child.failure;
        // Also since the limit is lower than the numbers that the server's may have.
        try closeAllBut(failure, child.status, child.filter_listener orelse child.status);
        descriptor_limit.restore();
        if (child.target.user_namespace) try userns.becomeRoot(failure);
        if (child.plan.process.terminal) {
            child.subject = "/dev/pts/ptmx";
            const root = try linux.file.open(failure, "/", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
            const terminal = try rootfs.openTerminal(failure, root, child.plan.process.consoleSize);
            try terminal.use(failure, child.status);
        }
        return stage3.process.become(failure, child.settings, &child.subject);
    }
};

/// Lets go of all that the server has open, beside 0 to 2 and these.
fn closeAllBut(failure: *Failure, status: fd_t, other: fd_t) error{Failed}!void {
    const low: u32 = @intCast(@min(status, other));
    const high: u32 = @intCast(@max(status, other));
    try linux.process.closeRange(failure, 3, low - 1);
    try linux.process.closeRange(failure, low + 1, high -| 1);
    try linux.process.closeRange(failure, high + 1, std.math.maxInt(u32));
}

/// What the listener of its filter is told of the container; empty if it has none.
fn beginState(failure: *Failure, arena: std.mem.Allocator, plan: *const plan_module.ExecPlan) error{Failed}![]const u8 {
    const filter = plan.seccomp orelse return "";
    if (filter.listenerPath == null) return "";
    const about: state.State = .{ .ociVersion = "1.3.0", .id = plan.kurma.id, .bundle = plan.kurma.bundle orelse "" };
    const buffer = arena.alloc(u8, 1024 + 6 * about.bundle.len) catch return failure.fail(.plan, .NOMEM);
    return about.begin(buffer) catch return failure.fail(.plan, .@"2BIG");
}
