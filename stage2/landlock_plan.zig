//! Landlock as a plan says it, and on its way into the container: a flat block of
//! memory that stage2 writes and the process applies to itself, where the paths are.

const std = @import("std");
const os = std.os.linux;
const linux = @import("linux");
const Failure = linux.Failure;
const landlock = @import("landlock.zig");
const FileRight = landlock.FileRight;
const PortRight = landlock.PortRight;
const Scope = landlock.Scope;

/// The fields' names are the keys; rights are the names of `FileRight`, `PortRight` and
/// `Scope`.
pub const Config = struct {
    /// Refused everywhere, except where a rule gives it back.
    handled: []const [:0]const u8,
    rules: []const Rule = &.{},
};

/// For a path or for a port.
pub const Rule = struct {
    /// Absolute, as the container sees it when its file tree stands; it must exist.
    path: ?[:0]const u8 = null,
    port: ?u16 = null,
    /// Part of `handled`.
    allowed: []const [:0]const u8,
};

pub const max_paths = 64;
pub const max_ports = 64;

/// How many bytes `write` needs for `config`.
pub fn size(config: Config) usize {
    var bytes: usize = @sizeOf(Header);
    for (config.rules) |rule| {
        bytes += if (rule.path) |path| @sizeOf(landlock.Set) + path.len + 1 else @sizeOf(PortEntry);
    }
    return bytes;
}

/// The ports follow it, then for each path its rights and its name, ended by NUL.
const Header = extern struct {
    handled: Rights,
    paths: u32 = 0,
    ports: u32 = 0,
};

const PortEntry = extern struct { access: u64, port: u64 };

/// Rights of each kind.
const Rights = extern struct {
    files: landlock.Set = 0,
    ports: landlock.Set = 0,
    scopes: landlock.Set = 0,

    /// Adds the right of that name; false if there is none.
    fn add(rights: *Rights, name: []const u8) bool {
        return addOf(std.meta.fieldNames(FileRight), &rights.files, name) or
            addOf(std.meta.fieldNames(PortRight), &rights.ports, name) or
            addOf(std.meta.fieldNames(Scope), &rights.scopes, name);
    }

    noinline fn addOf(names: []const [:0]const u8, bits: *landlock.Set, name: []const u8) bool {
        for (names, 0..) |known, place| if (std.mem.eql(u8, known, name)) {
            bits.* |= @as(landlock.Set, 1) << @intCast(place);
            return true;
        };
        return false;
    }
};

/// Why a plan is refused.
pub const Problem = struct {
    buffer: [256]u8 = undefined,
    len: usize = 0,

    /// One line: `Landlock cannot allow "read_dir": it is not handled`.
    pub fn text(problem: *const Problem) []const u8 {
        return problem.buffer[0..problem.len];
    }

    /// The parts in one line, cut to what fits.
    ///
    /// Not inlined, as other helpers of cold code here: the program has to stay small.
    noinline fn set(problem: *Problem, parts: []const []const u8) error{Invalid} {
        problem.len = 0;
        for (parts) |part| {
            const take_len = @min(part.len, problem.buffer.len - problem.len);
            @memcpy(problem.buffer[problem.len..][0..take_len], part[0..take_len]);
            problem.len += take_len;
        }
        return error.Invalid;
    }
};

/// Writes `config` for `apply` into `buffer`, which has `size` bytes or more, and returns
/// what was written.
///
/// Errors: `Invalid`, and `problem` says why: a kernel of version `abi` (see
/// `landlock.detect`) cannot do it, a right is given back that is not handled or not one
/// of a path or port, a path is not absolute, or there are too many rules.
pub fn write(config: Config, abi: u32, buffer: []u8, problem: *Problem) error{Invalid}![]u8 {
    var header: Header = .{ .handled = .{} };
    for (config.handled) |name| {
        if (!header.handled.add(name)) return problem.set(&.{ "Landlock has no right \"", name, "\"" });
    }
    const asked: landlock.Rules = .{ .handled_fs = header.handled.files, .handled_net = header.handled.ports, .scoped = header.handled.scopes };
    if (landlock.missing(asked, abi)) |missing| {
        if (abi == 0) return problem.set(&.{"This kernel has no Landlock, or it is turned off (see the lsm= boot option)"});
        const digits = "0123456789";
        const needed = digits[missing.abi..][0..1];
        return problem.set(&.{ "This kernel's Landlock has no \"", missing.name, "\": version ", needed, " is needed" });
    }
    var block: Block = .{ .bytes = buffer };
    block.put(std.mem.asBytes(&header));
    for (config.rules) |rule| if (rule.port) |port| {
        if (rule.path != null) return problem.set(&.{"A Landlock rule is for a path or for a port, not for both"});
        const rights = try allowed(rule, header.handled, problem);
        if (rights.files | rights.scopes != 0) return problem.set(&.{"A Landlock rule for a port allows bind_tcp and connect_tcp only"});
        block.put(std.mem.asBytes(&PortEntry{ .access = rights.ports, .port = port }));
        header.ports += 1;
    };
    for (config.rules) |rule| if (rule.port == null) {
        const path = rule.path orelse return problem.set(&.{"A Landlock rule needs a path or a port"});
        if (path.len == 0 or path[0] != '/' or path.len >= std.posix.PATH_MAX) {
            return problem.set(&.{ "A Landlock path is absolute and shorter than 4096 bytes: \"", path, "\"" });
        }
        const rights = try allowed(rule, header.handled, problem);
        if (rights.ports | rights.scopes != 0) return problem.set(&.{"A Landlock rule for a path allows rights for files only"});
        block.put(std.mem.asBytes(&rights.files));
        block.put(path[0 .. path.len + 1]);
        header.paths += 1;
    };
    if (header.paths > max_paths) return problem.set(&.{"Landlock rules are for at most 64 paths"});
    if (header.ports > max_ports) return problem.set(&.{"Landlock rules are for at most 64 ports"});
    @memcpy(buffer[0..@sizeOf(Header)], std.mem.asBytes(&header));
    return buffer[0..block.len];
}

