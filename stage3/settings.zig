//! What stage2 tells the init of a container: one flat block of memory that goes
//! through exec in a sealed memory file. Both ends are the same program, so the
//! layout needs no version.

const std = @import("std");
const linux = @import("linux");
const capabilities = @import("capabilities");
const seccomp = @import("seccomp");
const Rlimit = @import("rlimits").Limit;
const assert = std.debug.assert;
const Failure = linux.Failure;

/// The fixed part. The lists follow it in the order of their counts: 8-byte ones
/// first, then 4-byte ones, then the strings, each ended by NUL.
pub const Header = extern struct {
    bytes: u64 = 0,
    capabilities: capabilities.Sets = .{},
    /// Instructions of the seccomp filter; 0 for none.
    filter: u32 = 0,
    /// SECCOMP_FILTER_FLAG_* of the filter.
    filter_flags: u32 = 0,
    /// Bytes of Landlock's block; 0 for none.
    landlock: u32 = 0,
    /// Bytes of the hooks that run before its exec, as hooks.Packed; 0 for none.
    hooks: u32 = 0,
    rlimits: u32 = 0,
    groups: u32 = 0,
    args: u32 = 0,
    env: u32 = 0,
    uid: u32 = 0,
    gid: u32 = 0,
    umask: u32 = 0o022,
    /// Socket for the listener of a filter that asks one, or -1; stage2/notify.zig waits there.
    notify_fd: i32 = -1,
    /// The signal that asks the main process to end.
    stop_signal: u32 = 15,
    /// Sequenced-packet socket to stage2: `Status` messages, then end of file.
    status_fd: i32 = -1,
    flags: Flags = .{},
    /// Listening, non-blocking socket for the text RPC, or -1.
    listener_fd: i32 = -1,
    /// Folder for the log of the main process's output, which only root in the container
    /// need be able to write to; or -1, and the output goes where 1 and 2 go.
    log_fd: i32 = -1,
    /// A socket to stage1 that the main process inherits, or -1.
    stage1_fd: i32 = -1,
    /// The master of the main process's terminal, to be kept, or -1.
    terminal_fd: i32 = -1,
    /// A socket that a main process which is made ahead waits on for what it is to execute, or -1.
    rest_fd: i32 = -1,
    /// Where the init leaves how the container ended (ended.zig), or -1.
    ended_fd: i32 = -1,
    /// From the stop signal to the kill, in milliseconds.
    stop_limit_ms: u32 = 10_000,
    log_max_files: u32 = 3,
    /// In bytes, of each file.
    log_max_size: u64 = 10 * 1024 * 1024,

    pub const Flags = packed struct(u32) {
        no_new_privs: bool = false,
        /// 0 to 2 are a terminal: make it the controlling one.
        terminal: bool = false,
        /// The first string is `user[:group]`, to be looked up in the container.
        user_name: bool = false,
        ready: Ready = .unsaid,
        /// The main process's input stays open, and others may write to it.
        input: bool = false,
        _: u26 = 0,
    };

    comptime {
        assert(@sizeOf(Header) % 8 == 0);
    }
};

/// What a process does before its exec, when all is set up.
pub const Ready = enum(u2) {
    unsaid,
    /// Says it on the status socket.
    said,
    /// Says it and waits for a packet.
    held,
};

