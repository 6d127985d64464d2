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

    /// As `set`, for the value that this path leads to, when all is read.
    pub fn setAt(problem: *Problem, what: []const u8, keys: []const []const u8) error{Invalid} {
        problem.depth = keys.len;
        @memcpy(problem.path[0..keys.len], keys);
        return problem.set(what);
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

/// A key that is known and not carried out. A struct lists its own as `refused`.
pub const Refusal = struct {
    key: []const u8,
    /// Ends with a colon; the path of the key follows.
    why: []const u8,
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
    var result: T = undefined;
    try reader.value(comptime shapeOf(T), @ptrCast(&result));
    if (try reader.next() != .end_of_document) return problem.set("Unexpected text after");
    return result;
}

/// Whether all fields but those of these names have the same values in both, down to the last
/// text.
pub fn sameBut(comptime T: type, one: *const T, other: *const T, comptime names: []const []const u8) bool {
    const fields = comptime fields: {
        const all = shapeOf(T).form.object.fields;
        var chosen: [all.len - names.len]Shape.Field = undefined;
        var count: usize = 0;
        for (all) |field| {
            for (names) |name| {
                if (std.mem.eql(u8, name, std.mem.span(field.name))) break;
            } else {
                chosen[count] = field;
                count += 1;
            }
        }
        const kept = chosen;
        break :fields &kept;
    };
    return areSame(fields, @ptrCast(one), @ptrCast(other));
}

fn areSame(fields: []const Shape.Field, one: [*]const u8, other: [*]const u8) bool {
    for (fields) |field| if (!field.shape.same(one + field.offset, other + field.offset)) return false;
    return true;
}

/// A type as data, so that one reader serves all: code for each type of a plan would
/// be a third of the program.
const Shape = struct {
    size: usize,
    alignment: std.mem.Alignment,
    form: Form,

    const Form = union(enum) {
        string,
        boolean,
        /// The least and the greatest; stored in as many bytes as the shape has.
        integer: struct { i128, i128 },
        enumeration: []const [*:0]const u8,
        /// A slice that is not there has no address. Anything else comes first, then the byte
        /// that says whether it is there.
        optional: *const Shape,
        list: *const Shape,
        /// A list of structs of a key and a value.
        map: struct { item: *const Shape, key: u16, value: u16, shape: *const Shape },
        object: Object,
    };

    const Object = struct {
        fields: []const Field,
        refused: []const Refusal,
    };

    /// Whether two values of this shape are the same.
    fn same(shape: *const Shape, one: [*]const u8, other: [*]const u8) bool {
        const item = switch (shape.form) {
            .boolean, .integer, .enumeration => return std.mem.eql(u8, one[0..shape.size], other[0..shape.size]),
            .optional => |content| {
                const there, const also = .{ isThere(content, shape, one), isThere(content, shape, other) };
                return there == also and (!there or content.same(one, other));
            },
            .object => |object| return areSame(object.fields, one, other),
            .string => comptime shapeOf(u8),
            .list => |item| item,
            .map => |map| map.item,
        };
        const items, const others = .{ at([]const u8, @constCast(one)), at([]const u8, @constCast(other)) };
        if (items.len != others.len) return false;
        for (0..items.len) |index| if (!item.same(items.ptr + index * item.size, others.ptr + index * item.size)) return false;
        return true;
    }

    fn isThere(content: *const Shape, shape: *const Shape, place: [*]const u8) bool {
        return if (content.size == shape.size) at(usize, @constCast(place)).* != 0 else place[content.size] != 0;
    }

    const Field = struct {
        name: [*:0]const u8,
        shape: *const Shape,
        /// Bytes of the default, if it is of that kind.
        default: [*]const u8 = undefined,
        offset: u16,
        absent: Absent,
    };

    /// What a field is when its key is not there: an error, a copy of `default`, null, or a
    /// struct with all its own defaults.
    const Absent = enum(u8) { required, bytes, empty, defaults };
};

/// More than any struct of a plan has.
const max_fields = 64;

fn shapeOf(comptime T: type) *const Shape {
    @setEvalBranchQuota(100_000);
    const shape: Shape = .{ .size = @sizeOf(T), .alignment = .of(T), .form = formOf(T) };
    return &shape;
}

fn formOf(comptime T: type) Shape.Form {
    @setEvalBranchQuota(100_000);
    if (T == [:0]const u8) return .string;
    return switch (@typeInfo(T)) {
        .bool => .boolean,
        .int => .{ .integer = .{ std.math.minInt(T), std.math.maxInt(T) } },
        .@"enum" => |info| form: {
            // The position of a name is its value, in one byte.
            for (info.field_values, 0..) |value, position| std.debug.assert(value == position);
            std.debug.assert(@sizeOf(T) == 1);
            var names: [info.field_names.len][*:0]const u8 = undefined;
            for (info.field_names, &names) |name, *slot| slot.* = name;
            const kept = names;
            break :form .{ .enumeration = &kept };
        },
        .optional => |optional| form: {
            const with_byte = std.mem.alignForward(usize, @sizeOf(optional.child) + 1, @alignOf(T));
            std.debug.assert(@sizeOf(T) == if (@typeInfo(optional.child) == .pointer) @sizeOf([]u8) else with_byte);
            break :form .{ .optional = shapeOf(optional.child) };
        },
        .@"struct" => .{ .object = objectOf(T) },
        .pointer => |pointer| if (isEntry(pointer.child)) .{ .map = .{
            .item = shapeOf(pointer.child),
            .key = @offsetOf(pointer.child, "key"),
            .value = @offsetOf(pointer.child, "value"),
            .shape = shapeOf(@FieldType(pointer.child, "value")),
        } } else .{ .list = shapeOf(pointer.child) },
        else => @compileError("no JSON form for " ++ @typeName(T)),
    };
}

fn isEntry(comptime T: type) bool {
    return @typeInfo(T) == .@"struct" and @hasDecl(T, "is_entry");
}

fn objectOf(comptime T: type) Shape.Object {
    @setEvalBranchQuota(100_000);
    const info = @typeInfo(T).@"struct";
    std.debug.assert(info.field_names.len <= max_fields);
    var fields: [info.field_names.len]Shape.Field = undefined;
    for (info.field_names, info.field_types, info.field_attrs, &fields) |name, Field, attrs, *field| {
        field.* = .{ .name = name, .offset = @offsetOf(T, name), .shape = shapeOf(Field), .absent = .required };
        const default = attrs.defaultValue(Field) orelse continue;
        const kept = default;
        switch (@typeInfo(Field)) {
            .@"struct" => field.absent = .defaults,
            .optional => {
                std.debug.assert(kept == null);
                field.absent = .empty;
            },
            else => {
                field.absent = .bytes;
                field.default = @ptrCast(&kept);
            },
        }
    }
    const kept_fields = fields;
    const refused: []const Refusal = if (@hasDecl(T, "refused")) &T.refused else &.{};
    return .{ .fields = &kept_fields, .refused = refused };
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

    /// Reads a value of this shape into `place`, which has its size and alignment.
    fn value(reader: *Reader, shape: *const Shape, place: [*]u8) error{Invalid}!void {
        switch (shape.form) {
            .string => at([:0]const u8, place).* = try reader.string(),
            .boolean => at(bool, place).* = switch (try reader.next()) {
                .true => true,
                .false => false,
                else => return reader.problem.set("Expected true or false for"),
            },
            .integer => |range| {
                const digits: []const u8 = switch (try reader.next()) {
                    .number => |digits| digits,
                    .allocated_number => |digits| digits,
                    else => return reader.problem.set("Expected a number for"),
                };
                const number = std.fmt.parseInt(i128, digits, 10) catch return reader.problem.set("Out of range:");
                if (number < range[0] or number > range[1]) return reader.problem.set("Out of range:");
                @memcpy(place[0..shape.size], std.mem.asBytes(&number)[0..shape.size]);
            },
            .enumeration => |names| {
                const name = try reader.string();
                place[0] = for (names, 0..) |known, position| {
                    if (std.mem.eql(u8, name, std.mem.span(known))) break @intCast(position);
                } else return reader.problem.set("Unknown value for");
            },
            .optional => |optional| {
                if (try reader.peek() == .null) {
                    _ = try reader.next();
                    return setNull(shape, place);
                }
                try reader.value(optional, place);
                if (optional.size != shape.size) place[optional.size] = 1;
            },
            .list => |item| {
                if (try reader.next() != .array_begin) return reader.problem.set("Expected a list for");
                try reader.enter("[]");
                var items: Items = .{ .item = item };
                while (try reader.peek() != .array_end) try reader.value(item, try items.add(reader));
                _ = try reader.next();
                reader.problem.depth -= 1;
                items.give(place);
            },
            .map => |map| {
                if (try reader.next() != .object_begin) return reader.problem.set("Expected an object for");
                var items: Items = .{ .item = map.item };
                while (try reader.peek() != .object_end) {
                    const key = try reader.string();
                    try reader.enter(key);
                    const item = try items.add(reader);
                    at([:0]const u8, item + map.key).* = key;
                    try reader.value(map.shape, item + map.value);
                    reader.problem.depth -= 1;
                }
                _ = try reader.next();
                items.give(place);
            },
            .object => |object| try reader.fields(object, place),
        }
    }

    fn fields(reader: *Reader, object: Shape.Object, place: [*]u8) error{Invalid}!void {
        if (try reader.next() != .object_begin) return reader.problem.set("Expected an object for");
        setDefaults(object, place);
        var seen: std.StaticBitSet(max_fields) = .empty;
        while (try reader.peek() != .object_end) {
            const key = try reader.string();
            try reader.enter(key);
            const position = for (object.fields, 0..) |field, position| {
                if (std.mem.eql(u8, key, std.mem.span(field.name))) break position;
            } else return reader.problem.set(for (object.refused) |refusal| {
                if (std.mem.eql(u8, key, refusal.key)) break refusal.why;
            } else "Unknown key");
            if (seen.isSet(position)) return reader.problem.set("Given twice:");
            seen.set(position);
            const field = object.fields[position];
            try reader.value(field.shape, place + field.offset);
            reader.problem.depth -= 1;
        }
        _ = try reader.next();
        for (object.fields, 0..) |field, position| {
            if (field.absent != .required or seen.isSet(position)) continue;
            try reader.enter(std.mem.span(field.name));
            return reader.problem.set("Missing key");
        }
    }

    fn setNull(shape: *const Shape, place: [*]u8) void {
        const content = shape.form.optional;
        if (content.size == shape.size) @memset(place[0..@sizeOf(usize)], 0) else place[content.size] = 0;
    }

    fn setDefaults(object: Shape.Object, place: [*]u8) void {
        for (object.fields) |field| {
            const at_field = place + field.offset;
            switch (field.absent) {
                .required => {},
                .bytes => @memcpy(at_field[0..field.shape.size], field.default[0..field.shape.size]),
                .empty => setNull(field.shape, at_field),
                .defaults => setDefaults(field.shape.form.object, at_field),
            }
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

    fn allocate(reader: *Reader, shape: *const Shape, count: usize) error{Invalid}![*]u8 {
        return reader.arena.rawAlloc(count * shape.size, shape.alignment, @returnAddress()) orelse reader.problem.set("No room for");
    }

    fn enter(reader: *Reader, key: []const u8) error{Invalid}!void {
        if (reader.problem.depth == depth_limit) return reader.problem.set("Too deep:");
        reader.problem.path[reader.problem.depth] = key;
        reader.problem.depth += 1;
    }
};

/// A list that grows, of items whose type is only known as a shape.
const Items = struct {
    item: *const Shape,
    memory: [*]u8 = undefined,
    len: usize = 0,
    room: usize = 0,

    /// Room for one more.
    fn add(items: *Items, reader: *Reader) error{Invalid}![*]u8 {
        const size = items.item.size;
        if (items.len == items.room) {
            const room = @max(4, 2 * items.room);
            const memory = try reader.allocate(items.item, room);
            @memcpy(memory[0 .. items.len * size], items.memory[0 .. items.len * size]);
            items.memory = memory;
            items.room = room;
        }
        items.len += 1;
        return items.memory + (items.len - 1) * size;
    }

    /// Makes the slice at `place` these items. A slice is a pointer and a count of its
    /// items, whatever they are.
    fn give(items: *const Items, place: [*]u8) void {
        const start: [*]const u8 = if (items.len == 0) @ptrFromInt(items.item.alignment.toByteUnits()) else items.memory;
        at([]const u8, place).* = start[0..items.len];
    }
};

fn at(comptime T: type, place: [*]u8) *T {
    return @ptrCast(@alignCast(place));
}

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

    pub const refused = [_]Refusal{.{ .key = "color", .why = "Paint it yourself:" }};
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

test "fields are the same down to the last text" {
    var buffers: [2][4096]u8 = undefined;
    const seed =
        \\{"name":"a","count":7,"kind":"tmpfs","inner":{"list":["x","y"]},"labels":{"k":"v"},"sizes":{"s":{"width":2}}}
    ;
    var problem: Problem = .{};
    const one = try decodeSample(seed, &problem, &buffers[0]);
    const others = [_]struct { []const u8, []const u8, bool }{
        .{ "\"a\"", "\"b\"", true }, // Nobody asked about the name.
        .{ "7", "8", false },
        .{ "tmpfs", "bind", false },
        .{ "\"y\"", "\"z\"", false },
        .{ "[\"x\",\"y\"]", "[\"x\"]", false },
        .{ "{\"list\":[\"x\",\"y\"]}", "null", false },
        .{ "\"k\"", "\"l\"", false },
        .{ "\"v\"", "\"\"", false },
        .{ "\"width\":2", "\"width\":3", false },
    };
    for (others) |other| {
        var space: [256]u8 = undefined;
        const text = space[0..std.mem.replacementSize(u8, seed, other[0], other[1])];
        try std.testing.expectEqual(1, std.mem.replace(u8, seed, other[0], other[1], text));
        const another = try decodeSample(text, &problem, &buffers[1]);
        try std.testing.expectEqual(other[2], sameBut(Sample, &one, &another, &.{"name"}));
        try std.testing.expectEqual(other[2], sameBut(Sample, &another, &one, &.{"name"}));
    }
}

test "an optional is laid out as it is read" {
    inline for (.{ u8, u16, u64, i128, bool, [:0]const u8, []const u64, Sample, enum { a } }) |T| {
        const shape: Shape = .{ .size = @sizeOf(?T), .alignment = .of(?T), .form = .{ .optional = &.{ .size = @sizeOf(T), .alignment = .of(T), .form = .boolean } } };
        var value: ?T = std.mem.zeroes(T);
        Reader.setNull(&shape, @ptrCast(&value));
        try std.testing.expect(value == null);
        if (@sizeOf(T) == @sizeOf(?T)) continue;
        @as([*]u8, @ptrCast(&value))[@sizeOf(T)] = 1;
        try std.testing.expect(value != null);
    }
}

test "what is wrong is named" {
    const cases = [_][2][]const u8{
        .{ "{\"name\":\"a\",\"inner\":{\"list\":[],\"foo\":1}}", "Unknown key \"inner.foo\"" },
        .{ "{\"name\":\"a\",\"color\":1}", "Paint it yourself: \"color\"" },
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
