//! What a cgroup uses, in the same terms for both versions.
//!
//! Source: cgroup-v2.rst; cgroup-v1/{cpuacct,memory,pids,blkio-controller}.rst;
//! accounting/psi.rst of Linux

const std = @import("std");
const mem = std.mem;
const linux = @import("linux");
const files = @import("files.zig");
const hierarchy = @import("hierarchy.zig");
const Cgroup = @import("cgroup.zig").Cgroup;

/// Not measured on this host; of a limit: there is none.
pub const absent: u64 = std.math.maxInt(u64);

/// Version 1 says so with the largest whole number of pages.
const unlimited_v1 = std.math.maxInt(i64) / 4096 * 4096;

/// Shared with TypeScript. Numbers are totals since the cgroup was made unless named
/// otherwise; what this host does not measure is `absent`.
pub const Stats = extern struct {
    cpu_usage_ns: u64 = absent,
    cpu_user_ns: u64 = absent,
    cpu_system_ns: u64 = absent,
    /// Periods that had a quota, those in which it ran out, and for how long.
    cpu_periods: u64 = absent,
    cpu_throttled_periods: u64 = absent,
    cpu_throttled_ns: u64 = absent,
    /// Bytes at this moment, page cache included.
    memory_bytes: u64 = absent,
    memory_peak_bytes: u64 = absent,
    memory_limit_bytes: u64 = absent,
    memory_anonymous_bytes: u64 = absent,
    memory_file_bytes: u64 = absent,
    /// Page cache that can go first: `memory_bytes` without it is the working set.
    memory_inactive_file_bytes: u64 = absent,
    swap_bytes: u64 = absent,
    /// Processes that the OOM killer ended.
    oom_kills: u64 = absent,
    /// Processes and threads at this moment.
    pids: u64 = absent,
    pids_limit: u64 = absent,
    io_read_bytes: u64 = absent,
    io_written_bytes: u64 = absent,
    io_reads: u64 = absent,
    io_writes: u64 = absent,
    cpu_pressure: Pressure = .{},
    memory_pressure: Pressure = .{},
    io_pressure: Pressure = .{},
};

/// How long work stood still for want of a resource: `some` of it, or all (`full`).
/// Averages of the last 10, 60 and 300 seconds in hundredths of a per cent.
pub const Pressure = extern struct {
    some_10: u64 = absent,
    some_60: u64 = absent,
    some_300: u64 = absent,
    some_total_us: u64 = absent,
    full_10: u64 = absent,
    full_60: u64 = absent,
    full_300: u64 = absent,
    full_total_us: u64 = absent,

    /// From a file of the form `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
    fn parse(text: []const u8) Pressure {
        var pressure: Pressure = .{};
        inline for (.{ "some", "full" }) |kind| {
            if (line(text, kind)) |rest| {
                @field(pressure, kind ++ "_10") = hundredths(word(rest, "avg10="));
                @field(pressure, kind ++ "_60") = hundredths(word(rest, "avg60="));
                @field(pressure, kind ++ "_300") = hundredths(word(rest, "avg300="));
                @field(pressure, kind ++ "_total_us") = decimal(word(rest, "total="));
            }
        }
        return pressure;
    }
};

/// What can be read now. A cgroup that is gone has nothing: all `absent`.
pub fn stats(cgroup: *const Cgroup) Stats {
    const source: Source = .{ .cgroup = cgroup };
    var result: Stats = .{};
    if (source.has(.cpuacct, .v1)) source.cpuV1(&result) else source.cpuV2(&result);
    if (source.has(.memory, .v1)) source.memoryV1(&result) else source.memoryV2(&result);
    const pids: Source.Where = if (source.has(.pids, .v1)) .{ .v1 = .pids } else .v2;
    result.pids = source.value(pids, "pids.current");
    result.pids_limit = source.value(pids, "pids.max");
    if (source.has(.blkio, .v1)) source.ioV1(&result) else source.ioV2(&result);
    result.cpu_pressure = source.pressure("cpu.pressure");
    result.memory_pressure = source.pressure("memory.pressure");
    result.io_pressure = source.pressure("io.pressure");
    return result;
}

