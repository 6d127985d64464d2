//! What is in a folder.

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;

/// The names in an open folder, in the kernel's order, `.` and `..` among them. A name is good until
/// the next one. getdents64(2)
pub const Names = struct {
    fd: linux.fd_t,
    buffer: [4096]u8 align(8) = undefined,
    at: usize = 0,
    len: usize = 0,

    pub fn next(names: *Names, failure: *Failure) error{Failed}!?[:0]const u8 {
        if (names.at == names.len) {
            names.len = try failure.check(.open, linux.getdents64(names.fd, &names.buffer, names.buffer.len));
            names.at = 0;
            if (names.len == 0) return null;
        }
        const record: *align(1) const linux.dirent64 = @ptrCast(&names.buffer[names.at]);
        names.at += record.reclen;
        return std.mem.sliceTo(@as([*:0]const u8, @ptrCast(&record.name)), 0);
    }
};

test "all names of a folder are read, however many" {
    var folder = std.testing.tmpDir(.{});
    defer folder.cleanup();
    const count = 300;
    for (0..count) |number| {
        var name: [8:0]u8 = undefined;
        const text = try std.fmt.bufPrintSentinel(&name, "n{d}", .{number}, 0);
        const fd = linux.openat(folder.dir.handle, text, .{ .ACCMODE = .WRONLY, .CREAT = true }, 0o600);
        _ = linux.close(@intCast(fd));
    }
    var failure: Failure = .{};
    const fd: linux.fd_t = @intCast(linux.openat(folder.dir.handle, ".", .{ .DIRECTORY = true }, 0));
    defer _ = linux.close(fd);
    var names: Names = .{ .fd = fd };
    var found: usize = 0;
    while (try names.next(&failure)) |name| {
        if (name[0] == 'n') found += 1;
    }
    try std.testing.expectEqual(count, found);
}
