//! Files by descriptor. Paths that something untrusted can change are resolved
//! from a root descriptor with openat2(2), never from the host's root.

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const weakness = @import("weakness.zig");
const fd_t = linux.fd_t;

/// open_how of openat2(2).
const OpenHow = extern struct {
    flags: u64,
    mode: u64 = 0,
    resolve: u64 = 0,
};

/// How far a path may lead. openat2(2), RESOLVE_*.
pub const Resolve = struct {
    pub const no_xdev = 0x01;
    pub const no_magiclinks = 0x02;
    pub const no_symlinks = 0x04;
    pub const beneath = 0x08;
    pub const in_root = 0x10;
};

/// Opens `path` as the host sees it. For paths that only we or the administrator set.
pub fn open(failure: *Failure, path: [*:0]const u8, flags: linux.O, mode: u32) error{Failed}!fd_t {
    return openAt(failure, linux.AT.FDCWD, path, flags, mode);
}

pub noinline fn openAt(failure: *Failure, dir: fd_t, path: [*:0]const u8, flags: linux.O, mode: u32) error{Failed}!fd_t {
    return @intCast(try failure.check(.open, linux.openat(dir, path, flags, mode)));
}

/// openat2(2): the raw result, for callers to whom some errno is an answer.
pub noinline fn openat2(dir: fd_t, path: [*:0]const u8, flags: linux.O, mode: u32, resolve: u64) usize {
    if (weakness.has(.resolve)) return weakness.openAsHost(dir, path, flags, mode);
    const how: OpenHow = .{ .flags = @as(u32, @bitCast(flags)), .mode = mode, .resolve = resolve };
    while (true) {
        const result = linux.syscall4(.openat2, fdArg(dir), @intFromPtr(path), @intFromPtr(&how), @sizeOf(OpenHow));
        // A rename elsewhere can race with RESOLVE_IN_ROOT: the kernel asks for a retry.
        if (linux.errno(result) != .AGAIN) return result;
    }
}

/// Opens `path` as seen from `root`: `..` and absolute symlinks stay inside, the
/// links of procfs are refused.
pub noinline fn openInRoot(failure: *Failure, root: fd_t, path: [*:0]const u8, flags: linux.O) error{Failed}!fd_t {
    return @intCast(try failure.check(.open, openat2(root, path, flags, 0, Resolve.in_root | Resolve.no_magiclinks)));
}

const Kind = enum { directory, file };

/// Makes `path` and what leads to it below `root`, one component at a time, each
/// resolved inside `root`; returns an O_PATH descriptor of the last one. What is
/// already there stays as it is.
///
/// `kind` is what the last component becomes if it is missing.
pub fn makeInRoot(failure: *Failure, root: fd_t, path: []const u8, kind: Kind, mode: u32) error{Failed}!fd_t {
    var buffer: [std.posix.PATH_MAX]u8 = undefined;
    if (path.len >= buffer.len) return failure.fail(.mkdir, .NAMETOOLONG);
    @memcpy(buffer[0..path.len], path);
    buffer[path.len] = 0;
    const whole: [*:0]const u8 = buffer[0..path.len :0];
    const flags: linux.O = .{ .PATH = true, .CLOEXEC = true };
    const there = openat2(root, whole, flags, 0, Resolve.in_root | Resolve.no_magiclinks);
    switch (linux.errno(there)) {
        .SUCCESS => return @intCast(there),
        .NOENT => {},
        else => |errno| return failure.fail(.mkdir, errno),
    }

    // Mostly the last component is all that is missing.
    const name_end = if (std.mem.findLastNone(u8, path, "/")) |last| last + 1 else 0;
    const name_start = if (std.mem.findScalarLast(u8, path[0..name_end], '/')) |slash| slash + 1 else 0;
    var alone: Failure = .{};
    makeComponent(&alone, root, &buffer, name_start, name_end, kind, mode) catch |err| {
        if (alone.errno != @backingInt(linux.E.NOENT)) {
            failure.* = alone;
            return err;
        }
        var end: usize = 0;
        while (end < name_end) {
            while (path[end] == '/') end += 1;
            const start = end;
            while (end < name_end and path[end] != '/') end += 1;
            try makeComponent(failure, root, &buffer, start, end, if (end == name_end) kind else .directory, mode);
        }
    };
    return @intCast(try failure.check(.mkdir, openat2(root, whole, flags, 0, Resolve.in_root | Resolve.no_magiclinks)));
}

