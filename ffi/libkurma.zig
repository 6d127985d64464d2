//! libkurma.so: what the Deno process itself does with the kernel. No libc, no
//! heap, no threads, no state. Everything else happens in the static program.

const std = @import("std");
const assert = std.debug.assert;
const inside = @import("inside.zig");
const linux = @import("linux");
const streams = @import("streams.zig");
const Failure = linux.Failure;

pub const panic = std.debug.no_panic;

/// The whole boundary. `pool` symbols run on a Deno pool thread: numbers only, and
/// no fork, because PR_SET_PDEATHSIG follows the *thread* and Deno ends idle ones.
pub const exports = .{
    .{ .name = "kurma_memfd", .call = &memfd, .pool = false },
    .{ .name = "kurma_spawn", .call = &spawn, .pool = false },
    .{ .name = "kurma_wait", .call = &wait, .pool = true },
    .{ .name = "kurma_signal", .call = &signal, .pool = false },
    .{ .name = "kurma_become", .call = &become, .pool = false },
    .{ .name = "kurma_remove", .call = &remove, .pool = false },
    .{ .name = "kurma_limit_folder", .call = &limitFolder, .pool = false },
    .{ .name = "kurma_attributes", .call = &attributes, .pool = false },
    .{ .name = "kurma_close", .call = &close, .pool = false },
    .{ .name = "kurma_hang_up", .call = &hangUp, .pool = false },
    .{ .name = "kurma_end_output", .call = &endOutput, .pool = false },
    .{ .name = "kurma_pair", .call = &pair, .pool = false },
    .{ .name = "kurma_listen", .call = &listen, .pool = false },
    .{ .name = "kurma_connect", .call = &connect, .pool = false },
    .{ .name = "kurma_send", .call = &send, .pool = false },
    .{ .name = "kurma_send_file", .call = &sendFile, .pool = false },
    .{ .name = "kurma_datagram", .call = &datagram, .pool = false },
    .{ .name = "kurma_receive", .call = &receive, .pool = false },
    .{ .name = "kurma_readable", .call = &readable, .pool = true },
    .{ .name = "kurma_accept", .call = &accept, .pool = false },
    .{ .name = "kurma_peers", .call = &peers, .pool = false },
    .{ .name = "kurma_keep_alive", .call = &keepAlive, .pool = false },
    .{ .name = "kurma_release_code", .call = &releaseCode, .pool = false },
    .{ .name = "kurma_make_raw", .call = &makeRaw, .pool = false },
    .{ .name = "kurma_restore_terminal", .call = &restoreTerminal, .pool = false },
    .{ .name = "kurma_missing", .call = &missing, .pool = false },
} ++ inside.exports ++ streams.exports;

comptime {
    for (exports) |entry| @export(entry.call, .{ .name = entry.name });
}

/// The most arguments, and the most variables, that a program is started with.
const max_strings = 64 * 1024;

/// A memory file with `len` bytes; `kind` counts the kinds of `linux.memfd.Kind`.
/// Returns its descriptor (close-on-exec), or -1.
fn memfd(name: [*:0]const u8, data: [*]const u8, len: usize, kind: u32, failure: *Failure) callconv(.c) i32 {
    if (kind > @backingInt(linux.memfd.Kind.shared)) return invalid(failure, .memfd, .INVAL);
    return linux.memfd.create(failure, name, data[0..len], @fromBackingInt(@intCast(kind))) catch -1;
}

/// The errno with which the kernel says that it lacks a feature, counted as those of
/// `linux.feature.Feature`, or 0 if it has it.
fn missing(feature: u32) callconv(.c) u32 {
    if (feature > @backingInt(linux.feature.Feature.memfd_sealing)) return @backingInt(linux.E.INVAL);
    return @backingInt(linux.feature.missing(@fromBackingInt(@intCast(feature))));
}

