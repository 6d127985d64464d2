//! The little of networking that every container needs.

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const file = @import("file.zig");

/// ifreq of netdevice(7), as SIOCSIFFLAGS reads it.
const InterfaceFlags = extern struct {
    name: [16]u8,
    flags: i16,
    _: [22]u8 = @splat(0),
};

const set_flags = 0x8914; // SIOCSIFFLAGS
const up_and_running = 0x1 | 0x40; // IFF_UP | IFF_RUNNING

/// Brings `lo` up in the network namespace of the caller; its addresses come with it.
pub fn loopbackUp(failure: *Failure) error{Failed}!void {
    const socket: linux.fd_t = @intCast(try failure.check(.loopback, linux.socket(linux.AF.INET, linux.SOCK.DGRAM | linux.SOCK.CLOEXEC, 0)));
    defer file.close(socket);
    var request: InterfaceFlags = .{ .name = @splat(0), .flags = up_and_running };
    @memcpy(request.name[0..2], "lo");
    _ = try failure.check(.loopback, linux.ioctl(socket, set_flags, @intFromPtr(&request)));
}
