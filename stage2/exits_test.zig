//! The record survives what disks and power cuts do to files: it is cut and changed at
//! every byte.

const std = @import("std");
const expectEqual = std.testing.expectEqual;
const expectEqualStrings = std.testing.expectEqualStrings;
const linux = @import("linux");
const os = linux.os;
const exits = @import("exits.zig");
const Log = exits.Log;
const Record = exits.Record;

const size = @sizeOf(Record);

fn signalled(signal: u32) u32 {
    return signal;
}

fn exited(status: u32) u32 {
    return status << 8;
}

const three = [_]exits.Exit{
    .{ .id = "web", .pid = 100, .status = exited(0), .oom = false },
    .{ .id = "0f8fad5b-d9cb-469f-a165-70867728950e", .pid = 200, .status = exited(7), .oom = false },
    .{ .id = &@as([exits.max_id]u8, @splat('x')), .pid = 300, .status = signalled(9), .oom = true },
};

/// A folder of a test, with the bytes of a record file that holds `three`.
const Fixture = struct {
    tmp: std.testing.TmpDir,
    bytes: [3 * size]u8 = undefined,

    fn init() !Fixture {
        var fixture: Fixture = .{ .tmp = std.testing.tmpDir(.{}) };
        var failure: linux.Failure = .{};
        var log = try fixture.open(&failure);
        defer log.close();
        try expectEqual(@as(u64, 3), try log.append(&failure, &three));
        _ = os.lseek(log.fd, 0, os.SEEK.SET);
        try expectEqual(fixture.bytes.len, (try linux.file.readAll(&failure, log.fd, &fixture.bytes)).len);
        return fixture;
    }

    fn deinit(fixture: *Fixture) void {
        fixture.tmp.cleanup();
    }

    fn open(fixture: *const Fixture, failure: *linux.Failure) error{Failed}!Log {
        return Log.open(failure, fixture.tmp.dir.handle, "exits");
    }

    fn replace(fixture: *const Fixture, bytes: []const u8) !void {
        var failure: linux.Failure = .{};
        const fd = try linux.file.openAt(&failure, fixture.tmp.dir.handle, "exits", .{ .ACCMODE = .WRONLY, .TRUNC = true, .CREAT = true }, 0o600);
        defer linux.file.close(fd);
        try linux.file.writeAll(&failure, fd, bytes);
    }

    /// That the file holds the first `count` of `three`, says how much it dropped, and
    /// goes on with the next number.
    fn expectFirst(fixture: *const Fixture, count: usize, len: usize) !void {
        var failure: linux.Failure = .{};
        var log = try fixture.open(&failure);
        defer log.close();
        try expectEqual(count, log.last);
        try expectEqual(len - count * size, log.discarded);
        var seen: Seen = .{};
        try log.replay(&failure, 0, &seen);
        try expectEqual(count, seen.len);
        try expectEqual(count + 1, try log.append(&failure, three[0..1]));
        try log.replay(&failure, count, &seen);
        try expectEqualStrings("web", seen.records[count].id());
    }
};

const Seen = struct {
    records: [8]Record = undefined,
    len: usize = 0,

    pub fn exit(seen: *Seen, record: *const Record) error{Failed}!void {
        seen.records[seen.len] = record.*;
        seen.len += 1;
    }
};

test "what is recorded comes back, in order, also after the file was opened again" {
    var fixture: Fixture = try .init();
    defer fixture.deinit();
    var failure: linux.Failure = .{};
    var log = try fixture.open(&failure);
    defer log.close();
    var seen: Seen = .{};
    try log.replay(&failure, 0, &seen);
    try expectEqual(@as(usize, 3), seen.len);
    for (seen.records[0..3], &three, 1..) |*record, exit, number| {
        try expectEqualStrings(exit.id, record.id());
        try expectEqual(exit.pid, record.pid);
        try expectEqual(number, record.sequence);
        try std.testing.expect(record.time_ns > 1_500_000_000 * std.time.ns_per_s);
    }
    try expectEqual([3]u32{ 0, 7, 137 }, [3]u32{ seen.records[0].status, seen.records[1].status, seen.records[2].status });
    try expectEqual([2]u8{ 9, 1 }, [2]u8{ seen.records[2].signal, seen.records[2].oom });
    var later: Seen = .{};
    try log.replay(&failure, 2, &later);
    try expectEqual(@as(usize, 1), later.len);
}

test "cut at every byte, the whole records before the cut are kept and the next one fits" {
    var fixture: Fixture = try .init();
    defer fixture.deinit();
    for (0..fixture.bytes.len + 1) |len| {
        try fixture.replace(fixture.bytes[0..len]);
        try fixture.expectFirst(len / size, len);
    }
}

