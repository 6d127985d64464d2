//! One container for one caller: `kurma run` without a daemon. Launches it, passes
//! signals and the terminal on, and clears up when it is gone. If the caller dies,
//! however it dies, the container goes with it.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const launch = @import("launch.zig");
const plan_module = @import("plan.zig");
const relay = @import("relay.zig");
const Failure = linux.Failure;
const Report = @import("report.zig").Report;
const os = linux.os;
const fd_t = linux.fd_t;

/// The descriptors that stage1 passes beside 0 to 2 (stage2/client.ts).
const given = struct {
    const plan = 3;
    const report = 4;
};

/// Runs the plan. `parent` is the pid of the caller, in decimal. The exit status only
/// repeats what the report says.
pub fn run(parent: []const u8) u8 {
    var once: Once = .{};
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

    fn work(once: *Once, parent: []const u8) error{Failed}!void {
        const failure = &once.failure;
        linux.process.resetSignals();
        const signals = try linux.process.catchSignals(failure);
        const caller = try watchParent(failure, parent);

        const text = try readPlan(failure);
        const memory = try linux.file.mapPrivate(failure, -1, 4 * plan_module.max_bytes);
        var arena: std.heap.FixedBufferAllocator = .init(memory);
        var problem: plan_module.Problem = .{};
        const plan = plan_module.parse(arena.allocator(), text, &problem) catch {
            once.report.outcome = .invalid;
            once.report.setSubject(problem.text());
            return error.Failed;
        };
        // Whatever happens from here on, the container's folder does not outlive us.
        defer linux.tree.remove(failure, os.AT.FDCWD, plan.kurma.scratch) catch {};

        once.subject = "/proc/self/exe";
        const program = try linux.file.open(failure, "/proc/self/exe", .{ .PATH = true, .CLOEXEC = true }, 0);
        const container = try launch.start(failure, arena.allocator(), &plan, program, &once.subject);
        once.subject = plan.kurma.id;
        try once.supervise(container, signals, caller, &plan);
    }

    fn supervise(once: *Once, container: launch.Container, signals: fd_t, caller: fd_t, plan: *const plan_module.Plan) error{Failed}!void {
        const failure = &once.failure;
        errdefer kill(container);
        var terminal: ?relay.Relay = null;
        defer if (terminal) |*open| open.close();
        var starting = true;
        while (true) {
            var polls = [_]os.pollfd{
                .{ .fd = container.pidfd, .events = os.POLL.IN, .revents = 0 },
                .{ .fd = caller, .events = os.POLL.IN, .revents = 0 },
                .{ .fd = signals, .events = os.POLL.IN, .revents = 0 },
                .{ .fd = if (starting) container.status else -1, .events = os.POLL.IN, .revents = 0 },
                undefined,
                undefined,
                undefined,
            };
            const streams = polls[4..7];
            if (terminal) |*open| open.poll(streams) else for (streams) |*slot| {
                slot.* = .{ .fd = -1, .events = 0, .revents = 0 };
            }
            const polled = os.poll(&polls, polls.len, -1);
            if (os.errno(polled) == .INTR) continue;
            _ = try failure.check(.supervise, polled);

            // First what the container says of itself: why it ended is in there.
            if (polls[3].revents != 0) starting = try once.hear(container, &terminal, plan);
            if (polls[2].revents != 0) try pass(failure, signals, container, &terminal);
            if (terminal) |*open| open.move(streams);
            if (polls[1].revents != 0) try linux.process.signalPidfd(failure, container.pidfd, @backingInt(os.SIG.KILL));
            if (polls[0].revents != 0) {
                while (starting) starting = try once.hear(container, &terminal, plan);
                if (terminal) |*open| open.drain();
                return once.finish(container);
            }
        }
    }

    /// Takes one message of the container. False once it has no more to say: its command
    /// runs, or it has ended.
    fn hear(once: *Once, container: launch.Container, terminal: *?relay.Relay, plan: *const plan_module.Plan) error{Failed}!bool {
        var status: stage3.settings.Status = undefined;
        var descriptor: ?fd_t = null;
        const packet = try linux.socket.receive(&once.failure, container.status, std.mem.asBytes(&status), &descriptor);
        if (packet.len < @sizeOf(stage3.settings.Status)) return false;
        switch (status.kind) {
            .failed => {
                once.report.outcome = .failed;
                once.report.failure = status.failure;
                once.report.setSubject(status.subject[0..@min(status.subject_len, status.subject.len)]);
            },
            .terminal => if (descriptor) |master| {
                terminal.* = try .open(&once.failure, master, plan.config.process.consoleSize);
            },
        }
        return true;
    }

    fn finish(once: *Once, container: launch.Container) error{Failed}!void {
        const status = try linux.process.wait(&once.failure, container.pid);
        if (once.report.outcome != .none) return;
        once.report.outcome = .exited;
        once.report.status = linux.process.exitStatus(status);
    }
};

/// Passes a signal of ours on to the container's init, which passes it on to the
/// command. A new window size concerns the terminal instead.
fn pass(failure: *Failure, signals: fd_t, container: launch.Container, terminal: *?relay.Relay) error{Failed}!void {
    var info: os.signalfd_siginfo = undefined;
    const bytes = try linux.file.readAll(failure, signals, std.mem.asBytes(&info));
    if (bytes.len < @sizeOf(os.signalfd_siginfo)) return failure.fail(.supervise, .IO);
    const signal: os.SIG = @fromBackingInt(@intCast(info.signo));
    switch (signal) {
        .CHLD, .PIPE, .TTIN, .TTOU => {},
        .WINCH => if (terminal.*) |*open| open.resize(),
        else => try linux.process.signalPidfd(failure, container.pidfd, info.signo),
    }
}

/// Ends a container that cannot be supervised any longer, and waits until it is gone.
fn kill(container: launch.Container) void {
    var failure: Failure = .{};
    linux.process.signalPidfd(&failure, container.pidfd, @backingInt(os.SIG.KILL)) catch {};
    _ = linux.process.wait(&failure, container.pid) catch {};
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

fn readPlan(failure: *Failure) error{Failed}![]const u8 {
    const stat = try linux.file.stat(failure, given.plan);
    if (stat.size == 0) return failure.fail(.plan, .NODATA);
    if (stat.size > plan_module.max_bytes) return failure.fail(.plan, .@"2BIG");
    return linux.file.mapPrivate(failure, given.plan, stat.size);
}
