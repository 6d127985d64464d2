//! Control groups: one named place in every hierarchy of the host, as if there were
//! only one hierarchy.
//!
//! Source: cgroups(7); Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const pid_t = linux.pid_t;
const files = @import("files.zig");
const freezer = @import("freezer.zig");
const hierarchy = @import("hierarchy.zig");
const root_folder = @import("root.zig");
const walk = @import("walk.zig");
const Deadline = @import("deadline.zig").Deadline;

pub const Controller = hierarchy.Controller;
pub const ControllerSet = hierarchy.ControllerSet;
pub const Hierarchies = hierarchy.Hierarchies;
pub const Root = root_folder.Root;
pub const stepAside = root_folder.stepAside;
pub const devices = @import("devices.zig");
pub const limits = @import("limits.zig");
pub const Limits = limits.Limits;
pub const OomWatch = @import("oom.zig").OomWatch;
pub const Stats = @import("stats.zig").Stats;
pub const Pressure = @import("stats.zig").Pressure;

const mode = 0o755;

/// The longest path of a cgroup below `kurma`.
pub const max_path = 255;

/// One cgroup, in each hierarchy that `root` has.
///
/// Descriptors are scarce where one process holds a thousand containers, and each
/// clone3(2) copies them all: a `Cgroup` holds none. It is a path below the `Root`,
/// whose few descriptors are opened once.
pub const Cgroup = struct {
    root: *const Root,
    bytes: [max_path:0]u8,
    len: u8,

    pub const apply = @import("apply.zig").apply;
    pub const delegate = @import("delegate.zig").delegate;
    pub const stats = @import("stats.zig").stats;
    pub const freeze = freezer.freeze;
    pub const thaw = freezer.thaw;
    pub const isFrozen = freezer.isFrozen;

    /// Makes the cgroup in every hierarchy; what leads to it is made as well.
    ///
    /// `path` is relative to `kurma`: `web`, or `pods/web`; no empty component, `.` or `..`.
    /// On failure nothing that was made is left: `step` is `cgroup`, `index` the position
    /// of the hierarchy; EINVAL for a bad path, EEXIST if the name is taken in any.
    pub fn create(failure: *Failure, root: *const Root, path: []const u8) error{Failed}!Cgroup {
        const cgroup = try named(failure, root, path);
        for (root.parts(), 0..) |part, index| {
            switch (make(part, cgroup.relativePath())) {
                .SUCCESS => {},
                else => |errno| {
                    for (root.parts()[0..index]) |made| _ = unmake(made, cgroup.relativePath());
                    return failAt(failure, index, errno);
                },
            }
        }
        return cgroup;
    }

    /// The cgroup of that path, made before, perhaps by a process that is gone now.
    pub fn named(failure: *Failure, root: *const Root, path: []const u8) error{Failed}!Cgroup {
        if (!isPath(path) and !linux.weakness.has(.cgroup_names)) return failure.fail(.cgroup, .INVAL);
        var cgroup: Cgroup = .{ .root = root, .bytes = undefined, .len = @intCast(path.len) };
        @memcpy(cgroup.bytes[0..path.len], path);
        cgroup.bytes[path.len] = 0;
        return cgroup;
    }

    /// The path below `kurma`.
    pub fn relativePath(cgroup: *const Cgroup) [:0]const u8 {
        return cgroup.bytes[0..cgroup.len :0];
    }

    /// The folder in the hierarchy of version 2, for CLONE_INTO_CGROUP; null where there
    /// is none. The caller closes it.
    ///
    /// What clone3(2) puts there starts without the grace period of 7 to 11 ms that
    /// moving a running process waits for.
    pub fn openUnified(cgroup: *const Cgroup, failure: *Failure) error{Failed}!?fd_t {
        const part = cgroup.root.unified() orelse return null;
        return @intCast(try failure.check(.cgroup, linux.os.openat(part.dir, cgroup.relativePath(), root_folder.directory_flags, 0)));
    }

    /// Moves the process `pid` (0: the caller) into the cgroup in every hierarchy of
    /// version 1, which clone3(2) cannot do. What it forks afterwards starts there.
    ///
    /// The first write waits for a grace period of the kernel unless another move was
    /// just made, so a parked worker calls this ahead of time.
    pub fn joinV1(cgroup: *const Cgroup, failure: *Failure, pid: pid_t) error{Failed}!void {
        for (cgroup.root.parts(), 0..) |part, index| {
            if (part.version == .v1) try cgroup.join(failure, part, index, pid);
        }
    }

    /// Moves the process `pid` (0: the caller) into the cgroup in every hierarchy.
    pub fn joinAll(cgroup: *const Cgroup, failure: *Failure, pid: pid_t) error{Failed}!void {
        for (cgroup.root.parts(), 0..) |part, index| try cgroup.join(failure, part, index, pid);
    }

    fn join(cgroup: *const Cgroup, failure: *Failure, part: Root.Part, index: usize, pid: pid_t) error{Failed}!void {
        var buffer: [16]u8 = undefined;
        const text = linux.text.print(&buffer, "{d}", .{pid}) catch unreachable; // An i32 has 11 characters.
        switch (files.write(part.dir, cgroup.relativePath(), "cgroup.procs", text)) {
            .SUCCESS => {},
            else => |errno| return failAt(failure, index, errno),
        }
    }

    /// The processes in the cgroup itself, at most as many as `pids` has room for.
    pub fn procs(cgroup: *const Cgroup, failure: *Failure, pids: []pid_t) error{Failed}![]pid_t {
        if (cgroup.root.len == 0) return failure.fail(.cgroup, .NODEV);
        const part = cgroup.root.unified() orelse cgroup.root.parts()[0];
        const fd: fd_t = @intCast(try failure.check(.cgroup, linux.os.openat(part.dir, cgroup.relativePath(), root_folder.directory_flags, 0)));
        defer linux.file.close(fd);
        return pids[0..try walk.members(failure, fd, 0, pids)];
    }

    /// Kills every process in the cgroup and below, without waiting for their end; one
    /// that is forked in this moment may escape where the kernel has no `cgroup.kill`
    /// (before Linux 5.14, and on hosts without version 2), see `destroy`. `step` of a
    /// failure is `signal`.
    pub fn kill(cgroup: *const Cgroup, failure: *Failure) error{Failed}!void {
        const signal = @backingInt(linux.os.SIG.KILL);
        var v2_done = false;
        if (cgroup.root.unified()) |part| {
            switch (files.write(part.dir, cgroup.relativePath(), "cgroup.kill", "1")) {
                .SUCCESS => v2_done = true,
                .NOENT => {},
                else => |errno| return failure.fail(.signal, errno),
            }
        }
        // What is frozen cannot fork meanwhile; the signal takes effect with the thaw.
        const frozen = !v2_done and freezer.request(cgroup, .frozen) == .SUCCESS;
        defer if (frozen) {
            _ = freezer.request(cgroup, .thawed);
        };
        // Version 1 also has workers that wait there for a container. All of its
        // hierarchies are joined together, so the first one lists them all.
        var v1_done = false;
        for (cgroup.root.parts()) |part| {
            const done = if (part.version == .v2) &v2_done else &v1_done;
            if (!done.*) try walk.signalTree(failure, part.dir, cgroup.relativePath(), signal);
            done.* = true;
        }
    }

    /// Removes the cgroup, those below it, and those above it that nobody else uses, from
    /// every hierarchy; success if it is gone already. Its processes must have ended or
    /// be ending: EBUSY if one is left after `patience_ms`, and `index` says in which
    /// hierarchy. `step` of a failure is `remove`.
    pub fn remove(cgroup: *const Cgroup, failure: *Failure, patience_ms: u32) error{Failed}!void {
        var deadline: Deadline = .in(patience_ms);
        for (cgroup.root.parts(), 0..) |part, index| {
            while (true) switch (unmake(part, cgroup.relativePath())) {
                .SUCCESS => break,
                .BUSY => if (!deadline.pause()) return failRemove(failure, index, .BUSY),
                else => |errno| return failRemove(failure, index, errno),
            };
        }
    }

    /// Kills and removes; again and again until all is gone or `patience_ms` is over.
    pub fn destroy(cgroup: *const Cgroup, failure: *Failure, patience_ms: u32) error{Failed}!void {
        const round_ms = 20;
        var deadline: Deadline = .in(patience_ms);
        while (true) {
            try cgroup.kill(failure);
            var busy: Failure = .{};
            cgroup.remove(&busy, round_ms) catch |failed| {
                if (busy.errno == @backingInt(linux.E.BUSY) and deadline.pause()) continue;
                failure.* = busy;
                return failed;
            };
            return;
        }
    }
};

