//! Landlock: what a container's programs may do with files, ports and each other,
//! besides what users and groups allow. An extension of ours: OCI has no word for it.
//!
//! Rights that are *handled* are refused everywhere except where a rule gives them
//! back; rights that are not handled stay as they were. Nobody can take a rule away
//! again, root included, and all children have them.
//!
//! Source: landlock(7), landlock_create_ruleset(2), linux/landlock.h (ABI 8)

const std = @import("std");
const os = std.os.linux;
const linux = @import("linux");
const Failure = linux.Failure;

pub const plan = @import("landlock_plan.zig");

/// Rights, as bits: those of an enum below, by its values.
pub const Set = u64;

/// LANDLOCK_ACCESS_FS_*. landlock(7) says what each covers.
pub const FileRight = enum(u6) {
    execute,
    write_file,
    read_file,
    read_dir,
    remove_dir,
    remove_file,
    make_char,
    make_dir,
    make_reg,
    make_sock,
    make_fifo,
    make_block,
    make_sym,
    refer,
    truncate,
    ioctl_dev,

    /// The first version of Landlock that has it.
    fn since(right: FileRight) u32 {
        return switch (right) {
            .refer => 2,
            .truncate => 3,
            .ioctl_dev => 5,
            else => 1,
        };
    }
};

/// LANDLOCK_ACCESS_NET_*
pub const PortRight = enum(u6) {
    bind_tcp,
    connect_tcp,

    fn since(_: PortRight) u32 {
        return 4;
    }
};

/// LANDLOCK_SCOPE_*: only to processes of the same container.
pub const Scope = enum(u6) {
    abstract_unix_socket,
    signal,

    fn since(_: Scope) u32 {
        return 6;
    }
};

/// The bits of a list of one enum.
pub fn set(comptime Right: type, rights: []const Right) Set {
    var bits: Set = 0;
    for (rights) |right| bits |= @as(Set, 1) << @backingInt(right);
    return bits;
}

/// The rights that a rule for something else than a folder can give.
const file_rights = set(FileRight, &.{ .execute, .write_file, .read_file, .truncate, .ioctl_dev });

pub const Rules = struct {
    handled_fs: Set = 0,
    handled_net: Set = 0,
    scoped: Set = 0,
    paths: []const Path = &.{},
    ports: []const Port = &.{},
};

/// Gives rights back for a file, or for a folder and everything below it.
pub const Path = struct {
    /// Any descriptor, O_PATH ones included, opened below the container's root.
    fd: linux.fd_t,
    /// Part of `handled_fs`. What only makes sense for folders is left out for a file.
    access: Set,
};

pub const Port = struct {
    /// 0 is any port that the kernel picks, for bind_tcp.
    port: u16,
    /// Part of `handled_net`.
    access: Set,
};

/// Which version of Landlock the kernel has; 0 if it has none, or has it turned off.
pub fn detect(failure: *Failure) error{Failed}!u32 {
    const version_flag = 1; // LANDLOCK_CREATE_RULESET_VERSION
    const result = os.syscall3(.landlock_create_ruleset, 0, 0, version_flag);
    return switch (os.errno(result)) {
        .SUCCESS => @intCast(result),
        .NOSYS, .OPNOTSUPP => 0,
        else => |errno| failure.fail(.landlock, errno),
    };
}

/// What the kernel lacks.
pub const Missing = struct {
    /// The first right that it does not have, or "" if it has no Landlock at all.
    name: []const u8,
    /// The version that has it.
    abi: u32,
};

/// The first thing that `rules` ask for and a kernel of version `abi` cannot do, or null.
pub fn missing(rules: Rules, abi: u32) ?Missing {
    if (abi == 0) return .{ .name = "", .abi = 1 };
    return firstMissing(FileRight, rules.handled_fs, abi) orelse
        firstMissing(PortRight, rules.handled_net, abi) orelse
        firstMissing(Scope, rules.scoped, abi);
}

fn firstMissing(comptime Right: type, asked: Set, abi: u32) ?Missing {
    for (std.enums.values(Right)) |right| {
        if (asked >> @backingInt(right) & 1 == 1 and right.since() > abi) return .{ .name = @tagName(right), .abi = right.since() };
    }
    return null;
}

