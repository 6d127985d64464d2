//! Which control group hierarchies this process sees, and where it stands in each.
//!
//! Source: cgroups(7), cgroup_namespaces(7), proc_pid_cgroup(5), proc_pid_mountinfo(5)

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const files = @import("files.zig");
const mem = std.mem;

/// The controllers that Kurma knows, by the kernel's names. Version 1 says `blkio`
/// where version 2 says `io`; `cpuacct`, `devices` and `freezer` are version 1 only.
pub const Controller = enum {
    cpu,
    cpuacct,
    cpuset,
    memory,
    devices,
    freezer,
    blkio,
    io,
    pids,
    hugetlb,
    net_cls,
    net_prio,
    perf_event,
    rdma,
    misc,
};

pub const ControllerSet = std.EnumSet(Controller);

/// More hierarchies than the kernel has controllers are not possible.
pub const max_hierarchies = 16;

/// The longest path of a cgroup on the host. A hierarchy that lies deeper is not used.
pub const max_path = 1024;

/// The longest line of /proc/self/mountinfo that is looked at. Longer ones (overlays
/// with many layers) are passed over: none of them is a cgroup mount that fits `max_path`.
const max_line = 16 * 1024;

pub const Version = enum { v1, v2 };

/// Where on version 2 the daemon's own processes go if they stand in the way: see
/// `stepAside` in root.zig.
pub const host_name = "kurma-host";

/// How the controllers of a host are mounted.
pub const Mode = enum {
    /// Version 2 only.
    unified,
    /// Controllers in version 1; version 2 is there as well, with the rest of them or none.
    hybrid,
    /// Version 1 only.
    legacy,
    /// Nothing is mounted that this process can reach.
    none,
};

/// One hierarchy and this process's own cgroup in it. A process that stepped aside has
/// as its own the cgroup that it made room in.
pub const Hierarchy = struct {
    version: Version,
    /// Version 1: as mounted. Version 2: what the own cgroup may pass on to its children.
    controllers: ControllerSet = .empty,
    bytes: [max_path:0]u8 = @splat(0),
    mount_len: u16 = 0,
    len: u16 = 0,

    /// Where the hierarchy is mounted, for example `/sys/fs/cgroup/memory`.
    pub fn mountPoint(hierarchy: *const Hierarchy) []const u8 {
        return hierarchy.bytes[0..hierarchy.mount_len];
    }

    /// The own cgroup below the mount point: `/user.slice`, or empty for the top.
    pub fn own(hierarchy: *const Hierarchy) []const u8 {
        return hierarchy.bytes[hierarchy.mount_len..hierarchy.len];
    }

    /// The folder of the own cgroup.
    pub fn directory(hierarchy: *const Hierarchy) [:0]const u8 {
        return hierarchy.bytes[0..hierarchy.len :0];
    }
};

/// Every hierarchy in which this process can make cgroups.
pub const Hierarchies = struct {
    items: [max_hierarchies]Hierarchy = undefined,
    len: usize = 0,

    pub fn slice(hierarchies: *const Hierarchies) []const Hierarchy {
        return hierarchies.items[0..hierarchies.len];
    }

    pub fn mode(hierarchies: *const Hierarchies) Mode {
        var v1 = false;
        var v2 = false;
        for (hierarchies.slice()) |*hierarchy| switch (hierarchy.version) {
            .v1 => v1 = true,
            .v2 => v2 = true,
        };
        if (v1) return if (v2) .hybrid else .legacy;
        return if (v2) .unified else .none;
    }

    /// The hierarchy of version 2, if it is mounted.
    pub fn unified(hierarchies: *Hierarchies) ?*Hierarchy {
        for (hierarchies.items[0..hierarchies.len]) |*hierarchy| {
            if (hierarchy.version == .v2) return hierarchy;
        }
        return null;
    }

    /// Reads the kernel's tables. `step` of a failure is `cgroup`.
    pub fn detect(failure: *Failure) error{Failed}!Hierarchies {
        var memberships: [16 * 1024]u8 = undefined;
        const text = switch (files.read(linux.os.AT.FDCWD, "/proc/self", "cgroup", &memberships)) {
            .text => |text| text,
            .errno => |errno| return failure.fail(.cgroup, errno),
        };
        if (text.len == memberships.len) return failure.fail(.cgroup, .@"2BIG");
        var found: Hierarchies = .{};
        try mountLines(failure, &found, text);
        if (found.unified()) |hierarchy| {
            var controllers: [1024]u8 = undefined;
            switch (files.read(linux.os.AT.FDCWD, hierarchy.directory(), "cgroup.controllers", &controllers)) {
                .text => |list| hierarchy.controllers = controllerSet(list, " \n"),
                .errno => |errno| return failure.fail(.cgroup, errno),
            }
        }
        return found;
    }

    fn mountLines(failure: *Failure, found: *Hierarchies, memberships: []const u8) error{Failed}!void {
        const flags: linux.os.O = .{ .CLOEXEC = true };
        const fd = try linux.file.open(failure, "/proc/self/mountinfo", flags, 0);
        defer linux.file.close(fd);
        var buffer: [max_line]u8 = undefined;
        var lines: files.Lines = .{ .fd = fd, .buffer = &buffer };
        while (try lines.next(failure)) |line| found.addMount(memberships, line);
    }

    /// The same from recorded texts: /proc/self/cgroup and /proc/self/mountinfo. The
    /// controllers of version 2 are not in either.
    pub fn parse(memberships: []const u8, mountinfo: []const u8) Hierarchies {
        var found: Hierarchies = .{};
        var lines = mem.tokenizeScalar(u8, mountinfo, '\n');
        while (lines.next()) |line| found.addMount(memberships, line);
        return found;
    }

    /// Takes in one line of mountinfo. Of a hierarchy mounted more than once, the first
    /// mount that shows the own cgroup counts; what cannot be read is passed over.
    fn addMount(found: *Hierarchies, memberships: []const u8, line: []const u8) void {
        const mount = Mount.parse(line) orelse return;
        const controllers = controllerSet(mount.options, ",");
        for (found.slice()) |*hierarchy| {
            if (hierarchy.version != mount.version) continue;
            if (mount.version == .v2 or hierarchy.controllers.intersectWith(controllers).count() > 0) return;
        }
        // A named hierarchy (systemd's own) has no controller, so no limit needs it.
        if (mount.version == .v1 and controllers.count() == 0) return;
        const path = ownPath(memberships, mount.version, controllers) orelse return;
        if (found.len == max_hierarchies) return;

        const hierarchy = &found.items[found.len];
        hierarchy.* = .{ .version = mount.version };
        if (mount.version == .v1) hierarchy.controllers = controllers;
        var root_buffer: [max_path]u8 = undefined;
        const root = decode(mount.root, &root_buffer) orelse return;
        const point = decode(mount.point, &hierarchy.bytes) orelse return;
        const shown = below(root, path) orelse return;
        const rest = if (mount.version == .v2) mem.cutSuffix(u8, shown, "/" ++ host_name) orelse shown else shown;
        if (point.len + rest.len > max_path) return;
        @memcpy(hierarchy.bytes[point.len..][0..rest.len], rest);
        hierarchy.bytes[point.len + rest.len] = 0;
        hierarchy.mount_len = @intCast(point.len);
        hierarchy.len = @intCast(point.len + rest.len);
        found.len += 1;
    }
};