/// Starts the program behind `program` with the given arguments and environment in
/// a session of its own. `fds` become its descriptors 3, 4, …; 0 to 2 are shared.
///
/// The child shares our memory until its exec (CLONE_VM | CLONE_VFORK): copying
/// V8's page tables would cost more than everything else here. Returns its pid, or -1.
fn spawn(program: i32, argv: [*]const u8, argc: u32, env: [*]const u8, envc: u32, fds: [*]const i32, fd_count: u32, failure: *Failure) callconv(.c) i32 {
    var child: Child = .{ .failure = failure, .program = program, .fds = fds[0..fd_count] };
    child.argv = pointers(child.argv_space[0..], argv, argc) orelse return invalid(failure, .spawn, .@"2BIG");
    child.envp = pointers(child.envp_space[0..], env, envc) orelse return invalid(failure, .spawn, .@"2BIG");
    var stack: [32 * 1024]u8 align(16) = undefined;
    const flags = linux.process.Clone.vm | linux.process.Clone.vfork | @backingInt(linux.os.SIG.CHLD);
    // Signals stay out while the child runs on our memory with our handlers.
    const all = linux.os.sigfillset();
    var before: linux.os.sigset_t = undefined;
    _ = linux.os.sigprocmask(linux.os.SIG.SETMASK, &all, &before);
    defer _ = linux.os.sigprocmask(linux.os.SIG.SETMASK, &before, null);
    const pid = linux.os.clone(Child.run, @intFromPtr(&stack) + stack.len, flags, @intFromPtr(&child), null, 0, null);
    const checked = failure.check(.spawn, pid) catch return -1;
    if (failure.step == .none) return @intCast(checked);
    var reaped: i32 = 0;
    _ = linux.os.wait4(@intCast(checked), @ptrCast(&reaped), 0, null);
    return -1;
}

const Child = struct {
    failure: *Failure,
    program: i32,
    fds: []const i32,
    argv: [*:null]const ?[*:0]const u8 = undefined,
    envp: [*:null]const ?[*:0]const u8 = undefined,
    argv_space: [64]?[*:0]const u8 = undefined,
    envp_space: [64]?[*:0]const u8 = undefined,

    fn run(argument: usize) callconv(.c) u8 {
        const child: *Child = @ptrFromInt(argument);
        child.start() catch {};
        return 125;
    }

    fn start(child: *Child) error{Failed}!noreturn {
        linux.process.resetSignals();
        _ = linux.os.setsid();
        // First above every target, so that no target overwrites a source not yet moved.
        const spare = 1000;
        const program: i32 = @intCast(spare + child.fds.len);
        _ = try child.failure.check(.spawn, linux.os.dup3(child.program, program, 0));
        for (child.fds, 0..) |fd, index| _ = try child.failure.check(.spawn, linux.os.dup3(fd, @intCast(spare + index), 0));
        for (child.fds, 0..) |_, index| _ = try child.failure.check(.spawn, linux.os.dup3(@intCast(spare + index), @intCast(3 + index), 0));
        try linux.process.closeOnExecFrom(child.failure, @intCast(3 + child.fds.len));
        return child.failure.fail(.spawn, linux.process.execFd(program, child.argv, child.envp));
    }
};

/// Waits, on a pool thread, for the end of a child; its exit status, or 128 + the
/// signal that ended it; -1 when there is no such child.
fn wait(pid: i32) callconv(.c) i32 {
    var failure: Failure = .{};
    const status = linux.process.wait(&failure, pid) catch return -1;
    return linux.process.exitStatus(status);
}

/// Sends a signal to a child that `kurma_wait` has not returned for. 0, or -1.
fn signal(pid: i32, number: u32, failure: *Failure) callconv(.c) i32 {
    const result = linux.os.kill(pid, @fromBackingInt(@intCast(number & 0x7f)));
    _ = failure.check(.signal, result) catch return -1;
    return 0;
}

