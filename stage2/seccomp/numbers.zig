//! System calls by name, and their numbers on x86-64 and i386.
//!
//! Source: the kernel's own tables as std.os.linux.syscalls carries them. An x32
//! call has an x86-64 table's number with bit 30 set; filters refuse the whole
//! range, so it needs no numbers here.

const std = @import("std");
const assert = std.debug.assert;
const tables = std.os.linux.syscalls;

/// How a process of this machine can enter the kernel.
pub const Arch = enum { x86_64, i386 };

/// A system call that at least one of the two has. The value is its place in the
/// list of names in alphabetical order.
pub const Call = enum(u16) {
    _,

    pub fn name(call: Call) []const u8 {
        const row = @backingInt(call);
        return text[starts[row]..starts[row + 1]];
    }

    /// What the program puts into eax, or null where the call does not exist.
    pub fn number(call: Call, arch: Arch) ?u16 {
        const found = numbers[@backingInt(call)][@backingInt(arch)];
        return if (found == absent) null else found;
    }
};

/// How many calls there are; each `Call` is below it.
pub const count = names.len;

/// More than any number in the tables.
pub const limit = 512;

/// The call of that name. libseccomp's spelling is taken as well: it keeps the
/// underscore before `_llseek`, `_newselect` and `_sysctl`.
pub fn find(name: []const u8) ?Call {
    if (exact(name)) |call| return call;
    if (name.len > 1 and name[0] == '_') return exact(name[1..]);
    return null;
}

fn exact(name: []const u8) ?Call {
    var low: u16 = 0;
    var high: u16 = count;
    while (low < high) {
        const middle = (low + high) / 2;
        const call: Call = @fromBackingInt(middle);
        switch (std.mem.order(u8, call.name(), name)) {
            .eq => return call,
            .lt => low = middle + 1,
            .gt => high = middle,
        }
    }
    return null;
}

/// The calls of a list with spaces or newlines between the names. A name that no
/// table has does not compile.
pub fn list(comptime written: []const u8) []const Call {
    return comptime parsed: {
        @setEvalBranchQuota(1_000_000);
        var calls: []const Call = &.{};
        var words = std.mem.tokenizeAny(u8, written, " \n");
        while (words.next()) |word| {
            const call: []const Call = &.{find(word) orelse @compileError("no system call is named " ++ word)};
            calls = calls ++ call;
        }
        break :parsed calls;
    };
}

/// Whether any call has this number.
pub fn assigned(arch: Arch, number: u16) bool {
    return number < limit and used[@backingInt(arch)][number / 64] >> @intCast(number % 64) & 1 == 1;
}

/// Stands for no number in the table below.
const absent = std.math.maxInt(u16);

const names = sorted: {
    @setEvalBranchQuota(10_000_000);
    const wide = @typeInfo(tables.X64).@"enum".field_names;
    const narrow = @typeInfo(tables.X86).@"enum".field_names;
    var merged: [wide.len + narrow.len][]const u8 = undefined;
    var len = 0;
    for (wide) |name| {
        merged[len] = name;
        len += 1;
    }
    for (narrow) |name| if (!@hasField(tables.X64, name)) {
        merged[len] = name;
        len += 1;
    };
    std.mem.sortUnstable([]const u8, merged[0..len], {}, struct {
        fn before(_: void, a: []const u8, b: []const u8) bool {
            return std.mem.order(u8, a, b) == .lt;
        }
    }.before);
    break :sorted merged[0..len].*;
};

const numbers: [names.len][2]u16 = filled: {
    @setEvalBranchQuota(100_000);
    var rows: [names.len][2]u16 = undefined;
    for (names, &rows) |name, *row| {
        row[0] = if (@hasField(tables.X64, name)) @backingInt(@field(tables.X64, name)) else absent;
        row[1] = if (@hasField(tables.X86, name)) @backingInt(@field(tables.X86, name)) else absent;
        for (row) |number| assert(number < limit or number == absent);
    }
    break :filled rows;
};

const used: [2][limit / 64]u64 = filled: {
    @setEvalBranchQuota(100_000);
    var bits: [2][limit / 64]u64 = @splat(@splat(0));
    for (numbers) |row| {
        for (row, &bits) |number, *set| if (number != absent) {
            set[number / 64] |= 1 << number % 64;
        };
    }
    break :filled bits;
};

/// All names in one piece, and where each begins: pointers would cost 16 bytes a name.
const text: [starts[names.len]]u8 = joined: {
    @setEvalBranchQuota(100_000);
    var bytes: [starts[names.len]]u8 = undefined;
    for (names, starts[0..names.len]) |name, start| @memcpy(bytes[start..][0..name.len], name);
    break :joined bytes;
};

const starts: [names.len + 1]u16 = summed: {
    @setEvalBranchQuota(100_000);
    var offsets: [names.len + 1]u16 = undefined;
    var at = 0;
    for (names, offsets[0..names.len]) |name, *offset| {
        offset.* = at;
        at += name.len;
    }
    offsets[names.len] = at;
    break :summed offsets;
};

test "names have the kernel's numbers" {
    const cases = .{
        .{ "read", 0, 3 },            .{ "clone3", 435, 435 },  .{ "socketcall", null, 102 },
        .{ "arch_prctl", 158, 384 },  .{ "accept", 43, null },  .{ "futex_time64", null, 422 },
        .{ "newfstatat", 262, null }, .{ "ioctl", 16, 54 },     .{ "umount2", 166, 52 },
        .{ "_llseek", null, 140 },    .{ "_sysctl", 156, 149 }, .{ "_newselect", null, 142 },
    };
    inline for (cases) |case| {
        const call = find(case[0]).?;
        try std.testing.expectEqual(@as(?u16, case[1]), call.number(.x86_64));
        try std.testing.expectEqual(@as(?u16, case[2]), call.number(.i386));
    }
}

test "every call is found by its name, and what is none is not" {
    for (0..count) |row| {
        const call: Call = @fromBackingInt(@as(u16, @intCast(row)));
        try std.testing.expectEqual(call, find(call.name()).?);
        try std.testing.expect(call.number(.x86_64) != null or call.number(.i386) != null);
    }
    for ([_][]const u8{ "", "_", "rea", "readd", "zzz", "READ", "__read", "cacheflush" }) |name| {
        try std.testing.expectEqual(null, find(name));
    }
}

test "assigned() knows the gaps of the tables" {
    try std.testing.expect(assigned(.x86_64, 336));
    try std.testing.expect(!assigned(.x86_64, 337));
    try std.testing.expect(!assigned(.x86_64, 423));
    try std.testing.expect(assigned(.x86_64, 424));
    try std.testing.expect(!assigned(.i386, 222));
    try std.testing.expect(!assigned(.i386, limit - 1));
}
