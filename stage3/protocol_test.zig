//! The vectors of protocol.md, and random input beside a parser too simple to be wrong.

const std = @import("std");
const options = @import("options");
const protocol = @import("protocol.zig");
const Command = @import("command.zig").Command;
const testing = std.testing;

const Vectors = struct {
    requests: []const Vector,
    statusReplies: std.json.Value,
};

pub const Vector = struct {
    name: []const u8,
    request: []const u8,
    framing: Framing,
    reply: ?[]const u8,
    arrays: ?[]const []const []const u8 = null,
    padding: usize = 0,
    canonical: bool = true,
    needs: ?enum { nothing, container, root, pid1 } = null,

    const Framing = enum { whole, partial, malformed };

    /// The bytes on the wire.
    pub fn bytes(vector: Vector, gpa: std.mem.Allocator) ![]u8 {
        const wire = try gpa.alloc(u8, vector.request.len + vector.padding);
        @memcpy(wire[0..vector.request.len], vector.request);
        @memset(wire[vector.request.len..], 'x');
        return wire;
    }
};

pub fn load(gpa: std.mem.Allocator) !std.json.Parsed(Vectors) {
    return std.json.parseFromSlice(Vectors, gpa, @embedFile("vectors.json"), .{});
}

test "every vector is framed as protocol.md says, in pieces of any size" {
    const vectors = try load(testing.allocator);
    defer vectors.deinit();
    const arena = try testing.allocator.alignedAlloc(u8, .of(usize), protocol.budget);
    defer testing.allocator.free(arena);
    for (vectors.value.requests) |vector| {
        const wire = try vector.bytes(testing.allocator);
        defer testing.allocator.free(wire);
        for ([_]usize{ 1, 2, 7, 4096, wire.len + 1 }) |piece| {
            var parser: protocol.Parser = .{ .arena = arena[0..protocol.budget] };
            const framing = feed(&parser, wire, piece);
            testing.expectEqual(vector.framing, framing) catch |err| return named(vector, err);
            if (vector.arrays) |arrays| {
                expectArrays(arrays, parser.request()) catch |err| return named(vector, err);
            }
            if (framing != .whole) continue;
            const refused = std.mem.eql(u8, vector.reply.?, protocol.reply.malformed);
            const command = Command.of(parser.request());
            testing.expectEqual(refused, command == error.Malformed) catch |err| return named(vector, err);
        }
    }
}

fn named(vector: Vector, err: anyerror) anyerror {
    std.debug.print("vector: {s}\n", .{vector.name});
    return err;
}

fn feed(parser: *protocol.Parser, wire: []const u8, piece: usize) Vector.Framing {
    var rest = wire;
    while (rest.len > 0) {
        const len = @min(piece, rest.len);
        if (parser.feed(rest[0..len]) catch return .malformed) return .whole;
        rest = rest[len..];
    }
    return .partial;
}

/// An array ends at its first absent string, a string at its first NUL.
fn expectArrays(expected: []const []const []const u8, request: protocol.Request) !void {
    try testing.expectEqual(expected.len, request.count());
    for (expected, 0..) |strings, index| {
        const read = request.arrays[index].?;
        const count = for (strings, 0..) |string, position| {
            if (string.len == 0) break position;
            const end = std.mem.findScalar(u8, string, 0) orelse string.len;
            try testing.expectEqualStrings(string[0..end], std.mem.span(read[position].?));
        } else strings.len;
        try testing.expectEqual(count, std.mem.len(read));
    }
}