/// Makes this process the program behind `fd`: V8 and all its threads are gone.
/// Returns only on failure, with -1.
fn become(fd: i32, argv: [*]const u8, argc: u32, env: [*]const u8, envc: u32, failure: *Failure) callconv(.c) i32 {
    const size = (argc + envc + 2) * @sizeOf(?[*:0]const u8);
    const mapped = failure.check(.exec, linux.os.mmap(null, size, .{ .READ = true, .WRITE = true }, .{ .TYPE = .PRIVATE, .ANONYMOUS = true }, -1, 0)) catch return -1;
    const space = @as([*]?[*:0]const u8, @ptrFromInt(mapped))[0 .. argc + envc + 2];
    const arguments = pointers(space[0 .. argc + 1], argv, argc) orelse return invalid(failure, .exec, .@"2BIG");
    const environment = pointers(space[argc + 1 ..], env, envc) orelse return invalid(failure, .exec, .@"2BIG");
    linux.process.resetSignals();
    failure.fail(.exec, linux.process.execFd(fd, arguments, environment)) catch return -1;
}

/// Removes the file or folder `path` with all it holds. 0, or -1.
fn remove(path: [*:0]const u8, failure: *Failure) callconv(.c) i32 {
    linux.tree.remove(failure, linux.os.AT.FDCWD, path) catch return -1;
    return 0;
}

/// Limits the folder `path`, as the project of that number, to `bytes`; 0 lifts the limit.
/// 0, or -1.
fn limitFolder(path: [*:0]const u8, project: u32, bytes: usize, failure: *Failure) callconv(.c) i32 {
    linux.quota.limit(failure, path, project, bytes) catch return -1;
    return 0;
}

/// The extended attributes of `path`, which is not followed: for each its name, a NUL,
/// its value's length in four bytes, and the value. Returns how many bytes that is, or
/// -1: ERANGE if `len` is too short. xattr(7)
fn attributes(path: [*:0]const u8, data: [*]u8, len: usize, failure: *Failure) callconv(.c) i32 {
    var names: [64 * 1024]u8 = undefined; // As many as the kernel lists.
    const listed = linux.os.llistxattr(path, &names, names.len);
    if (linux.os.errno(listed) == .OPNOTSUPP) return 0; // A file system without any.
    var rest: []const u8 = names[0 .. failure.check(.read_attributes, listed) catch return -1];
    var at: usize = 0;
    while (std.mem.findScalar(u8, rest, 0)) |end| : (rest = rest[end + 1 ..]) {
        const head = end + 1 + @sizeOf(u32);
        if (len - at < head) return invalid(failure, .read_attributes, .RANGE);
        @memcpy(data[at..][0 .. end + 1], rest[0 .. end + 1]);
        const value = data[at + head .. len];
        const result = linux.os.lgetxattr(path, @ptrCast(rest.ptr), value.ptr, value.len);
        const size = failure.check(.read_attributes, result) catch return -1;
        std.mem.writeInt(u32, data[at + end + 1 ..][0..4], @intCast(size), .little);
        at += head + size;
    }
    return @intCast(at);
}

fn close(fd: i32) callconv(.c) void {
    linux.file.close(fd);
}

/// Ends the connection for both ends. The descriptor stays open: a pool thread may wait
/// on it, and its number must not mean another file before that one has woken up.
fn hangUp(socket: i32) callconv(.c) void {
    _ = linux.os.shutdown(socket, linux.os.SHUT.RDWR);
}

/// Ends what is sent on a connection; the other end may still send. shutdown(2)
fn endOutput(socket: i32) callconv(.c) void {
    _ = linux.os.shutdown(socket, linux.os.SHUT.WR);
}

/// Two sequenced-packet sockets connected to each other. 0, or -1.
fn pair(fds: *[2]i32, failure: *Failure) callconv(.c) i32 {
    fds.* = linux.socket.pair(failure) catch return -1;
    return 0;
}

