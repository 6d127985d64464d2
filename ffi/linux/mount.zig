//! The mount API by descriptor: a file system is made, configured and attached
//! without a path that a container could change in between.
//!
//! Source: fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2),
//! mount_setattr(2).

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const file = @import("file.zig");
const fd_t = linux.fd_t;

/// Attributes of one mount (not of its file system). mount_setattr(2), MOUNT_ATTR_*
pub const Attributes = packed struct(u64) {
    readonly: bool = false,
    nosuid: bool = false,
    nodev: bool = false,
    noexec: bool = false,
    noatime: bool = false,
    strictatime: bool = false,
    _6: u1 = 0,
    nodiratime: bool = false,
    _8: u12 = 0,
    idmap: bool = false,
    nosymfollow: bool = false,
    _22: u42 = 0,

    pub fn isEmpty(attributes: Attributes) bool {
        return @as(u64, @bitCast(attributes)) == 0;
    }

    /// Bits 4 to 6 are one field, the access time mode; clearing any clears all.
    pub const access_time_mask: u64 = 0x70;
};

/// mount_attr of mount_setattr(2).
pub const Change = extern struct {
    set: u64 = 0,
    clear: u64 = 0,
    propagation: u64 = 0,
    userns_fd: u64 = 0,
};

pub const Propagation = struct {
    pub const unbindable = 1 << 17;
    pub const private = 1 << 18;
    pub const slave = 1 << 19;
    pub const shared = 1 << 20;
};

const empty_path = 0x1000; // AT_EMPTY_PATH
const recursive = 0x8000; // AT_RECURSIVE
const open_tree_clone = 1;
const open_tree_cloexec = 0x80000;
const from_empty_path = 0x04; // MOVE_MOUNT_F_EMPTY_PATH
const to_empty_path = 0x40; // MOVE_MOUNT_T_EMPTY_PATH

/// A file system that is being configured; becomes a mount with `mount`.
pub const FileSystem = struct {
    fd: fd_t,

    pub noinline fn open(failure: *Failure, name: [*:0]const u8) error{Failed}!FileSystem {
        return .{ .fd = @intCast(try failure.check(.mount, linux.syscall2(.fsopen, @intFromPtr(name), 1))) };
    }

    pub fn close(fs: FileSystem) void {
        file.close(fs.fd);
    }

    /// Sets `key` to a text; the raw result, since some keys are only known to newer kernels.
    pub fn setString(fs: FileSystem, key: [*:0]const u8, value: [*:0]const u8) usize {
        return fs.config(1, @intFromPtr(key), @intFromPtr(value), 0);
    }

    pub fn setFlag(fs: FileSystem, key: [*:0]const u8) usize {
        return fs.config(0, @intFromPtr(key), 0, 0);
    }

    /// Sets `key` to what `fd` stands for; for overlay's layers since Linux 6.13.
    pub fn setFd(fs: FileSystem, key: [*:0]const u8, fd: fd_t) usize {
        return fs.config(5, @intFromPtr(key), 0, file.fdArg(fd));
    }

    /// Makes the file system and returns it as a detached mount.
    pub noinline fn mount(fs: FileSystem, failure: *Failure, attributes: Attributes) error{Failed}!fd_t {
        _ = try failure.check(.mount, fs.config(6, 0, 0, 0));
        const bits: u64 = @bitCast(attributes);
        return @intCast(try failure.check(.mount, linux.syscall3(.fsmount, file.fdArg(fs.fd), 1, bits)));
    }

    noinline fn config(fs: FileSystem, command: usize, key: usize, value: usize, aux: usize) usize {
        return linux.syscall5(.fsconfig, file.fdArg(fs.fd), command, key, value, aux);
    }
};

/// A detached copy of what is mounted at `path` below `dir`. open_tree(2)
pub noinline fn cloneTree(failure: *Failure, dir: fd_t, path: [*:0]const u8, whole: bool) error{Failed}!fd_t {
    const flags: usize = open_tree_clone | open_tree_cloexec | empty_path | @as(usize, if (whole) recursive else 0);
    return @intCast(try failure.check(.mount, linux.syscall3(.open_tree, file.fdArg(dir), @intFromPtr(path), flags)));
}

/// Attaches the detached mount `mount` on the file or folder behind `target`.
pub noinline fn attach(failure: *Failure, mount: fd_t, target: fd_t) error{Failed}!void {
    _ = try failure.check(.mount, linux.syscall5(.move_mount, file.fdArg(mount), @intFromPtr(""), file.fdArg(target), @intFromPtr(""), from_empty_path | to_empty_path));
}

/// Attaches the detached mount `mount` on `name` in the folder `dir`: a name without a
/// slash, which is not followed if it is a link.
pub noinline fn attachAt(failure: *Failure, mount: fd_t, dir: fd_t, name: [*:0]const u8) error{Failed}!void {
    _ = try failure.check(.mount, linux.syscall5(.move_mount, file.fdArg(mount), @intFromPtr(""), file.fdArg(dir), @intFromPtr(name), from_empty_path));
}

/// Changes the attributes of the mount behind `mount`: the raw result.
pub noinline fn change(mount: fd_t, wanted: Change, whole: bool) usize {
    const flags: usize = empty_path | @as(usize, if (whole) recursive else 0);
    return linux.syscall5(.mount_setattr, file.fdArg(mount), @intFromPtr(""), flags, @intFromPtr(&wanted), @sizeOf(Change));
}

/// Detaches what is mounted at `target` and below. A target where nothing is mounted
/// any more is success: undo follows partial starts. umount2(2), MNT_DETACH
pub fn detach(failure: *Failure, target: [*:0]const u8) error{Failed}!void {
    const nofollow = 8; // UMOUNT_NOFOLLOW
    switch (linux.errno(linux.umount2(target, linux.MNT.DETACH | nofollow))) {
        .SUCCESS, .INVAL, .NOENT => {}, // INVAL: no mount here, or one our parent locked.
        else => |errno| return failure.fail(.umount, errno),
    }
}

/// Cuts this mount namespace off: what is mounted here from now on is seen nowhere else.
pub fn makePrivate(failure: *Failure) error{Failed}!void {
    _ = try failure.check(.mount, linux.mount(null, "/", null, linux.MS.REC | linux.MS.PRIVATE, 0));
}