/// Restricts the calling thread and all it starts, for good.
///
/// It must have no_new_privs, or CAP_SYS_ADMIN in its user namespace. Afterwards no
/// mount can be changed, so this comes when the file tree stands, and before the
/// seccomp filter, which may refuse these calls. The command needs "execute" and
/// "read_file" where its program and libraries lie, if they are handled.
///
/// Errors: EOPNOTSUPP if the kernel cannot do all of it: then nothing was restricted,
/// and `missing` says what. Otherwise `failure.index` is the position in `paths`, or
/// after those in `ports`: EINVAL for rights that are not handled.
pub fn apply(failure: *Failure, rules: Rules) error{Failed}!void {
    const abi = try detect(failure);
    if (missing(rules, abi) != null) return failure.fail(.landlock, .OPNOTSUPP);

    const attributes: [3]u64 = .{ rules.handled_fs, rules.handled_net, rules.scoped };
    // A kernel refuses fields that it does not know, even empty ones it could ignore.
    const size: usize = if (abi >= 6) 24 else if (abi >= 4) 16 else 8;
    const created = os.syscall3(.landlock_create_ruleset, @intFromPtr(&attributes), size, 0);
    const ruleset: linux.fd_t = @intCast(try failure.check(.landlock, created));
    defer linux.file.close(ruleset);

    for (rules.paths, 0..) |path, position| {
        failure.index = @intCast(position);
        const access = if (try isFolder(failure, path.fd)) path.access else path.access & file_rights;
        if (access == 0) continue; // Nothing of it concerns a file.
        try add(failure, ruleset, .path_beneath, &PathBeneath{ .allowed_access = access, .parent_fd = path.fd });
    }
    for (rules.ports, rules.paths.len..) |port, position| {
        failure.index = @intCast(position);
        try add(failure, ruleset, .net_port, &NetPort{ .allowed_access = port.access, .port = port.port });
    }
    failure.index = 0;
    _ = try failure.check(.landlock, os.syscall2(.landlock_restrict_self, @intCast(ruleset), 0));
}

fn isFolder(failure: *Failure, fd: linux.fd_t) error{Failed}!bool {
    var status: os.Statx = undefined;
    _ = try failure.check(.landlock, os.statx(fd, "", os.AT.EMPTY_PATH, .{ .TYPE = true }, &status));
    return status.mode & os.S.IFMT == os.S.IFDIR;
}

const RuleType = enum(u32) { path_beneath = 1, net_port = 2 };

fn add(failure: *Failure, ruleset: linux.fd_t, kind: RuleType, attributes: *const anyopaque) error{Failed}!void {
    const result = os.syscall4(.landlock_add_rule, @intCast(ruleset), @backingInt(kind), @intFromPtr(attributes), 0);
    _ = try failure.check(.landlock, result);
}

/// struct landlock_path_beneath_attr, which is packed: nothing follows the descriptor.
const PathBeneath = extern struct {
    allowed_access: u64 align(4),
    parent_fd: i32,

    comptime {
        std.debug.assert(@sizeOf(PathBeneath) == 12);
    }
};

/// struct landlock_net_port_attr
const NetPort = extern struct {
    allowed_access: u64,
    port: u64,
};

test {
    _ = plan;
}

test "rights have the kernel's bits" {
    try std.testing.expectEqual(1 << 0, set(FileRight, &.{.execute}));
    try std.testing.expectEqual(1 << 12 | 1 << 15, set(FileRight, &.{ .make_sym, .ioctl_dev }));
    try std.testing.expectEqual(1 << 1, set(PortRight, &.{.connect_tcp}));
    try std.testing.expectEqual(1 << 1, set(Scope, &.{.signal}));
    try std.testing.expectEqual(0, set(Scope, &.{}));
}

test "missing() names what an older kernel lacks" {
    const rules: Rules = .{ .handled_fs = set(FileRight, &.{ .read_file, .refer, .truncate }), .handled_net = set(PortRight, &.{.bind_tcp}), .scoped = set(Scope, &.{.signal}) };
    const expected = [_]?[]const u8{ "", "refer", "truncate", "bind_tcp", "signal", "signal", null, null };
    for (expected, 0..) |name, abi| {
        const found = missing(rules, @intCast(abi));
        if (name) |right| {
            try std.testing.expectEqualStrings(right, found.?.name);
        } else {
            try std.testing.expectEqual(null, found);
        }
    }
    try std.testing.expectEqual(null, missing(.{ .handled_fs = set(FileRight, &.{.execute}) }, 1));
}

/// Runs `body` in a process with no_new_privs and returns its exit status.
fn inChild(body: *const fn () u8) !u8 {
    var failure: Failure = .{};
    const args: linux.process.CloneArgs = .{ .exit_signal = @backingInt(os.SIG.CHLD) };
    const pid = linux.process.clone3(&args);
    if (pid == 0) {
        if (os.errno(linux.process.prctl(.SET_NO_NEW_PRIVS, 1)) != .SUCCESS) linux.process.exit(255);
        linux.process.exit(body());
    }
    return linux.process.exitStatus(try linux.process.wait(&failure, @intCast(pid)));
}

