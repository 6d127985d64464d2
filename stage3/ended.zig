//! How a container ended, left by its init in a file that stage2 gave it: for a stage2
//! that is not its parent, because the one that was has been killed.

const std = @import("std");
const assert = std.debug.assert;
const linux = @import("linux");
const os = linux.os;
const fd_t = linux.fd_t;

const Record = extern struct {
    /// CRC-32 of all that follows.
    crc: u32 = 0,
    status: u32,
    time_ns: i64,

    comptime {
        assert(@sizeOf(Record) == 16); // No padding in between.
    }

    fn checksum(record: *const Record) u32 {
        return std.hash.Crc32.hash(std.mem.asBytes(record)[@sizeOf(u32)..]);
    }
};

pub const Ended = struct {
    /// As wait4(2) gives it.
    status: u32,
    /// Nanoseconds since 1970.
    time_ns: i64,
};

/// Writes the end to `file`, which is empty. With `durable` it is on disk afterwards: the
/// init is alone then, and whoever comes next may come after a power cut.
pub fn write(file: fd_t, status: u32, durable: bool) void {
    var record: Record = .{ .status = status, .time_ns = linux.clock.wallNs() };
    record.crc = record.checksum();
    // Nobody is left to tell if this fails; without a record, the end counts as a kill.
    _ = os.pwrite(file, std.mem.asBytes(&record).ptr, @sizeOf(Record), 0);
    if (durable) _ = os.fdatasync(file);
}

/// The end in `file`; null if its init did not come to write it, or not to the end.
pub fn read(file: fd_t) ?Ended {
    var record: Record = undefined;
    if (os.pread(file, std.mem.asBytes(&record).ptr, @sizeOf(Record), 0) != @sizeOf(Record)) return null;
    if (record.crc != record.checksum()) return null;
    return .{ .status = record.status, .time_ns = record.time_ns };
}

test "an end is read as it was written, and a torn or changed one is none" {
    var failure: linux.Failure = .{};
    const file = try linux.memfd.create(&failure, "ended", "", .shared);
    defer linux.file.close(file);
    try std.testing.expectEqual(null, read(file));
    write(file, 137, true);
    const ended = read(file).?;
    try std.testing.expectEqual(137, ended.status);
    try std.testing.expect(@abs(ended.time_ns - linux.clock.wallNs()) < 10 * std.time.ns_per_s);
    for (0..@sizeOf(Record)) |at| {
        var byte: [1]u8 = undefined;
        _ = os.pread(file, &byte, 1, @intCast(at));
        _ = os.pwrite(file, &.{byte[0] ^ 1}, 1, @intCast(at));
        try std.testing.expectEqual(null, read(file));
        _ = os.pwrite(file, &byte, 1, @intCast(at));
    }
    _ = os.ftruncate(file, 15);
    try std.testing.expectEqual(null, read(file));
}
