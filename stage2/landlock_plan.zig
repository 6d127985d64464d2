//! Landlock as a plan says it, and on its way into the container: a flat block of
//! memory that stage2 writes and the process applies to itself, where the paths are.

const std = @import("std");
const os = std.os.linux;
const linux = @import("linux");
const Failure = linux.Failure;
const landlock = @import("landlock.zig");
const FileRight = landlock.FileRight;
const PortRight = landlock.PortRight;

/// The fields' names are the keys. A list of rights may only give back what is handled.
pub const Config = struct {
    handled: struct {
        files: []const FileRight = &.{},
        ports: []const PortRight = &.{},
        scopes: []const landlock.Scope = &.{},
    },
    /// Absolute, as the container sees them when its file tree stands; they must exist.
    paths: []const struct { path: [:0]const u8, allowed: []const FileRight } = &.{},
    ports: []const struct { port: u16, allowed: []const PortRight } = &.{},
};

pub const max_paths = 64;
pub const max_ports = 64;

/// How many bytes `write` needs for `config`.
pub fn size(config: Config) usize {
    var bytes: usize = @sizeOf(Header) + config.ports.len * @sizeOf(PortEntry);
    for (config.paths) |rule| bytes += @sizeOf(landlock.Set) + rule.path.len + 1;
    return bytes;
}

/// The ports follow it, then for each path its rights and its name, ended by NUL.
const Header = extern struct {
    handled_fs: u64,
    handled_net: u64,
    scoped: u64,
    paths: u32,
    ports: u32,
};

const PortEntry = extern struct { access: u64, port: u64 };

/// Why a plan is refused.
pub const Problem = struct {
    buffer: [256]u8 = undefined,
    len: usize = 0,

    /// One line: `Landlock cannot allow "read_dir" for "/etc": it is not handled`.
    pub fn text(problem: *const Problem) []const u8 {
        return problem.buffer[0..problem.len];
    }

    fn set(problem: *Problem, comptime format: []const u8, values: anytype) error{Invalid} {
        const line = std.fmt.bufPrint(&problem.buffer, format, values) catch problem.buffer[0..]; // Cut.
        problem.len = line.len;
        return error.Invalid;
    }
};

/// Writes `config` for `apply` into `buffer`, which has `size` bytes or more, and returns
/// what was written.
///
/// Errors: `Invalid`, and `problem` says why: a kernel of version `abi` (see
/// `landlock.detect`) cannot do it, a right is given back that is not handled, a path is
/// not absolute, or there are too many rules.
pub fn write(config: Config, abi: u32, buffer: []u8, problem: *Problem) error{Invalid}![]u8 {
    const header: Header = .{
        .handled_fs = landlock.set(FileRight, config.handled.files),
        .handled_net = landlock.set(PortRight, config.handled.ports),
        .scoped = landlock.set(landlock.Scope, config.handled.scopes),
        .paths = @intCast(@min(config.paths.len, max_paths + 1)),
        .ports = @intCast(@min(config.ports.len, max_ports + 1)),
    };
    const asked: landlock.Rules = .{ .handled_fs = header.handled_fs, .handled_net = header.handled_net, .scoped = header.scoped };
    if (landlock.missing(asked, abi)) |missing| {
        if (abi == 0) return problem.set("This kernel has no Landlock, or it is turned off (see the lsm= boot option)", .{});
        return problem.set("This kernel's Landlock has no \"{s}\": it has version {d}, and {d} is needed", .{ missing.name, abi, missing.abi });
    }
    if (header.paths > max_paths) return problem.set("Landlock rules are for at most {d} paths", .{max_paths});
    if (header.ports > max_ports) return problem.set("Landlock rules are for at most {d} ports", .{max_ports});

    var line: std.Io.Writer = .fixed(buffer);
    writeAll(config, header, &line, problem) catch |err| switch (err) {
        error.Invalid => return error.Invalid,
        error.WriteFailed => return problem.set("No room for Landlock rules", .{}),
    };
    return line.buffered();
}

