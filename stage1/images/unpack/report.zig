//! The one line that the unpacker answers.

const std = @import("std");
const Archive = @import("archive.zig").Archive;
const Digest = @import("digest.zig").Digest;
const Refusal = @import("refusal.zig").Refusal;
const Skipped = @import("target.zig").Skipped;
const Stream = @import("stream.zig").Stream;

pub const Report = struct {
    /// Room for the longest name that a refusal keeps, each byte escaped.
    space: [4096]u8 = undefined,
    len: usize = 0,

    pub fn text(report: *const Report) []const u8 {
        return report.space[0..report.len];
    }

    pub fn success(report: *Report, digest: *Digest, stream: *const Stream, archive: *const Archive, skipped: Skipped) void {
        var hex: [128]u8 = undefined;
        report.add("{{\"digest\":\"{s}:{s}\",\"bytes\":{d},\"entries\":{d},\"complete\":{},", .{ digest.name(), digest.hex(&hex), stream.total, archive.count, archive.complete });
        report.add("\"devices\":{d},\"xattrs\":{d}}}\n", .{ skipped.devices, skipped.xattrs });
    }

    pub fn failure(report: *Report, refusal: *const Refusal) void {
        report.len = 0;
        report.add("{{\"refused\":\"{s}\",\"errno\":{d},\"entry\":\"", .{ @tagName(refusal.reason), @backingInt(refusal.errno) });
        // Names are bytes: only printable ASCII goes out as it is.
        for (refusal.entry()) |byte| switch (byte) {
            '"', '\\' => report.add("\\{c}", .{byte}),
            0x20, 0x21, 0x23...0x5b, 0x5d...0x7e => report.add("{c}", .{byte}),
            else => report.add("\\u{x:0>4}", .{byte}),
        };
        report.add("\"}}\n", .{});
    }

    fn add(report: *Report, comptime format: []const u8, args: anytype) void {
        const added = std.fmt.bufPrint(report.space[report.len..], format, args) catch unreachable;
        report.len += added.len;
    }
};
