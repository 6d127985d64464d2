//! Sequenced-packet sockets that carry descriptors.
//!
//! Source: unix(7), SCM_RIGHTS; cmsg(3).

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const fd_t = linux.fd_t;

/// A control message with room for one descriptor.
const Control = extern struct {
    len: usize = @sizeOf(usize) + 2 * @sizeOf(i32) + @sizeOf(fd_t),
    level: i32 = 1, // SOL_SOCKET
    kind: i32 = 1, // SCM_RIGHTS
    fd: fd_t,
    _: i32 = 0,
};

/// Sends one packet with a descriptor attached; the receiver gets a copy of it.
pub fn sendWithDescriptor(failure: *Failure, socket: fd_t, bytes: []const u8, fd: fd_t) error{Failed}!void {
    const control: Control = .{ .fd = fd };
    const parts = [_]std.posix.iovec_const{.{ .base = bytes.ptr, .len = bytes.len }};
    const message: linux.msghdr_const = .{
        .name = null,
        .namelen = 0,
        .iov = &parts,
        .iovlen = parts.len,
        .control = &control,
        .controllen = @sizeOf(Control),
        .flags = 0,
    };
    _ = try failure.check(.socket, linux.sendmsg(socket, &message, linux.MSG.NOSIGNAL));
}

/// Receives one packet into `buffer`; the descriptor it carried, close-on-exec, or null.
/// An empty result means that the other end is closed.
pub fn receive(failure: *Failure, socket: fd_t, buffer: []u8, descriptor: *?fd_t) error{Failed}![]u8 {
    var control: Control = .{ .len = 0, .fd = -1 };
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
    const cmsg_cloexec = 0x40000000;
    const result = linux.recvmsg(socket, &message, cmsg_cloexec);
    descriptor.* = null;
    // A peer that died with unread data of ours is an end like any other.
    if (linux.errno(result) == .CONNRESET) return buffer[0..0];
    const len = try failure.check(.socket, result);
    if (message.controllen >= @sizeOf(usize) and control.kind == 1 and control.fd >= 0) descriptor.* = control.fd;
    return buffer[0..len];
}
