//! pax extended headers: `LENGTH KEY=VALUE\n`, one behind the other.
//!
//! Source: POSIX.1-2017 pax(1) "pax Extended Header"; GNU tar manual, "Storing
//! Sparse Files"; star(1) for SCHILY.xattr.

const std = @import("std");
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Time = @import("header.zig").Time;

pub const Record = struct { key: []const u8, value: []const u8 };

/// Walks over the records of one extended header.
pub const Records = struct {
    rest: []const u8,
    refusal: *Refusal,

    pub fn next(records: *Records) Error!?Record {
        if (records.rest.len == 0) return null;
        const space = std.mem.findScalar(u8, records.rest, ' ') orelse return records.damaged();
        const len = decimal(records.rest[0..space]) orelse return records.damaged();
        if (len < space + 3 or len > records.rest.len or records.rest[@intCast(len - 1)] != '\n') return records.damaged();
        const body = records.rest[space + 1 .. @intCast(len - 1)];
        const equals = std.mem.findScalar(u8, body, '=') orelse return records.damaged();
        if (equals == 0) return records.damaged();
        records.rest = records.rest[@intCast(len)..];
        return .{ .key = body[0..equals], .value = body[equals + 1 ..] };
    }

    fn damaged(records: *Records) Error {
        return records.refusal.refuse(.damaged);
    }
};

/// What an extended header says of the entry that follows it. Slices point into it.
pub const Overrides = struct {
    path: ?[]const u8 = null,
    link: ?[]const u8 = null,
    size: ?u64 = null,
    uid: ?u64 = null,
    gid: ?u64 = null,
    mtime: ?Time = null,
    sparse: Sparse = .{},

    /// GNU.sparse.*: three versions, which keep the list of pieces in different places.
    pub const Sparse = struct {
        /// 1.0: the list stands in front of the data.
        major: u64 = 0,
        minor: u64 = 0,
        /// 0.1: the list is this text.
        map: ?[]const u8 = null,
        /// 0.0: the list is made of records of their own, in order.
        listed: bool = false,
        name: ?[]const u8 = null,
        size: ?u64 = null,

        pub fn present(sparse: Sparse) bool {
            return sparse.major > 0 or sparse.map != null or sparse.listed;
        }
    };
};

pub const sparse_offset = "GNU.sparse.offset";
pub const sparse_length = "GNU.sparse.numbytes";
pub const xattr_prefix = "SCHILY.xattr.";

/// Reads the records that change what an entry is; all others are passed over.
pub fn overrides(bytes: []const u8, refusal: *Refusal) Error!Overrides {
    var found: Overrides = .{};
    var records: Records = .{ .rest = bytes, .refusal = refusal };
    while (try records.next()) |record| {
        const Key = enum { path, linkpath, size, uid, gid, mtime, @"GNU.sparse.major", @"GNU.sparse.minor", @"GNU.sparse.map", @"GNU.sparse.name", @"GNU.sparse.size", @"GNU.sparse.realsize", @"GNU.sparse.offset" };
        const key = std.meta.stringToEnum(Key, record.key) orelse continue;
        const value = record.value;
        const empty = value.len == 0; // An empty value takes an earlier one back.
        switch (key) {
            .path => found.path = if (empty) null else try name(value, refusal),
            .linkpath => found.link = if (empty) null else try name(value, refusal),
            .size => found.size = if (empty) null else try count(value, refusal),
            .uid => found.uid = if (empty) null else try count(value, refusal),
            .gid => found.gid = if (empty) null else try count(value, refusal),
            .mtime => found.mtime = if (empty) null else time(value) orelse return refusal.refuse(.damaged),
            .@"GNU.sparse.major" => found.sparse.major = try count(value, refusal),
            .@"GNU.sparse.minor" => found.sparse.minor = try count(value, refusal),
            .@"GNU.sparse.map" => found.sparse.map = value,
            .@"GNU.sparse.name" => found.sparse.name = try name(value, refusal),
            .@"GNU.sparse.size", .@"GNU.sparse.realsize" => found.sparse.size = try count(value, refusal),
            .@"GNU.sparse.offset" => found.sparse.listed = true,
        }
    }
    return found;
}

fn name(value: []const u8, refusal: *Refusal) Error![]const u8 {
    if (std.mem.findScalar(u8, value, 0) != null) return refusal.refuse(.damaged);
    return value;
}

pub fn count(value: []const u8, refusal: *Refusal) Error!u64 {
    return decimal(value) orelse refusal.refuse(.damaged);
}

/// Digits only, at least one, below 2^63.
pub fn decimal(digits: []const u8) ?u64 {
    if (digits.len == 0 or digits.len > 19) return null;
    var value: u64 = 0;
    for (digits) |digit| {
        if (digit < '0' or digit > '9') return null;
        value = value * 10 + (digit - '0');
    }
    return if (value > std.math.maxInt(i64)) null else value;
}

/// `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are cut.
fn time(value: []const u8) ?Time {
    const negative = value.len > 0 and value[0] == '-';
    const digits = if (negative) value[1..] else value;
    const dot = std.mem.findScalar(u8, digits, '.') orelse digits.len;
    const whole: i64 = @intCast(decimal(digits[0..dot]) orelse return null);
    var nanoseconds: u32 = 0;
    var scale: u32 = 100_000_000;
    for (if (dot < digits.len) digits[dot + 1 ..] else "") |digit| {
        if (digit < '0' or digit > '9') return null;
        nanoseconds += (digit - '0') * scale;
        scale /= 10;
    }
    if (!negative) return .{ .seconds = whole, .nanoseconds = nanoseconds };
    if (nanoseconds == 0) return .{ .seconds = -whole };
    return .{ .seconds = -whole - 1, .nanoseconds = 1_000_000_000 - nanoseconds };
}

test "records end where their length says, whatever is in them" {
    var refusal: Refusal = .{};
    const found = try overrides("15 path=a\nb=c\n\n" ++ "20 mtime=-1.2500000\n" ++ "9 uid=77\n", &refusal);
    try std.testing.expectEqualStrings("a\nb=c\n", found.path.?);
    try std.testing.expectEqual(Time{ .seconds = -2, .nanoseconds = 750_000_000 }, found.mtime.?);
    try std.testing.expectEqual(@as(?u64, 77), found.uid);
}

test "records that lie about their length are refused" {
    for ([_][]const u8{ "9 path=abc\n", "99 path=a\n", "5 a\n", "11 path=abc", "-1 a=b\n", "8 path\x00\n", "6 =ab\n", " 6 a=b\n", "12 path=a\x00bc\n" }) |bytes| {
        var refusal: Refusal = .{};
        try std.testing.expectError(error.Refused, overrides(bytes, &refusal));
        try std.testing.expectEqual(.damaged, refusal.reason);
    }
}