test "changed at every byte, the records before the change are kept" {
    var fixture: Fixture = try .init();
    defer fixture.deinit();
    for (0..fixture.bytes.len) |at| for ([_]u8{ 0x01, 0x80, 0xff }) |change| {
        var bytes = fixture.bytes;
        bytes[at] ^= change;
        try fixture.replace(&bytes);
        try fixture.expectFirst(at / size, bytes.len);
    };
}

test "a hole of zeros, and a record out of its order, end the file" {
    var fixture: Fixture = try .init();
    defer fixture.deinit();
    try fixture.replace(&@as([size]u8, @splat(0)));
    try fixture.expectFirst(0, size);
    const swapped = fixture.bytes[0..size].* ++ fixture.bytes[2 * size ..][0..size].*;
    try fixture.replace(&swapped);
    try fixture.expectFirst(1, swapped.len);
    const twice = fixture.bytes[0..size].* ++ fixture.bytes[0..size].*;
    try fixture.replace(&twice);
    try fixture.expectFirst(1, twice.len);
}

test "compacted, it keeps what was not acknowledged, and the numbers go on" {
    var fixture: Fixture = try .init();
    defer fixture.deinit();
    var failure: linux.Failure = .{};
    {
        var log = try fixture.open(&failure);
        defer log.close();
        try log.compact(&failure, 2);
        try expectEqual(@as(u64, 4), try log.append(&failure, three[1..2]));
        try log.compact(&failure, 3);
    }
    var log = try fixture.open(&failure);
    defer log.close();
    try expectEqual(@as(u64, 0), log.discarded);
    var seen: Seen = .{};
    try log.replay(&failure, 0, &seen);
    try expectEqual(@as(usize, 1), seen.len);
    try expectEqual(@as(u64, 4), seen.records[0].sequence);
    try log.compact(&failure, std.math.maxInt(u64));
    try expectEqual(@as(u64, size), log.size);
    try expectEqual(@as(u64, 5), try log.append(&failure, three[0..1]));
}

test "the vector that TypeScript reads as well: acknowledged up to 4, then 5 and 6" {
    var bytes: [3 * size]u8 = undefined;
    var hex: [2 * bytes.len]u8 = undefined;
    var len: usize = 0;
    for (@embedFile("exits_vector.hex")) |digit| if (digit != '\n') {
        hex[len] = digit;
        len += 1;
    };
    try expectEqual(bytes.len, (try std.fmt.hexToBytes(&bytes, &hex)).len);
    var fixture: Fixture = try .init();
    defer fixture.deinit();
    try fixture.replace(&bytes);
    var failure: linux.Failure = .{};
    var log = try fixture.open(&failure);
    defer log.close();
    try expectEqual(@as(u64, 0), log.discarded);
    var seen: Seen = .{};
    try log.replay(&failure, 0, &seen);
    try expectEqual(@as(usize, 2), seen.len);
    const web, const uuid = seen.records[0..2].*;
    try expectEqualStrings("web", web.id());
    try expectEqual(.{ @as(u64, 5), @as(i64, 1_790_000_000_123_456_789), @as(i32, 4321), @as(u32, 7), @as(u8, 0) }, .{ web.sequence, web.time_ns, web.pid, web.status, web.oom });
    try expectEqualStrings("0f8fad5b-d9cb-469f-a165-70867728950e", uuid.id());
    try expectEqual(.{ @as(u64, 6), @as(u32, 137), @as(u8, 9), @as(u8, 1) }, .{ uuid.sequence, uuid.status, uuid.signal, uuid.oom });
}

test "an id that does not fit is refused, and nothing of it stays" {
    var fixture: Fixture = try .init();
    defer fixture.deinit();
    var failure: linux.Failure = .{};
    var log = try fixture.open(&failure);
    defer log.close();
    const long = [_]exits.Exit{ three[0], .{ .id = &@as([exits.max_id + 1]u8, @splat('x')), .pid = 1, .status = 0, .oom = false } };
    for ([_][]const exits.Exit{ &long, &.{.{ .id = "", .pid = 1, .status = 0, .oom = false }} }) |bad| {
        failure = .{};
        try std.testing.expectError(error.Failed, log.append(&failure, bad));
        try expectEqual(linux.Failure.Step.record, failure.step);
        try expectEqual(@as(usize, 3 * size), os.lseek(log.fd, 0, os.SEEK.END));
    }
}

test "a second process is refused while the first has the file" {
    var fixture: Fixture = try .init();
    defer fixture.deinit();
    var failure: linux.Failure = .{};
    var log = try fixture.open(&failure);
    defer log.close();
    const pid = os.fork();
    if (pid == 0) {
        var refused: linux.Failure = .{};
        _ = fixture.open(&refused) catch linux.process.exit(if (refused.errno == @backingInt(os.E.AGAIN)) 7 else 8);
        linux.process.exit(9);
    }
    try expectEqual(@as(u8, 7), linux.process.exitStatus(try linux.process.wait(&failure, @intCast(pid))));
}
