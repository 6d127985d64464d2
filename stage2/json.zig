//! Reads JSON into plain structs and refuses what they do not name, so that a key
//! nobody carries out is never ignored.
//!
//! A struct field without a default is required. `[:0]const u8` takes a string (no
//! NUL inside), slices take arrays, enums take the name of a field, `Map` and other
//! slices of entries take an object whose keys are data.

const std = @import("std");
const Scanner = std.json.Scanner;

/// What was wrong, as one line that names the key: `Unknown key "linux.foo"`.
pub const Problem = struct {
    text_buffer: [256]u8 = undefined,
    text_len: usize = 0,
    /// The keys that lead to what is being read.
    path: [depth_limit][]const u8 = undefined,
    depth: usize = 0,

    pub fn text(problem: *const Problem) []const u8 {
        return problem.text_buffer[0..problem.text_len];
    }

    /// Records what is wrong with the value that is being read.
    pub fn set(problem: *Problem, what: []const u8) error{Invalid} {
        if (problem.text_len > 0) return error.Invalid;
        problem.append(what);
        problem.append(" \"");
        for (problem.path[0..problem.depth], 0..) |key, index| {
            if (index > 0) problem.append(".");
            problem.append(key);
        }
        problem.append("\"");
        return error.Invalid;
    }

    fn append(problem: *Problem, part: []const u8) void {
        const room = problem.text_buffer.len - problem.text_len;
        const take = @min(part.len, room);
        @memcpy(problem.text_buffer[problem.text_len..][0..take], part[0..take]);
        problem.text_len += take;
    }
};

/// An object whose keys are data: annotations, sysctls, cgroup files.
pub const Map = []const Entry;

/// Any struct with these two fields that says `is_entry`; the value may be of any type.
pub const Entry = struct {
    key: [:0]const u8,
    value: [:0]const u8,

    pub const is_entry = true;
};

/// Deeper than any plan; arrays count as well.
const depth_limit = 32;

/// Decodes `text` into a `T`. `arena` holds what the result points to; nothing of
/// `text` is kept.
///
/// Errors: `Invalid`, and `problem` says why; memory that runs out is `Invalid` too.
pub fn decode(comptime T: type, arena: std.mem.Allocator, text: []const u8, problem: *Problem) error{Invalid}!T {
    var scanner: Scanner = .initCompleteInput(arena, text);
    var reader: Reader = .{ .scanner = &scanner, .arena = arena, .problem = problem };
    const value = try reader.value(T);
    if (try reader.next() != .end_of_document) return problem.set("Unexpected text after");
    return value;
}

const Reader = struct {
    scanner: *Scanner,
    arena: std.mem.Allocator,
    problem: *Problem,

    fn next(reader: *Reader) error{Invalid}!std.json.Token {
        return reader.scanner.nextAlloc(reader.arena, .alloc_if_needed) catch |err| switch (err) {
            error.OutOfMemory => reader.problem.set("No room for"),
            error.ValueTooLong => reader.problem.set("Too long:"),
            else => reader.problem.set("No valid JSON at"),
        };
    }

    fn peek(reader: *Reader) error{Invalid}!std.json.TokenType {
        return reader.scanner.peekNextTokenType() catch reader.problem.set("No valid JSON at");
    }

    fn value(reader: *Reader, comptime T: type) error{Invalid}!T {
        if (T == [:0]const u8) return reader.string();
        switch (@typeInfo(T)) {
            .optional => |optional| {
                if (try reader.peek() != .null) return try reader.value(optional.child);
                _ = try reader.next();
                return null;
            },
            .bool => return switch (try reader.next()) {
                .true => true,
                .false => false,
                else => reader.problem.set("Expected true or false for"),
            },
            .int => return reader.integer(T),
            .@"enum" => return reader.enumeration(T),
            .@"struct" => return reader.object(T),
            .pointer => |pointer| return if (comptime isEntry(pointer.child)) reader.map(pointer.child) else reader.array(pointer.child),
            else => @compileError("no JSON form for " ++ @typeName(T)),
        }
    }

    fn string(reader: *Reader) error{Invalid}![:0]const u8 {
        const bytes: []const u8 = switch (try reader.next()) {
            .string => |bytes| bytes,
            .allocated_string => |bytes| bytes,
            else => return reader.problem.set("Expected a text for"),
        };
        if (std.mem.findScalar(u8, bytes, 0) != null) return reader.problem.set("A NUL in");
        return reader.arena.dupeSentinel(u8, bytes, 0) catch reader.problem.set("No room for");
    }

    fn integer(reader: *Reader, comptime T: type) error{Invalid}!T {
        const digits: []const u8 = switch (try reader.next()) {
            .number => |digits| digits,
            .allocated_number => |digits| digits,
            else => return reader.problem.set("Expected a number for"),
        };
        return std.fmt.parseInt(T, digits, 10) catch reader.problem.set("Out of range:");
    }

    fn enumeration(reader: *Reader, comptime T: type) error{Invalid}!T {
        const name = try reader.string();
        inline for (comptime std.meta.fieldNames(T)) |field| {
            if (std.mem.eql(u8, name, field)) return @field(T, field);
        }
        return reader.problem.set("Unknown value for");
    }

    fn array(reader: *Reader, comptime Child: type) error{Invalid}![]const Child {
        if (try reader.next() != .array_begin) return reader.problem.set("Expected a list for");
        try reader.enter("[]");
        var items: std.ArrayList(Child) = .empty;
        while (try reader.peek() != .array_end) {
            const item = try reader.value(Child);
            items.append(reader.arena, item) catch return reader.problem.set("No room for");
        }
        _ = try reader.next();
        reader.problem.depth -= 1;
        return items.items;
    }

    fn isEntry(comptime T: type) bool {
        return @typeInfo(T) == .@"struct" and @hasDecl(T, "is_entry");
    }

    fn map(reader: *Reader, comptime Item: type) error{Invalid}![]const Item {
        if (try reader.next() != .object_begin) return reader.problem.set("Expected an object for");
        var entries: std.ArrayList(Item) = .empty;
        while (try reader.peek() != .object_end) {
            const key = try reader.string();
            try reader.enter(key);
            const item = try reader.value(@FieldType(Item, "value"));
            entries.append(reader.arena, .{ .key = key, .value = item }) catch return reader.problem.set("No room for");
            reader.problem.depth -= 1;
        }
        _ = try reader.next();
        return entries.items;
    }

    fn object(reader: *Reader, comptime T: type) error{Invalid}!T {
        if (try reader.next() != .object_begin) return reader.problem.set("Expected an object for");
        const info = @typeInfo(T).@"struct";
        var result: T = undefined;
        var seen: [info.field_names.len]bool = @splat(false);
        while (try reader.peek() != .object_end) {
            const key = try reader.string();
            try reader.enter(key);
            inline for (info.field_names, info.field_types, 0..) |name, Field, index| {
                if (std.mem.eql(u8, key, name)) {
                    if (seen[index]) return reader.problem.set("Given twice:");
                    seen[index] = true;
                    @field(result, name) = try reader.value(Field);
                    break;
                }
            } else return reader.problem.set("Unknown key");
            reader.problem.depth -= 1;
        }
        _ = try reader.next();
        inline for (info.field_names, info.field_types, info.field_attrs, 0..) |name, Field, attrs, index| {
            if (!seen[index]) {
                if (attrs.defaultValue(Field)) |default| {
                    @field(result, name) = default;
                } else {
                    try reader.enter(name);
                    return reader.problem.set("Missing key");
                }
            }
        }
        return result;
    }

    fn enter(reader: *Reader, key: []const u8) error{Invalid}!void {
        if (reader.problem.depth == depth_limit) return reader.problem.set("Too deep:");
        reader.problem.path[reader.problem.depth] = key;
        reader.problem.depth += 1;
    }
};

