//! A procfs that nobody else sees: what is written to the mounted one goes wherever an
//! image or a mount has put it.

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const file = @import("file.zig");
const mount = @import("mount.zig");

/// A detached procfs of the caller's pid namespace.
pub noinline fn open(failure: *Failure) error{Failed}!linux.fd_t {
    const fs: mount.FileSystem = try .open(failure, "proc");
    defer fs.close();
    return fs.mount(failure, .{ .nosuid = true, .nodev = true, .noexec = true });
}

/// Writes `text` to the file `path` of it, in one call.
pub noinline fn write(failure: *Failure, step: Failure.Step, procfs: linux.fd_t, path: [*:0]const u8, text: []const u8) error{Failed}!void {
    const resolve = file.Resolve.beneath | file.Resolve.no_magiclinks;
    const opened = file.openat2(procfs, path, .{ .ACCMODE = .WRONLY, .CLOEXEC = true }, 0, resolve);
    const fd: linux.fd_t = @intCast(try failure.check(step, opened));
    defer file.close(fd);
    _ = try failure.check(step, linux.write(fd, text.ptr, text.len));
}