/// Reads a whole request with slices and lists.
const Reference = struct {
    wire: []const u8,
    at: usize = 0,
    charged: usize = 0,
    arrays: std.ArrayList([]const []const u8) = .empty,

    const Error = error{ Malformed, Partial, OutOfMemory };

    fn read(reference: *Reference, gpa: std.mem.Allocator) Error!void {
        if (try reference.number() != 1) return error.Malformed;
        const arrays = try reference.number();
        if (arrays == 0) return error.Malformed;
        try reference.charge(8 * (arrays + 1));
        for (0..arrays) |_| {
            const count = try reference.number();
            try reference.charge(8 * (count + 1));
            const strings = try gpa.alloc([]const u8, count);
            for (strings) |*string| {
                const len = try reference.number();
                try reference.charge(len + 1);
                if (len > reference.wire.len - reference.at) return error.Partial;
                string.* = reference.wire[reference.at..][0..len];
                reference.at += len;
            }
            try reference.arrays.append(gpa, strings);
        }
    }

    fn number(reference: *Reference) Error!usize {
        var value: usize = 0;
        while (reference.at < reference.wire.len) {
            const byte = reference.wire[reference.at];
            reference.at += 1;
            if (byte == '\n') return value;
            if (!std.ascii.isDigit(byte)) return error.Malformed;
            value = (value * 10 + (byte - '0')) % (1 << 32);
        }
        return error.Partial;
    }

    fn charge(reference: *Reference, bytes: usize) Error!void {
        reference.charged += bytes;
        if (reference.charged > protocol.budget) return error.Malformed;
    }
};

test "random input is read as a simple parser reads it" {
    const arena = try testing.allocator.alignedAlloc(u8, .of(usize), protocol.budget);
    defer testing.allocator.free(arena);
    var reference_arena: std.heap.ArenaAllocator = .init(testing.allocator);
    defer reference_arena.deinit();
    var seed: std.Random.DefaultPrng = .init(options.fuzz);
    const random = seed.random();
    var counts: std.enums.EnumArray(Vector.Framing, usize) = .initFill(0);
    for (0..options.fuzz) |_| {
        var space: [1024]u8 = undefined;
        const wire = randomRequest(random, &space);
        var parser: protocol.Parser = .{ .arena = arena[0..protocol.budget] };
        const framing = feed(&parser, wire, random.intRangeAtMost(usize, 1, 64));
        counts.getPtr(framing).* += 1;

        _ = reference_arena.reset(.retain_capacity);
        var reference: Reference = .{ .wire = wire };
        const expected: Vector.Framing = if (reference.read(reference_arena.allocator())) .whole else |err| switch (err) {
            error.Malformed => .malformed,
            error.Partial => .partial,
            error.OutOfMemory => return err,
        };
        errdefer std.debug.print("input: {f}\n", .{std.ascii.hexEscape(wire, .lower)});
        try testing.expectEqual(expected, framing);
        if (framing != .whole) continue;
        try expectArrays(reference.arrays.items, parser.request());
        _ = Command.of(parser.request()) catch {};
    }
    // Each outcome must be common, or the input tests less than it seems to.
    for (counts.values) |count| try testing.expect(count > options.fuzz / 20);
}

/// A well-formed request of random strings, most often damaged.
fn randomRequest(random: std.Random, space: []u8) []u8 {
    var writer: std.Io.Writer = .fixed(space);
    writeRequest(random, &writer) catch {}; // Cut off where the space ends.
    var wire = writer.buffered();
    for (0..random.uintLessThan(usize, 4)) |_| {
        if (wire.len == 0) break;
        const at = random.uintLessThan(usize, wire.len);
        switch (random.uintLessThan(u8, 4)) {
            0 => wire[at] = random.int(u8),
            1 => wire[at] = "0123456789\n"[random.uintLessThan(usize, 11)],
            2 => wire = wire[0..at],
            else => std.mem.copyForwards(u8, wire[0 .. wire.len - at], wire[at..]),
        }
    }
    return wire;
}

fn writeRequest(random: std.Random, writer: *std.Io.Writer) !void {
    const words = [_][]const u8{ "START", "STATUS", "WAIT", "EXEC", "CHROOT", "SETHOSTNAME", "", "true", "a\nb", "\x00" };
    const arrays = random.intRangeAtMost(u32, 0, 7);
    try writer.print("1\n{d}\n", .{arrays});
    for (0..arrays) |_| {
        const strings = random.intRangeAtMost(u32, 0, 4);
        try writer.print("{d}\n", .{if (random.uintLessThan(u8, 50) == 0) random.int(u32) else strings});
        for (0..strings) |_| {
            const word = words[random.uintLessThan(usize, words.len)];
            try writer.print("{d}\n{s}", .{ word.len, word });
        }
    }
}