fn writeAll(config: Config, header: Header, block: *std.Io.Writer, problem: *Problem) (error{Invalid} || std.Io.Writer.Error)!void {
    try block.writeAll(std.mem.asBytes(&header));
    for (config.ports) |rule| {
        for (rule.allowed) |right| if (header.handled_net >> @backingInt(right) & 1 == 0) {
            return problem.set("Landlock cannot allow \"{s}\" for port {d}: it is not handled", .{ @tagName(right), rule.port });
        };
        const entry: PortEntry = .{ .access = landlock.set(PortRight, rule.allowed), .port = rule.port };
        try block.writeAll(std.mem.asBytes(&entry));
    }
    for (config.paths) |rule| {
        const shown = rule.path[0..@min(rule.path.len, 100)];
        if (rule.path.len == 0 or rule.path[0] != '/' or rule.path.len >= std.posix.PATH_MAX) {
            return problem.set("A Landlock path is absolute and shorter than 4096 bytes: \"{s}\"", .{shown});
        }
        for (rule.allowed) |right| if (header.handled_fs >> @backingInt(right) & 1 == 0) {
            return problem.set("Landlock cannot allow \"{s}\" for \"{s}\": it is not handled", .{ @tagName(right), shown });
        };
        const access = landlock.set(FileRight, rule.allowed);
        try block.writeAll(std.mem.asBytes(&access));
        try block.writeAll(rule.path[0 .. rule.path.len + 1]);
    }
}

/// Restricts the calling thread to what `block` says, as `landlock.apply` does. `block`
/// comes from `write`.
///
/// Errors: as `landlock.apply`; `subject` is the path that could not be opened.
pub fn apply(failure: *Failure, block: []const u8, subject: *[]const u8) error{Failed}!void {
    var left = block;
    const header = take(Header, &left);
    var ports: [max_ports]landlock.Port = undefined;
    for (ports[0..header.ports]) |*port| {
        const entry = take(PortEntry, &left);
        port.* = .{ .port = @intCast(entry.port), .access = entry.access };
    }
    var paths: [max_paths]landlock.Path = undefined;
    var opened: usize = 0;
    defer for (paths[0..opened]) |path| linux.file.close(path.fd);
    for (paths[0..header.paths], 0..) |*path, position| {
        const access = take(landlock.Set, &left);
        const name = std.mem.sliceTo(left, 0);
        left = left[name.len + 1 ..];
        failure.index = @intCast(position);
        const flags: os.O = .{ .PATH = true, .CLOEXEC = true };
        const result = os.open(@ptrCast(name.ptr), flags, 0);
        if (os.errno(result) != .SUCCESS) subject.* = name;
        path.* = .{ .fd = @intCast(try failure.check(.landlock, result)), .access = access };
        opened += 1;
    }
    failure.index = 0;
    try landlock.apply(failure, .{
        .handled_fs = header.handled_fs,
        .handled_net = header.handled_net,
        .scoped = header.scoped,
        .paths = paths[0..opened],
        .ports = ports[0..header.ports],
    });
}

fn take(comptime T: type, left: *[]const u8) T {
    const value = std.mem.bytesToValue(T, left.*[0..@sizeOf(T)]);
    left.* = left.*[@sizeOf(T)..];
    return value;
}

var test_block: [4096]u8 = undefined;

fn refusal(config: Config, abi: u32) ![]const u8 {
    const Static = struct {
        var problem: Problem = .{};
    };
    try std.testing.expectError(error.Invalid, write(config, abi, &test_block, &Static.problem));
    return Static.problem.text();
}

