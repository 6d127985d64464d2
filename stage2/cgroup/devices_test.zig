//! Both forms of a rule list answer as the rules do: the BPF program is run by a small
//! interpreter, the list of version 1 by what devices.rst says.

const std = @import("std");
const expectEqual = std.testing.expectEqual;
const linux = @import("linux");
const bpf = @import("bpf.zig");
const devices = @import("devices.zig");
const limits = @import("limits.zig");
const Rule = devices.Rule;

/// One access to one device, as the kernel asks for it.
const Request = struct {
    type: enum(u32) { block = 1, char = 2 },
    major: u32,
    minor: u32,
    access: u3,

    const read: u3 = 2;
    const write: u3 = 4;
    const mknod: u3 = 1;
};

/// What the rules say: for each access by itself, the last rule that matches.
fn byRules(rules: []const Rule, request: Request) bool {
    var allowed: u3 = 0;
    for (rules) |rule| {
        if (rule.type == .char and request.type != .char) continue;
        if (rule.type == .block and request.type != .block) continue;
        if (rule.major != null and rule.major != request.major) continue;
        if (rule.minor != null and rule.minor != request.minor) continue;
        const bits: u3 = @bitCast(rule.access);
        allowed = if (rule.allow) allowed | bits else allowed & ~bits;
    }
    return request.access & ~allowed == 0;
}

/// What the program says; an error if it leaves its bounds or runs too long.
fn byProgram(program: *const devices.Program, request: Request) !bool {
    const context = [3]u32{ @as(u32, request.access) << 16 | @backingInt(request.type), request.major, request.minor };
    var registers: [11]u64 = @splat(0xdead);
    var at: usize = 0;
    for (0..4096) |_| {
        if (at >= program.len) return error.OutOfBounds;
        const instruction = program.instructions[at];
        at += 1;
        const dst = &registers[instruction.registers.dst];
        const constant: u64 = @bitCast(@as(i64, instruction.constant));
        switch (instruction.code) {
            bpf.Code.load32 => dst.* = context[@intCast(@divExact(instruction.offset, 4))],
            bpf.Code.move => dst.* = registers[instruction.registers.src],
            bpf.Code.set => dst.* = constant,
            bpf.Code.and_constant => dst.* &= constant,
            bpf.Code.shift_right => dst.* >>= @intCast(instruction.constant),
            bpf.Code.jump_if => {
                if (dst.* == constant) at += @intCast(instruction.offset);
            },
            bpf.Code.jump_unless => {
                if (dst.* != constant) at += @intCast(instruction.offset);
            },
            bpf.Code.exit => return registers[0] == 1,
            else => return error.UnknownInstruction,
        }
    }
    return error.NoEnd;
}

/// What version 1 says: exceptions of an allowing list deny what meets them, those of
/// a denying list allow what one of them alone covers.
fn byList(list: *const devices.List, request: Request) bool {
    if (list.allows) {
        for (list.exceptions[0..list.len]) |exception| {
            if (covers(exception, request) and exception.access & request.access != 0) return false;
        }
        return true;
    }
    for (list.exceptions[0..list.len]) |exception| {
        if (covers(exception, request) and request.access & ~exception.access == 0) return true;
    }
    return false;
}

fn covers(exception: anytype, request: Request) bool {
    return std.mem.eql(u8, @tagName(exception.type), @tagName(request.type)) and
        (exception.major orelse request.major) == request.major and
        (exception.minor orelse request.minor) == request.minor;
}

test "the default rules give the harmless devices and nothing of the host" {
    var failure: linux.Failure = .{};
    var buffer: [devices.max_rules]Rule = undefined;
    const program: devices.Program = .of(try devices.rulesOf(&failure, &.{}, &buffer));
    const all: u3 = 7;
    const rows = [_]struct { Request, bool }{
        .{ .{ .type = .char, .major = 1, .minor = 3, .access = all }, true }, // null
        .{ .{ .type = .char, .major = 1, .minor = 9, .access = Request.read }, true }, // urandom
        .{ .{ .type = .char, .major = 136, .minor = 17, .access = Request.read | Request.write }, true }, // pts/17
        .{ .{ .type = .char, .major = 1, .minor = 1, .access = Request.read }, false }, // mem
        .{ .{ .type = .char, .major = 4, .minor = 1, .access = Request.write }, false }, // tty1
        .{ .{ .type = .char, .major = 10, .minor = 200, .access = Request.read }, false }, // net/tun
        .{ .{ .type = .block, .major = 8, .minor = 0, .access = Request.read }, false }, // sda
        .{ .{ .type = .block, .major = 8, .minor = 0, .access = Request.mknod }, false },
        .{ .{ .type = .block, .major = 1, .minor = 3, .access = Request.read }, false }, // a disk of null's number
    };
    for (rows) |row| try expectEqual(row[1], try byProgram(&program, row[0]));
}