const Sample = struct {
    name: [:0]const u8,
    count: u8 = 3,
    kind: enum { bind, tmpfs } = .bind,
    inner: ?struct { list: []const [:0]const u8 } = null,
    labels: Map = &.{},
    sizes: []const struct {
        key: [:0]const u8,
        value: struct { width: u8 },

        pub const is_entry = true;
    } = &.{},
};

fn decodeSample(text: []const u8, problem: *Problem, buffer: []u8) error{Invalid}!Sample {
    var fixed: std.heap.FixedBufferAllocator = .init(buffer);
    return decode(Sample, fixed.allocator(), text, problem);
}

test "a struct is filled, what is left out has its default" {
    var buffer: [4096]u8 = undefined;
    var problem: Problem = .{};
    const sample = try decodeSample(
        \\{"name":"a\u00e9","inner":{"list":["x","y"]},"kind":"tmpfs","labels":{"a b":"1"},"sizes":{"small":{"width":2}}}
    , &problem, &buffer);
    try std.testing.expectEqualStrings("a\u{e9}", sample.name);
    try std.testing.expectEqual(3, sample.count);
    try std.testing.expectEqual(.tmpfs, sample.kind);
    try std.testing.expectEqualStrings("y", sample.inner.?.list[1]);
    try std.testing.expectEqualStrings("a b", sample.labels[0].key);
    try std.testing.expectEqual(2, sample.sizes[0].value.width);
}

test "what is wrong is named" {
    const cases = [_][2][]const u8{
        .{ "{\"name\":\"a\",\"inner\":{\"list\":[],\"foo\":1}}", "Unknown key \"inner.foo\"" },
        .{ "{\"count\":1}", "Missing key \"name\"" },
        .{ "{\"name\":\"a\",\"name\":\"b\"}", "Given twice: \"name\"" },
        .{ "{\"name\":\"a\",\"count\":256}", "Out of range: \"count\"" },
        .{ "{\"name\":\"a\\u0000b\"}", "A NUL in \"name\"" },
        .{ "{\"name\":\"a\",\"kind\":\"zfs\"}", "Unknown value for \"kind\"" },
        .{ "{\"name\":\"a\",\"sizes\":{\"small\":{\"width\":\"2\"}}}", "Expected a number for \"sizes.small.width\"" },
        .{ "{\"name\":1}", "Expected a text for \"name\"" },
        .{ "{\"name\":\"a\"}x", "No valid JSON at \"\"" },
        .{ "{\"name\":\"a\"", "No valid JSON at \"\"" },
    };
    for (cases) |case| {
        var buffer: [4096]u8 = undefined;
        var problem: Problem = .{};
        try std.testing.expectError(error.Invalid, decodeSample(case[0], &problem, &buffer));
        try std.testing.expectEqualStrings(case[1], problem.text());
    }
}

test "mutated input is decoded or refused, never worse" {
    const seed =
        \\{"name":"abc","count":7,"kind":"bind","inner":{"list":["x","y"]},"labels":{"k":"v"}}
    ;
    var random: std.Random.DefaultPrng = .init(7);
    for (0..20_000) |_| {
        var text: [seed.len]u8 = seed.*;
        for (0..random.random().intRangeAtMost(usize, 1, 6)) |_| {
            text[random.random().uintLessThan(usize, text.len)] = random.random().int(u8);
        }
        const len = random.random().intRangeAtMost(usize, 0, text.len);
        var buffer: [8192]u8 = undefined;
        var problem: Problem = .{};
        _ = decodeSample(text[0..len], &problem, &buffer) catch {
            try std.testing.expect(problem.text().len > 0);
        };
    }
}