fn failAt(failure: *Failure, index: usize, errno: linux.E) error{Failed} {
    if (failure.step == .none) failure.index = @intCast(index);
    return failure.fail(.cgroup, errno);
}

fn failRemove(failure: *Failure, index: usize, errno: linux.E) error{Failed} {
    if (failure.step == .none) failure.index = @intCast(index);
    return failure.fail(.remove, errno);
}

/// A path that leads down from our folder and nowhere else.
fn isPath(path: []const u8) bool {
    if (path.len == 0 or path.len > max_path) return false;
    var components = std.mem.splitScalar(u8, path, '/');
    while (components.next()) |component| {
        if (component.len == 0 or std.mem.eql(u8, component, ".") or std.mem.eql(u8, component, "..")) return false;
        for (component) |byte| if (byte < ' ' or byte == 0x7f) return false;
    }
    return true;
}

/// What comes before the last component, with its slash.
fn folder(path: []const u8) []const u8 {
    const slash = std.mem.findScalarLast(u8, path, '/') orelse return "";
    return path[0 .. slash + 1];
}

/// Makes `path` in one hierarchy. Leaves nothing behind on failure.
fn make(part: Root.Part, path: [:0]const u8) linux.E {
    switch (linux.os.errno(linux.os.mkdirat(part.dir, path, mode))) {
        .NOENT => {},
        else => |errno| return errno,
    }
    var ancestor: [max_path:0]u8 = undefined;
    var end: usize = 0;
    while (std.mem.findScalarPos(u8, path, end, '/')) |slash| : (end = slash + 1) {
        @memcpy(ancestor[0..slash], path[0..slash]);
        ancestor[slash] = 0;
        const errno = makeAncestor(part, ancestor[0..slash :0]);
        if (errno == .SUCCESS) continue;
        prune(part, path);
        return errno;
    }
    const errno = linux.os.errno(linux.os.mkdirat(part.dir, path, mode));
    if (errno != .SUCCESS) prune(part, path);
    return errno;
}

