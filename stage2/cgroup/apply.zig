//! Carrying limits out on a cgroup: see limits.zig for what is written where.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const devices = @import("devices.zig");
const files = @import("files.zig");
const limits = @import("limits.zig");
const Cgroup = @import("cgroup.zig").Cgroup;
const Limits = limits.Limits;

/// Sets every limit that is given; may be called again while the container runs, for
/// those that are to change. `step` of a failure is `limit`, `index` a `limits.Place`;
/// what was set before it stays set.
pub fn apply(cgroup: *const Cgroup, failure: *Failure, wanted: *const Limits) error{Failed}!void {
    if (linux.weakness.has(.limits)) return;
    var filled = wanted.*;
    const available = availableIn(cgroup);
    try keepQuota(cgroup, failure, available, &filled);
    if (filled.memory.checkBeforeUpdate) try checkUse(cgroup, failure, available, &filled);
    // The kernel wants some pairs in one order when they grow and in the other when they
    // shrink (memory below memory + swap, burst below quota). In the second round each
    // finds the other in place.
    var first: Round = .{ .cgroup = cgroup, .failure = failure, .last = false };
    try limits.forEach(&filled, available, failure, &first);
    if (first.refused) {
        var last: Round = .{ .cgroup = cgroup, .failure = failure, .last = true };
        try limits.forEach(&filled, available, failure, &last);
    }
    if (filled.devices) |list| if (!linux.weakness.has(.devices)) try devices.filter(cgroup, failure, list);
}

fn availableIn(cgroup: *const Cgroup) limits.Available {
    var available: limits.Available = .{};
    for (cgroup.root.parts()) |part| switch (part.version) {
        .v1 => available.v1 = available.v1.unionWith(part.controllers),
        .v2 => {
            available.v2 = part.controllers;
            available.unified = true;
        },
    };
    return available;
}

/// Writes what it is given. In the first of two rounds a refusal may be a matter of order.
const Round = struct {
    cgroup: *const Cgroup,
    failure: *Failure,
    last: bool,
    refused: bool = false,

    pub fn set(round: *Round, setting: limits.Setting) error{Failed}!void {
        const errno = round.write(setting);
        switch (errno) {
            .SUCCESS => {},
            .INVAL, .BUSY => {
                if (round.last) return setting.place.fail(round.failure, errno);
                round.refused = true;
            },
            // The kernel was built without what this file is for.
            .NOENT => return setting.place.fail(round.failure, .OPNOTSUPP),
            else => return setting.place.fail(round.failure, errno),
        }
    }

    fn write(round: *Round, setting: limits.Setting) linux.E {
        for (round.cgroup.root.parts()) |part| {
            if (part.version != setting.version) continue;
            if (part.version == .v1 and !part.controllers.contains(setting.controller.?)) continue;
            const path = round.cgroup.relativePath();
            const errno = files.write(part.dir, path, setting.file, setting.value);
            const other = setting.otherwise orelse return errno;
            return if (errno == .NOENT) files.write(part.dir, path, other.file, other.value) else errno;
        }
        return .NOENT;
    }
};

/// cpu.max of version 2 takes the period only behind a quota: a period that comes
/// alone must not lift the quota that is set.
fn keepQuota(cgroup: *const Cgroup, failure: *Failure, available: limits.Available, wanted: *Limits) error{Failed}!void {
    if ((wanted.cpu.period orelse 0) == 0 or (wanted.cpu.quota orelse 0) != 0 or !available.v2.contains(.cpu)) return;
    var buffer: [64]u8 = undefined;
    const part = cgroup.root.unified().?;
    switch (files.read(part.dir, cgroup.relativePath(), "cpu.max", &buffer)) {
        .text => |text| {
            const quota, _ = std.mem.cutScalar(u8, text, ' ') orelse return;
            wanted.cpu.quota = std.fmt.parseInt(i64, quota, 10) catch -1; // "max"
        },
        .errno => |errno| return (limits.Place{ .key = .@"cpu.period" }).fail(failure, errno),
    }
}

/// Version 1 refuses by itself to limit memory below what is used; version 2 would kill.
fn checkUse(cgroup: *const Cgroup, failure: *Failure, available: limits.Available, wanted: *const Limits) error{Failed}!void {
    const limit = wanted.memory.limit orelse return;
    if (limit <= 0 or !available.v2.contains(.memory)) return;
    var buffer: [32]u8 = undefined;
    const part = cgroup.root.unified().?;
    const place: limits.Place = .{ .key = .@"memory.checkBeforeUpdate" };
    switch (files.read(part.dir, cgroup.relativePath(), "memory.current", &buffer)) {
        .text => |text| {
            const used = std.fmt.parseUnsigned(u64, std.mem.trimEnd(u8, text, "\n"), 10) catch return place.fail(failure, .INVAL);
            if (used > @as(u64, @intCast(limit))) return place.fail(failure, .BUSY);
        },
        .errno => |errno| return place.fail(failure, errno),
    }
}
