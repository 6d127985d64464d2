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
    return switch (current(cgroup)) {
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
    while (true) {
        // Version 1 wants to be asked again: what was forked meanwhile may have missed it.
        switch (request(cgroup, wanted)) {
            .SUCCESS => {},
            else => |errno| return failure.fail(.freeze, errno),
        }
        switch (current(cgroup)) {
            .state => |state| if (state == wanted) return,
            .errno => |errno| return failure.fail(.freeze, errno),
        }
        if (!deadline.pause()) return failure.fail(.freeze, .TIMEDOUT);
    }
}

const Current = union(enum) {
    state: State,
    errno: linux.E,
};

fn current(cgroup: *const Cgroup) Current {
    var buffer: [256]u8 = undefined;
    if (cgroup.root.unified()) |part| {
        switch (files.read(part.dir, cgroup.relativePath(), "cgroup.events", &buffer)) {
            .text => |events| if (files.number(events, "frozen")) |frozen| {
                return .{ .state = if (frozen == 1) .frozen else .thawed };
            },
            .errno => |errno| return .{ .errno = errno },
        }
    }
    const part = cgroup.root.having(.freezer) orelse return .{ .errno = .OPNOTSUPP };
    return switch (files.read(part.dir, cgroup.relativePath(), "freezer.state", &buffer)) {
        .text => |state| .{ .state = if (std.mem.startsWith(u8, state, "FROZEN")) .frozen else .thawed },
        .errno => |errno| .{ .errno = errno },
    };
}
