//! The digest of the stream: an OCI layer's diff id is sha256, an ACI's id sha512.

const std = @import("std");
const Sha256 = std.crypto.hash.sha2.Sha256;
const Sha512 = std.crypto.hash.sha2.Sha512;

pub const Algorithm = enum { sha256, sha512 };

pub const Digest = union(Algorithm) {
    sha256: Sha256,
    sha512: Sha512,

    pub fn init(algorithm: Algorithm) Digest {
        return switch (algorithm) {
            .sha256 => .{ .sha256 = .init(.{}) },
            .sha512 => .{ .sha512 = .init(.{}) },
        };
    }

    pub fn update(digest: *Digest, bytes: []const u8) void {
        switch (digest.*) {
            inline else => |*state| state.update(bytes),
        }
    }

    /// The digest as lower-case hex.
    pub fn hex(digest: *Digest, space: *[128]u8) []const u8 {
        switch (digest.*) {
            inline else => |*state| {
                var raw: [@TypeOf(state.*).digest_length]u8 = undefined;
                state.final(&raw);
                const text = std.fmt.bytesToHex(raw, .lower);
                @memcpy(space[0..text.len], &text);
                return space[0..text.len];
            },
        }
    }
};
