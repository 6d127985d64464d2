//! The folder `kurma` below this process's own cgroup, in each hierarchy: every
//! cgroup of ours lies in it, and nothing outside of it is changed but one thing. On
//! version 2 the own cgroup must pass its controllers on (`cgroup.subtree_control`).

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const pid_t = linux.pid_t;
const files = @import("files.zig");
const hierarchy = @import("hierarchy.zig");
const walk = @import("walk.zig");
const Controller = hierarchy.Controller;
const ControllerSet = hierarchy.ControllerSet;
const Version = hierarchy.Version;

/// The name of our folder.
pub const name = "kurma";

const mode = 0o755;

/// statfs(2): what a folder must lie on to be a cgroup.
const magic_v1 = 0x27e0eb;
const magic_v2 = 0x63677270;

pub const Root = struct {
    items: [hierarchy.max_hierarchies]Part = undefined,
    len: usize = 0,

    /// The folder in one hierarchy.
    pub const Part = struct {
        version: Version,
        /// What cgroups in the folder can limit.
        controllers: ControllerSet,
        dir: fd_t,
    };

    /// Makes the folder where it is missing and opens it. `step` of a failure is
    /// `cgroup`, `index` the position in `hierarchies`.
    pub fn open(failure: *Failure, hierarchies: *const hierarchy.Hierarchies) error{Failed}!Root {
        var root: Root = .{};
        errdefer root.close();
        for (hierarchies.slice(), 0..) |*place, index| {
            if (failure.step == .none) failure.index = @intCast(index);
            root.items[root.len] = try openPart(failure, place);
            root.len += 1;
        }
        failure.index = 0;
        return root;
    }

    pub fn close(root: *Root) void {
        for (root.parts()) |part| linux.file.close(part.dir);
        root.len = 0;
    }

    pub fn parts(root: *const Root) []const Part {
        return root.items[0..root.len];
    }

    /// The part of version 2, if there is one.
    pub fn unified(root: *const Root) ?Part {
        for (root.parts()) |part| if (part.version == .v2) return part;
        return null;
    }

    /// The part in which cgroups have `controller`.
    pub fn having(root: *const Root, controller: Controller) ?Part {
        for (root.parts()) |part| if (part.controllers.contains(controller)) return part;
        return null;
    }

    /// Removes the folder where it is empty, as at the end of a test or an uninstall.
    pub fn remove(hierarchies: *const hierarchy.Hierarchies) void {
        for (hierarchies.slice()) |*place| {
            const own = switch (files.open(linux.os.AT.FDCWD, place.directory(), ".", directory_flags)) {
                .fd => |fd| fd,
                .errno => continue,
            };
            defer linux.file.close(own);
            _ = linux.os.unlinkat(own, name, linux.os.AT.REMOVEDIR);
            _ = linux.os.unlinkat(own, hierarchy.host_name, linux.os.AT.REMOVEDIR);
        }
    }
};

/// Makes room in the own cgroup of version 2: one that holds processes passes no
/// controllers on, unless it is the topmost of the host. If all of them are in `ours`,
/// as in a service of its own (systemd: `Delegate=yes`), they go into `kurma-host` below.
/// If others are there, nothing is moved, and limits will be refused (EOPNOTSUPP).
///
/// To be called before `Root.open`. `step` of a failure is `cgroup`.
pub fn stepAside(failure: *Failure, hierarchies: *hierarchy.Hierarchies, ours: []const pid_t) error{Failed}!void {
    const place = hierarchies.unified() orelse return;
    if (place.controllers.count() == 0) return;
    const own: fd_t = @intCast(try failure.check(.cgroup, linux.os.openat(linux.os.AT.FDCWD, place.directory(), directory_flags, 0)));
    defer linux.file.close(own);
    // The topmost cgroup is the only one without a type.
    if (linux.os.errno(linux.os.faccessat(own, "cgroup.type", 0, 0)) == .NOENT) return;
    var pids: [64]pid_t = undefined;
    const there = pids[0..try walk.members(failure, own, 0, &pids)];
    if (there.len == 0 or there.len == pids.len) return;
    for (there) |pid| if (std.mem.findScalar(pid_t, ours, pid) == null) return;
    switch (linux.os.errno(linux.os.mkdirat(own, hierarchy.host_name, mode))) {
        .SUCCESS, .EXIST => {},
        else => |errno| return failure.fail(.cgroup, errno),
    }
    for (there) |pid| {
        var buffer: [16]u8 = undefined;
        const text_of_pid = linux.text.print(&buffer, "{d}", .{pid}) catch unreachable; // An i32.
        const errno = files.write(own, hierarchy.host_name, "cgroup.procs", text_of_pid);
        // One that has ended stands in nobody's way.
        if (errno != .SUCCESS and errno != .SRCH) return failure.fail(.cgroup, errno);
    }
}