/// Makes the component [start, end) of the path in `buffer`; its parent exists.
fn makeComponent(failure: *Failure, root: fd_t, buffer: *[std.posix.PATH_MAX]u8, start: usize, end: usize, kind: Kind, mode: u32) error{Failed}!void {
    const after = buffer[end];
    defer buffer[end] = after;
    buffer[end] = 0;
    const name: [*:0]const u8 = buffer[start..end :0];

    const parent = parent: {
        if (start == 0) break :parent try openInRoot(failure, root, ".", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true });
        const before = buffer[start - 1];
        defer buffer[start - 1] = before;
        buffer[start - 1] = 0;
        const path: [*:0]const u8 = if (start == 1) "/" else buffer[0 .. start - 1 :0];
        break :parent try openInRoot(failure, root, path, .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true });
    };
    defer close(parent);
    const made = switch (kind) {
        .directory => linux.mkdirat(parent, name, mode),
        .file => linux.mknodat(parent, name, linux.S.IFREG | mode, 0),
    };
    switch (linux.errno(made)) {
        .SUCCESS, .EXIST => {},
        else => |errno| return failure.fail(.mkdir, errno),
    }
}

/// Closes a descriptor that is ours. EBADF would be a bug of ours, EIO is the
/// writer's to see through fsync(2).
pub fn close(fd: fd_t) void {
    _ = linux.close(fd);
}

/// Reads until `buffer` is full or the file ends.
pub noinline fn readAll(failure: *Failure, fd: fd_t, buffer: []u8) error{Failed}![]u8 {
    var len: usize = 0;
    while (len < buffer.len) {
        const result = linux.read(fd, buffer.ptr + len, buffer.len - len);
        switch (linux.errno(result)) {
            .SUCCESS => {},
            .INTR => continue,
            else => |errno| return failure.fail(.read, errno),
        }
        if (result == 0) break;
        len += result;
    }
    return buffer[0..len];
}

/// Writes all of `bytes`, however many calls it takes.
pub noinline fn writeAll(failure: *Failure, fd: fd_t, bytes: []const u8) error{Failed}!void {
    var done: usize = 0;
    while (done < bytes.len) {
        const result = linux.write(fd, bytes.ptr + done, bytes.len - done);
        switch (linux.errno(result)) {
            .SUCCESS => done += result,
            .INTR => {},
            else => |errno| return failure.fail(.write, errno),
        }
    }
}

/// A descriptor as a system call's argument; negative ones (AT_FDCWD) keep their bits.
pub fn fdArg(fd: fd_t) usize {
    return @bitCast(@as(isize, fd));
}

/// Maps `len` bytes of `fd`, or fresh memory for -1, writable and private to us.
pub fn mapPrivate(failure: *Failure, fd: fd_t, len: usize) error{Failed}![]align(std.heap.page_size_min) u8 {
    return map(failure, fd, len, .PRIVATE);
}

/// Maps `len` bytes of fresh memory, writable; shared with what we fork, or a copy there.
pub fn mapFresh(failure: *Failure, len: usize, shared: bool) error{Failed}![]align(std.heap.page_size_min) u8 {
    return map(failure, -1, len, if (shared) .SHARED else .PRIVATE);
}

noinline fn map(failure: *Failure, fd: fd_t, len: usize, kind: linux.MAP_TYPE) error{Failed}![]align(std.heap.page_size_min) u8 {
    const result = linux.mmap(null, len, .{ .READ = true, .WRITE = true }, .{ .TYPE = kind, .ANONYMOUS = fd == -1 }, fd, 0);
    const address = try failure.check(.read, result);
    return @as([*]align(std.heap.page_size_min) u8, @ptrFromInt(address))[0..len];
}

/// A close-on-exec copy of `fd` with a number above `last`. fcntl(2), F_DUPFD_CLOEXEC
pub noinline fn duplicateAbove(failure: *Failure, fd: fd_t, last: u32) error{Failed}!fd_t {
    const dupfd_cloexec = 1030;
    return @intCast(try failure.check(.open, linux.fcntl(fd, dupfd_cloexec, last + 1)));
}

/// What is behind `fd`, also one opened with O_PATH. statx(2)
pub noinline fn stat(failure: *Failure, fd: fd_t) error{Failed}!linux.Statx {
    var result: linux.Statx = undefined;
    _ = try failure.check(.open, linux.statx(fd, "", linux.AT.EMPTY_PATH, .BASIC_STATS, &result));
    return result;
}

/// A device number as mknodat(2) takes it.
pub fn deviceNumber(major: u32, minor: u32) u32 {
    return ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12);
}