/// A sequenced-packet socket that listens at `path`, for its owner alone. Its descriptor
/// (close-on-exec), or -1.
fn listen(path: [*:0]const u8, failure: *Failure) callconv(.c) i32 {
    return linux.socket.listen(failure, std.mem.span(path)) catch -1;
}

/// A sequenced-packet socket connected to the one that listens at `path`, or -1.
fn connect(path: [*:0]const u8, failure: *Failure) callconv(.c) i32 {
    return linux.socket.connect(failure, std.mem.span(path)) catch -1;
}

/// Sends one packet with `fd_count` descriptors, without waiting. 0, or -1.
fn send(socket: i32, data: [*]const u8, len: usize, fds: [*]const i32, fd_count: u32, failure: *Failure) callconv(.c) i32 {
    if (fd_count > linux.socket.Descriptors.max) return invalid(failure, .socket, .@"2BIG");
    linux.socket.sendAll(failure, socket, data[0..len], fds[0..fd_count]) catch return -1;
    return 0;
}

/// As `send`, with a sealed memory file of `text` before the descriptors. In one call: each of
/// them is cold for who is asked once in a while.
fn sendFile(socket: i32, data: [*]const u8, len: usize, text: [*]const u8, text_len: usize, fds: [*]const i32, fd_count: u32, failure: *Failure) callconv(.c) i32 {
    const max = linux.socket.Descriptors.max;
    if (fd_count >= max) return invalid(failure, .socket, .@"2BIG");
    var all: [max]i32 = undefined;
    all[0] = linux.memfd.create(failure, "file", text[0..text_len], .data) catch return -1;
    defer linux.file.close(all[0]);
    @memcpy(all[1..][0..fd_count], fds[0..fd_count]);
    linux.socket.sendAll(failure, socket, data[0..len], all[0 .. fd_count + 1]) catch return -1;
    return 0;
}

/// Sends one datagram to the socket at `path`, without waiting; `@NAME` is an abstract name.
/// 0, or -1.
fn datagram(path: [*:0]const u8, data: [*]const u8, len: usize, failure: *Failure) callconv(.c) i32 {
    linux.socket.sendDatagram(failure, std.mem.span(path), data[0..len]) catch return -1;
    return 0;
}

/// Takes the packet that is there into `data`, and its descriptors into `fds`, whose
/// places not used become -1. Its length; 0 when the other end is closed; or -1.
fn receive(socket: i32, data: [*]u8, len: usize, fds: *[linux.socket.Descriptors.max]i32, failure: *Failure) callconv(.c) i32 {
    var descriptors: linux.socket.Descriptors = .{};
    const packet = linux.socket.receiveAll(failure, socket, data[0..len], &descriptors) catch return -1;
    fds.* = descriptors.fds;
    return @intCast(packet.len);
}

/// Waits, on a pool thread, until `fd` has something to read or its other end is closed.
fn readable(fd: i32) callconv(.c) i32 {
    var polls = [_]linux.os.pollfd{.{ .fd = fd, .events = linux.os.POLL.IN, .revents = 0 }};
    while (true) {
        const result = linux.os.poll(&polls, polls.len, -1);
        if (linux.os.errno(result) != .INTR) return polls[0].revents;
    }
}

/// Takes the connection that waits at a listening stream socket; `who` becomes the pid, uid
/// and gid of who made it. Its descriptor (close-on-exec, non-blocking), or -1: EAGAIN if
/// it went away again. unix(7), SO_PEERCRED
fn accept(socket: i32, who: *[3]u32, failure: *Failure) callconv(.c) i32 {
    const os = linux.os;
    const result = os.accept4(socket, null, null, os.SOCK.CLOEXEC | os.SOCK.NONBLOCK);
    const fd: i32 = @intCast(failure.check(.socket, result) catch return -1);
    who.* = option([3]u32, fd, os.SO.PEERCRED) orelse {
        linux.file.close(fd);
        return invalid(failure, .socket, .NOTSOCK);
    };
    return fd;
}