/// The rights of a rule, all of them handled.
fn allowed(rule: Rule, handled: Rights, problem: *Problem) error{Invalid}!Rights {
    var rights: Rights = .{};
    for (rule.allowed) |name| {
        if (!rights.add(name)) return problem.set(&.{ "Landlock has no right \"", name, "\"" });
        if (rights.files & ~handled.files | rights.ports & ~handled.ports | rights.scopes & ~handled.scopes != 0) {
            return problem.set(&.{ "Landlock cannot allow \"", name, "\": it is not handled" });
        }
    }
    return rights;
}

const Block = struct {
    bytes: []u8,
    len: usize = 0,

    noinline fn put(block: *Block, part: []const u8) void {
        @memcpy(block.bytes[block.len..][0..part.len], part);
        block.len += part.len;
    }
};

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
        .handled_fs = header.handled.files,
        .handled_net = header.handled.ports,
        .scoped = header.handled.scopes,
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
    const many: [65]Rule = @splat(.{ .path = "/", .allowed = &.{} });
    const reading: []const [:0]const u8 = &.{ "read_file", "bind_tcp" };
    const cases = [_]struct { []const u8, u32, Config }{
        .{ "This kernel has no Landlock, or it is turned off (see the lsm= boot option)", 0, .{ .handled = &.{"execute"} } },
        .{ "This kernel's Landlock has no \"signal\": version 6 is needed", 5, .{ .handled = &.{ "execute", "signal" } } },
        .{ "Landlock has no right \"read\"", 7, .{ .handled = &.{"read"} } },
        .{ "Landlock has no right \"\"", 7, .{ .handled = reading, .rules = &.{.{ .path = "/", .allowed = &.{""} }} } },
        .{ "Landlock cannot allow \"read_dir\": it is not handled", 7, .{
            .handled = reading,
            .rules = &.{.{ .path = "/etc", .allowed = &.{ "read_file", "read_dir" } }},
        } },
        .{ "Landlock cannot allow \"connect_tcp\": it is not handled", 7, .{
            .handled = reading,
            .rules = &.{.{ .port = 443, .allowed = &.{"connect_tcp"} }},
        } },
        .{ "A Landlock rule for a path allows rights for files only", 7, .{
            .handled = reading,
            .rules = &.{.{ .path = "/", .allowed = &.{"bind_tcp"} }},
        } },
        .{ "A Landlock rule for a port allows bind_tcp and connect_tcp only", 7, .{
            .handled = reading,
            .rules = &.{.{ .port = 1, .allowed = &.{"read_file"} }},
        } },
        .{ "A Landlock rule needs a path or a port", 7, .{ .handled = reading, .rules = &.{.{ .allowed = &.{} }} } },
        .{ "A Landlock rule is for a path or for a port, not for both", 7, .{
            .handled = reading,
            .rules = &.{.{ .path = "/", .port = 1, .allowed = &.{} }},
        } },
        .{ "A Landlock path is absolute and shorter than 4096 bytes: \"etc\"", 7, .{
            .handled = reading,
            .rules = &.{.{ .path = "etc", .allowed = &.{} }},
        } },
        .{ "Landlock rules are for at most 64 paths", 7, .{ .handled = reading, .rules = &many } },
    };
    for (cases) |case| try std.testing.expectEqualStrings(case[0], try refusal(case[2], case[1]));
}

test "a plan holds in the process that applies it" {
    var failure: Failure = .{};
    const abi = try landlock.detect(&failure);
    if (abi < 6) return error.SkipZigTest;
    var problem: Problem = .{};
    const config: Config = .{ .handled = &.{ "read_file", "read_dir", "bind_tcp", "signal" }, .rules = &.{
        .{ .path = "/proc", .allowed = &.{ "read_file", "read_dir" } },
        .{ .port = 0, .allowed = &.{"bind_tcp"} },
        .{ .path = "/etc/passwd", .allowed = &.{"read_file"} },
        .{ .port = 80, .allowed = &.{"bind_tcp"} },
    } };
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
    const block = try write(.{ .handled = &.{"read_file"}, .rules = &.{
        .{ .path = "/", .allowed = &.{"read_file"} },
        .{ .path = "/no such place", .allowed = &.{} },
    } }, 7, &test_block, &problem);
    var failure: Failure = .{};
    var subject: []const u8 = "";
    try std.testing.expectError(error.Failed, apply(&failure, block, &subject));
    try std.testing.expectEqualStrings("/no such place", subject);
    try std.testing.expectEqual(.landlock, failure.step);
    try std.testing.expectEqual(@backingInt(os.E.NOENT), failure.errno);
}
