//! Sealed memory files: programs and plans that nobody can change once they are made.

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const file = @import("file.zig");

const cloexec = 0x0001;
const allow_sealing = 0x0002;
const exec = 0x0010; // Since Linux 6.3; before it every memfd may be executed.

const add_seals = 1033; // F_ADD_SEALS
const all_seals = 0x0001 | 0x0002 | 0x0004 | 0x0008; // SEAL, SHRINK, GROW, WRITE

/// What a memory file is for: a program and data are sealed, `shared` stays writable for
/// whoever has its descriptor.
pub const Kind = enum(u32) { data, program, shared };

/// A memory file that holds `bytes`, close-on-exec.
///
/// Source: memfd_create(2), "File sealing"; MFD_EXEC in Linux 6.3.
pub fn create(failure: *Failure, name: [*:0]const u8, bytes: []const u8, kind: Kind) error{Failed}!linux.fd_t {
    const flags: u32 = cloexec | allow_sealing;
    var made = linux.memfd_create(name, if (kind == .program) flags | exec else flags);
    if (linux.errno(made) == .INVAL) made = linux.memfd_create(name, flags);
    const fd: linux.fd_t = @intCast(try failure.check(.memfd, made));
    errdefer file.close(fd);
    try file.writeAll(failure, fd, bytes);
    if (kind != .shared) _ = try failure.check(.memfd, linux.fcntl(fd, add_seals, all_seals));
    // A reader starts where the file starts, not where the writer stopped.
    _ = linux.lseek(fd, 0, linux.SEEK.SET);
    return fd;
}
