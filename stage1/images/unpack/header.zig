//! One 512-byte tar header: V7, ustar, and GNU's variant of it.
//!
//! Source: POSIX.1-2017 pax(1) "ustar Interchange Format"; GNU tar manual,
//! "Basic Tar Format" and "Extensions to Archive Format".

const std = @import("std");
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;

pub const block_size = 512;
pub const Block = [block_size]u8;

pub const Kind = enum { file, hard_link, symlink, device, directory, fifo, sparse, pax, pax_global, long_name, long_link };

/// A moment as utimensat(2) takes it.
pub const Time = struct { seconds: i64 = 0, nanoseconds: u32 = 0 };

pub const Header = struct {
    kind: Kind,
    prefix: []const u8,
    name: []const u8,
    link: []const u8,
    mode: u32,
    uid: u64,
    gid: u64,
    /// Bytes of data that follow; 0 for kinds that carry none, whatever the field says.
    size: u64,
    mtime: i64,
};

pub fn isZero(block: *const Block) bool {
    return std.mem.allEqual(u8, block, 0);
}

/// Reads a header; its slices point into `block`.
pub fn parse(block: *const Block, refusal: *Refusal) Error!Header {
    if (!checksumMatches(block)) return refusal.refuse(.damaged);
    const kind = try kindOf(block, refusal);
    const posix = std.mem.eql(u8, block[257..263], "ustar\x00");
    return .{
        .kind = kind,
        .prefix = if (posix) text(block[345..500]) else "",
        .name = text(block[0..100]),
        .link = text(block[157..257]),
        .mode = @intCast((try unsigned(block[100..108], refusal)) & 0o7777),
        .uid = try unsigned(block[108..116], refusal),
        .gid = try unsigned(block[116..124], refusal),
        .size = if (hasData(kind)) try unsigned(block[124..136], refusal) else 0,
        .mtime = try number(block[136..148], refusal),
    };
}

fn kindOf(block: *const Block, refusal: *Refusal) Error!Kind {
    return switch (block[156]) {
        0, '0', '7' => .file,
        '1' => .hard_link,
        '2' => .symlink,
        '3', '4' => .device,
        '5' => .directory,
        '6' => .fifo,
        'S' => .sparse,
        'x', 'X' => .pax,
        'g' => .pax_global,
        'L' => .long_name,
        'K' => .long_link,
        else => refusal.refuse(.unknown_type),
    };
}

/// Readers disagree about links and folders with a size; all tools that make images
/// write 0 there and read none, so that is what we do.
fn hasData(kind: Kind) bool {
    return switch (kind) {
        .file, .sparse, .pax, .pax_global, .long_name, .long_link => true,
        .hard_link, .symlink, .device, .directory, .fifo => false,
    };
}

/// Old tars summed signed bytes; both sums are good.
fn checksumMatches(block: *const Block) bool {
    var sum: i64 = 0;
    var signed_sum: i64 = 0;
    for (block, 0..) |byte, index| {
        const counted: u8 = if (index >= 148 and index < 156) ' ' else byte;
        sum += counted;
        signed_sum += @as(i8, @bitCast(counted));
    }
    const stored = octal(block[148..156]) orelse return false;
    return stored == sum or (signed_sum >= 0 and stored == signed_sum);
}

/// A field up to its first NUL.
pub fn text(field: []const u8) []const u8 {
    return field[0 .. std.mem.findScalar(u8, field, 0) orelse field.len];
}

pub fn unsigned(field: []const u8, refusal: *Refusal) Error!u64 {
    const value = try number(field, refusal);
    if (value < 0) return refusal.refuse(.damaged);
    return @intCast(value);
}

/// Octal digits, or GNU's base 256 where the first bit is set.
fn number(field: []const u8, refusal: *Refusal) Error!i64 {
    if (field[0] & 0x80 == 0) {
        const value = octal(field) orelse return refusal.refuse(.damaged);
        if (value > std.math.maxInt(i64)) return refusal.refuse(.damaged);
        return @intCast(value);
    }
    const negative = field[0] & 0x40 != 0;
    var value: i64 = if (negative) -1 else 0;
    for (field, 0..) |byte, index| {
        const bits: u8 = if (index > 0) byte else if (negative) byte | 0x80 else byte & 0x7f;
        const shifted = @mulWithOverflow(value, 256);
        if (shifted[1] != 0) return refusal.refuse(.damaged);
        value = shifted[0] | bits;
    }
    return value;
}

/// Digits between spaces, up to a NUL or a space; an empty field is 0.
fn octal(field: []const u8) ?u64 {
    var rest = std.mem.trimStart(u8, field, " ");
    var value: u64 = 0;
    while (rest.len > 0) : (rest = rest[1..]) {
        switch (rest[0]) {
            '0'...'7' => |digit| {
                if (value >> 61 != 0) return null;
                value = value << 3 | (digit - '0');
            },
            0, ' ' => break,
            else => return null,
        }
    }
    return value;
}

test "base 256 holds sizes over 8 GiB and times before 1970" {
    var refusal: Refusal = .{};
    try std.testing.expectEqual(@as(i64, 1 << 40), try number(&.{ 0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0 }, &refusal));
    try std.testing.expectEqual(@as(i64, -2), try number(&(@as([11]u8, @splat(0xff)) ++ [_]u8{0xfe}), &refusal));
    try std.testing.expectError(error.Refused, number(&@as([12]u8, [_]u8{0x80} ++ @as([11]u8, @splat(0xff))), &refusal));
}

test "a number that is not octal is refused" {
    try std.testing.expectEqual(@as(?u64, 0o644), octal("000644 \x00"));
    try std.testing.expectEqual(@as(?u64, null), octal("0009\x00"));
    try std.testing.expectEqual(@as(?u64, 0), octal("\x00\x00"));
}
