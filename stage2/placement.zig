//! The cgroup of one container: made and entered by the worker before it clones, so
//! that the container is born in it, and removed when the container is gone.

const std = @import("std");
const cgroup = @import("cgroup");
const linux = @import("linux");
const table = @import("table.zig");
const wire = @import("wire.zig");
const Failure = linux.Failure;
const fd_t = linux.fd_t;

/// How long a cgroup may take to become empty: its processes are killed, and a killed
/// process may have much memory to give back.
const patience_ms = 10_000;

/// Makes the cgroup `kurma/ID` below our own with these limits, and moves the calling
/// worker into its hierarchies of version 1. Returns the folder of version 2, for
/// clone3(2) to put the child in, or null where there is none.
///
/// On failure nothing is left but the membership of the worker, which is about to end.
pub fn enter(failure: *Failure, id: []const u8, limits: ?cgroup.Limits) error{Failed}!?fd_t {
    var places: Places = .{};
    try places.open(failure);
    const made = try places.make(failure, id);
    try apply(failure, &made, limits);
    try made.joinV1(failure, 0);
    return made.openUnified(failure);
}

/// A cgroup that was made, and entered where it is of version 1, ahead of a container.
/// What leads to it stays open: who is in it does not find it by its own place any more.
pub const Reserved = struct {
    places: Places = .{},

    pub fn make(reserved: *Reserved, failure: *Failure, id: []const u8) error{Failed}!void {
        try reserved.places.open(failure);
        const made = try reserved.places.make(failure, id);
        try apply(failure, &made, null);
        return made.joinV1(failure, 0);
    }

    /// Sets what the plan limits; the rest stays as it is by default.
    pub fn limit(reserved: *const Reserved, failure: *Failure, id: []const u8, limits: ?cgroup.Limits) error{Failed}!void {
        const wanted = limits orelse return;
        const made: cgroup.Cgroup = try .named(failure, &reserved.places.root, id);
        return made.apply(failure, &wanted);
    }

    /// The folder of version 2, as `enter` returns it.
    pub fn unified(reserved: *const Reserved, failure: *Failure, id: []const u8) error{Failed}!?fd_t {
        const made: cgroup.Cgroup = try .named(failure, &reserved.places.root, id);
        return made.openUnified(failure);
    }
};

fn apply(failure: *Failure, made: *const cgroup.Cgroup, limits: ?cgroup.Limits) error{Failed}!void {
    // Without a list of devices the filter would stay open: the default ones are what is left.
    var wanted = limits orelse cgroup.Limits{};
    if (wanted.devices == null) wanted.devices = &.{};
    try made.apply(failure, &wanted);
}

/// Moves the calling worker into the hierarchies of version 1 of the cgroup that the
/// container has; returns as `enter`.
pub fn join(failure: *Failure, id: []const u8) error{Failed}!?fd_t {
    var places: Places = .{};
    try places.open(failure);
    const made: cgroup.Cgroup = try .named(failure, &places.root, id);
    try made.joinV1(failure, 0);
    return made.openUnified(failure);
}

/// What becomes of processes in a cgroup that is to go.
pub const Ending = enum { wait, kill };

/// Removes the container's cgroup once what is left in it has ended; success if there is none.
pub fn remove(failure: *Failure, id: []const u8, ending: Ending) error{Failed}!void {
    var places: Places = .{};
    try places.open(failure);
    defer places.close();
    const made: cgroup.Cgroup = try .named(failure, &places.root, id);
    try switch (ending) {
        .wait => made.remove(failure, patience_ms),
        .kill => made.destroy(failure, patience_ms),
    };
}

/// Finds out, for entries of a table that have ended and have a cgroup, whether the kernel
/// killed a process of theirs for want of memory. What cannot be read counts as not.
pub fn seeKills(ended: []const *table.Entry) void {
    var places: Places = .{};
    var failure: Failure = .{};
    var opened = false;
    defer if (opened) places.close();
    for (ended) |entry| {
        if (!entry.cgroup) continue;
        if (!opened) places.open(&failure) catch return;
        opened = true;
        entry.oom = places.ranOutOfMemory(wire.name(&entry.id).?) catch false;
    }
}

/// Stops or continues all processes of the container.
pub fn setFrozen(failure: *Failure, id: []const u8, frozen: bool) error{Failed}!void {
    var places: Places = .{};
    try places.open(failure);
    defer places.close();
    const made: cgroup.Cgroup = try .named(failure, &places.root, id);
    try (if (frozen) made.freeze(failure, patience_ms) else made.thaw(failure, patience_ms));
}

/// Changes the limits that are given.
pub fn limit(failure: *Failure, id: []const u8, limits: *const cgroup.Limits) error{Failed}!void {
    var places: Places = .{};
    try places.open(failure);
    defer places.close();
    const made: cgroup.Cgroup = try .named(failure, &places.root, id);
    try made.apply(failure, limits);
}

/// What the container uses.
pub fn stats(failure: *Failure, id: []const u8) error{Failed}!cgroup.Stats {
    var places: Places = .{};
    try places.open(failure);
    defer places.close();
    const made: cgroup.Cgroup = try .named(failure, &places.root, id);
    return made.stats();
}

/// Removes the folder that all containers' cgroups are in, if it is empty.
pub fn removeRoot() void {
    var failure: Failure = .{};
    const hierarchies = cgroup.Hierarchies.detect(&failure) catch return;
    cgroup.Root.remove(&hierarchies);
}

const Places = struct {
    hierarchies: cgroup.Hierarchies = undefined,
    root: cgroup.Root = undefined,

    fn open(places: *Places, failure: *Failure) error{Failed}!void {
        places.hierarchies = try .detect(failure);
        places.root = try .open(failure, &places.hierarchies);
    }

    fn ranOutOfMemory(places: *Places, id: []const u8) error{Failed}!bool {
        var failure: Failure = .{};
        const made: cgroup.Cgroup = try .named(&failure, &places.root, id);
        const watch = try cgroup.OomWatch.open(&made, &failure) orelse return false;
        defer watch.close();
        return watch.kills(&made) > 0;
    }

    /// Makes the cgroup `id`. One that is empty is left from a stage2 that was killed; its
    /// name is ours again.
    fn make(places: *const Places, failure: *Failure, id: []const u8) error{Failed}!cgroup.Cgroup {
        const left: cgroup.Cgroup = try .named(failure, &places.root, id);
        var ignored: Failure = .{};
        left.remove(&ignored, 0) catch {};
        return .create(failure, &places.root, id);
    }

    fn close(places: *Places) void {
        places.root.close();
    }
};
