//! A further process in a container that runs: into its namespaces by its pidfd, and
//! from there the same way as its main process.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const descriptor_limit = @import("descriptor_limit.zig");
const placement = @import("placement.zig");
const plan_module = @import("plan.zig");
const process_settings = @import("process_settings.zig");
const rootfs = @import("rootfs.zig");
const userns = @import("userns.zig");
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
    const block = try process_settings.describe(failure, arena, &plan.process, plan.kurma.user, .{ .own = plan.kurma.seccomp, .config = plan.seccomp, .landlock = plan.kurma.landlock }, .{ .status_fd = status }, subject);
    const pointers = arena.alloc(?[*:0]const u8, plan.process.args.len + plan.process.env.len + 2) catch return failure.fail(.plan, .NOMEM);
    const settings = stage3.settings.read(block, pointers.ptr);
    subject.* = plan.kurma.id;

    const unified = if (target.cgroup) try placement.join(failure, plan.kurma.id) else null;
    try linux.process.ownKeyring(failure);
    // All at once by descriptor: no moment in half of them, and no pid that could by now
    // be another process's. The PID namespace holds for the child only. setns(2)
    const Clone = linux.process.Clone;
    const all: u32 = Clone.newns | Clone.newpid | Clone.newnet | Clone.newipc | Clone.newuts | Clone.newcgroup;
    const namespaces = if (target.user_namespace) all | Clone.newuser else all;
    _ = try failure.check(.clone, os.setns(target.pidfd, namespaces));
    var args: linux.process.CloneArgs = .{ .flags = Clone.parent };
    if (unified) |fd| {
        args.flags |= Clone.into_cgroup;
        args.cgroup = @intCast(fd);
    }
    const pid = try failure.check(.clone, linux.process.clone3(&args));
    if (pid == 0) {
        var child: Child = .{ .target = target, .plan = plan, .settings = settings, .status = status };
        child.run();
    }
    return @intCast(pid);
}

const Child = struct {
    target: Target,
    plan: *const plan_module.ExecPlan,
    settings: stage3.settings.Settings,
    status: fd_t,
    failure: Failure = .{},
    subject: []const u8 = "",

    fn run(child: *Child) noreturn {
        child.enter() catch worker.send(child.status, .failed(child.failure, child.subject));
        linux.process.exit(126);
    }

    fn enter(child: *Child) error{Failed}!noreturn {
        const failure = &child.failure;
        // Also since the limit is lower than the numbers that the server's may have.
        try closeAllBut(failure, child.status);
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

/// Lets go of all that the server has open, beside 0 to 2 and the socket to it.
fn closeAllBut(failure: *Failure, status: fd_t) error{Failed}!void {
    const number: u32 = @intCast(status);
    try linux.process.closeRange(failure, 3, number - 1);
    try linux.process.closeRange(failure, number + 1, std.math.maxInt(u32));
}
