//! What the kernel alone takes to start a process in a container that runs: clone3(2),
//! setns(2) into its namespaces by pidfd, another clone3(2) for its pid namespace,
//! execve(2) of a static program, and its exit.
//!
//!   enter PID PROGRAM [ARG...]
//!
//! PID is of a process in the container; PROGRAM is a path in there. On stdout as floor.zig:
//! `{"exec_us":N,"exit_us":N}`.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Failure = linux.Failure;
const Clone = linux.process.Clone;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

const namespaces = Clone.newuser | Clone.newns | Clone.newpid | Clone.newipc | Clone.newuts | Clone.newcgroup | Clone.newnet;

pub fn main(start: std.process.Init.Minimal) u8 {
    const args = start.args.vector;
    if (args.len < 3) return 64;
    const pid = std.fmt.parseInt(linux.pid_t, std.mem.span(args[1]), 10) catch return 64;
    var failure: Failure = .{};
    return measure(&failure, pid, args) catch 1;
}

fn measure(failure: *Failure, pid: linux.pid_t, args: []const [*:0]const u8) error{Failed}!u8 {
    const pidfd = try linux.process.pidfdOpen(failure, pid);
    const before = now();
    // With CLONE_VFORK both of us sleep until the exec.
    const child = try failure.check(.clone, linux.process.clone3(&.{ .flags = Clone.vfork, .exit_signal = @backingInt(os.SIG.CHLD) }));
    if (child == 0) {
        _ = failure.check(.clone, os.setns(pidfd, namespaces)) catch linux.process.exit(1);
        const inside = failure.check(.clone, linux.process.clone3(&.{ .flags = Clone.vfork | Clone.parent })) catch linux.process.exit(1);
        if (inside != 0) linux.process.exit(0);
        const argv: [*:null]const ?[*:0]const u8 = @ptrCast(args.ptr + 2);
        const envp = [_:null]?[*:0]const u8{"PATH=/bin"};
        _ = os.execve(args[2], argv, &envp);
        linux.process.exit(127);
    }
    const exec_us = now() - before;
    while (true) { // The one in between, and the program.
        var status: u32 = 0;
        const result = os.wait4(-1, @ptrCast(&status), 0, null);
        if (os.errno(result) == .CHILD) break;
        _ = try failure.check(.wait, result);
        if (status != 0) return linux.process.exitStatus(status);
    }
    const exit_us = now() - before;

    var buffer: [96]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, "{{\"exec_us\":{d},\"exit_us\":{d}}}\n", .{ exec_us, exit_us }) catch return 1;
    try linux.file.writeAll(failure, 1, text);
    return 0;
}

fn now() i64 {
    var time: os.timespec = undefined;
    _ = os.clock_gettime(.MONOTONIC, &time);
    return time.sec * std.time.us_per_s + @divTrunc(time.nsec, std.time.ns_per_us);
}
