//! What stage3 says while it works when it was started by hand: the lines of the
//! original, `[HH:MM:SS.m] [fd] text`, with the time in UTC.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;

pub const Trace = struct {
    level: Level = .silent,

    pub const Level = enum {
        /// As the init of a container: its output belongs to the main process.
        silent,
        normal,
        verbose,
    };

    pub fn info(trace: Trace, fd: ?linux.fd_t, comptime text: []const u8, args: anytype) void {
        if (trace.level != .silent) line(1, fd, text, args);
    }

    pub fn debug(trace: Trace, fd: ?linux.fd_t, comptime text: []const u8, args: anytype) void {
        if (trace.level == .verbose) line(1, fd, text, args);
    }

    pub fn failure(trace: Trace, fd: ?linux.fd_t, comptime text: []const u8, args: anytype) void {
        if (trace.level != .silent) line(2, fd, text, args);
    }
};

fn line(out: linux.fd_t, fd: ?linux.fd_t, comptime text: []const u8, args: anytype) void {
    const now = linux.clock.now(.REALTIME);
    const day: u64 = @intCast(@mod(now.sec, 24 * 60 * 60));
    var space: [512]u8 = undefined;
    const start = head(&space, day, @intCast(@divTrunc(now.nsec, std.time.ns_per_ms)), fd);
    const end = start + linux.text.printCut(space[start..], text ++ "\n", args).len;
    // Nobody is left to tell if the reader of our output is gone.
    _ = os.write(out, &space, end);
}

/// The length of what every line starts with.
noinline fn head(space: []u8, seconds: u64, ms: u64, fd: ?linux.fd_t) usize {
    const time = linux.text.printCut(space, "[{d:0>2}:{d:0>2}:{d:0>2}.{d}] ", .{ seconds / 3600, seconds / 60 % 60, seconds % 60, ms });
    const number = fd orelse return time.len;
    return time.len + linux.text.printCut(space[time.len..], "[{d}] ", .{number}).len;
}

test "a line has time and descriptor" {
    var space: [64]u8 = undefined;
    try std.testing.expectEqualStrings("[01:02:03.7] [5] ", space[0..head(&space, 3723, 7, 5)]);
    try std.testing.expectEqualStrings("[01:02:03.7] ", space[0..head(&space, 3723, 7, null)]);
}
