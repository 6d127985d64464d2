//! The small text files of cgroupfs and procfs.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const fd_t = linux.fd_t;

/// The longest path below a descriptor, with its file name.
const max_path = 2048;

pub const Text = union(enum) {
    text: []const u8,
    errno: linux.E,
};

/// The content of `directory/name` below `dir`, cut at the end of `buffer`.
pub fn read(dir: fd_t, directory: []const u8, name: []const u8, buffer: []u8) Text {
    const fd = switch (open(dir, directory, name, .{ .CLOEXEC = true })) {
        .fd => |fd| fd,
        .errno => |errno| return .{ .errno = errno },
    };
    defer linux.file.close(fd);
    var failure: Failure = .{};
    const text = linux.file.readAll(&failure, fd, buffer) catch return .{ .errno = @fromBackingInt(failure.errno) };
    return .{ .text = text };
}

/// Writes `value` to `directory/name` below `dir` in one call, as cgroupfs wants it;
/// the errno is the answer.
pub fn write(dir: fd_t, directory: []const u8, name: []const u8, value: []const u8) linux.E {
    const fd = switch (open(dir, directory, name, .{ .ACCMODE = .WRONLY, .CLOEXEC = true })) {
        .fd => |fd| fd,
        .errno => |errno| return errno,
    };
    defer linux.file.close(fd);
    while (true) {
        const errno = linux.os.errno(linux.os.write(fd, value.ptr, value.len));
        if (errno != .INTR) return errno;
    }
}

pub const Opened = union(enum) {
    fd: fd_t,
    errno: linux.E,
};

pub fn open(dir: fd_t, directory: []const u8, name: []const u8, flags: linux.os.O) Opened {
    var buffer: [max_path]u8 = undefined;
    const path = join(&buffer, directory, name) orelse return .{ .errno = .NAMETOOLONG };
    const result = linux.os.openat(dir, path, flags, 0);
    return switch (linux.os.errno(result)) {
        .SUCCESS => .{ .fd = @intCast(result) },
        else => |errno| .{ .errno = errno },
    };
}

fn join(buffer: *[max_path]u8, directory: []const u8, name: []const u8) ?[*:0]const u8 {
    if (directory.len + name.len + 2 > buffer.len) return null;
    @memcpy(buffer[0..directory.len], directory);
    buffer[directory.len] = '/';
    @memcpy(buffer[directory.len + 1 ..][0..name.len], name);
    buffer[directory.len + 1 + name.len] = 0;
    return buffer[0 .. directory.len + 1 + name.len :0];
}

/// The lines of a file of any length, one after the other, without their newline. A
/// line longer than the buffer is passed over.
pub const Lines = struct {
    fd: fd_t,
    buffer: []u8,
    start: usize = 0,
    end: usize = 0,
    skipping: bool = false,

    /// The next line, valid until the next call; null at the end of the file.
    pub fn next(lines: *Lines, failure: *Failure) error{Failed}!?[]const u8 {
        while (true) {
            if (std.mem.findScalar(u8, lines.buffer[lines.start..lines.end], '\n')) |len| {
                const line = lines.buffer[lines.start..][0..len];
                lines.start += len + 1;
                if (!lines.skipping) return line;
                lines.skipping = false;
                continue;
            }
            if (lines.end - lines.start == lines.buffer.len) {
                lines.skipping = true;
                lines.end = lines.start;
            }
            std.mem.copyForwards(u8, lines.buffer, lines.buffer[lines.start..lines.end]);
            lines.end -= lines.start;
            lines.start = 0;
            const result = linux.os.read(lines.fd, lines.buffer.ptr + lines.end, lines.buffer.len - lines.end);
            switch (linux.os.errno(result)) {
                .SUCCESS => {},
                .INTR => continue,
                else => |errno| return failure.fail(.read, errno),
            }
            if (result == 0) {
                const rest = lines.buffer[0..lines.end];
                lines.end = 0;
                return if (rest.len > 0 and !lines.skipping) rest else null;
            }
            lines.end += result;
        }
    }
};

/// The number behind `key` in a table of `key number` lines (cgroup.events, memory.stat).
pub fn number(table: []const u8, key: []const u8) ?u64 {
    var lines = std.mem.tokenizeScalar(u8, table, '\n');
    while (lines.next()) |line| {
        const name, const value = std.mem.cutScalar(u8, line, ' ') orelse continue;
        if (std.mem.eql(u8, name, key)) return std.fmt.parseUnsigned(u64, value, 10) catch null;
    }
    return null;
}

test "number() finds a key among others that begin alike" {
    const table = "populated 1\nfrozen 0\nfrozen_all 7\n";
    try std.testing.expectEqual(@as(?u64, 0), number(table, "frozen"));
    try std.testing.expectEqual(@as(?u64, 7), number(table, "frozen_all"));
    try std.testing.expectEqual(@as(?u64, null), number(table, "froz"));
}

test "Lines returns every line that fits, and passes over the others" {
    var failure: Failure = .{};
    const text = "one\n\n" ++ "much longer than the buffer is, in fact twice" ++ "\ntwo\nlast witho";
    const fd = try linux.memfd.create(&failure, "lines", text, .data);
    defer linux.file.close(fd);
    var buffer: [16]u8 = undefined;
    var lines: Lines = .{ .fd = fd, .buffer = &buffer };
    for ([_][]const u8{ "one", "", "two", "last witho" }) |expected| {
        try std.testing.expectEqualStrings(expected, (try lines.next(&failure)).?);
    }
    try std.testing.expectEqual(@as(?[]const u8, null), try lines.next(&failure));
}
