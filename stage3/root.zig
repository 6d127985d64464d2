//! CHROOT: another root for the server and all that it starts from then on.

const std = @import("std");
const linux = @import("linux");
const Chroot = @import("command.zig").Chroot;
const os = linux.os;

/// pivot_root(2) to `request.directory`, which must be a mount point; the old root is
/// left at /host if that was asked for, and out of reach if not. Nothing has changed
/// if the pivot itself fails.
pub fn change(request: Chroot) linux.E {
    var failure: linux.Failure = .{};
    tryChange(&failure, request) catch return @fromBackingInt(failure.errno);
    return .SUCCESS;
}

fn tryChange(failure: *linux.Failure, request: Chroot) error{Failed}!void {
    const before = try linux.file.open(failure, ".", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
    defer linux.file.close(before);
    {
        errdefer _ = os.fchdir(before);
        _ = try failure.check(.chdir, os.chdir(request.directory));
        // Fails if it exists: what an image has there is not ours to hide.
        _ = try failure.check(.mkdir, os.mkdir("host", 0o755));
        errdefer _ = os.rmdir("host");
        _ = try failure.check(.pivot, os.pivot_root(".", "host"));
    }
    _ = try failure.check(.chdir, os.chdir("/"));
    if (request.privileged) return;
    _ = try failure.check(.umount, os.umount2("/host", os.MNT.DETACH));
    _ = try failure.check(.remove, os.rmdir("/host"));
}
