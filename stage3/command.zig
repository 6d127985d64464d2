//! What a request asks for: the shapes of the six commands, as protocol.md has them.

const std = @import("std");
const protocol = @import("protocol.zig");
const Strings = protocol.Strings;

/// Longer names are refused; STATUS lists them.
pub const max_name = 100;

pub const Command = union(enum) {
    start: Start,
    status,
    wait,
    exec: Exec,
    chroot: Chroot,
    set_hostname: [*:0]const u8,

    /// The command in `request`, or an error if it is none or has another shape.
    pub fn of(request: protocol.Request) error{Malformed}!Command {
        const words = request.arrays[0] orelse return error.Malformed;
        const word = std.mem.span(words[0] orelse return error.Malformed);
        inline for (shapes) |shape| {
            if (std.mem.eql(u8, word, shape.word)) {
                try shape.check(request);
                return shape.command(request);
            }
        }
        return error.Malformed;
    }
};

/// A process to start. Strings point into the request's arena.
pub const Start = struct {
    /// Empty for a process that STATUS and WAIT do not see.
    name: []const u8,
    argv: Strings,
    workdir: ?[*:0]const u8,
    env: Strings,
    output: Output,
    user: [*:0]const u8,
    group: [*:0]const u8,
};

/// The program that takes PID 1 over.
pub const Exec = struct {
    argv: Strings,
    env: Strings,
    output: Output,
};

pub const Output = struct {
    stdout: [*:0]const u8,
    stderr: [*:0]const u8,
};

pub const Chroot = struct {
    directory: [*:0]const u8,
    /// The old root stays visible at /host.
    privileged: bool,
};

/// How many strings an array has, its command word included.
const Count = struct { min: usize, max: usize = std.math.maxInt(usize) };

const Shape = struct {
    word: []const u8,
    arrays: []const Count,
    command: fn (protocol.Request) error{Malformed}!Command,

    fn check(comptime shape: Shape, request: protocol.Request) error{Malformed}!void {
        if (request.count() != shape.arrays.len) return error.Malformed;
        for (shape.arrays, 0..) |count, index| {
            const strings = std.mem.len(request.arrays[index].?);
            if (strings < count.min or strings > count.max) return error.Malformed;
        }
    }
};

const shapes = [_]Shape{
    .{
        .word = "START",
        .arrays = &.{ .{ .min = 1, .max = 2 }, .{ .min = 1 }, .{ .min = 0, .max = 1 }, .{ .min = 0 }, .{ .min = 2, .max = 2 }, .{ .min = 2, .max = 2 } },
        .command = start,
    },
    .{ .word = "STATUS", .arrays = &.{.{ .min = 1, .max = 1 }}, .command = status },
    .{ .word = "WAIT", .arrays = &.{.{ .min = 1, .max = 1 }}, .command = wait },
    .{
        .word = "EXEC",
        .arrays = &.{ .{ .min = 1, .max = 1 }, .{ .min = 1 }, .{ .min = 0 }, .{ .min = 2, .max = 2 } },
        .command = exec,
    },
    .{ .word = "CHROOT", .arrays = &.{.{ .min = 3, .max = 3 }}, .command = chroot },
    .{ .word = "SETHOSTNAME", .arrays = &.{.{ .min = 2, .max = 2 }}, .command = setHostname },
};

fn start(request: protocol.Request) error{Malformed}!Command {
    const arrays = request.arrays;
    const name: []const u8 = if (arrays[0].?[1]) |text| std.mem.span(text) else "";
    if (name.len > max_name or std.mem.findScalar(u8, name, '\n') != null) return error.Malformed;
    return .{ .start = .{
        .name = name,
        .argv = arrays[1].?,
        .workdir = arrays[2].?[0],
        .env = arrays[3].?,
        .output = output(arrays[4].?),
        .user = arrays[5].?[0].?,
        .group = arrays[5].?[1].?,
    } };
}

fn status(_: protocol.Request) error{Malformed}!Command {
    return .status;
}

fn wait(_: protocol.Request) error{Malformed}!Command {
    return .wait;
}

fn exec(request: protocol.Request) error{Malformed}!Command {
    const arrays = request.arrays;
    return .{ .exec = .{ .argv = arrays[1].?, .env = arrays[2].?, .output = output(arrays[3].?) } };
}

fn chroot(request: protocol.Request) error{Malformed}!Command {
    const words = request.arrays[0].?;
    return .{ .chroot = .{
        .directory = words[1].?,
        .privileged = std.mem.eql(u8, std.mem.span(words[2].?), "true"),
    } };
}

fn setHostname(request: protocol.Request) error{Malformed}!Command {
    return .{ .set_hostname = request.arrays[0].?[1].? };
}

fn output(strings: Strings) Output {
    return .{ .stdout = strings[0].?, .stderr = strings[1].? };
}
