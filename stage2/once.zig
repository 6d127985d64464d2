//! One container for one caller: `kurma run` without a daemon. Launches it, passes
//! signals and the terminal on, and clears up when it is gone. If the caller dies,
//! however it dies, the container goes with it.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const host_hooks = @import("host_hooks.zig");
const launch = @import("launch.zig");
const placement = @import("placement.zig");
const plan_module = @import("plan.zig");
const relay = @import("relay.zig");
const worker_module = @import("worker.zig");
const Failure = linux.Failure;
const Report = @import("report.zig").Report;
const os = linux.os;
const fd_t = linux.fd_t;

/// The descriptors that stage1 passes beside 0 to 2 (stage2/client.ts).
const given = struct {
    /// A sequenced-packet socket on which one packet brings the plan.
    const plans = 3;
    const report = 4;
};

/// Runs the plan. `parent` is the pid of the caller, in decimal. The exit status only
/// repeats what the report says.
pub fn run(parent: []const u8) u8 {
    var space: relay.Relay = undefined;
    var once: Once = .{ .space = &space };
    once.work(parent) catch {
        if (once.report.outcome == .none) {
            once.report.outcome = .failed;
            once.report.failure = once.failure;
            once.report.setSubject(once.subject);
        }
    };
    _ = os.pwrite(given.report, std.mem.asBytes(&once.report).ptr, @sizeOf(Report), 0);
    return if (once.report.outcome == .exited) @truncate(once.report.status) else 125;
}

