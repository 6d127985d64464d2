//! Pipes and terminals for stage1, which reads and writes many at once: all of them wait in
//! one epoll(7) set, and one thread of the pool waits for that.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const os = linux.os;

/// What `kurma_watch` waits for.
pub const Readiness = enum(u32) { readable, writable };

pub const exports = .{
    .{ .name = "kurma_pipe", .call = &pipe, .pool = false },
    .{ .name = "kurma_duplicate", .call = &duplicate, .pool = false },
    .{ .name = "kurma_epoll", .call = &epoll, .pool = false },
    .{ .name = "kurma_watch", .call = &watch, .pool = false },
    .{ .name = "kurma_unwatch", .call = &unwatch, .pool = false },
    .{ .name = "kurma_ready", .call = &ready, .pool = true },
    .{ .name = "kurma_read", .call = &read, .pool = false },
    .{ .name = "kurma_write", .call = &write, .pool = false },
};

/// A pipe: the reading end, then the writing one. 0, or -1.
fn pipe(fds: *[2]i32, failure: *Failure) callconv(.c) i32 {
    _ = failure.check(.open, os.pipe2(fds, .{ .CLOEXEC = true })) catch return -1;
    return 0;
}

/// One more descriptor of the same file, or -1.
fn duplicate(fd: i32, failure: *Failure) callconv(.c) i32 {
    return linux.file.duplicateAbove(failure, fd, 2) catch -1;
}

/// An empty set of descriptors to wait for, or -1.
fn epoll(failure: *Failure) callconv(.c) i32 {
    return @intCast(failure.check(.open, os.epoll_create1(os.EPOLL.CLOEXEC)) catch return -1);
}

/// Has `kurma_ready` tell once when `fd` is ready, and makes it non-blocking. 0, or -1.
fn watch(set: i32, fd: i32, readiness: u32, failure: *Failure) callconv(.c) i32 {
    const wanted: u32 = if (readiness == @backingInt(Readiness.writable)) os.EPOLL.OUT else os.EPOLL.IN;
    var event: os.epoll_event = .{ .events = wanted | os.EPOLL.ONESHOT, .data = .{ .fd = fd } };
    const changed = os.epoll_ctl(set, os.EPOLL.CTL_MOD, fd, &event);
    if (os.errno(changed) == .SUCCESS) return 0;
    const nonblock: u32 = @bitCast(os.O{ .NONBLOCK = true });
    _ = failure.check(.open, os.fcntl(fd, os.F.SETFL, nonblock)) catch return -1;
    _ = failure.check(.open, os.epoll_ctl(set, os.EPOLL.CTL_ADD, fd, &event)) catch return -1;
    return 0;
}

/// Takes `fd` out of the set: closing it alone would not, while others have copies.
fn unwatch(set: i32, fd: i32) callconv(.c) void {
    _ = os.epoll_ctl(set, os.EPOLL.CTL_DEL, fd, null);
}

/// Waits, on a pool thread, until a descriptor of the set is ready; that one.
fn ready(set: i32) callconv(.c) i32 {
    while (true) {
        var events: [1]os.epoll_event = undefined;
        const count = os.epoll_wait(set, &events, events.len, -1);
        switch (os.errno(count)) {
            .SUCCESS => if (count == 1) return events[0].data.fd,
            .INTR => {},
            else => return -1,
        }
    }
}

/// Reads what is there, at most `len` bytes: how many; 0 at the end; or -1.
fn read(fd: i32, data: [*]u8, len: usize, failure: *Failure) callconv(.c) i32 {
    return @intCast(failure.check(.read, os.read(fd, data, @min(len, std.math.maxInt(i32)))) catch return -1);
}

/// Writes what there is room for: how many bytes, or -1.
fn write(fd: i32, data: [*]const u8, len: usize, failure: *Failure) callconv(.c) i32 {
    return @intCast(failure.check(.write, os.write(fd, data, @min(len, std.math.maxInt(i32)))) catch return -1);
}