/// Makes a folder for cgroups, not for processes; one that is there already is success.
fn makeAncestor(part: Root.Part, path: [:0]const u8) linux.E {
    switch (linux.os.errno(linux.os.mkdirat(part.dir, path, mode))) {
        .SUCCESS => {},
        .EXIST => return .SUCCESS,
        else => |errno| return errno,
    }
    if (part.version == .v1) return .SUCCESS;
    return root_folder.passOnAll(part.dir, path, part.controllers);
}

fn unmake(part: Root.Part, path: [:0]const u8) linux.E {
    const errno = walk.removeTree(part.dir, path);
    if (errno == .SUCCESS) prune(part, path);
    return errno;
}

/// Removes the folders that lead to `path`, from the last, up to one that is in use.
fn prune(part: Root.Part, path: []const u8) void {
    var rest = folder(path);
    var buffer: [max_path:0]u8 = undefined;
    while (rest.len > 0) : (rest = folder(rest[0 .. rest.len - 1])) {
        const len = rest.len - 1;
        @memcpy(buffer[0..len], rest[0..len]);
        buffer[len] = 0;
        const result = linux.os.unlinkat(part.dir, buffer[0..len :0], linux.os.AT.REMOVEDIR);
        if (linux.os.errno(result) != .SUCCESS) return;
    }
}

test "a path leads down and nowhere else" {
    for ([_][]const u8{ "web", "pods/web", "a/b/c/d", ".hidden", "..." }) |path| try std.testing.expect(isPath(path));
    for ([_][]const u8{ "", "/", "/web", "web/", "a//b", ".", "..", "../x", "a/../b", "a/./b", "a\nb", "a\x00b", &@as([256]u8, @splat('x')) }) |path| {
        try std.testing.expect(!isPath(path));
        var failure: Failure = .{};
        const root: Root = .{};
        try std.testing.expectError(error.Failed, Cgroup.named(&failure, &root, path));
        try std.testing.expectEqual(@backingInt(linux.E.INVAL), failure.errno);
    }
}

test "the folder of a path ends with its last slash" {
    try std.testing.expectEqualStrings("", folder("web"));
    try std.testing.expectEqualStrings("pods/a/", folder("pods/a/web"));
}

test {
    _ = files;
    _ = hierarchy;
    _ = limits;
    _ = devices;
    _ = @import("stats.zig");
}