test "any list of rules: program, version 1 and the rules agree on every request" {
    var prng: std.Random.DefaultPrng = .init(20261123);
    const random = prng.random();
    var expressible: usize = 0;
    for (0..4000) |_| {
        var rules: [8]Rule = undefined;
        const used = rules[0..random.uintAtMost(usize, rules.len)];
        for (used) |*rule| rule.* = .{
            .allow = random.boolean(),
            .type = random.enumValue(Rule.Type),
            .major = if (random.boolean()) random.uintLessThan(u32, 3) else null,
            .minor = if (random.boolean()) random.uintLessThan(u32, 3) else null,
            .access = @bitCast(if (random.boolean()) 7 else random.intRangeAtMost(u3, 1, 7)),
        };
        const program: devices.Program = .of(used);
        var failure: linux.Failure = .{};
        const list: ?devices.List = devices.List.of(&failure, used) catch null;
        if (list != null) expressible += 1;
        for (0..3) |major| for (0..3) |minor| for ([_]bool{ false, true }) |is_char| for (1..8) |access| {
            const request: Request = .{ .type = if (is_char) .char else .block, .major = @intCast(major), .minor = @intCast(minor), .access = @intCast(access) };
            const expected = byRules(used, request);
            try expectEqual(expected, try byProgram(&program, request));
            if (list) |*made| try expectEqual(expected, byList(made, request));
        };
    }
    try std.testing.expect(expressible > 1000);
}

test "the longest list fits, and its program ends" {
    var rules: [devices.max_rules]Rule = undefined;
    for (&rules, 0..) |*rule, number| rule.* = .{ .allow = number % 2 == 0, .type = .char, .major = 1, .minor = @intCast(number) };
    const program: devices.Program = .of(&rules);
    try std.testing.expect(program.len <= 4096);
    try expectEqual(true, try byProgram(&program, .{ .type = .char, .major = 1, .minor = 0, .access = 7 }));
    try expectEqual(false, try byProgram(&program, .{ .type = .char, .major = 1, .minor = 1, .access = 7 }));
}

test "version 1 refuses, by entry, to take one device out of a group" {
    const rules = [_]Rule{
        .{ .allow = false },
        .{ .allow = true, .type = .char, .major = 10 },
        .{ .allow = false, .type = .char, .major = 10, .minor = 200 },
    };
    var failure: linux.Failure = .{};
    try std.testing.expectError(error.Failed, devices.List.of(&failure, &rules));
    try expectEqual(@backingInt(linux.E.OPNOTSUPP), failure.errno);
    try expectEqual(@as(u16, 1), @as(limits.Place, @bitCast(failure.index)).entry);
}

test "entries of the configuration become rules between nothing and the defaults" {
    var failure: linux.Failure = .{};
    var buffer: [devices.max_rules]Rule = undefined;
    const rules = try devices.rulesOf(&failure, &.{
        .{ .allow = true, .type = .c, .major = 10, .minor = 229, .access = "rw" },
        .{ .allow = true, .type = .b, .major = -1, .access = "m" },
        .{ .allow = false, .type = .c, .major = 1, .minor = 3 },
    }, &buffer);
    try expectEqual(Rule{ .allow = false }, rules[0]);
    try expectEqual(Rule{ .allow = true, .type = .char, .major = 10, .minor = 229, .access = .{ .read = true, .write = true } }, rules[1]);
    try expectEqual(Rule{ .allow = true, .type = .block, .access = .{ .mknod = true } }, rules[2]);
    const program: devices.Program = .of(rules);
    try expectEqual(true, try byProgram(&program, .{ .type = .char, .major = 1, .minor = 3, .access = 7 })); // null stays
    const bad = [_]limits.Limits.Device{
        .{ .allow = true, .access = "rx" },
        .{ .allow = true, .access = "" },
        .{ .allow = true, .major = -2 },
        .{ .allow = true, .minor = 1 << 31 },
    };
    for (bad) |device| {
        failure = .{};
        try std.testing.expectError(error.Failed, devices.rulesOf(&failure, &.{ .{ .allow = false }, device }, &buffer));
        try expectEqual(limits.Place{ .key = .devices, .entry = 1 }, @as(limits.Place, @bitCast(failure.index)));
        try expectEqual(@backingInt(linux.E.INVAL), failure.errno);
    }
}
