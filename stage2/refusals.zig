//! Failures that are told later: who hears that a container could not be made may make it
//! again at once, so nothing of the first attempt is left by then.

const std = @import("std");
const wire = @import("wire.zig");
const Reply = wire.Reply;

/// What fails beyond that is told at once.
const capacity = 64;

pub const Refusals = struct {
    /// A sequence of 0 is none.
    replies: [capacity]Reply = @splat(.{ .kind = .done }),

    /// Keeps the failure of `reply.id`; false if there is no room.
    pub fn keep(refusals: *Refusals, reply: *const Reply) bool {
        for (&refusals.replies) |*kept| {
            if (kept.sequence != 0) continue;
            kept.* = reply.*;
            return true;
        }
        return false;
    }

    /// What was kept about a container.
    pub fn take(refusals: *Refusals, id: *const [wire.id_size]u8) ?Reply {
        for (&refusals.replies) |*kept| {
            if (kept.sequence == 0 or !std.mem.eql(u8, &kept.id, id)) continue;
            defer kept.sequence = 0;
            return kept.*;
        }
        return null;
    }

    /// Nobody waits any more.
    pub fn clear(refusals: *Refusals) void {
        for (&refusals.replies) |*kept| kept.sequence = 0;
    }
};

test "a failure is told once, to who waits" {
    var refusals: Refusals = .{};
    var reply: Reply = .{ .kind = .failed, .sequence = 7 };
    reply.id[0] = 'a';
    for (0..capacity) |_| try std.testing.expect(refusals.keep(&reply));
    try std.testing.expect(!refusals.keep(&reply));
    try std.testing.expectEqual(7, refusals.take(&reply.id).?.sequence);
    try std.testing.expect(refusals.keep(&reply));
    refusals.clear();
    try std.testing.expectEqual(null, refusals.take(&reply.id));
}