const Source = struct {
    cgroup: *const Cgroup,

    const Where = union(enum) {
        v1: hierarchy.Controller,
        v2,
    };

    /// memory.stat of both versions is below 3 KiB; io.stat has a line for each disk.
    const max_text = 8192;

    fn has(source: Source, controller: hierarchy.Controller, version: hierarchy.Version) bool {
        const part = source.cgroup.root.having(controller) orelse return false;
        return part.version == version;
    }

    fn text(source: Source, where: Where, name: []const u8, buffer: []u8) []const u8 {
        const part = switch (where) {
            .v1 => |controller| source.cgroup.root.having(controller),
            .v2 => source.cgroup.root.unified(),
        } orelse return "";
        return switch (files.read(part.dir, source.cgroup.relativePath(), name, buffer)) {
            .text => |content| content,
            .errno => "",
        };
    }

    fn value(source: Source, where: Where, name: []const u8) u64 {
        var buffer: [32]u8 = undefined;
        return decimal(mem.trimEnd(u8, source.text(where, name, &buffer), "\n"));
    }

    fn pressure(source: Source, name: []const u8) Pressure {
        var buffer: [256]u8 = undefined;
        return .parse(source.text(.v2, name, &buffer));
    }

    fn cpuV1(source: Source, result: *Stats) void {
        const accounting: Where = .{ .v1 = .cpuacct };
        result.cpu_usage_ns = source.value(accounting, "cpuacct.usage");
        result.cpu_user_ns = source.value(accounting, "cpuacct.usage_user");
        result.cpu_system_ns = source.value(accounting, "cpuacct.usage_sys");
        var buffer: [256]u8 = undefined;
        const table = source.text(.{ .v1 = .cpu }, "cpu.stat", &buffer);
        result.cpu_periods = number(table, "nr_periods");
        result.cpu_throttled_periods = number(table, "nr_throttled");
        result.cpu_throttled_ns = number(table, "throttled_time");
    }

    fn cpuV2(source: Source, result: *Stats) void {
        var buffer: [512]u8 = undefined;
        const table = source.text(.v2, "cpu.stat", &buffer);
        result.cpu_usage_ns = scaled(number(table, "usage_usec"), 1000);
        result.cpu_user_ns = scaled(number(table, "user_usec"), 1000);
        result.cpu_system_ns = scaled(number(table, "system_usec"), 1000);
        result.cpu_periods = number(table, "nr_periods");
        result.cpu_throttled_periods = number(table, "nr_throttled");
        result.cpu_throttled_ns = scaled(number(table, "throttled_usec"), 1000);
    }

    fn memoryV1(source: Source, result: *Stats) void {
        const memory: Where = .{ .v1 = .memory };
        var buffer: [max_text]u8 = undefined;
        result.memory_bytes = source.value(memory, "memory.usage_in_bytes");
        result.memory_peak_bytes = source.value(memory, "memory.max_usage_in_bytes");
        const limit = source.value(memory, "memory.limit_in_bytes");
        result.memory_limit_bytes = if (limit >= unlimited_v1) absent else limit;
        const table = source.text(memory, "memory.stat", &buffer);
        result.memory_anonymous_bytes = number(table, "total_rss");
        result.memory_file_bytes = number(table, "total_cache");
        result.memory_inactive_file_bytes = number(table, "total_inactive_file");
        result.swap_bytes = number(table, "total_swap");
        result.oom_kills = number(source.text(memory, "memory.oom_control", &buffer), "oom_kill");
    }

    fn memoryV2(source: Source, result: *Stats) void {
        var buffer: [max_text]u8 = undefined;
        result.memory_bytes = source.value(.v2, "memory.current");
        result.memory_peak_bytes = source.value(.v2, "memory.peak");
        result.memory_limit_bytes = source.value(.v2, "memory.max");
        result.swap_bytes = source.value(.v2, "memory.swap.current");
        const table = source.text(.v2, "memory.stat", &buffer);
        result.memory_anonymous_bytes = number(table, "anon");
        result.memory_file_bytes = number(table, "file");
        result.memory_inactive_file_bytes = number(table, "inactive_file");
        result.oom_kills = number(source.text(.v2, "memory.events", &buffer), "oom_kill");
    }

    /// Each line `8:0 Read 4096`, for every disk.
    fn ioV1(source: Source, result: *Stats) void {
        const io: Where = .{ .v1 = .blkio };
        var buffer: [max_text]u8 = undefined;
        const bytes = source.text(io, "blkio.throttle.io_service_bytes_recursive", &buffer);
        result.io_read_bytes = sum(bytes, " Read ");
        result.io_written_bytes = sum(bytes, " Write ");
        const operations = source.text(io, "blkio.throttle.io_serviced_recursive", &buffer);
        result.io_reads = sum(operations, " Read ");
        result.io_writes = sum(operations, " Write ");
    }

    /// Each line `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …`, for every disk.
    fn ioV2(source: Source, result: *Stats) void {
        if (!source.has(.io, .v2)) return;
        var buffer: [max_text]u8 = undefined;
        const table = source.text(.v2, "io.stat", &buffer);
        result.io_read_bytes = sum(table, " rbytes=");
        result.io_written_bytes = sum(table, " wbytes=");
        result.io_reads = sum(table, " rios=");
        result.io_writes = sum(table, " wios=");
    }
};

