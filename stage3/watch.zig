//! What one turn of the event loop waits for. poll(2), not epoll(7): EXEC forks the
//! server, and an epoll set with a signalfd in it goes on reporting to the parent.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;

/// Built anew each turn: who has a descriptor adds it, and asks after the wait.
pub const Watch = struct {
    entries: [capacity]os.pollfd,
    len: usize,
    /// How long this turn may last, in milliseconds; -1 is until something happens.
    timeout_ms: i32,
    /// Nothing happened in the whole time of this turn.
    timed_out: bool,

    /// Every client twice over, who looks on, and the few descriptors of the init itself.
    pub const capacity = 4096 + 64;

    pub fn reset(watch: *Watch) void {
        watch.len = 0;
        watch.timeout_ms = -1;
        watch.timed_out = false;
    }

    /// Waits for `events` (POLL.*) on `fd`; returns what `ready` takes. An error or a
    /// hang-up is reported in any case.
    pub fn add(watch: *Watch, fd: linux.fd_t, events: i16) u32 {
        watch.entries[watch.len] = .{ .fd = fd, .events = events, .revents = 0 };
        defer watch.len += 1;
        return @intCast(watch.len);
    }

    /// Shortens this turn to at most `ms`.
    pub fn within(watch: *Watch, ms: i32) void {
        if (watch.timeout_ms < 0 or watch.timeout_ms > ms) watch.timeout_ms = ms;
    }

    /// Blocks until something is ready or the turn's time is over.
    pub fn wait(watch: *Watch) void {
        // EINTR and ENOMEM end the turn early; nothing is ready then, and the next one asks again.
        const result = os.poll(&watch.entries, watch.len, watch.timeout_ms);
        if (os.errno(result) != .SUCCESS) watch.clear();
        watch.timed_out = result == 0;
    }

    fn clear(watch: *Watch) void {
        for (watch.entries[0..watch.len]) |*entry| entry.revents = 0;
    }

    /// POLL.* bits of what happened to an added descriptor; 0 if nothing did.
    pub fn ready(watch: *const Watch, added: u32) i16 {
        return watch.entries[added].revents;
    }
};
