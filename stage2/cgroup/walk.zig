//! Walking a cgroup and the cgroups that processes in it may have made below.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const pid_t = linux.pid_t;
const files = @import("files.zig");

const open_flags: linux.os.O = .{ .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true };

/// Each level that is signalled takes a descriptor and 2 KiB of stack.
const max_depth = 128;

const name_max = 255;

/// The folders in a folder of cgroupfs.
const Children = struct {
    fd: fd_t,
    buffer: [1024]u8 align(8) = undefined,
    at: usize = 0,
    len: usize = 0,

    /// Of getdents64(2)'s record: where its length, its type and its name are.
    const record_len = 16;
    const record_type = 18;
    const record_name = 19;

    fn next(children: *Children) ?[*:0]const u8 {
        while (true) {
            if (children.at == children.len) {
                const result = linux.os.getdents64(children.fd, &children.buffer, children.buffer.len);
                if (linux.os.errno(result) != .SUCCESS or result == 0) return null;
                children.len = result;
                children.at = 0;
            }
            const record = children.buffer[children.at..];
            children.at += std.mem.readInt(u16, record[record_len..][0..2], .native);
            const child: [*:0]const u8 = @ptrCast(record[record_name..]);
            if (record[record_type] == linux.os.DT.DIR and child[0] != '.') return child;
        }
    }
};

/// Sends `signal` to every process in `path` below `dir` and in the cgroups below it.
pub fn signalTree(failure: *Failure, dir: fd_t, path: [*:0]const u8, signal: u32) error{Failed}!void {
    return signalBelow(failure, dir, path, signal, max_depth);
}

fn signalBelow(failure: *Failure, dir: fd_t, path: [*:0]const u8, signal: u32, depth: u32) error{Failed}!void {
    const result = linux.os.openat(dir, path, open_flags, 0);
    switch (linux.os.errno(result)) {
        .SUCCESS => {},
        .NOENT => return,
        else => |errno| return failure.fail(.signal, errno),
    }
    const fd: fd_t = @intCast(result);
    defer linux.file.close(fd);
    if (depth == 0) return failure.fail(.signal, .NAMETOOLONG);
    try signalMembers(failure, fd, signal);
    var children: Children = .{ .fd = fd };
    while (children.next()) |child| try signalBelow(failure, fd, child, signal, depth - 1);
}

/// Signals the processes of one cgroup, `batch` at a time. The list is read again
/// after their descriptors are open: a number that is still listed was not given to a
/// stranger before its descriptor stood for it.
fn signalMembers(failure: *Failure, cgroup: fd_t, signal: u32) error{Failed}!void {
    const batch = 64;
    var passed: usize = 0;
    while (true) {
        var pids: [batch]pid_t = undefined;
        const count = try members(failure, cgroup, passed, &pids);
        if (count == 0) return;
        var pidfds: [batch]fd_t = @splat(-1);
        defer for (pidfds) |pidfd| if (pidfd >= 0) linux.file.close(pidfd);
        for (pids[0..count], pidfds[0..count]) |pid, *pidfd| {
            const opened = linux.os.pidfd_open(pid, 0);
            switch (linux.os.errno(opened)) {
                .SUCCESS => pidfd.* = @intCast(opened),
                .SRCH => {},
                else => |errno| return failure.fail(.signal, errno),
            }
        }
        var listed: [batch]bool = @splat(false);
        var list = try List.open(failure, cgroup) orelse return;
        defer list.close();
        while (try list.next(failure)) |pid| {
            if (std.mem.findScalar(pid_t, pids[0..count], pid)) |index| listed[index] = true;
        }
        for (pidfds[0..count], listed[0..count]) |pidfd, is_listed| {
            if (pidfd >= 0 and is_listed) try linux.process.signalPidfd(failure, pidfd, signal);
        }
        passed += count;
    }
}

