//! Short texts in buffers of the caller: what std.fmt does for the few forms that we
//! use. One function for a text and one for a number, called from everywhere; std.fmt
//! makes new code for every format, which took a tenth of the program.

const std = @import("std");
const E = std.os.linux.E;

/// `format` with `args` in place of its `{s}` (text), `{d}` (integer), `{d:0>N}` (with
/// zeros in front, to N digits) and `{t}` (the name of an enum's value).
pub fn print(buffer: []u8, comptime format: []const u8, args: anytype) error{NoSpaceLeft}![]u8 {
    const line = made(buffer, format, args);
    return if (line.overflow) error.NoSpaceLeft else buffer[0..line.len];
}

/// As `print`, but what does not fit is left out.
pub fn printCut(buffer: []u8, comptime format: []const u8, args: anytype) []u8 {
    return buffer[0..made(buffer, format, args).len];
}

/// What is before and after the first `between`; null if `text` has none. For short texts:
/// std.mem.cut is made for long ones, and is three times the code.
pub fn cut(text: []const u8, between: []const u8) ?struct { []const u8, []const u8 } {
    var at: usize = 0;
    while (at < text.len) : (at += 1) {
        const rest = text[at..];
        if (std.mem.startsWith(u8, rest, between)) return .{ text[0..at], rest[between.len..] };
    }
    return null;
}

fn made(buffer: []u8, comptime format: []const u8, args: anytype) Line {
    var line: Line = .{ .buffer = buffer };
    comptime var rest = format;
    comptime var index: usize = 0;
    inline while (comptime std.mem.findScalar(u8, rest, '{')) |at| {
        const end = comptime std.mem.findScalarPos(u8, rest, at, '}').?;
        if (at > 0) line.text(rest[0..at]);
        const form = rest[at + 1 .. end];
        const value = args[index];
        if (comptime std.mem.eql(u8, form, "s")) {
            line.text(value);
        } else if (comptime std.mem.eql(u8, form, "t")) {
            line.text(if (@TypeOf(value) == E) errnoName(value) else @tagName(value));
        } else if (comptime std.mem.eql(u8, form, "d")) {
            if (value < 0) line.text("-");
            line.number(@abs(value), 1);
        } else if (comptime std.mem.startsWith(u8, form, "d:0>")) {
            line.number(value, comptime std.fmt.parseInt(u8, form[4..], 10) catch unreachable);
        } else @compileError("no such form: " ++ form);
        rest = rest[end + 1 ..];
        index += 1;
    }
    if (rest.len > 0) line.text(rest);
    return line;
}

/// `NOENT`; empty for a number that has no name. One text with all of them takes half of
/// what @tagName makes.
noinline fn errnoName(errno: E) []const u8 {
    var names = std.mem.splitScalar(u8, errno_names, 0);
    for (0..@backingInt(errno)) |_| _ = names.next();
    return names.next() orelse "";
}

const errno_names = names: {
    @setEvalBranchQuota(100_000);
    const info = @typeInfo(E).@"enum";
    var all: [134][]const u8 = @splat("");
    for (info.field_names, info.field_values) |name, value| {
        if (value < all.len and all[value].len == 0) all[value] = name;
    }
    var text: []const u8 = all[0];
    for (all[1..]) |name| text = text ++ "\x00" ++ name;
    break :names text;
};

/// As `print`, ended by NUL.
pub fn printZ(buffer: []u8, comptime format: []const u8, args: anytype) error{NoSpaceLeft}![:0]u8 {
    if (buffer.len == 0) return error.NoSpaceLeft;
    const text = try print(buffer[0 .. buffer.len - 1], format, args);
    buffer[text.len] = 0;
    return buffer[0..text.len :0];
}

const Line = struct {
    buffer: []u8,
    len: usize = 0,
    overflow: bool = false,

    noinline fn text(line: *Line, bytes: []const u8) void {
        const len = @min(bytes.len, line.buffer.len - line.len);
        if (len < bytes.len) line.overflow = true;
        @memcpy(line.buffer[line.len..][0..len], bytes[0..len]);
        line.len += len;
    }

    noinline fn number(line: *Line, value: u64, width: u8) void {
        var digits: [20]u8 = @splat('0');
        var start = digits.len;
        var rest = value;
        while (rest > 0) : (rest /= 10) {
            start -= 1;
            digits[start] = '0' + @as(u8, @intCast(rest % 10));
        }
        line.text(digits[@min(start, digits.len - width)..]);
    }
};

test "texts are those of std.fmt" {
    var ours: [64]u8 = undefined;
    var theirs: [64]u8 = undefined;
    inline for (.{ 0, 7, 10, -1, std.math.maxInt(u64), std.math.minInt(i64) }) |number| {
        const value: if (number < 0) i64 else u64 = number;
        try std.testing.expectEqualStrings(try std.fmt.bufPrint(&theirs, "a {d} b {s}E{t}", .{ value, "c", E.NOENT }), try print(&ours, "a {d} b {s}E{t}", .{ value, "c", E.NOENT }));
    }
    try std.testing.expectEqualStrings("007:12345", try print(&ours, "{d:0>3}:{d:0>3}", .{ @as(u32, 7), @as(u32, 12345) }));
    try std.testing.expectEqualStrings("/x", try printZ(ours[0..3], "/{s}", .{"x"}));
}

test "every errno has its name" {
    for (std.enums.values(E)) |errno| {
        if (@backingInt(errno) > 133) continue;
        try std.testing.expectEqualStrings(@tagName(errno), errnoName(errno));
    }
    try std.testing.expectEqualStrings("", errnoName(@fromBackingInt(999)));
}

test "what does not fit is refused whole, or cut" {
    var buffer: [3]u8 = undefined;
    try std.testing.expectEqualStrings("a12", printCut(&buffer, "a{d}", .{@as(u8, 123)}));
    try std.testing.expectEqualStrings("123", try print(&buffer, "{d}", .{@as(u8, 123)}));
    try std.testing.expectError(error.NoSpaceLeft, print(&buffer, "{d}4", .{@as(u8, 123)}));
    try std.testing.expectError(error.NoSpaceLeft, printZ(&buffer, "{d}", .{@as(u8, 123)}));
}
