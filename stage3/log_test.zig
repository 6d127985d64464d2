//! The log over real pipes and files: nothing lost, nothing torn, however it arrives.

const std = @import("std");
const linux = @import("linux");
const Log = @import("log.zig").Log;
const Watch = @import("watch.zig").Watch;
const os = linux.os;
const testing = std.testing;

/// A log in a folder of its own, pumped by hand.
const Bench = struct {
    log: *Log,
    watch: *Watch,
    writers: [2]linux.fd_t,
    directory: linux.fd_t,
    path: [64:0]u8,

    fn init(options: Log.Options) !Bench {
        var bench: Bench = undefined;
        var seed: u64 = undefined;
        _ = os.getrandom(std.mem.asBytes(&seed), @sizeOf(u64), 0);
        @memset(&bench.path, 0);
        const path = try std.fmt.bufPrintSentinel(&bench.path, "/tmp/kurma-log-{x}", .{seed}, 0);
        if (os.errno(os.mkdir(path, 0o700)) != .SUCCESS) return error.Unexpected;
        var failure: linux.Failure = .{};
        bench.directory = try linux.file.open(&failure, path, .{ .DIRECTORY = true, .CLOEXEC = true }, 0);
        bench.watch = @ptrCast(try linux.file.mapPrivate(&failure, -1, @sizeOf(Watch)));
        try bench.open(options);
        return bench;
    }

    fn open(bench: *Bench, options: Log.Options) !void {
        var failure: linux.Failure = .{};
        var own = options;
        own.directory = bench.directory;
        bench.log = try Log.create(&failure, own);
        bench.writers = try bench.log.openPipes(&failure);
    }

    fn deinit(bench: *Bench) void {
        _ = os.munmap(@ptrCast(bench.watch), @sizeOf(Watch));
        linux.file.close(bench.directory);
        var failure: linux.Failure = .{};
        linux.tree.remove(&failure, os.AT.FDCWD, &bench.path) catch {};
    }

    fn write(bench: *const Bench, stream: usize, bytes: []const u8) !void {
        var failure: linux.Failure = .{};
        var rest = bytes;
        while (rest.len > 0) {
            const piece = rest[0..@min(rest.len, 32 * 1024)]; // Fits the pipe, which is empty.
            try linux.file.writeAll(&failure, bench.writers[stream], piece);
            rest = rest[piece.len..];
            bench.turn();
        }
    }

    fn turn(bench: *const Bench) void {
        bench.watch.reset();
        bench.log.prepare(bench.watch);
        bench.watch.within(0);
        bench.watch.wait();
        bench.log.act(bench.watch);
    }

    /// Ends both streams and closes the log.
    fn close(bench: *const Bench) void {
        for (bench.writers) |writer| linux.file.close(writer);
        while (!bench.log.ended()) bench.turn();
        linux.file.close(bench.log.file);
        _ = os.munmap(@ptrCast(bench.log), @sizeOf(Log));
    }

    /// A file of the log; null if it is not there.
    fn read(bench: *const Bench, name: [*:0]const u8) !?[]u8 {
        var failure: linux.Failure = .{};
        const fd = linux.file.openAt(&failure, bench.directory, name, .{ .CLOEXEC = true }, 0) catch return null;
        defer linux.file.close(fd);
        const buffer = try testing.allocator.alloc(u8, 4 * 1024 * 1024);
        errdefer testing.allocator.free(buffer);
        const text = try linux.file.readAll(&failure, fd, buffer);
        return try testing.allocator.realloc(buffer, text.len);
    }
};

/// What a stream printed, put together from the records of `file`.
fn join(output: *[2]std.ArrayList(u8), file: []const u8) !void {
    var records = std.mem.splitScalar(u8, file, '\n');
    while (records.next()) |record| {
        if (record.len == 0) continue;
        try testing.expect(record.len >= 40 and record[29] == 'Z' and record[30] == ' ' and record[37] == ' ' and record[39] == ' ');
        const stream: usize = if (std.mem.eql(u8, record[31..37], "stdout")) 0 else 1;
        try output[stream].appendSlice(testing.allocator, record[40..]);
        if (record[38] == 'F') try output[stream].append(testing.allocator, '\n') else try testing.expectEqual('P', record[38]);
    }
}

test "a line is a record, the rest of one waits for its end, and a long one is cut" {
    var bench: Bench = try .init(.{ .directory = -1 });
    defer bench.deinit();
    try bench.write(0, "one\ntwo\n\nthr");
    try bench.write(1, "stderr\n");
    try bench.write(0, "ee\nunfinished");
    try bench.write(1, &@as([16 * 1024 + 1]u8, @splat('x')));
    bench.close();
    const file = (try bench.read("log")).?;
    defer testing.allocator.free(file);
    const expected = [_][]const u8{ "stdout F one", "stdout F two", "stdout F ", "stderr F stderr", "stdout F three", "stderr P " ++ @as([16 * 1024]u8, @splat('x')), "stdout P unfinished", "stderr P x" };
    var records = std.mem.splitScalar(u8, file, '\n');
    for (expected) |text| try testing.expectEqualStrings(text, records.next().?[31..]);
    try testing.expectEqualStrings("", records.next().?);
}