/// The numbers of the processes in the cgroup `fd` after the first `skip`; how many.
pub fn members(failure: *Failure, fd: fd_t, skip: usize, pids: []pid_t) error{Failed}!usize {
    var list = try List.open(failure, fd) orelse return 0;
    defer list.close();
    var position: usize = 0;
    var count: usize = 0;
    while (count < pids.len) : (position += 1) {
        const pid = try list.next(failure) orelse break;
        if (position < skip) continue;
        pids[count] = pid;
        count += 1;
    }
    return count;
}

/// cgroup.procs, which may be longer than any buffer.
const List = struct {
    buffer: [1024]u8 = undefined,
    fd: fd_t,
    lines: files.Lines = undefined,
    started: bool = false,

    /// Null if the cgroup is gone, or is of the kind that has threads only.
    fn open(failure: *Failure, cgroup: fd_t) error{Failed}!?List {
        return switch (files.open(cgroup, ".", "cgroup.procs", .{ .CLOEXEC = true })) {
            .fd => |fd| .{ .fd = fd },
            .errno => |errno| switch (errno) {
                .NOENT, .NODEV => null,
                else => failure.fail(.signal, errno),
            },
        };
    }

    fn close(list: *List) void {
        linux.file.close(list.fd);
    }

    /// The next process; one that this PID namespace has no number for is passed over.
    fn next(list: *List, failure: *Failure) error{Failed}!?pid_t {
        if (!list.started) list.lines = .{ .fd = list.fd, .buffer = &list.buffer };
        list.started = true;
        while (true) {
            var unread: Failure = .{};
            const line = list.lines.next(&unread) catch switch (@as(linux.E, @fromBackingInt(unread.errno))) {
                .NODEV, .OPNOTSUPP => return null,
                else => |errno| return failure.fail(.signal, errno),
            } orelse return null;
            const pid = std.fmt.parseUnsigned(u31, line, 10) catch return failure.fail(.signal, .INVAL);
            if (pid > 0) return pid;
        }
    }
};

/// Removes `path` below `dir` with the cgroups below it, the deepest first. Success
/// when it is gone already; EBUSY while a process is left in any of them.
///
/// Needs the same memory at every depth: it starts from the top again for each one.
pub fn removeTree(dir: fd_t, path: [*:0]const u8) linux.E {
    while (true) {
        switch (linux.os.errno(linux.os.unlinkat(dir, path, linux.os.AT.REMOVEDIR))) {
            .SUCCESS, .NOENT => return .SUCCESS,
            .BUSY => {},
            else => |errno| return errno,
        }
        switch (removeDeepest(dir, path)) {
            .SUCCESS => {},
            else => |errno| return errno,
        }
    }
}

/// Removes one cgroup below `path` that has none below itself; EBUSY if there is
/// none, or if processes are left in it.
fn removeDeepest(dir: fd_t, path: [*:0]const u8) linux.E {
    var parent: fd_t = -1;
    defer if (parent >= 0) linux.file.close(parent);
    var name_buffer: [name_max:0]u8 = undefined;
    var name = path;
    while (true) {
        const opened = linux.os.openat(if (parent < 0) dir else parent, name, open_flags, 0);
        switch (linux.os.errno(opened)) {
            .SUCCESS => {},
            .NOENT => return .SUCCESS, // Its owner removed it in between.
            else => |errno| return errno,
        }
        const fd: fd_t = @intCast(opened);
        var children: Children = .{ .fd = fd };
        const child = children.next() orelse {
            linux.file.close(fd);
            if (parent < 0) return .BUSY;
            const errno = linux.os.errno(linux.os.unlinkat(parent, name, linux.os.AT.REMOVEDIR));
            return if (errno == .NOENT) .SUCCESS else errno;
        };
        if (parent >= 0) linux.file.close(parent);
        parent = fd;
        const len = std.mem.len(child);
        if (len > name_max) return .NAMETOOLONG;
        @memcpy(name_buffer[0..len], child[0..len]);
        name_buffer[len] = 0;
        name = name_buffer[0..len :0];
    }
}
