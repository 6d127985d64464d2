//! sha256 by the processor's own instructions. Compiled for processors that have them
//! (build.zig), so it is an object of its own that digest.zig asks only there; what
//! crosses is bytes, since two compilations need not agree on a struct.
//!
//! Source: Intel 64 SDM, "SHA Extensions".

const std = @import("std");
const Sha256 = std.crypto.hash.sha2.Sha256;

const State = [128]u8;

comptime {
    std.debug.assert(@sizeOf(Sha256) <= @sizeOf(State));
    std.debug.assert(@import("builtin").cpu.hasAll(.x86, &.{ .sha, .avx2 }));
    // Hidden: a library that is linked with this object does not offer it to others.
    @export(&init, .{ .name = "kurma_sha256_init", .visibility = .hidden });
    @export(&update, .{ .name = "kurma_sha256_update", .visibility = .hidden });
    @export(&final, .{ .name = "kurma_sha256_final", .visibility = .hidden });
}

fn init(state: *align(16) State) callconv(.c) void {
    of(state).* = .init(.{});
}

fn update(state: *align(16) State, bytes: [*]const u8, len: usize) callconv(.c) void {
    of(state).update(bytes[0..len]);
}

fn final(state: *align(16) State, digest: *[32]u8) callconv(.c) void {
    of(state).final(digest);
}

fn of(state: *align(16) State) *Sha256 {
    return @ptrCast(state);
}
