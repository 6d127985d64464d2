//! Writes ffi/abi.gen.ts: the symbols of libkurma.so with their types, and the
//! layout of every struct that crosses, so that neither is written twice.

const std = @import("std");
const cgroup = @import("cgroup");
const inside = @import("inside.zig");
const linux = @import("linux");
const streams = @import("streams.zig");
const library = @import("libkurma.zig");
const ExitRecord = @import("stage2").exits.Record;
const Report = @import("stage2").report.Report;
const wire = @import("stage2").wire;

/// Structs that cross: their sizes and field offsets are written as well.
const layouts = .{ .Failure = linux.Failure, .Report = Report, .ExitRecord = ExitRecord, .Request = wire.Request, .Reply = wire.Reply, .Stats = cgroup.Stats, .Pressure = cgroup.Pressure, .Terminal = linux.terminal.Settings };

pub fn main(init: std.process.Init) !void {
    var buffer: [4096]u8 = undefined;
    var writer = std.Io.File.stdout().writer(init.io, &buffer);
    const out = &writer.interface;
    try out.writeAll(
        \\// Written by `zig build bindings` from ffi/libkurma.zig. Do not edit.
        \\
        \\export const symbols = {
        \\
    );
    inline for (library.exports) |entry| try symbol(out, entry.name, @TypeOf(entry.call.*), entry.pool);
    try out.writeAll("} as const satisfies Deno.ForeignLibraryInterface;\n");
    inline for (comptime std.meta.fieldNames(@TypeOf(layouts))) |name| try layout(out, name, @field(layouts, name));
    try enumeration(out, "Memory", "kind", linux.memfd.Kind);
    try enumeration(out, "Inside", "access", inside.Access);
    try enumeration(out, "Stream", "readiness", streams.Readiness);
    try enumeration(out, "Kernel", "feature", linux.feature.Feature);
    try limitKeys(out);
    try out.writeAll("\n/** errno values by number; what Linux leaves out is missing. */\nexport const errnoNames: Readonly<Record<number, string>> = {\n");
    inline for (comptime std.meta.fieldNames(linux.E)) |name| {
        const number = @backingInt(@field(linux.E, name));
        if (number != 0) try out.print("  {d}: \"E{s}\",\n", .{ number, name });
    }
    try out.writeAll("};\n");
    try out.flush();
}

fn limitKeys(out: *std.Io.Writer) !void {
    try out.writeAll(
        \\
        \\/**
        \\ * Keys below `linux.resources`. `Failure.index` of the step `limit` holds the position in
        \\ * this list in its lower 16 bits, and above them, for a key that is a list, the entry.
        \\ */
        \\export const limitKeys = [
        \\
    );
    inline for (comptime std.meta.fieldNames(cgroup.limits.Key)) |key| try out.print("  \"{s}\",\n", .{key});
    try out.writeAll("] as const;\n");
}

fn symbol(out: *std.Io.Writer, name: []const u8, comptime Function: type, pool: bool) !void {
    const info = @typeInfo(Function).@"fn";
    try out.print("  {s}: {{ parameters: [", .{name});
    inline for (info.param_types, 0..) |Parameter, index| {
        if (index > 0) try out.writeAll(", ");
        try out.print("\"{s}\"", .{comptime ffiType(Parameter.?)});
    }
    try out.print("], result: \"{s}\"", .{comptime ffiType(info.return_type.?)});
    if (pool) try out.writeAll(", nonblocking: true");
    try out.writeAll(" },\n");
}

/// Deno's name for a type; one without a name does not compile.
fn ffiType(comptime Type: type) []const u8 {
    return switch (Type) {
        void => "void",
        i32 => "i32",
        u32 => "u32",
        usize => "usize",
        else => switch (@typeInfo(Type)) {
            .pointer => "buffer",
            else => @compileError("no FFI type for " ++ @typeName(Type)),
        },
    };
}

fn layout(out: *std.Io.Writer, name: []const u8, comptime Struct: type) !void {
    try out.print("\nexport const {s} = {{\n  size: {d},\n", .{ name, @sizeOf(Struct) });
    inline for (comptime std.meta.fieldNames(Struct)) |field| {
        try out.print("  {s}: {d},\n", .{ field, @offsetOf(Struct, field) });
    }
    try out.writeAll("} as const;\n");
    inline for (comptime std.meta.fieldNames(Struct)) |field| {
        const Field = @FieldType(Struct, field);
        if (@typeInfo(Field) == .@"enum") try enumeration(out, name, field, Field);
    }
}

fn enumeration(out: *std.Io.Writer, name: []const u8, field: []const u8, comptime Enum: type) !void {
    try out.print("\n/** The values of {s}.{s}, by number. */\nexport const {s}_{s} = [\n", .{ name, field, name, field });
    inline for (comptime std.meta.fieldNames(Enum), 0..) |value, number| {
        comptime std.debug.assert(@backingInt(@field(Enum, value)) == number);
        try out.print("  \"{s}\",\n", .{value});
    }
    try out.writeAll("] as const;\n");
}