test "what cannot be carried out is refused with its reason" {
    const cases = [_]struct { []const u8, u32, Config }{
        .{ "This kernel has no Landlock, or it is turned off (see the lsm= boot option)", 0, .{ .handled = .{ .files = &.{.execute} } } },
        .{ "This kernel's Landlock has no \"signal\": it has version 5, and 6 is needed", 5, .{ .handled = .{ .scopes = &.{.signal} } } },
        .{ "Landlock cannot allow \"read_dir\" for \"/etc\": it is not handled", 7, .{
            .handled = .{ .files = &.{.read_file} },
            .paths = &.{.{ .path = "/etc", .allowed = &.{ .read_file, .read_dir } }},
        } },
        .{ "Landlock cannot allow \"connect_tcp\" for port 443: it is not handled", 7, .{
            .handled = .{ .ports = &.{.bind_tcp} },
            .ports = &.{.{ .port = 443, .allowed = &.{.connect_tcp} }},
        } },
        .{ "A Landlock path is absolute and shorter than 4096 bytes: \"etc\"", 7, .{
            .handled = .{ .files = &.{.read_file} },
            .paths = &.{.{ .path = "etc", .allowed = &.{} }},
        } },
        .{ "Landlock rules are for at most 64 paths", 7, .{
            .handled = .{ .files = &.{.read_file} },
            .paths = &@as([65]@typeInfo(@FieldType(Config, "paths")).pointer.child, @splat(.{ .path = "/", .allowed = &.{} })),
        } },
    };
    for (cases) |case| try std.testing.expectEqualStrings(case[0], try refusal(case[2], case[1]));
}

test "a plan holds in the process that applies it" {
    var failure: Failure = .{};
    const abi = try landlock.detect(&failure);
    if (abi < 6) return error.SkipZigTest;
    var problem: Problem = .{};
    const config: Config = .{
        .handled = .{ .files = &.{ .read_file, .read_dir }, .ports = &.{.bind_tcp}, .scopes = &.{.signal} },
        .paths = &.{ .{ .path = "/proc", .allowed = &.{ .read_file, .read_dir } }, .{ .path = "/etc/passwd", .allowed = &.{.read_file} } },
        .ports = &.{ .{ .port = 0, .allowed = &.{.bind_tcp} }, .{ .port = 80, .allowed = &.{.bind_tcp} } },
    };
    const block = try write(config, abi, &test_block, &problem);
    try std.testing.expectEqual(size(config), block.len);
    const pid = linux.process.clone3(&.{ .exit_signal = @backingInt(os.SIG.CHLD) });
    if (pid == 0) linux.process.exit(restricted(block));
    try std.testing.expectEqual(0, linux.process.exitStatus(try linux.process.wait(&failure, @intCast(pid))));
}

fn restricted(block: []const u8) u8 {
    var failure: Failure = .{};
    var subject: []const u8 = "";
    if (os.errno(linux.process.prctl(.SET_NO_NEW_PRIVS, 1)) != .SUCCESS) return 1;
    apply(&failure, block, &subject) catch return 2;
    if (os.errno(os.open("/proc/self/status", .{}, 0)) != .SUCCESS) return 3;
    if (os.errno(os.open("/etc/passwd", .{}, 0)) != .SUCCESS) return 4;
    if (os.errno(os.open("/etc/group", .{}, 0)) != .ACCES) return 5;
    if (os.errno(os.kill(os.getppid(), @fromBackingInt(0))) != .PERM) return 6;
    return 0;
}

test "apply() names the path that is not there" {
    var problem: Problem = .{};
    const block = try write(.{
        .handled = .{ .files = &.{.read_file} },
        .paths = &.{ .{ .path = "/", .allowed = &.{.read_file} }, .{ .path = "/no such place", .allowed = &.{} } },
    }, 7, &test_block, &problem);
    var failure: Failure = .{};
    var subject: []const u8 = "";
    try std.testing.expectError(error.Failed, apply(&failure, block, &subject));
    try std.testing.expectEqualStrings("/no such place", subject);
    try std.testing.expectEqual(.landlock, failure.step);
    try std.testing.expectEqual(@backingInt(os.E.NOENT), failure.errno);
}