const Once = struct {
    failure: Failure = .{},
    subject: []const u8 = "stage2",
    report: Report = .{},
    /// The container's init, a child of ours, from when the worker has made it.
    pid: linux.pid_t = 0,
    pidfd: fd_t = -1,
    plan: *const plan_module.Plan = undefined,
    /// What its hooks are told.
    about: []const u8 = "",
    /// Whether some of its hooks may have run.
    begun: bool = false,
    /// Signals that came before it, by number.
    held: u64 = 0,
    terminal: ?*relay.Relay = null,
    /// Where the relay of a terminal lives. Not here: the executable would carry its
    /// buffers as part of what a `Once` starts with.
    space: *relay.Relay,

    fn work(once: *Once, parent: []const u8) error{Failed}!void {
        const failure = &once.failure;
        linux.process.resetSignals();
        const signals = try linux.process.catchSignals(failure);
        const text = try plan_module.readFile(failure, try receivePlan(failure));
        const memory = try linux.file.mapPrivate(failure, -1, 4 * plan_module.max_bytes);
        var arena: std.heap.FixedBufferAllocator = .init(memory);
        var problem: plan_module.Problem = .{};
        const plan = plan_module.parse(arena.allocator(), text, &problem) catch {
            once.report.outcome = .invalid;
            once.report.setSubject(problem.text());
            return error.Failed;
        };
        if (plan.config.hooks.any()) once.about = try host_hooks.beginState(failure, arena.allocator(), &plan);
        once.plan = &plan;
        // Last, so that nothing is left of it when they run; their failure is not its own.
        defer if (once.begun) {
            var ignored: Failure = .{};
            host_hooks.run(&ignored, &plan, .poststop, once.about, .stopped, null, null, &once.subject) catch {};
        };
        // Whatever happens from here on, the container's folder and cgroup do not outlive us.
        defer if (plan.hasCgroup()) {
            placement.remove(failure, plan.kurma.id, .kill) catch {};
            placement.removeRoot();
        };
        defer linux.tree.remove(failure, os.AT.FDCWD, plan.kurma.scratch) catch {};
        // After that, since who called may have been killed while we started.
        const caller = try watchParent(failure, parent);

        once.subject = "/proc/self/exe";
        const program = try linux.file.open(failure, "/proc/self/exe", .{ .PATH = true, .CLOEXEC = true }, 0);
        once.subject = plan.kurma.id;
        const order: Order = .{ .program = program, .arena = arena.allocator(), .plan = &plan };
        const worker = try worker_module.spawn(failure, order, Order.work);
        once.begun = true;
        defer if (once.terminal) |open| open.close();
        errdefer once.kill(worker.pid);
        try once.supervise(worker, signals, caller);
    }

    /// Until the container is gone, or is known never to come.
    fn supervise(once: *Once, worker: worker_module.Worker, signals: fd_t, caller: fd_t) error{Failed}!void {
        const failure = &once.failure;
        var starting = true;
        while (starting or once.pidfd >= 0) {
            var polls = [_]os.pollfd{
                .{ .fd = once.pidfd, .events = os.POLL.IN, .revents = 0 },
                .{ .fd = caller, .events = os.POLL.IN, .revents = 0 },
                .{ .fd = signals, .events = os.POLL.IN, .revents = 0 },
                .{ .fd = if (starting) worker.status else -1, .events = os.POLL.IN, .revents = 0 },
                nothing,
                nothing,
                nothing,
            };
            const streams = polls[4..7];
            if (once.terminal) |open| open.poll(streams);
            const polled = os.poll(&polls, polls.len, -1);
            if (os.errno(polled) == .INTR) continue;
            _ = try failure.check(.supervise, polled);

            if (polls[1].revents != 0) return failure.fail(.supervise, .OWNERDEAD);
            // First what the container says of itself: why it ended is in there.
            if (polls[3].revents != 0) {
                starting = try once.hear(worker);
                if (!starting and once.report.outcome == .none) {
                    try host_hooks.run(failure, once.plan, .poststart, once.about, .running, once.pid, null, &once.subject);
                }
            }
            if (polls[2].revents != 0) try once.pass(signals);
            if (once.terminal) |open| open.move(streams);
            if (polls[0].revents != 0) {
                while (starting) starting = try once.hear(worker);
                if (once.terminal) |open| open.drain();
                return once.finish();
            }
        }
    }

    /// Takes one message of the worker or the container. False once they have no more to
    /// say: the command runs, or it never will.
    fn hear(once: *Once, worker: worker_module.Worker) error{Failed}!bool {
        const failure = &once.failure;
        var status: stage3.settings.Status = undefined;
        var descriptor: ?fd_t = null;
        const packet = try linux.socket.receive(failure, worker.status, std.mem.asBytes(&status), &descriptor);
        if (packet.len < @sizeOf(stage3.settings.Status)) {
            _ = try linux.process.wait(failure, worker.pid);
            if (once.pidfd < 0 and once.report.outcome == .none) return failure.fail(.clone, .CHILD);
            return false;
        }
        switch (status.kind) {
            .started => {
                once.pid = status.pid;
                once.pidfd = try linux.process.pidfdOpen(failure, status.pid);
                while (once.held != 0) : (once.held &= once.held - 1) {
                    try linux.process.signalPidfd(failure, once.pidfd, @ctz(once.held));
                }
            },
            .failed => {
                once.report.outcome = .failed;
                once.report.failure = status.failure;
                once.report.setSubject(status.subject[0..@min(status.subject_len, status.subject.len)]);
            },
            .held, .finished, .namespace, .prepared, .hooks => return failure.fail(.supervise, .PROTO), // Nothing of ours asks for it.
            .terminal => if (descriptor) |master| {
                once.space.* = try .open(failure, master);
                once.terminal = once.space;
            },
        }
        return true;
    }

    /// Passes a signal of ours on to the container's init, which passes it on to the
    /// command. A new window size concerns the terminal instead.
    fn pass(once: *Once, signals: fd_t) error{Failed}!void {
        const failure = &once.failure;
        var info: os.signalfd_siginfo = undefined;
        const bytes = try linux.file.readAll(failure, signals, std.mem.asBytes(&info));
        if (bytes.len < @sizeOf(os.signalfd_siginfo)) return failure.fail(.supervise, .IO);
        const signal: os.SIG = @fromBackingInt(@intCast(info.signo));
        switch (signal) {
            .CHLD, .PIPE, .TTIN, .TTOU => {},
            .WINCH => if (once.terminal) |open| open.resize(),
            else => if (once.pidfd >= 0)
                try linux.process.signalPidfd(failure, once.pidfd, info.signo)
            else {
                once.held |= @as(u64, 1) << @intCast(info.signo);
            },
        }
    }

    fn finish(once: *Once) error{Failed}!void {
        const status = try linux.process.wait(&once.failure, once.pid);
        if (once.report.outcome != .none) return;
        once.report.outcome = .exited;
        once.report.status = linux.process.exitStatus(status);
    }

    /// Ends what cannot be supervised any longer, and waits until it is gone. The worker
    /// first: a container it makes in this moment dies with us (PR_SET_PDEATHSIG).
    fn kill(once: *Once, worker: linux.pid_t) void {
        var ignored: Failure = .{};
        if (once.pidfd < 0) {
            _ = os.kill(worker, .KILL);
            _ = linux.process.wait(&ignored, worker) catch {};
            return;
        }
        linux.process.signalPidfd(&ignored, once.pidfd, @backingInt(os.SIG.KILL)) catch {};
        _ = linux.process.wait(&ignored, once.pid) catch {};
    }
};

