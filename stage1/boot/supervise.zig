//! Keeps kurmad alive, buries orphans, and waits for the wish to stop.

const std = @import("std");
const linux = @import("linux");
const console = @import("console.zig");
const os = linux.os;

/// What is to become of the machine.
pub const Wish = enum { off, restart };

/// One that ends sooner is started again after this pause only.
const pause_ms = 1_000;

/// What kurmad is given; its containers stop with it, because the machine does.
const environment = [_:null]?[*:0]const u8{
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "KURMAD_STOP_CONTAINERS=true",
};

/// Starts kurmad, again whenever it ends, until a signal says that the machine is to stop;
/// then asks kurmad to stop its containers and itself, and waits for it.
pub fn run(signals: os.fd_t, program: [*:0]const u8) Wish {
    var daemon = start(program);
    var started = now();
    while (true) {
        const due: i32 = if (daemon == null) @intCast(@max(0, started + pause_ms - now())) else -1;
        switch (next(signals, due)) {
            .nothing => {
                daemon = start(program);
                started = now();
            },
            .child => while (reap()) |ended| if (ended.pid == daemon) {
                daemon = null;
                console.line("kurmad ended with status {d}", .{ended.status});
                if (now() - started < pause_ms) continue; // The pause counts from its start.
                started = now() - pause_ms;
            },
            .stop => |wish| {
                console.line("stops: {s}", .{if (wish == .off) "the machine is to be off" else "the machine is to restart"});
                if (daemon) |pid| stop(signals, pid);
                return wish;
            },
        }
    }
}

/// Waits for the wish alone.
pub fn awaitWish(signals: os.fd_t) Wish {
    while (true) switch (next(signals, -1)) {
        .stop => |wish| return wish,
        .child => while (reap()) |_| {},
        .nothing => {},
    };
}

/// Containers have their own time limits within it; after it nobody waits any more.
const stop_limit_ms = 90_000;

fn stop(signals: os.fd_t, daemon: os.pid_t) void {
    _ = os.kill(daemon, .TERM);
    const deadline = now() + stop_limit_ms;
    while (now() < deadline) switch (next(signals, @intCast(deadline - now()))) {
        .child => while (reap()) |ended| if (ended.pid == daemon) {
            console.line("kurmad stopped with status {d}", .{ended.status});
            return;
        },
        .stop, .nothing => {}, // Once is enough: a second Ctrl-Alt-Del loses no data.
    };
    console.line("kurmad did not stop in {d} ms", .{stop_limit_ms});
}

pub const Ended = struct { pid: os.pid_t, status: u8 };

/// A process that has ended: a child of ours, or one whose parent ended before it. Null if
/// there is none now.
pub fn reap() ?Ended {
    var status: i32 = 0;
    const no_hang = 1; // WNOHANG
    const result = os.wait4(-1, &status, no_hang, null);
    if (os.errno(result) != .SUCCESS or result == 0) return null;
    return .{ .pid = @intCast(result), .status = linux.process.exitStatus(@bitCast(status)) };
}

const Event = union(enum) { nothing, child, stop: Wish };

/// The next signal that means something; `nothing` after `limit_ms`, -1 for no limit.
pub fn next(signals: os.fd_t, limit_ms: i32) Event {
    var polls = [_]os.pollfd{.{ .fd = signals, .events = os.POLL.IN, .revents = 0 }};
    while (true) {
        const ready = os.poll(&polls, polls.len, limit_ms);
        if (os.errno(ready) == .INTR) continue;
        if (ready == 0) return .nothing;
        var info: os.signalfd_siginfo = undefined;
        if (os.errno(os.read(signals, @ptrCast(&info), @sizeOf(os.signalfd_siginfo))) != .SUCCESS) continue;
        const signal: os.SIG = @fromBackingInt(@intCast(info.signo));
        switch (signal) {
            .CHLD => return .child,
            .TERM => return .{ .stop = .off },
            .INT => return .{ .stop = .restart },
            else => {},
        }
    }
}

/// kurmad in a session of its own, on our console; null if it cannot be started.
fn start(program: [*:0]const u8) ?os.pid_t {
    const result = os.fork();
    switch (os.errno(result)) {
        .SUCCESS => {},
        else => |errno| {
            console.line("Cannot start kurmad: E{t}", .{errno});
            return null;
        },
    }
    if (result > 0) {
        console.line("kurmad is process {d}", .{result});
        return @intCast(result);
    }
    linux.process.unblockSignals();
    _ = os.setsid();
    const argv = [_:null]?[*:0]const u8{ program, "daemon" };
    const failed = os.execve(program, &argv, &environment);
    console.line("Cannot execute {s}: E{t}", .{ std.mem.span(program), os.errno(failed) });
    linux.process.exit(127);
}

/// Milliseconds by a clock that nobody sets.
pub fn now() i64 {
    return @intCast(linux.clock.monotonicMs());
}