/// What goes from the container to stage2 over the status socket; a message with
/// `kind` terminal carries the pty's master, one of `kind` started the init's pid;
/// one of `kind` namespace a user namespace to keep; one of `kind` hooks the plan, for its
/// hooks that run later; `finished` ends the work of a worker that makes no process.
pub const Status = extern struct {
    kind: Kind,
    pid: i32 = 0,
    user_namespace: bool = false,
    /// A cgroup was made for it, which outlives it.
    cgroup: bool = false,
    failure: Failure = .{},
    subject_len: u32 = 0,
    subject: [368]u8 = @splat(0),

    pub const Kind = enum(u32) { started, failed, terminal, held, finished, namespace, prepared, hooks };

    /// Nothing but its kind. Not a constant: each would be as large in the program.
    pub noinline fn of(kind: Kind) Status {
        return .{ .kind = kind };
    }

    /// The failure of `subject`, cut to what fits.
    pub noinline fn failed(failure: Failure, subject: []const u8) Status {
        var status: Status = .said(.failed, subject);
        status.failure = failure;
        return status;
    }

    /// A message with text or data, cut to what fits.
    pub fn said(kind: Kind, subject: []const u8) Status {
        var status: Status = .{ .kind = kind };
        status.subject_len = @min(subject.len, status.subject.len);
        @memcpy(status.subject[0..status.subject_len], subject[0..status.subject_len]);
        return status;
    }

    /// Tells who reads `socket`, if anybody still does: whoever is gone need not know.
    pub noinline fn tell(status: *const Status, socket: linux.fd_t) void {
        _ = linux.os.sendto(socket, std.mem.asBytes(status).ptr, @sizeOf(Status), linux.os.MSG.NOSIGNAL, null, 0);
    }
};

/// Everything but strings and lists is in `header`; what it counts is here.
pub const Settings = struct {
    header: *const Header,
    filter: []const seccomp.Instruction,
    /// As landlock.plan.write() makes it.
    landlock: []const u8,
    hooks: []const u8,
    rlimits: []const Rlimit,
    groups: []const u32,
    /// `user[:group]`, or null when uid and gid are in the header.
    user: ?[*:0]const u8,
    /// Absolute, inside the container.
    cwd: [*:0]const u8,
    /// The pid of an init's main process, in memory that both have if it is made ahead; null for
    /// any other process.
    main: ?*linux.pid_t = null,
    argv: [*:null]const ?[*:0]const u8,
    envp: [*:null]const ?[*:0]const u8,
};

/// Writes the block into `buffer` and returns the part used; null if it is too small.
/// The counts and `bytes` of `header` are filled in here.
pub fn write(buffer: []align(8) u8, header: Header, filter: []const seccomp.Instruction, landlock: []const u8, hooks: []const u8, rlimits: []const Rlimit, groups: []const u32, user: ?[:0]const u8, cwd: [:0]const u8, args: []const [:0]const u8, env: []const [:0]const u8) ?[]u8 {
    var writer: Writer = .{ .buffer = buffer };
    var filled = header;
    filled.filter = @intCast(filter.len);
    filled.landlock = @intCast(landlock.len);
    filled.hooks = @intCast(hooks.len);
    filled.rlimits = @intCast(rlimits.len);
    filled.groups = @intCast(groups.len);
    filled.args = @intCast(args.len);
    filled.env = @intCast(env.len);
    filled.flags.user_name = user != null;
    writer.put(std.mem.asBytes(&filled));
    writer.put(std.mem.sliceAsBytes(filter));
    writer.put(std.mem.sliceAsBytes(rlimits));
    writer.put(std.mem.sliceAsBytes(groups));
    writer.put(landlock);
    writer.put(hooks);
    if (user) |name| writer.put(name[0 .. name.len + 1]);
    writer.put(cwd[0 .. cwd.len + 1]);
    for (args) |text| writer.put(text[0 .. text.len + 1]);
    for (env) |text| writer.put(text[0 .. text.len + 1]);
    if (writer.overflow) return null;
    @as(*Header, @ptrCast(buffer.ptr)).bytes = writer.len;
    return buffer[0..writer.len];
}

const Writer = struct {
    buffer: []u8,
    len: usize = 0,
    overflow: bool = false,

    fn put(writer: *Writer, bytes: []const u8) void {
        if (writer.overflow or bytes.len > writer.buffer.len - writer.len) {
            writer.overflow = true;
            return;
        }
        @memcpy(writer.buffer[writer.len..][0..bytes.len], bytes);
        writer.len += bytes.len;
    }
};

