//! What an init is given by who makes it: descriptors, at numbers that its settings name. An
//! init that is made before its settings are known waits for them with a socket in their place.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const os = linux.os;
const fd_t = linux.fd_t;

/// Where the settings are, and what a handover ends with.
pub const settings: fd_t = 3;

/// The highest number of all.
pub const last: fd_t = 11;

pub const Handover = struct {
    fds: [last + 1]fd_t = undefined,
    numbers: [last + 1]u8 = undefined,
    count: usize = 0,

    pub fn add(handover: *Handover, fd: ?fd_t, number: fd_t) void {
        handover.fds[handover.count] = fd orelse return;
        handover.numbers[handover.count] = @intCast(number);
        handover.count += 1;
    }

    /// Gives them to the init that waits at the other end of `socket`. EPIPE: it has ended.
    pub fn send(handover: *const Handover, failure: *Failure, socket: fd_t) error{Failed}!void {
        var sent: usize = 0;
        while (sent < handover.count) {
            const end = @min(handover.count, sent + linux.socket.Descriptors.max);
            try linux.socket.sendAll(failure, socket, handover.numbers[sent..end], handover.fds[sent..end]);
            sent = end;
        }
    }

    /// Moves them to their numbers, for this process and what it executes.
    pub fn place(handover: *Handover, failure: *Failure) error{Failed}!void {
        // First out of the way of those numbers.
        for (handover.fds[0..handover.count]) |*fd| {
            const moved = try linux.file.duplicateAbove(failure, fd.*, last);
            linux.file.close(fd.*);
            fd.* = moved;
        }
        for (handover.fds[0..handover.count], handover.numbers[0..handover.count]) |fd, number| {
            _ = try failure.check(.exec, os.dup3(fd, number, 0));
            linux.file.close(fd);
        }
    }
};

/// Waits for the settings and all that goes with them, if `fd` is a socket: the settings take
/// its place then.
pub fn await(failure: *Failure, fd: fd_t) error{Failed}!void {
    var handover: Handover = .{};
    while (handover.count == 0 or handover.numbers[handover.count - 1] != settings) {
        var descriptors: linux.socket.Descriptors = .{};
        var receiving: Failure = .{};
        const numbers = linux.socket.receiveAll(&receiving, fd, handover.numbers[handover.count..], &descriptors) catch |err| {
            if (receiving.errno == @backingInt(linux.E.NOTSOCK)) return;
            failure.* = receiving;
            return err;
        };
        if (numbers.len == 0) linux.process.exit(0); // Nobody wants us any more.
        for (descriptors.fds[0..numbers.len]) |given| {
            handover.fds[handover.count] = given;
            handover.count += 1;
        }
    }
    return handover.place(failure);
}