fn number(table: []const u8, key: []const u8) u64 {
    return files.number(table, key) orelse absent;
}

fn scaled(count: u64, factor: u64) u64 {
    return if (count == absent) absent else count *| factor;
}

fn decimal(digits: []const u8) u64 {
    return std.fmt.parseUnsigned(u64, digits, 10) catch absent;
}

/// `12.34` is 1234.
fn hundredths(text: []const u8) u64 {
    const whole, const part = mem.cutScalar(u8, text, '.') orelse return absent;
    const units = std.fmt.parseUnsigned(u32, whole, 10) catch return absent;
    if (part.len != 2) return absent;
    return @as(u64, units) * 100 + (std.fmt.parseUnsigned(u8, part, 10) catch return absent);
}

/// What follows `name ` on its line.
fn line(text: []const u8, name: []const u8) ?[]const u8 {
    var lines = mem.tokenizeScalar(u8, text, '\n');
    while (lines.next()) |each| {
        const first, const rest = mem.cutScalar(u8, each, ' ') orelse continue;
        if (mem.eql(u8, first, name)) return rest;
    }
    return null;
}

/// What follows `name` up to the next space.
fn word(text: []const u8, name: []const u8) []const u8 {
    var words = mem.tokenizeScalar(u8, text, ' ');
    while (words.next()) |each| if (mem.cutPrefix(u8, each, name)) |rest| return rest;
    return "";
}

/// The numbers behind `name`, one a line, added up; 0 if no disk was used yet.
fn sum(table: []const u8, name: []const u8) u64 {
    var total: u64 = 0;
    var lines = mem.tokenizeScalar(u8, table, '\n');
    while (lines.next()) |each| {
        _, const rest = linux.text.cut(each, name) orelse continue;
        const end = mem.findScalar(u8, rest, ' ') orelse rest.len;
        total +|= std.fmt.parseUnsigned(u64, rest[0..end], 10) catch 0;
    }
    return total;
}

test "pressure is read as hundredths of a per cent, and is absent where it is not told" {
    const pressure: Pressure = .parse("some avg10=0.13 avg60=1.76 avg300=100.00 total=36219792\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
    try std.testing.expectEqual(Pressure{
        .some_10 = 13,
        .some_60 = 176,
        .some_300 = 10_000,
        .some_total_us = 36_219_792,
        .full_10 = 0,
        .full_60 = 0,
        .full_300 = 0,
        .full_total_us = 7,
    }, pressure);
    try std.testing.expectEqual(Pressure{}, Pressure.parse(""));
    try std.testing.expectEqual(Pressure{}, Pressure.parse("some avg10=x avg60=1 avg300=1.5 total=-1\n"));
}

test "reads and writes of all disks are added up, in both versions' form" {
    const v1 = "8:0 Read 4096\n8:0 Write 10\n8:0 Sync 4106\n8:16 Read 1\nTotal 8213\n";
    try std.testing.expectEqual(@as(u64, 4097), sum(v1, " Read "));
    const v2 = "8:0 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=5\n";
    try std.testing.expectEqual(@as(u64, 15), sum(v2, " wbytes="));
    try std.testing.expectEqual(@as(u64, 0), sum("", " wbytes="));
}