/// Maps the block behind `fd` and closes it. The mapping lives as long as the process.
pub fn map(failure: *Failure, fd: linux.fd_t) error{Failed}!Settings {
    defer linux.file.close(fd);
    var header: Header = undefined;
    if ((try linux.file.readAll(failure, fd, std.mem.asBytes(&header))).len < @sizeOf(Header)) return failure.fail(.init, .INVAL);
    const arrays = (header.args + header.env + 2) * @sizeOf(usize);
    const block = try linux.file.mapPrivate(failure, fd, header.bytes);
    const pointers = try linux.file.mapPrivate(failure, -1, arrays);
    return read(block, @ptrCast(@alignCast(pointers)));
}

/// The parts of a block; `pointers` takes the arrays that execve(2) wants.
pub fn read(block: []align(8) const u8, pointers: [*]?[*:0]const u8) Settings {
    const header: *const Header = @ptrCast(block.ptr);
    var at: usize = @sizeOf(Header);
    const filter = @as([*]const seccomp.Instruction, @ptrCast(@alignCast(block.ptr + at)))[0..header.filter];
    at += filter.len * @sizeOf(seccomp.Instruction);
    const rlimits = @as([*]const Rlimit, @ptrCast(@alignCast(block.ptr + at)))[0..header.rlimits];
    at += rlimits.len * @sizeOf(Rlimit);
    const groups = @as([*]const u32, @ptrCast(@alignCast(block.ptr + at)))[0..header.groups];
    at += groups.len * @sizeOf(u32);
    const landlock = block[at..][0..header.landlock];
    at += landlock.len;
    const hooks = block[at..][0..header.hooks];
    at += hooks.len;
    const user = if (header.flags.user_name) nextString(block, &at) else null;
    const cwd = nextString(block, &at);
    for (pointers[0..header.args]) |*slot| slot.* = nextString(block, &at);
    pointers[header.args] = null;
    const variables = pointers + header.args + 1;
    for (variables[0..header.env]) |*slot| slot.* = nextString(block, &at);
    variables[header.env] = null;
    return .{
        .header = header,
        .filter = filter,
        .landlock = landlock,
        .hooks = hooks,
        .rlimits = rlimits,
        .groups = groups,
        .user = user,
        .cwd = cwd,
        .argv = @ptrCast(pointers),
        .envp = @ptrCast(variables),
    };
}

fn nextString(block: []const u8, at: *usize) [*:0]const u8 {
    const start = at.*;
    const end = std.mem.findScalarPos(u8, block, start, 0).?;
    at.* = end + 1;
    return block[start..end :0].ptr;
}

test "what is written is read" {
    var buffer: [1024]u8 align(8) = undefined;
    const rlimits = [_]Rlimit{.{ .resource = 7, .soft = 1, .hard = 2 }};
    const block = write(&buffer, .{ .uid = 5 }, &.{}, "rules", "hooks", &rlimits, &.{ 1, 2, 3 }, "app:web", "/srv", &.{ "/bin/sh", "-c" }, &.{"A=b"}).?;
    var pointers: [5]?[*:0]const u8 = undefined;
    const settings = read(@alignCast(block), &pointers);
    try std.testing.expectEqual(5, settings.header.uid);
    try std.testing.expectEqual(2, settings.rlimits[0].hard);
    try std.testing.expectEqual(3, settings.groups[2]);
    try std.testing.expectEqualStrings("rules", settings.landlock);
    try std.testing.expectEqualStrings("hooks", settings.hooks);
    try std.testing.expectEqualStrings("app:web", std.mem.span(settings.user.?));
    try std.testing.expectEqualStrings("/srv", std.mem.span(settings.cwd));
    try std.testing.expectEqualStrings("-c", std.mem.span(settings.argv[1].?));
    try std.testing.expectEqual(null, settings.argv[2]);
    try std.testing.expectEqualStrings("A=b", std.mem.span(settings.envp[0].?));
    var small: [64]u8 align(8) = undefined;
    try std.testing.expectEqual(null, write(&small, .{}, &.{}, &.{}, &.{}, &rlimits, &.{}, null, "/", &.{"x"}, &.{}));
}