test "random output comes back whole, over every rotation" {
    var bench: Bench = try .init(.{ .directory = -1, .max_size = 64 * 1024, .max_files = 200 });
    defer bench.deinit();
    var seed: std.Random.DefaultPrng = .init(testing.random_seed);
    const random = seed.random();
    var printed: [2]std.ArrayList(u8) = @splat(.empty);
    var joined: [2]std.ArrayList(u8) = @splat(.empty);
    defer for (&printed, &joined) |*one, *other| {
        one.deinit(testing.allocator);
        other.deinit(testing.allocator);
    };
    for (0..400) |_| {
        var space: [40 * 1024]u8 = undefined;
        const chunk = space[0 .. random.uintLessThan(usize, if (random.uintLessThan(u8, 8) == 0) space.len else 300) + 1];
        const newlines = random.uintLessThan(u8, 4);
        for (chunk) |*byte| byte.* = if (random.uintLessThan(u8, 255) < newlines * 8) '\n' else random.intRangeAtMost(u8, ' ', 255);
        const stream = random.uintLessThan(usize, 2);
        try printed[stream].appendSlice(testing.allocator, chunk);
        try bench.write(stream, chunk);
    }
    bench.close();

    var files: usize = 0;
    while (true) : (files += 1) {
        var space: [16]u8 = undefined;
        const file = try bench.read(try std.fmt.bufPrintSentinel(&space, "log.{d}", .{files + 1}, 0)) orelse break;
        testing.allocator.free(file);
    }
    try testing.expect(files > 3);
    var number = files;
    while (true) : (number -= 1) {
        var space: [16]u8 = undefined;
        const name = if (number == 0) "log" else try std.fmt.bufPrintSentinel(&space, "log.{d}", .{number}, 0);
        const file = (try bench.read(name)).?;
        defer testing.allocator.free(file);
        try testing.expect(file.len <= 2 * 64 * 1024 + 64 * 1024);
        try testing.expect(file[file.len - 1] == '\n');
        try join(&joined, file);
        if (number == 0) break;
    }
    for (printed, joined) |one, other| try testing.expectEqualSlices(u8, one.items, other.items);
}

test "the newest files are kept, none larger than allowed" {
    var bench: Bench = try .init(.{ .directory = -1, .max_size = 10_000 });
    defer bench.deinit();
    for (0..2_000) |index| {
        var space: [64]u8 = undefined;
        try bench.write(0, try std.fmt.bufPrint(&space, "line {d:0>5}\n", .{index}));
    }
    bench.close();
    var total: usize = 0;
    for ([_][*:0]const u8{ "log.2", "log.1", "log" }) |name| {
        const file = (try bench.read(name)).?;
        defer testing.allocator.free(file);
        try testing.expect(file.len <= 10_000);
        total += file.len;
        if (name[3] == 0) try testing.expectStringEndsWith(file, "line 01999\n");
    }
    try testing.expect(total > 20_000);
    try testing.expectEqual(null, try bench.read("log.3"));
}

test "a log that is there is continued, behind the line that a power cut left open" {
    var bench: Bench = try .init(.{ .directory = -1 });
    defer bench.deinit();
    try bench.write(0, "first\n");
    bench.close();
    var failure: linux.Failure = .{};
    const fd = try linux.file.openAt(&failure, bench.directory, "log", .{ .ACCMODE = .WRONLY, .APPEND = true }, 0);
    try linux.file.writeAll(&failure, fd, "2026-01-0");
    linux.file.close(fd);
    try bench.open(.{ .directory = -1 });
    try bench.write(0, "second\n");
    bench.close();
    const file = (try bench.read("log")).?;
    defer testing.allocator.free(file);
    try testing.expect(std.mem.find(u8, file, " stdout F first\n2026-01-0\n") != null);
    try testing.expectStringEndsWith(file, " stdout F second\n");
}

test "a symlink in place of the log is not followed" {
    var bench: Bench = try .init(.{ .directory = -1 });
    defer bench.deinit();
    bench.close();
    _ = os.unlinkat(bench.directory, "log", 0);
    _ = os.symlinkat("/tmp/kurma-log-elsewhere", bench.directory, "log");
    var failure: linux.Failure = .{};
    try testing.expectError(error.Failed, Log.create(&failure, .{ .directory = bench.directory }));
    try testing.expectEqual(@backingInt(linux.E.LOOP), failure.errno);
}