/// A cgroup mount as mountinfo tells it; paths still escaped.
const Mount = struct {
    version: Version,
    root: []const u8,
    point: []const u8,
    options: []const u8,

    /// Null for other file systems and for lines that are not mountinfo.
    fn parse(line: []const u8) ?Mount {
        const before, const after = linux.text.cut(line, " - ") orelse return null;
        var right = mem.splitScalar(u8, after, ' ');
        const kind = right.first();
        const version: Version = if (mem.eql(u8, kind, "cgroup")) .v1 else if (mem.eql(u8, kind, "cgroup2")) .v2 else return null;
        _ = right.next() orelse return null;
        const options = right.rest();
        var left = mem.splitScalar(u8, before, ' ');
        for (0..3) |_| _ = left.next() orelse return null;
        const root = left.next() orelse return null;
        const point = left.next() orelse return null;
        return .{ .version = version, .root = root, .point = point, .options = options };
    }
};

/// The path of this process in one hierarchy, as /proc/self/cgroup tells it.
fn ownPath(memberships: []const u8, version: Version, controllers: ControllerSet) ?[]const u8 {
    var lines = mem.tokenizeScalar(u8, memberships, '\n');
    while (lines.next()) |line| {
        const id, const named = mem.cutScalar(u8, line, ':') orelse continue;
        const names, const path = mem.cutScalar(u8, named, ':') orelse continue;
        const wanted = switch (version) {
            .v2 => mem.eql(u8, id, "0") and names.len == 0,
            .v1 => controllerSet(names, ",").eql(controllers),
        };
        if (wanted) return path;
    }
    return null;
}

fn controllerSet(list: []const u8, separators: []const u8) ControllerSet {
    var set: ControllerSet = .empty;
    var names = mem.tokenizeAny(u8, list, separators);
    while (names.next()) |name| {
        if (std.meta.stringToEnum(Controller, name)) |controller| set.insert(controller);
    }
    return set;
}

/// `path` relative to the mount's `root`; null if the mount does not show it. Inside
/// a cgroup namespace either may begin with `/..`: then it lies outside of ours.
fn below(root: []const u8, path: []const u8) ?[]const u8 {
    if (path.len == 0 or path[0] != '/' or leavesNamespace(root) or leavesNamespace(path)) return null;
    const rest = if (mem.eql(u8, root, "/")) path else mem.cutPrefix(u8, path, root) orelse return null;
    if (rest.len == 0 or mem.eql(u8, rest, "/")) return "";
    return if (rest[0] == '/') rest else null;
}

fn leavesNamespace(path: []const u8) bool {
    return mem.eql(u8, path, "/..") or mem.startsWith(u8, path, "/../");
}

/// Undoes mountinfo's octal escapes (`\040` is a space); null if the path is too long.
fn decode(escaped: []const u8, buffer: *[max_path]u8) ?[]const u8 {
    var len: usize = 0;
    var at: usize = 0;
    while (at < escaped.len) : (len += 1) {
        if (len == buffer.len) return null;
        const octal: ?u8 = if (escaped[at] == '\\' and escaped.len - at >= 4)
            std.fmt.parseUnsigned(u8, escaped[at + 1 ..][0..3], 8) catch null
        else
            null;
        buffer[len] = octal orelse escaped[at];
        at += if (octal == null) 1 else 4;
    }
    return buffer[0..len];
}

test {
    _ = @import("hierarchy_test.zig");
}
