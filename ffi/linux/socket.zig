//! Sequenced-packet sockets that carry descriptors.
//!
//! Source: unix(7), SCM_RIGHTS; cmsg(3).

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const file = @import("file.zig");
const fd_t = linux.fd_t;

/// What one packet may carry: a plan, three streams and a socket to stage1 at most.
pub const Descriptors = struct {
    fds: [max]fd_t = @splat(-1),
    count: usize = 0,

    pub const max = 6;

    /// The first one, which is the caller's from now on.
    pub fn take(descriptors: *Descriptors) ?fd_t {
        if (descriptors.count == 0) return null;
        descriptors.count -= 1;
        const first = descriptors.fds[0];
        descriptors.fds[0] = descriptors.fds[descriptors.count];
        return first;
    }

    pub fn close(descriptors: *Descriptors) void {
        for (descriptors.fds[0..descriptors.count]) |fd| file.close(fd);
        descriptors.count = 0;
    }
};

/// A control message with room for `Descriptors`.
const Control = extern struct {
    len: usize = 0,
    level: i32 = 1, // SOL_SOCKET
    kind: i32 = 1, // SCM_RIGHTS
    fds: [Descriptors.max]fd_t = @splat(-1),

    const header = @offsetOf(Control, "fds");
};

/// Sends one packet, without waiting, with descriptors attached: the receiver gets copies.
pub noinline fn sendAll(failure: *Failure, socket: fd_t, bytes: []const u8, fds: []const fd_t) error{Failed}!void {
    var control: Control = .{ .len = Control.header + fds.len * @sizeOf(fd_t) };
    @memcpy(control.fds[0..fds.len], fds);
    const parts = [_]std.posix.iovec_const{.{ .base = bytes.ptr, .len = bytes.len }};
    const message: linux.msghdr_const = .{
        .name = null,
        .namelen = 0,
        .iov = &parts,
        .iovlen = parts.len,
        .control = if (fds.len > 0) &control else null,
        .controllen = if (fds.len > 0) std.mem.alignForward(usize, control.len, 8) else 0,
        .flags = 0,
    };
    _ = try failure.check(.socket, linux.sendmsg(socket, &message, linux.MSG.NOSIGNAL | linux.MSG.DONTWAIT));
}

pub fn sendPacket(failure: *Failure, socket: fd_t, bytes: []const u8, descriptor: ?fd_t) error{Failed}!void {
    if (descriptor) |fd| return sendAll(failure, socket, bytes, &.{fd});
    return sendAll(failure, socket, bytes, &.{});
}

/// Receives one packet into `buffer` and what it carried, close-on-exec, into
/// `descriptors`. An empty result means that the other end is closed.
pub fn receiveAll(failure: *Failure, socket: fd_t, buffer: []u8, descriptors: *Descriptors) error{Failed}![]u8 {
    return receivePacket(failure, socket, buffer, descriptors, true);
}

/// As `receiveAll`, but EAGAIN instead of waiting when there is no packet.
pub fn receiveNow(failure: *Failure, socket: fd_t, buffer: []u8, descriptors: *Descriptors) error{Failed}![]u8 {
    return receivePacket(failure, socket, buffer, descriptors, false);
}

noinline fn receivePacket(failure: *Failure, socket: fd_t, buffer: []u8, descriptors: *Descriptors, waits: bool) error{Failed}![]u8 {
    var control: Control = .{};
    var parts = [_]std.posix.iovec{.{ .base = buffer.ptr, .len = buffer.len }};
    var message: linux.msghdr = .{
        .name = null,
        .namelen = 0,
        .iov = &parts,
        .iovlen = parts.len,
        .control = &control,
        .controllen = @sizeOf(Control),
        .flags = 0,
    };
    const cmsg_cloexec: u32 = 0x40000000;
    const flags = if (waits) cmsg_cloexec else cmsg_cloexec | linux.MSG.DONTWAIT;
    var result = linux.recvmsg(socket, &message, flags);
    // Said once when the peer is gone and had not read all of ours; what it sent before is
    // still there, and then the end.
    if (linux.errno(result) == .CONNRESET) result = linux.recvmsg(socket, &message, flags);
    descriptors.count = 0;
    const len = try failure.check(.socket, result);
    if (message.controllen > Control.header and control.kind == 1) {
        descriptors.count = (control.len - Control.header) / @sizeOf(fd_t);
        @memcpy(descriptors.fds[0..descriptors.count], control.fds[0..descriptors.count]);
    }
    return buffer[0..len];
}

/// As `receiveAll`, for packets that carry one descriptor at most.
pub noinline fn receive(failure: *Failure, socket: fd_t, buffer: []u8, descriptor: *?fd_t) error{Failed}![]u8 {
    var descriptors: Descriptors = .{};
    descriptor.* = null;
    const packet = try receiveAll(failure, socket, buffer, &descriptors);
    if (descriptors.count == 0) return packet;
    descriptor.* = descriptors.fds[0];
    for (descriptors.fds[1..descriptors.count]) |fd| file.close(fd);
    return packet;
}

