//! Stopping every process of a cgroup at once, where it does not notice.
//!
//! Version 2 is asked first, also on hybrid hosts, since freezing is no controller
//! there. Source: cgroup-v2.rst, cgroup.freeze; cgroup-v1/freezer-subsystem.rst

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const files = @import("files.zig");
const Cgroup = @import("cgroup.zig").Cgroup;
const Deadline = @import("deadline.zig").Deadline;

const State = enum { frozen, thawed };

/// Freezes the cgroup and those below, and waits until all of them stand still.
/// `step` of a failure is `freeze`: ETIMEDOUT after `patience_ms` (a process sleeps where
/// it cannot be stopped), EOPNOTSUPP where no hierarchy can freeze; it runs on then.
pub fn freeze(cgroup: *const Cgroup, failure: *Failure, patience_ms: u32) error{Failed}!void {
    errdefer _ = request(cgroup, .thawed);
    try change(cgroup, failure, .frozen, patience_ms);
}

/// Lets the processes run again, and waits until they may. Success if they already do.
pub fn thaw(cgroup: *const Cgroup, failure: *Failure, patience_ms: u32) error{Failed}!void {
    try change(cgroup, failure, .thawed, patience_ms);
}

pub fn isFrozen(cgroup: *const Cgroup, failure: *Failure) error{Failed}!bool {
    const events = openEvents(cgroup);
    defer if (events) |fd| linux.file.close(fd);
    return switch (if (events) |fd| currentUnified(fd) else currentV1(cgroup)) {
        .state => |state| state == .frozen,
        .errno => |errno| failure.fail(.freeze, errno),
    };
}

/// Asks for a state without waiting for it.
pub fn request(cgroup: *const Cgroup, wanted: State) linux.E {
    if (cgroup.root.unified()) |part| {
        const errno = files.write(part.dir, cgroup.relativePath(), "cgroup.freeze", if (wanted == .frozen) "1" else "0");
        if (errno != .NOENT) return errno;
    }
    const part = cgroup.root.having(.freezer) orelse return .OPNOTSUPP;
    return files.write(part.dir, cgroup.relativePath(), "freezer.state", if (wanted == .frozen) "FROZEN" else "THAWED");
}

fn change(cgroup: *const Cgroup, failure: *Failure, wanted: State, patience_ms: u32) error{Failed}!void {
    var deadline: Deadline = .in(patience_ms);
    const events = openEvents(cgroup);
    defer if (events) |fd| linux.file.close(fd);
    while (true) {
        // Version 1 wants to be asked again: what was forked meanwhile may have missed it.
        switch (request(cgroup, wanted)) {
            .SUCCESS => {},
            else => |errno| return failure.fail(.freeze, errno),
        }
        switch (if (events) |fd| currentUnified(fd) else currentV1(cgroup)) {
            .state => |state| if (state == wanted) return,
            .errno => |errno| return failure.fail(.freeze, errno),
        }
        if (deadline.remaining() == 0) return failure.fail(.freeze, .TIMEDOUT);
        if (events) |fd| awaitEvent(fd, deadline) else _ = deadline.pause();
    }
}

/// cgroup.events of version 2; null where version 1 has to freeze.
fn openEvents(cgroup: *const Cgroup) ?linux.fd_t {
    const part = cgroup.root.unified() orelse return null;
    const fd = switch (files.open(part.dir, cgroup.relativePath(), "cgroup.events", .{ .CLOEXEC = true })) {
        .fd => |fd| fd,
        .errno => return null,
    };
    // Before Linux 5.2 it says nothing of freezing.
    if (currentUnified(fd) == .state) return fd;
    linux.file.close(fd);
    return null;
}

/// Until the file changes after it was last read, or time is up.
fn awaitEvent(fd: linux.fd_t, deadline: Deadline) void {
    var polled = [1]linux.os.pollfd{.{ .fd = fd, .events = linux.os.POLL.PRI, .revents = 0 }};
    _ = linux.os.poll(&polled, 1, @intCast(@min(deadline.remaining(), std.math.maxInt(i32))));
}

const Current = union(enum) {
    state: State,
    errno: linux.E,
};

fn currentUnified(events: linux.fd_t) Current {
    var buffer: [256]u8 = undefined;
    const len = linux.os.pread(events, &buffer, buffer.len, 0);
    if (linux.os.errno(len) != .SUCCESS) return .{ .errno = linux.os.errno(len) };
    const frozen = files.number(buffer[0..len], "frozen") orelse return .{ .errno = .OPNOTSUPP };
    return .{ .state = if (frozen == 1) .frozen else .thawed };
}

fn currentV1(cgroup: *const Cgroup) Current {
    var buffer: [32]u8 = undefined;
    const part = cgroup.root.having(.freezer) orelse return .{ .errno = .OPNOTSUPP };
    return switch (files.read(part.dir, cgroup.relativePath(), "freezer.state", &buffer)) {
        .text => |state| .{ .state = if (std.mem.startsWith(u8, state, "FROZEN")) .frozen else .thawed },
        .errno => |errno| .{ .errno = errno },
    };
}
