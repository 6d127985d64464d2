//! Times a program from outside, from just before it is started until it has been
//! waited for. A program of its own because the bench itself is a large process, and
//! starting something from there costs more than what is measured.
//!
//!   stopwatch PROGRAM [ARG...]      PROGRAM is a path
//!
//! The program gets our descriptors and environment. The last line on stdout is
//! `{"us":N,"status":N}`; a program that cannot be started has status 127.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

pub fn main(start: std.process.Init.Minimal) u8 {
    const args = start.args.vector;
    if (args.len < 2) return 64;
    var failure: linux.Failure = .{};
    measure(&failure, args, start.environ.block.slice.ptr) catch return 1;
    return 0;
}

fn measure(failure: *linux.Failure, args: []const [*:0]const u8, environ: [*:null]const ?[*:0]const u8) error{Failed}!void {
    const before = now();
    const child = try failure.check(.clone, linux.process.clone3(&.{
        .flags = linux.process.Clone.vfork,
        .exit_signal = @backingInt(os.SIG.CHLD),
    }));
    if (child == 0) {
        // argv ends with the kernel's own NULL, and so does what is left of it.
        _ = os.execve(args[1], @ptrCast(args.ptr + 1), environ);
        linux.process.exit(127);
    }
    const status = linux.process.exitStatus(try linux.process.wait(failure, @intCast(child)));
    const us = now() - before;

    var buffer: [64]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, "{{\"us\":{d},\"status\":{d}}}\n", .{ us, status }) catch unreachable;
    try linux.file.writeAll(failure, 1, text);
}

fn now() i64 {
    var time: os.timespec = undefined;
    _ = os.clock_gettime(.MONOTONIC, &time);
    return time.sec * std.time.us_per_s + @divTrunc(time.nsec, std.time.ns_per_us);
}