/// Two sockets connected to each other, close-on-exec.
pub fn pair(failure: *Failure) error{Failed}![2]fd_t {
    var sockets: [2]fd_t = undefined;
    _ = try failure.check(.socket, linux.socketpair(linux.AF.UNIX, linux.SOCK.SEQPACKET | linux.SOCK.CLOEXEC, 0, &sockets));
    return sockets;
}

/// A new socket that listens at `path`, which only its owner may connect to: the mask
/// is set before bind(2) makes the file, so there is no moment in between.
pub fn listen(failure: *Failure, path: []const u8) error{Failed}!fd_t {
    const socket = try packetSocket(failure);
    errdefer file.close(socket);
    try listenOn(failure, socket, path);
    return socket;
}

/// A new stream socket that listens at `path`, non-blocking, for its owner alone.
pub fn listenStream(failure: *Failure, path: []const u8) error{Failed}!fd_t {
    const flags = linux.SOCK.STREAM | linux.SOCK.CLOEXEC | linux.SOCK.NONBLOCK;
    const socket: fd_t = @intCast(try failure.check(.socket, linux.socket(linux.AF.UNIX, flags, 0)));
    errdefer file.close(socket);
    try listenOn(failure, socket, path);
    return socket;
}

fn listenOn(failure: *Failure, socket: fd_t, path: []const u8) error{Failed}!void {
    const address = try addressOf(failure, path);
    const before = linux.syscall1(.umask, 0o177);
    const bound = linux.bind(socket, @ptrCast(&address), @sizeOf(linux.sockaddr.un));
    _ = linux.syscall1(.umask, before);
    _ = try failure.check(.socket, bound);
    _ = try failure.check(.socket, linux.listen(socket, 16));
}

/// A new socket connected to the one that listens at `path`.
pub fn connect(failure: *Failure, path: []const u8) error{Failed}!fd_t {
    const socket = try packetSocket(failure);
    errdefer file.close(socket);
    const address = try addressOf(failure, path);
    _ = try failure.check(.socket, linux.connect(socket, &address, @sizeOf(linux.sockaddr.un)));
    return socket;
}

/// Sends one datagram to the socket at `path`, without waiting. A name that begins with
/// `@` is in the abstract namespace. unix(7)
pub fn sendDatagram(failure: *Failure, path: []const u8, bytes: []const u8) error{Failed}!void {
    const flags = linux.SOCK.DGRAM | linux.SOCK.CLOEXEC | linux.SOCK.NONBLOCK;
    const socket: fd_t = @intCast(try failure.check(.socket, linux.socket(linux.AF.UNIX, flags, 0)));
    defer file.close(socket);
    var address = try addressOf(failure, path);
    const abstract = path.len > 0 and path[0] == '@';
    if (abstract) address.path[0] = 0;
    // An abstract name is as long as the address says, a path ends with its NUL.
    const len = @offsetOf(linux.sockaddr.un, "path") + path.len + @intFromBool(!abstract);
    _ = try failure.check(.socket, linux.sendto(socket, bytes.ptr, bytes.len, linux.MSG.NOSIGNAL, @ptrCast(&address), @intCast(len)));
}

/// A new stream socket connected to the one that listens at `path`.
pub fn connectStream(failure: *Failure, path: []const u8) error{Failed}!fd_t {
    const socket: fd_t = @intCast(try failure.check(.socket, linux.socket(linux.AF.UNIX, linux.SOCK.STREAM | linux.SOCK.CLOEXEC, 0)));
    errdefer file.close(socket);
    const address = try addressOf(failure, path);
    _ = try failure.check(.socket, linux.connect(socket, &address, @sizeOf(linux.sockaddr.un)));
    return socket;
}

fn packetSocket(failure: *Failure) error{Failed}!fd_t {
    return @intCast(try failure.check(.socket, linux.socket(linux.AF.UNIX, linux.SOCK.SEQPACKET | linux.SOCK.CLOEXEC, 0)));
}

fn addressOf(failure: *Failure, path: []const u8) error{Failed}!linux.sockaddr.un {
    var address: linux.sockaddr.un = .{ .path = @splat(0) };
    if (path.len >= address.path.len) return failure.fail(.socket, .NAMETOOLONG);
    @memcpy(address.path[0..path.len], path);
    return address;
}

test "what was sent before the end arrives, also from a peer that did not read" {
    var failure: Failure = .{};
    const sockets = try pair(&failure);
    defer file.close(sockets[0]);
    try sendPacket(&failure, sockets[1], "the answer", null);
    try sendPacket(&failure, sockets[0], "nobody reads this", null);
    file.close(sockets[1]);
    var buffer: [32]u8 = undefined;
    var descriptors: Descriptors = .{};
    try std.testing.expectEqualStrings("the answer", try receiveAll(&failure, sockets[0], &buffer, &descriptors));
    try std.testing.expectEqual(0, (try receiveAll(&failure, sockets[0], &buffer, &descriptors)).len);
}
