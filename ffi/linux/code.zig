//! The program's own code, as memory of this process.

const std = @import("std");
const file = @import("file.zig");
const os = std.os.linux;
const Failure = @import("failure.zig").Failure;

/// The most that is read of the list of mappings; a mapping has a line of a hundred bytes.
const max_list = 1024 * 1024;

/// Gives back the pages of code that are in memory: starting takes far more of it than
/// going on, and the kernel brings back what is used again from its cache of the files. Only
/// mappings that are executed and never written: nothing of them is ours alone to lose.
/// madvise(2), MADV_DONTNEED; proc_pid_maps(5)
pub fn release(failure: *Failure) error{Failed}!void {
    const list = try file.mapFresh(failure, max_list, false);
    defer _ = os.munmap(list.ptr, list.len);
    const fd = try file.open(failure, "/proc/self/maps", .{ .CLOEXEC = true }, 0);
    defer file.close(fd);
    const text = try file.readAll(failure, fd, list);
    var lines = std.mem.tokenizeScalar(u8, text, '\n');
    while (lines.next()) |line| {
        const code = codeOf(line) orelse continue;
        _ = try failure.check(.read, os.madvise(@ptrFromInt(code.start), code.len, os.MADV.DONTNEED));
    }
}

const Range = struct { start: usize, len: usize };

/// The memory that a line of the list is about, if it is code of a file.
fn codeOf(line: []const u8) ?Range {
    var words = std.mem.tokenizeScalar(u8, line, ' ');
    const range = words.next() orelse return null;
    if (!std.mem.eql(u8, words.next() orelse return null, "r-xp")) return null;
    for (0..2) |_| _ = words.next() orelse return null; // The offset in the file, its device.
    // [vdso] and its like, and what V8 makes, are no file.
    if (std.mem.eql(u8, words.next() orelse return null, "0")) return null;
    const dash = std.mem.findScalar(u8, range, '-') orelse return null;
    const start = std.fmt.parseInt(usize, range[0..dash], 16) catch return null;
    const end = std.fmt.parseInt(usize, range[dash + 1 ..], 16) catch return null;
    return .{ .start = start, .len = end - start };
}

test "code of files is found, and nothing else" {
    try std.testing.expectEqual(Range{ .start = 0x1000, .len = 0x2000 }, codeOf("1000-3000 r-xp 00001000 fe:00 42   /usr/bin/x"));
    for ([_][]const u8{
        "1000-3000 r--p 00001000 fe:00 42   /usr/bin/x",
        "1000-3000 rwxp 00001000 fe:00 42   /usr/bin/x",
        "1000-3000 r-xp 00000000 00:00 0    [vdso]",
        "1000-3000 r-xp 00000000 00:00 0",
        "1000 r-xp 00000000 fe:00 42 x",
        "",
    }) |line| try std.testing.expectEqual(null, codeOf(line));
}
