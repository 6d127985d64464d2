//! Giving a container its own cgroup to divide, as an init system inside wants to.
//!
//! Only version 2 can be given away: in version 1 whoever owns a folder sets the limits
//! in it. Source: OCI runtime-spec 1.3, config-linux.md "Cgroup ownership"; cgroups(7),
//! "Cgroups v2 delegation"

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Failure = linux.Failure;
const files = @import("files.zig");
const Cgroup = @import("cgroup.zig").Cgroup;

/// What a container cannot exceed by making cgroups: each takes memory of the kernel
/// that no limit counts.
const max_descendants = "1000";
const max_depth = "32";

/// What is given where the kernel does not tell (before Linux 4.15).
const known_files = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Lets `uid` and `gid` of the host (root inside) make cgroups below this one and move
/// its processes among them; its own limits stay ours. The container must have a cgroup
/// namespace, and is not to see the folder writable before. `step` of a failure is
/// `cgroup`: EOPNOTSUPP without version 2.
pub fn delegate(cgroup: *const Cgroup, failure: *Failure, uid: os.uid_t, gid: os.gid_t) error{Failed}!void {
    const part = cgroup.root.unified() orelse return failure.fail(.cgroup, .OPNOTSUPP);
    const path = cgroup.relativePath();
    for ([_][2][]const u8{ .{ "cgroup.max.descendants", max_descendants }, .{ "cgroup.max.depth", max_depth } }) |limit| {
        const errno = files.write(part.dir, path, limit[0], limit[1]);
        if (errno != .SUCCESS) return failure.fail(.cgroup, errno);
    }
    const folder = try linux.file.openAt(failure, part.dir, path, .{ .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true }, 0);
    defer linux.file.close(folder);
    _ = try failure.check(.cgroup, os.fchown(folder, uid, gid));
    var buffer: [4096]u8 = undefined;
    const names = switch (files.read(os.AT.FDCWD, "/sys/kernel/cgroup", "delegate", &buffer)) {
        .text => |text| text,
        .errno => known_files,
    };
    var lines = std.mem.tokenizeScalar(u8, names, '\n');
    while (lines.next()) |name| {
        // Not every file of the list is in every cgroup.
        const fd = switch (files.open(folder, ".", name, .{ .NOFOLLOW = true, .CLOEXEC = true, .ACCMODE = .WRONLY })) {
            .fd => |fd| fd,
            .errno => |errno| if (errno == .NOENT) continue else return failure.fail(.cgroup, errno),
        };
        defer linux.file.close(fd);
        _ = try failure.check(.cgroup, os.fchown(fd, uid, gid));
    }
}