/// What the worker is to do.
const Order = struct {
    program: fd_t,
    arena: std.mem.Allocator,
    plan: *const plan_module.Plan,

    fn work(order: Order, status: fd_t) stage3.settings.Status {
        const options: launch.Options = .{ .program = order.program, .survives = false, .ready = .unsaid };
        return launch.create(options, order.arena, order.plan, status);
    }
};

const nothing: os.pollfd = .{ .fd = -1, .events = 0, .revents = 0 };

/// Waits for the plan. Before it comes the path of the container's folder, which the
/// caller is about to make. The end of the connection means that there will be no plan:
/// the caller has failed before it had one, or is dead, and then the folder is ours to
/// remove.
fn receivePlan(failure: *Failure) error{Failed}!fd_t {
    defer linux.file.close(given.plans);
    var scratch: [std.posix.PATH_MAX:0]u8 = @splat(0);
    while (true) {
        var packet: [std.posix.PATH_MAX - 1]u8 = undefined;
        var descriptor: ?fd_t = null;
        const bytes = try linux.socket.receive(failure, given.plans, &packet, &descriptor);
        if (descriptor) |plan| return plan;
        if (bytes.len == 0) break;
        @memcpy(scratch[0..bytes.len], bytes);
        scratch[bytes.len] = 0;
    }
    if (scratch[0] != 0) try removeDead(failure, &scratch);
    return failure.fail(.plan, .NODATA);
}

/// Removes the folder unless somebody holds its lock: the caller itself, which clears up
/// after its own failures, or another container that was given the name since.
fn removeDead(failure: *Failure, scratch: [*:0]const u8) error{Failed}!void {
    const opened = os.open(scratch, .{ .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true }, 0);
    if (os.errno(opened) == .NOENT) return;
    const folder: fd_t = @intCast(try failure.check(.open, opened));
    defer linux.file.close(folder);
    const exclusive_now = 2 | 4; // LOCK_EX | LOCK_NB
    if (os.errno(os.syscall2(.flock, linux.file.fdArg(folder), exclusive_now)) != .SUCCESS) return;
    try linux.tree.remove(failure, os.AT.FDCWD, scratch);
}

/// A descriptor that becomes readable when the caller dies. PR_SET_PDEATHSIG would not
/// do: it fires when the caller's *thread* ends.
fn watchParent(failure: *Failure, parent: []const u8) error{Failed}!fd_t {
    const pid = std.fmt.parseInt(linux.pid_t, parent, 10) catch return failure.fail(.supervise, .INVAL);
    const pidfd = try linux.process.pidfdOpen(failure, pid);
    // The caller may have died before, and its pid may be another's by now.
    if (os.getppid() != pid) return failure.fail(.supervise, .SRCH);
    return pidfd;
}
