//! How long a caller is willing to wait.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;

/// A moment on the monotonic clock.
pub const Deadline = struct {
    at_ms: u64,
    pause_ms: u64 = 1,

    const longest_pause_ms = 32;

    pub fn in(patience_ms: u32) Deadline {
        return .{ .at_ms = linux.clock.monotonicMs() + patience_ms };
    }

    pub fn remaining(deadline: Deadline) u64 {
        return deadline.at_ms -| linux.clock.monotonicMs();
    }

    /// Sleeps a little, longer each time; false, without a pause, once it has passed.
    pub fn pause(deadline: *Deadline) bool {
        const left = deadline.remaining();
        if (left == 0) return false;
        const ms = @min(left, deadline.pause_ms);
        deadline.pause_ms = @min(deadline.pause_ms * 2, longest_pause_ms);
        const request: os.timespec = .{ .sec = 0, .nsec = @intCast(ms * std.time.ns_per_ms) };
        _ = os.nanosleep(&request, null); // EINTR only makes the pause shorter.
        return true;
    }
};
