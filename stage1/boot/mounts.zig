//! The file systems that a machine needs before it can serve, and taking them all away.
//!
//! Source: mount(2), umount2(2), proc_pid_mounts(5)

const std = @import("std");
const linux = @import("linux");
const console = @import("console.zig");
const os = linux.os;
const Failure = linux.Failure;

pub const Mount = struct {
    kind: [*:0]const u8,
    target: [*:0]const u8,
    flags: u32 = os.MS.NOSUID | os.MS.NODEV | os.MS.NOEXEC,
    options: ?[*:0]const u8 = null,
};

/// Makes the folder and mounts there; one that is mounted already is success.
pub fn mount(failure: *Failure, wanted: Mount) error{Failed}!void {
    switch (os.errno(os.mkdir(wanted.target, 0o755))) {
        .SUCCESS, .EXIST => {},
        .ROFS => {}, // Then it is there, or mounting says that it is not.
        else => |errno| return failure.fail(.mkdir, errno),
    }
    switch (os.errno(os.mount(wanted.kind, wanted.target, wanted.kind, wanted.flags, @intFromPtr(wanted.options)))) {
        .SUCCESS, .BUSY => {}, // BUSY: the very same is there.
        else => |errno| return failure.fail(.mount, errno),
    }
}

/// The most text that the list of mounts may have.
const max_list = 256 * 1024;
var list: [max_list]u8 = undefined;

/// Unmounts everything, the last one first. What is still in use is made read-only, so
/// that it is whole on the disk.
pub fn unmountAll() void {
    var failure: Failure = .{};
    const fd = linux.file.open(&failure, "/proc/self/mounts", .{ .CLOEXEC = true }, 0) catch return;
    const text = linux.file.readAll(&failure, fd, &list) catch return;
    linux.file.close(fd);
    var lines = std.mem.splitBackwardsScalar(u8, std.mem.trimEnd(u8, text, "\n"), '\n');
    while (lines.next()) |entry| {
        var buffer: [4096]u8 = undefined;
        const target = targetOf(entry, &buffer) orelse continue;
        if (os.errno(os.umount2(target, 0)) == .SUCCESS) continue;
        const flags = os.MS.REMOUNT | os.MS.RDONLY;
        if (os.errno(os.mount(null, target, null, flags, 0)) == .SUCCESS) continue;
        _ = os.umount2(target, os.MNT.DETACH);
    }
}

/// The second word of a line, with its escapes (`\040`) undone.
fn targetOf(entry: []const u8, buffer: *[4096]u8) ?[:0]const u8 {
    var words = std.mem.splitScalar(u8, entry, ' ');
    _ = words.next() orelse return null;
    const word = words.next() orelse return null;
    var len: usize = 0;
    var at: usize = 0;
    while (at < word.len) : (len += 1) {
        if (len + 1 >= buffer.len) return null;
        if (word[at] == '\\' and at + 3 < word.len) {
            buffer[len] = std.fmt.parseInt(u8, word[at + 1 ..][0..3], 8) catch return null;
            at += 4;
        } else {
            buffer[len] = word[at];
            at += 1;
        }
    }
    if (len == 0) return null;
    buffer[len] = 0;
    return buffer[0..len :0];
}

test "a target is read with its escapes" {
    var buffer: [4096]u8 = undefined;
    try std.testing.expectEqualStrings("/a b\\c", targetOf("dev /a\\040b\\134c ext4 rw 0 0", &buffer).?);
    try std.testing.expectEqualStrings("/", targetOf("/dev/root / hostfs rw 0 0", &buffer).?);
    try std.testing.expectEqual(null, targetOf("one", &buffer));
    try std.testing.expectEqual(null, targetOf("", &buffer));
    try std.testing.expectEqual(null, targetOf("dev /a\\999b x", &buffer));
    try std.testing.expectEqual(null, targetOf("dev " ++ @as([4096]u8, @splat('a')) ++ " x", &buffer));
}
