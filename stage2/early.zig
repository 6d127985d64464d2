//! Children that ended before their worker could say whose they are: a worker clones, the
//! clone ends at once, and its end may be reaped before the word of it is read.

const std = @import("std");
const linux = @import("linux");

pub const Early = struct {
    ends: [capacity]End = @splat(.{}),

    /// Two for each worker that may be at it.
    const capacity = 128;

    const End = struct { pid: linux.pid_t = 0, status: u32 = 0 };

    /// Notes an end; the oldest makes room.
    pub fn keep(early: *Early, pid: linux.pid_t, status: u32) void {
        std.mem.copyForwards(End, early.ends[0 .. capacity - 1], early.ends[1..]);
        early.ends[capacity - 1] = .{ .pid = pid, .status = status };
    }

    /// The end of `pid`, which is forgotten with that.
    pub fn take(early: *Early, pid: linux.pid_t) ?u32 {
        for (&early.ends) |*end| {
            if (end.pid != pid) continue;
            end.pid = 0;
            return end.status;
        }
        return null;
    }

    /// With no worker left, all that is noted were orphans of nobody's.
    pub fn clear(early: *Early) void {
        early.ends = @splat(.{});
    }
};

test "an end is told once, and only to who asks for its pid" {
    var early: Early = .{};
    early.keep(7, 256);
    try std.testing.expectEqual(null, early.take(8));
    try std.testing.expectEqual(256, early.take(7).?);
    try std.testing.expectEqual(null, early.take(7));
    for (0..2 * Early.capacity) |pid| early.keep(@intCast(pid + 1), 0);
    try std.testing.expectEqual(null, early.take(1));
    try std.testing.expectEqual(0, early.take(2 * Early.capacity).?);
}