pub const directory_flags: linux.os.O = .{ .PATH = true, .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true };

fn openPart(failure: *Failure, place: *const hierarchy.Hierarchy) error{Failed}!Root.Part {
    const own: fd_t = @intCast(try failure.check(.cgroup, linux.os.openat(linux.os.AT.FDCWD, place.directory(), directory_flags, 0)));
    defer linux.file.close(own);
    try checkMagic(failure, own, place.version);
    switch (linux.os.errno(linux.os.mkdirat(own, name, mode))) {
        .SUCCESS, .EXIST => {},
        else => |errno| return failure.fail(.cgroup, errno),
    }
    const dir: fd_t = @intCast(try failure.check(.cgroup, linux.os.openat(own, name, directory_flags, 0)));
    errdefer linux.file.close(dir);
    var controllers = place.controllers;
    switch (place.version) {
        .v2 => controllers = passOn(own, dir, controllers),
        .v1 => if (controllers.contains(.cpuset)) try inheritCpuset(failure, own, dir),
    }
    return .{ .version = place.version, .controllers = controllers, .dir = dir };
}

/// A mount that was covered by another since mountinfo told of it must not be written to.
fn checkMagic(failure: *Failure, dir: fd_t, version: Version) error{Failed}!void {
    var statfs: [15]u64 align(8) = undefined;
    _ = try failure.check(.cgroup, linux.os.syscall2(.fstatfs, linux.file.fdArg(dir), @intFromPtr(&statfs)));
    const magic: u64 = switch (version) {
        .v1 => magic_v1,
        .v2 => magic_v2,
    };
    if (statfs[0] != magic) return failure.fail(.cgroup, .NODEV);
}

/// Lets children of `own` and of `dir` have `controllers`; those that both passed on.
/// One at a time: a controller that the kernel refuses (cpu while realtime processes
/// exist, or any while the own cgroup holds processes) must not take the others along.
fn passOn(own: fd_t, dir: fd_t, controllers: ControllerSet) ControllerSet {
    var passed: ControllerSet = .empty;
    var each = controllers.iterator();
    while (each.next()) |controller| {
        var buffer: [32]u8 = undefined;
        const command = linux.text.print(&buffer, "+{t}", .{controller}) catch continue;
        if (files.write(own, ".", "cgroup.subtree_control", command) != .SUCCESS) continue;
        if (files.write(dir, ".", "cgroup.subtree_control", command) == .SUCCESS) passed.insert(controller);
    }
    return passed;
}

/// Lets the children of `path` below `dir` have all of `controllers`, in one write.
pub fn passOnAll(dir: fd_t, path: []const u8, controllers: ControllerSet) linux.E {
    var buffer: [256]u8 = undefined;
    var len: usize = 0;
    var each = controllers.iterator();
    while (each.next()) |controller| {
        const command = linux.text.print(buffer[len..], "+{t} ", .{controller}) catch return .NAMETOOLONG;
        len += command.len;
    }
    return if (len == 0) .SUCCESS else files.write(dir, path, "cgroup.subtree_control", buffer[0..len]);
}

/// A new cpuset of version 1 has no processors and no memory, and takes no process in.
/// With clone_children each cgroup made below gets its parent's when it is made.
fn inheritCpuset(failure: *Failure, own: fd_t, dir: fd_t) error{Failed}!void {
    for ([_][]const u8{ "cpuset.cpus", "cpuset.mems" }) |file| {
        var buffer: [4096]u8 = undefined;
        if ((try text(failure, dir, file, &buffer)).len > 1) continue;
        const inherited = try text(failure, own, file, &buffer);
        switch (files.write(dir, ".", file, inherited)) {
            .SUCCESS => {},
            else => |errno| return failure.fail(.cgroup, errno),
        }
    }
    switch (files.write(dir, ".", "cgroup.clone_children", "1")) {
        .SUCCESS => {},
        else => |errno| return failure.fail(.cgroup, errno),
    }
}

fn text(failure: *Failure, dir: fd_t, file: []const u8, buffer: []u8) error{Failed}![]const u8 {
    return switch (files.read(dir, ".", file, buffer)) {
        .text => |content| content,
        .errno => |errno| failure.fail(.cgroup, errno),
    };
}
