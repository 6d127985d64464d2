//! The digest of the stream: an OCI layer's diff id is sha256, an ACI's id sha512.

const std = @import("std");
const Sha256 = std.crypto.hash.sha2.Sha256;
const Sha512 = std.crypto.hash.sha2.Sha512;

pub const Algorithm = enum { sha256, sha512 };

pub const Digest = union(enum) {
    sha256: Sha256,
    sha256_fast: FastSha256,
    sha512: Sha512,

    pub fn init(algorithm: Algorithm) Digest {
        return switch (algorithm) {
            .sha256 => if (FastSha256.isThere()) .{ .sha256_fast = .init() } else .{ .sha256 = .init(.{}) },
            .sha512 => .{ .sha512 = .init(.{}) },
        };
    }

    pub fn update(digest: *Digest, bytes: []const u8) void {
        switch (digest.*) {
            inline else => |*state| state.update(bytes),
        }
    }

    pub fn name(digest: *const Digest) []const u8 {
        return if (digest.* == .sha512) "sha512" else "sha256";
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

extern fn kurma_sha256_init(state: *align(16) [128]u8) callconv(.c) void;
extern fn kurma_sha256_update(state: *align(16) [128]u8, bytes: [*]const u8, len: usize) callconv(.c) void;
extern fn kurma_sha256_final(state: *align(16) [128]u8, digest: *[32]u8) callconv(.c) void;

/// sha256_fast.zig, four times as fast where the processor has the instructions.
const FastSha256 = struct {
    state: [128]u8 align(16) = undefined,

    const digest_length = 32;

    fn init() FastSha256 {
        var fast: FastSha256 = .{};
        kurma_sha256_init(&fast.state);
        return fast;
    }

    fn update(fast: *FastSha256, bytes: []const u8) void {
        kurma_sha256_update(&fast.state, bytes.ptr, bytes.len);
    }

    fn final(fast: *FastSha256, digest: *[digest_length]u8) void {
        kurma_sha256_final(&fast.state, digest);
    }

    /// Whether the processor has SHA and AVX2, and the kernel saves AVX's registers.
    ///
    /// Source: Intel 64 SDM, CPUID leaves 1 and 7, XGETBV.
    fn isThere() bool {
        if (cpuid(0).eax < 7) return false;
        const first = cpuid(1);
        const avx_and_osxsave = 1 << 28 | 1 << 27;
        if (first.ecx & avx_and_osxsave != avx_and_osxsave) return false;
        const sse_and_avx = 0b110;
        if (xgetbv() & sse_and_avx != sse_and_avx) return false;
        const sha_and_avx2 = 1 << 29 | 1 << 5;
        return cpuid(7).ebx & sha_and_avx2 == sha_and_avx2;
    }
};

const Registers = struct { eax: u32, ebx: u32, ecx: u32 };

fn cpuid(leaf: u32) Registers {
    var eax: u32 = undefined;
    var ebx: u32 = undefined;
    var ecx: u32 = undefined;
    var edx: u32 = undefined;
    asm volatile ("cpuid"
        : [_] "={eax}" (eax),
          [_] "={ebx}" (ebx),
          [_] "={ecx}" (ecx),
          [_] "={edx}" (edx),
        : [_] "{eax}" (leaf),
          [_] "{ecx}" (@as(u32, 0)),
    );
    return .{ .eax = eax, .ebx = ebx, .ecx = ecx };
}

fn xgetbv() u32 {
    return asm volatile ("xgetbv"
        : [_] "={eax}" (-> u32),
        : [_] "{ecx}" (@as(u32, 0)),
        : .{ .edx = true });
}

test "both ways to sha256 agree, however the bytes are cut" {
    if (!FastSha256.isThere()) return error.SkipZigTest;
    var bytes: [1000]u8 = undefined;
    for (&bytes, 0..) |*byte, index| byte.* = @truncate(index * 7);
    for ([_]usize{ 1, 3, 55, 56, 63, 64, 65, 128, 1000 }) |step| {
        var slow: Digest = .{ .sha256 = .init(.{}) };
        var fast: Digest = .{ .sha256_fast = .init() };
        var at: usize = 0;
        while (at < bytes.len) : (at += step) {
            const piece = bytes[at..@min(at + step, bytes.len)];
            slow.update(piece);
            fast.update(piece);
        }
        var one: [128]u8 = undefined;
        var other: [128]u8 = undefined;
        try std.testing.expectEqualStrings(slow.hex(&one), fast.hex(&other));
    }
}
