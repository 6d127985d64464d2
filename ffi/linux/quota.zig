//! Project quotas: how much a folder and all below it may take, where the file system
//! counts that and holds to it (ext4 and xfs, mounted with `prjquota`).
//!
//! Source: quotactl(2), quotactl_fd(2) of Linux 5.14; FS_IOC_FSSETXATTR(2const);
//! include/uapi/linux/dqblk_xfs.h

const std = @import("std");
const assert = std.debug.assert;
const os = std.os.linux;
const file = @import("file.zig");
const Failure = @import("failure.zig").Failure;
const fd_t = os.fd_t;

/// Limits `project` to `bytes`, 0 for no limit, and makes the folder, with all that is made
/// in it from now on, the project's. `step` of a failure is `quota`: ESRCH where the file
/// system holds to no quotas of projects; nothing has changed then.
pub fn limit(failure: *Failure, folder: [*:0]const u8, project: u32, bytes: u64) error{Failed}!void {
    const fd: fd_t = @intCast(try failure.check(.quota, os.open(folder, .{ .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true }, 0)));
    defer file.close(fd);
    var state: State = .{};
    _ = try failure.check(.quota, command(fd, .get_state, 0, &state));
    // Some count, and let who is over the limit go on.
    if (state.flags & State.project_enforced == 0) return failure.fail(.quota, .SRCH);
    var wanted: Quota = .{ .id = project, .soft = blocks(bytes), .hard = blocks(bytes) };
    _ = try failure.check(.quota, command(fd, .set_limit, project, &wanted));
    var attributes: Attributes = .{};
    _ = try failure.check(.quota, os.ioctl(fd, Attributes.get, @intFromPtr(&attributes)));
    attributes.project = project;
    attributes.flags |= Attributes.inherited;
    _ = try failure.check(.quota, os.ioctl(fd, Attributes.set, @intFromPtr(&attributes)));
}

/// Quotas count in blocks of 512 bytes.
fn blocks(bytes: u64) u64 {
    return bytes / 512 + @intFromBool(bytes % 512 != 0);
}

const Command = enum(u32) { set_limit = 0x5804, get_state = 0x5805 };

fn command(fd: fd_t, which: Command, id: u32, data: *anyopaque) usize {
    const of_projects = 2; // PRJQUOTA
    const number = @backingInt(which) << 8 | of_projects;
    return os.syscall4(.quotactl_fd, file.fdArg(fd), number, id, @intFromPtr(data));
}

/// struct fs_disk_quota
const Quota = extern struct {
    version: i8 = 1,
    /// FS_PROJ_QUOTA
    kind: u8 = 2,
    /// Which of the following count: FS_DQ_BSOFT and FS_DQ_BHARD.
    fields: u16 = 1 << 2 | 1 << 3,
    id: u32,
    hard: u64,
    soft: u64,
    rest: [88]u8 align(8) = @splat(0),
};

/// struct fs_quota_stat
const State = extern struct {
    version: i8 = 1,
    flags: u16 = 0,
    rest: [76]u8 align(4) = @splat(0),

    /// FS_QUOTA_PDQ_ENFD
    const project_enforced = 1 << 5;
};

/// struct fsxattr
const Attributes = extern struct {
    flags: u32 = 0,
    extent: u32 = 0,
    extents: u32 = 0,
    project: u32 = 0,
    copied_extent: u32 = 0,
    rest: [8]u8 = @splat(0),

    /// FS_XFLAG_PROJINHERIT
    const inherited = 0x200;
    /// FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR
    const get = 0x801c581f;
    const set = 0x401c5820;
};

comptime { // As the kernel has them.
    assert(@sizeOf(Quota) == 112 and @offsetOf(Quota, "hard") == 8 and @offsetOf(Quota, "soft") == 16);
    assert(@sizeOf(State) == 80 and @offsetOf(State, "flags") == 2);
    assert(@sizeOf(Attributes) == 28 and @offsetOf(Attributes, "project") == 12);
}

test "a limit is rounded up to whole blocks" {
    try std.testing.expectEqual(0, blocks(0));
    try std.testing.expectEqual(1, blocks(1));
    try std.testing.expectEqual(2, blocks(1024));
    try std.testing.expectEqual(std.math.maxInt(u64) / 512 + 1, blocks(std.math.maxInt(u64)));
}

test "a file system without project quotas is told" {
    var failure: Failure = .{};
    try std.testing.expectError(error.Failed, limit(&failure, "/proc", 7, 1 << 20));
    try std.testing.expectEqual(Failure.Step.quota, failure.step);
    try std.testing.expect(failure.errno != 0);
}
