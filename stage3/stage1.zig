//! The socket to stage1 that a program may inherit, so that it can talk to stage1 (say,
//! to be given a network) before it executes the next one.

const std = @import("std");
const linux = @import("linux");
const Strings = @import("protocol.zig").Strings;
const Failure = linux.Failure;
const os = linux.os;

/// The number it has for the program, whatever it was before.
pub const target = 3;

/// Tells the program that number.
const variable = "KURMA_STAGE1_FD";

/// Moves the socket to its number, where exec(2) leaves it open. What was there is closed.
pub fn move(failure: *Failure, socket: linux.fd_t) error{Failed}!void {
    if (socket != target) {
        _ = try failure.check(.exec, os.dup3(socket, target, 0));
        linux.file.close(socket);
    } else {
        _ = try failure.check(.exec, os.fcntl(target, os.F.SETFD, 0));
    }
}

/// The environment with the socket's number in front of it.
pub fn announce(failure: *Failure, env: Strings) error{Failed}!Strings {
    const count = std.mem.len(env);
    const memory = try linux.file.mapPrivate(failure, -1, (count + 2) * @sizeOf(usize));
    const array: [*]?[*:0]const u8 = @ptrCast(memory.ptr);
    array[0] = std.fmt.comptimePrint("{s}={d}", .{ variable, target });
    for (0..count + 1) |index| array[index + 1] = env[index];
    return @ptrCast(array);
}
