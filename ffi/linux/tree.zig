//! Removing folders of ours with everything below them.

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const file = @import("file.zig");

/// More than the unpacker lets an image nest; each level takes a descriptor and 3 KiB of stack.
const max_depth = 512;

/// getdents64(2)'s record before its name.
const Entry = extern struct {
    ino: u64,
    off: i64,
    len: u16 align(1),
    kind: u8,

    const name_offset = 19;
};

/// Removes `name` below `dir`, with all it holds if it is a folder; success when
/// nothing of that name exists. Symlinks are removed, never followed, and no other
/// file system is entered: what is mounted below stays whole (EBUSY).
pub fn remove(failure: *Failure, dir: linux.fd_t, name: [*:0]const u8) error{Failed}!void {
    switch (linux.errno(linux.unlinkat(dir, name, 0))) {
        .SUCCESS, .NOENT => return,
        .ISDIR, .PERM => {},
        else => |errno| return failure.fail(.remove, errno),
    }
    const flags: linux.O = .{ .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true };
    const top: linux.fd_t = @intCast(try failure.check(.remove, linux.openat(dir, name, flags, 0)));
    try empty(failure, top, max_depth);
    switch (linux.errno(linux.unlinkat(dir, name, linux.AT.REMOVEDIR))) {
        .SUCCESS, .NOENT => {},
        else => |errno| return failure.fail(.remove, errno),
    }
}

/// Empties the folder `fd` and closes it.
fn empty(failure: *Failure, fd: linux.fd_t, depth: u32) error{Failed}!void {
    defer file.close(fd);
    if (depth == 0) return failure.fail(.remove, .NAMETOOLONG);
    var buffer: [2048]u8 align(8) = undefined;
    while (true) {
        _ = linux.lseek(fd, 0, linux.SEEK.SET);
        const len = try failure.check(.remove, linux.getdents64(fd, &buffer, buffer.len));
        var removed: usize = 0;
        var at: usize = 0;
        while (at < len) {
            const entry: *align(1) const Entry = @ptrCast(&buffer[at]);
            const name: [*:0]const u8 = @ptrCast(&buffer[at + Entry.name_offset]);
            at += entry.len;
            if (std.mem.eql(u8, std.mem.span(name), ".") or std.mem.eql(u8, std.mem.span(name), "..")) continue;
            removed += 1;
            switch (linux.errno(linux.unlinkat(fd, name, 0))) {
                .SUCCESS, .NOENT => continue,
                .ISDIR, .PERM => {},
                else => |errno| return failure.fail(.remove, errno),
            }
            const flags: linux.O = .{ .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true };
            const child: linux.fd_t = @intCast(try failure.check(.remove, linux.openat(fd, name, flags, 0)));
            try empty(failure, child, depth - 1);
            switch (linux.errno(linux.unlinkat(fd, name, linux.AT.REMOVEDIR))) {
                .SUCCESS, .NOENT => {},
                else => |errno| return failure.fail(.remove, errno),
            }
        }
        if (removed == 0) return;
    }
}