fn needsAbi(abi: u32) !void {
    var failure: Failure = .{};
    if (try detect(&failure) < abi) return error.SkipZigTest;
}

fn openError(path: [*:0]const u8, flags: os.O) os.E {
    return os.errno(os.open(path, flags, 0));
}

test "files are readable where a rule says so, and only there" {
    try needsAbi(3);
    try std.testing.expectEqual(0, try inChild(struct {
        fn body() u8 {
            var failure: Failure = .{};
            const folder = linux.file.open(&failure, "/proc", .{ .PATH = true, .CLOEXEC = true }, 0) catch return 1;
            const file = linux.file.open(&failure, "/etc/passwd", .{ .PATH = true, .CLOEXEC = true }, 0) catch return 2;
            const reading = set(FileRight, &.{ .read_file, .read_dir });
            apply(&failure, .{
                .handled_fs = reading | set(FileRight, &.{ .write_file, .make_reg, .truncate }),
                .paths = &.{ .{ .fd = folder, .access = reading }, .{ .fd = file, .access = reading } },
            }) catch return 3;
            if (openError("/proc/self/status", .{}) != .SUCCESS) return 4;
            if (openError("/proc/self", .{ .DIRECTORY = true }) != .SUCCESS) return 5;
            if (openError("/etc/passwd", .{}) != .SUCCESS) return 6;
            if (openError("/etc/group", .{}) != .ACCES) return 7;
            if (openError("/etc", .{ .DIRECTORY = true }) != .ACCES) return 8;
            if (openError("/proc/self/comm", .{ .ACCMODE = .WRONLY }) != .ACCES) return 9;
            return 0;
        }
    }.body));
}

test "TCP ports are bound where a rule says so, and only there" {
    try needsAbi(4);
    try std.testing.expectEqual(0, try inChild(struct {
        fn bind(port: u16) os.E {
            const socket: i32 = @intCast(os.socket(os.AF.INET, os.SOCK.STREAM | os.SOCK.CLOEXEC, 0));
            const address: os.sockaddr.in = .{ .port = std.mem.nativeToBig(u16, port), .addr = std.mem.nativeToBig(u32, 0x7f000001) };
            return os.errno(os.bind(socket, @ptrCast(&address), @sizeOf(os.sockaddr.in)));
        }

        fn body() u8 {
            var failure: Failure = .{};
            apply(&failure, .{
                .handled_net = set(PortRight, &.{.bind_tcp}),
                .ports = &.{.{ .port = 0, .access = set(PortRight, &.{.bind_tcp}) }},
            }) catch return 1;
            if (bind(0) != .SUCCESS) return 2;
            if (bind(40_123) != .ACCES) return 3;
            return 0;
        }
    }.body));
}

test "signals stay inside a scope" {
    try needsAbi(6);
    try std.testing.expectEqual(0, try inChild(struct {
        fn body() u8 {
            var failure: Failure = .{};
            const none: os.SIG = @fromBackingInt(0);
            if (os.errno(os.kill(os.getppid(), none)) != .SUCCESS) return 1;
            apply(&failure, .{ .scoped = set(Scope, &.{.signal}) }) catch return 2;
            if (os.errno(os.kill(os.getppid(), none)) != .PERM) return 3;
            if (os.errno(os.kill(os.getpid(), none)) != .SUCCESS) return 4;
            return 0;
        }
    }.body));
}

test "apply() says which rule is wrong, and restricts nothing then" {
    try needsAbi(4);
    try std.testing.expectEqual(0, try inChild(struct {
        fn body() u8 {
            var failure: Failure = .{};
            const root = linux.file.open(&failure, "/", .{ .PATH = true, .CLOEXEC = true }, 0) catch return 1;
            const rules: Rules = .{
                .handled_fs = set(FileRight, &.{.read_file}),
                .paths = &.{.{ .fd = root, .access = set(FileRight, &.{.read_file}) }},
                .ports = &.{.{ .port = 80, .access = set(PortRight, &.{.bind_tcp}) }},
            };
            if (apply(&failure, rules)) |_| return 2 else |_| {}
            if (failure.step != .landlock or failure.index != 1 or failure.errno != @backingInt(os.E.INVAL)) return 3;
            if (openError("/etc/passwd", .{}) != .SUCCESS) return 4;
            return 0;
        }
    }.body));
}
