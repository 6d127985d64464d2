//! The archive as it arrives: bytes in order, hashed and counted on the way.

const std = @import("std");
const linux = @import("linux");
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Digest = @import("digest.zig").Digest;

pub const Stream = struct {
    source: union(enum) {
        fd: linux.fd_t,
        /// For tests: the archive is in memory and `buffer` is not used.
        bytes: []const u8,
    },
    buffer: []u8,
    refusal: *Refusal,
    digest: *Digest,
    /// How many bytes the archive may have.
    limit: u64,
    /// How many bytes came so far.
    total: u64 = 0,
    ready: []const u8 = &.{},
    ended: bool = false,

    /// Up to `max` bytes that come next, at least one; null at the end of the stream.
    /// They stay valid until the next call.
    pub fn some(stream: *Stream, max: u64) Error!?[]const u8 {
        if (stream.ready.len == 0) try stream.fill();
        if (stream.ready.len == 0) return null;
        const taken = stream.ready[0..@intCast(@min(max, stream.ready.len))];
        stream.ready = stream.ready[taken.len..];
        return taken;
    }

    /// Fills `into`; answers false if the stream ended before its first byte.
    pub fn exact(stream: *Stream, into: []u8) Error!bool {
        var len: usize = 0;
        while (len < into.len) {
            const piece = try stream.some(into.len - len) orelse {
                if (len == 0) return false;
                return stream.refusal.refuse(.truncated);
            };
            @memcpy(into[len..][0..piece.len], piece);
            len += piece.len;
        }
        return true;
    }

    /// Passes over the next `count` bytes.
    pub fn skip(stream: *Stream, count: u64) Error!void {
        if (try stream.skipPresent(count) < count) return stream.refusal.refuse(.truncated);
    }

    /// Passes over the next `count` bytes, or as many as there are; answers how many.
    pub fn skipPresent(stream: *Stream, count: u64) Error!u64 {
        var left = count;
        while (left > 0) {
            const piece = try stream.some(left) orelse break;
            left -= piece.len;
        }
        return count - left;
    }

    /// Reads what is left, so that the digest is the whole stream's.
    pub fn drain(stream: *Stream) Error!void {
        while (try stream.some(std.math.maxInt(u64))) |_| {}
    }

    fn fill(stream: *Stream) Error!void {
        if (stream.ended) return;
        switch (stream.source) {
            .bytes => |bytes| {
                stream.ready = bytes;
                stream.ended = true;
            },
            .fd => |fd| {
                const len = while (true) {
                    const result = linux.os.read(fd, stream.buffer.ptr, stream.buffer.len);
                    switch (linux.os.errno(result)) {
                        .SUCCESS => break result,
                        .INTR => {},
                        else => |errno| return stream.refusal.system(errno),
                    }
                };
                stream.ready = stream.buffer[0..len];
                stream.ended = len == 0;
            },
        }
        stream.total += stream.ready.len;
        if (stream.total > stream.limit) return stream.refusal.refuse(.bytes);
        stream.digest.update(stream.ready);
    }
};