/// How many connections accept(2) made from a stream socket that listens at `path`, or -1. For each
/// of the first `capacity`, four numbers: what the kernel tells this socket apart by, and the
/// pid, uid and gid of who connected to it. Unless `all` are wanted, those behind a gap
/// among the descriptors are not looked for, which takes two thirds of the time.
fn peers(path: [*:0]const u8, all: u32, out: [*]u64, capacity: u32, failure: *Failure) callconv(.c) i32 {
    var found: Found = .{ .path = path, .out = out, .capacity = capacity };
    if (all == 0) {
        // A new descriptor has the lowest number that is free.
        var fd: i32 = 0;
        var closed: u32 = 0;
        while (closed < max_gap) : (fd += 1) {
            closed = if (linux.os.errno(linux.os.fcntl(fd, linux.os.F.GETFD, 0)) == .BADF) closed + 1 else 0;
            if (closed == 0) found.look(fd);
        }
        return @intCast(found.count);
    }
    var own = OwnDescriptors.open(failure) catch return -1;
    defer own.close();
    while (own.next(failure) catch return -1) |fd| found.look(fd);
    return @intCast(found.count);
}

/// So many numbers are not free in a row, below the newest, unless as many were closed just now.
const max_gap = 64;

const Found = struct {
    path: [*:0]const u8,
    out: [*]u64,
    capacity: u32,
    count: u32 = 0,

    fn look(found: *Found, fd: i32) void {
        const peer = peerOf(fd, found.path) orelse return;
        if (found.count < found.capacity) found.out[found.count * 4 ..][0..4].* = peer;
        found.count += 1;
    }
};

/// Has the kernel ask whether the other end of a TCP connection of ours is still there: after
/// `idle` seconds of silence, each `interval` seconds, `count` times; and give up at the same time
/// on what is sent and not received. 0, or -1. tcp(7), SO_KEEPALIVE, TCP_USER_TIMEOUT
fn keepAlive(local: u32, remote: u32, idle: u32, interval: u32, count: u32, failure: *Failure) callconv(.c) i32 {
    const os = linux.os;
    var own = OwnDescriptors.open(failure) catch return -1;
    defer own.close();
    while (own.next(failure) catch return -1) |fd| {
        if (portOf(fd, os.getsockname) != local or portOf(fd, os.getpeername) != remote) continue;
        const options = [_]struct { i32, u32, u32 }{
            .{ os.SOL.SOCKET, os.SO.KEEPALIVE, 1 },
            .{ os.IPPROTO.TCP, os.TCP.KEEPIDLE, idle },
            .{ os.IPPROTO.TCP, os.TCP.KEEPINTVL, interval },
            .{ os.IPPROTO.TCP, os.TCP.KEEPCNT, count },
            .{ os.IPPROTO.TCP, os.TCP.USER_TIMEOUT, (idle + interval * count) * std.time.ms_per_s },
        };
        for (options) |option_of| {
            const level, const name, const value = option_of;
            const bytes = std.mem.asBytes(&value);
            _ = failure.check(.socket, os.setsockopt(fd, level, name, bytes, bytes.len)) catch return -1;
        }
    }
    return 0;
}

/// The port of one end of an internet socket; null for what is none.
fn portOf(fd: i32, ask: *const @TypeOf(linux.os.getsockname)) ?u32 {
    var name: linux.os.sockaddr.in6 = undefined; // Its port is where that of IPv4 is.
    var len: linux.os.socklen_t = @sizeOf(linux.os.sockaddr.in6);
    if (linux.os.errno(ask(fd, @ptrCast(&name), &len)) != .SUCCESS) return null;
    if (name.family != linux.os.AF.INET and name.family != linux.os.AF.INET6) return null;
    return std.mem.bigToNative(u16, name.port);
}

