//! User namespaces that the server keeps: containers come and go, but the ranges of ids
//! that they are given are few, and making a namespace takes a process each time.

const std = @import("std");
const linux = @import("linux");
const fd_t = linux.fd_t;

/// As many as containers are likely to change places in a moment.
const capacity = 64;

pub const Namespaces = struct {
    /// By the first id of the range; 0 where none is kept.
    firsts: [capacity]u32 = @splat(0),
    fds: [capacity]fd_t = @splat(0),
    next: usize = 0,

    pub fn find(kept: *const Namespaces, first: u32) ?fd_t {
        if (first == 0) return null;
        for (kept.firsts, kept.fds) |kept_first, fd| if (kept_first == first) return fd;
        return null;
    }

    /// Takes over `fd`; the one that was kept longest makes room.
    pub fn keep(kept: *Namespaces, first: u32, fd: fd_t) void {
        if (first == 0 or kept.find(first) != null) return linux.file.close(fd);
        if (kept.firsts[kept.next] != 0) linux.file.close(kept.fds[kept.next]);
        kept.firsts[kept.next] = first;
        kept.fds[kept.next] = fd;
        kept.next = (kept.next + 1) % capacity;
    }
};

test "a namespace is found by its range until others need its place" {
    var kept: Namespaces = .{};
    try std.testing.expectEqual(null, kept.find(0));
    const opened = linux.os.open("/dev/null", .{ .CLOEXEC = true }, 0);
    kept.keep(7, @intCast(opened));
    try std.testing.expectEqual(@as(fd_t, @intCast(opened)), kept.find(7).?);
    for (0..capacity) |index| kept.keep(@intCast(100 + index), @intCast(linux.os.open("/dev/null", .{ .CLOEXEC = true }, 0)));
    try std.testing.expectEqual(null, kept.find(7));
    for (kept.fds) |fd| linux.file.close(fd);
}