/// The descriptors of this process: the runtime does not tell those of its connections.
const OwnDescriptors = struct {
    names: linux.folder.Names,

    fn open(failure: *Failure) error{Failed}!OwnDescriptors {
        const flags: linux.os.O = .{ .DIRECTORY = true, .CLOEXEC = true };
        return .{ .names = .{ .fd = try linux.file.open(failure, "/proc/self/fd", flags, 0) } };
    }

    fn close(own: *OwnDescriptors) void {
        linux.file.close(own.names.fd);
    }

    fn next(own: *OwnDescriptors, failure: *Failure) error{Failed}!?i32 {
        while (try own.names.next(failure)) |name| return std.fmt.parseInt(i32, name, 10) catch continue;
        return null;
    }
};

/// unix(7), SO_PEERCRED; socket(7), SO_COOKIE
fn peerOf(fd: i32, path: [*:0]const u8) ?[4]u64 {
    const os = linux.os;
    const kind = option(i32, fd, os.SO.TYPE) orelse return null;
    const listens = option(i32, fd, os.SO.ACCEPTCONN) orelse return null;
    if (kind != os.SOCK.STREAM or listens != 0 or !isAt(fd, path)) return null;
    const who = option([3]u32, fd, os.SO.PEERCRED) orelse return null;
    const cookie = option(u64, fd, os.SO.COOKIE) orelse return null;
    return .{ cookie, who[0], who[1], who[2] };
}

/// Makes a terminal raw; `before` becomes how it was. 0, or -1.
fn makeRaw(fd: i32, before: *linux.terminal.Settings, failure: *Failure) callconv(.c) i32 {
    before.* = linux.terminal.makeRaw(failure, fd) catch return -1;
    return 0;
}

/// Gives a terminal the settings that it had. 0, or -1.
fn restoreTerminal(fd: i32, before: *const linux.terminal.Settings, failure: *Failure) callconv(.c) i32 {
    linux.terminal.restore(failure, fd, before) catch return -1;
    return 0;
}

/// Whether a socket's own name is `path`: what accept(2) makes has that of the listener.
fn isAt(fd: i32, path: [*:0]const u8) bool {
    var name: linux.os.sockaddr.un = undefined;
    var len: linux.os.socklen_t = @sizeOf(linux.os.sockaddr.un);
    if (linux.os.errno(linux.os.getsockname(fd, @ptrCast(&name), &len)) != .SUCCESS) return false;
    const start = @offsetOf(linux.os.sockaddr.un, "path");
    if (name.family != linux.os.AF.UNIX or len <= start or len > @sizeOf(linux.os.sockaddr.un)) return false;
    const own = std.mem.sliceTo(name.path[0 .. len - start], 0);
    return std.mem.eql(u8, own, std.mem.span(path));
}

/// getsockopt(2) at the level of sockets; null for what is no socket, or has no such option.
fn option(T: type, fd: i32, name: u32) ?T {
    var value: T = undefined;
    var len: linux.os.socklen_t = @sizeOf(T);
    const result = linux.os.getsockopt(fd, linux.os.SOL.SOCKET, name, @ptrCast(&value), &len);
    if (linux.os.errno(result) != .SUCCESS or len != @sizeOf(T)) return null;
    return value;
}

/// 0, or -1.
fn releaseCode(failure: *Failure) callconv(.c) i32 {
    linux.code.release(failure) catch return -1;
    return 0;
}

fn invalid(failure: *Failure, step: Failure.Step, errno: linux.E) i32 {
    failure.fail(step, errno) catch return -1;
}

/// The strings that lie NUL-terminated one behind the other in `bytes`, as the
/// array execve(2) takes; null if `space` is too small.
fn pointers(space: []?[*:0]const u8, bytes: [*]const u8, count: u32) ?[*:null]const ?[*:0]const u8 {
    if (count >= space.len or count > max_strings) return null;
    var at: usize = 0;
    for (space[0..count]) |*slot| {
        const string: [*:0]const u8 = @ptrCast(bytes + at);
        slot.* = string;
        at += std.mem.len(string) + 1;
    }
    space[count] = null;
    return space[0..count :null].ptr;
}
