//! Programs of the administrator that run at six points of a container's life.
//!
//! A hook reads the container's state on its stdin. It is the host's program: nothing
//! that an image says reaches it, neither variables nor a working directory, and it has
//! no descriptor but its streams. Whoever calls `run` waits, so that is a worker.
//!
//! Source: OCI runtime-spec 1.3, config.md "POSIX-platform Hooks", runtime.md "Lifecycle"

const std = @import("std");
const linux = @import("linux");
pub const state = @import("state.zig");
const os = linux.os;
const Failure = linux.Failure;
const fd_t = linux.fd_t;

/// One hook, as config.json has it.
pub const Hook = struct {
    /// Absolute, on the host.
    path: [:0]const u8,
    /// argv; empty: the path alone.
    args: []const [:0]const u8 = &.{},
    /// The whole environment; empty: `default_env`.
    env: []const [:0]const u8 = &.{},
    /// Seconds until it is killed; null: as long as it takes.
    timeout: ?u32 = null,
};

/// `hooks` of config.json.
pub const Hooks = struct {
    prestart: []const Hook = &.{},
    createRuntime: []const Hook = &.{},
    createContainer: []const Hook = &.{},
    startContainer: []const Hook = &.{},
    poststart: []const Hook = &.{},
    poststop: []const Hook = &.{},

    pub noinline fn at(hooks: *const Hooks, point: Point) []const Hook {
        return switch (point) {
            inline else => |known| @field(hooks, @tagName(known)),
        };
    }

    /// Whether there is one.
    pub fn any(hooks: *const Hooks) bool {
        for (std.enums.values(Point)) |point| if (hooks.at(point).len > 0) return true;
        return false;
    }

    /// The first hook that cannot be run as it is written; null if all can. To be asked
    /// before anything is started: a poststop hook would be found out too late.
    pub fn firstInvalid(hooks: *const Hooks) ?Place {
        for (std.enums.values(Point)) |point| {
            for (hooks.at(point), 0..) |hook, entry| {
                if (!isValid(hook)) return .{ .point = point, .entry = @truncate(entry) };
            }
        }
        return null;
    }
};

/// When, in this order. The first four run before the command does, the first two and
/// the last two on the host; createContainer and startContainer belong to the container's
/// namespaces, which the caller has entered then.
pub const Point = enum(u16) {
    prestart,
    createRuntime,
    createContainer,
    startContainer,
    poststart,
    poststop,

    /// Whether a failure ends the container and the hooks after it. At the end nothing is
    /// left to end: there the others run all the same.
    pub fn isFatal(point: Point) bool {
        return point != .poststop;
    }
};

/// Which hook, as `Failure.index` carries it.
pub const Place = packed struct(u32) {
    point: Point,
    entry: u16,
};

/// What a hook without variables of its own is given.
pub const default_env = [_][:0]const u8{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};

/// More arguments or variables than this are refused.
const max_strings = 255;

/// What a hook says last is kept for the message.
const max_output = 1024;

/// How the first hook that failed did so.
pub const Problem = struct {
    place: Place = undefined,
    path: []const u8 = "",
    /// Null if none failed.
    cause: ?Cause = null,
    output: Tail = .{},

    pub const Cause = union(enum) {
        /// It could not be started.
        errno: linux.E,
        /// Its exit status.
        exited: u8,
        /// The signal that ended it.
        signalled: u8,
        /// Seconds after which it was killed.
        timed_out: u32,
    };

    /// `Cannot run hook "poststop[0]": "/bin/x" exited with 3: no such bridge`, cut at the
    /// end of `buffer`. What the hook said has no control characters left.
    pub fn message(problem: *const Problem, buffer: []u8) []const u8 {
        const cause = problem.cause orelse return buffer[0..0];
        var len = linux.text.printCut(buffer, "Cannot run hook \"{t}[{d}]\": \"{s}\" ", .{ problem.place.point, problem.place.entry, problem.path }).len;
        const rest = buffer[len..];
        len += switch (cause) {
            .errno => |errno| linux.text.printCut(rest, "does not start: E{t}", .{errno}),
            .exited => |status| linux.text.printCut(rest, "exited with {d}", .{status}),
            .signalled => |signal| linux.text.printCut(rest, "was ended by signal {d}", .{signal}),
            .timed_out => |seconds| linux.text.printCut(rest, "took longer than {d} s", .{seconds}),
        }.len;
        const said = std.mem.trim(u8, problem.output.text(), " \t\r\n");
        if (said.len == 0) return buffer[0..len];
        const output = linux.text.printCut(buffer[len..], ": {s}", .{said});
        for (output) |*byte| {
            if (byte.* < ' ' or byte.* == 0x7f) byte.* = ' ';
        }
        return buffer[0 .. len + output.len];
    }
};

/// The end of a text of any length.
const Tail = struct {
    bytes: [max_output]u8 = undefined,
    len: usize = 0,

    fn add(tail: *Tail, more: []const u8) void {
        const new = more[more.len -| max_output..];
        const kept = @min(tail.len, max_output - new.len);
        std.mem.copyForwards(u8, tail.bytes[0..kept], tail.bytes[tail.len - kept .. tail.len]);
        @memcpy(tail.bytes[kept..][0..new.len], new);
        tail.len = kept + new.len;
    }

    fn text(tail: *const Tail) []const u8 {
        return tail.bytes[0..tail.len];
    }
};

/// Runs the hooks of `point` one after the other, each with `about` (JSON) on stdin, in
/// `folder`, or in / if there is none.
/// `problem` tells of the first that failed. At a fatal point that is an error as well,
/// and no other runs: `step` is `hook`, `index` a `Place`, errno ECANCELED. After poststop
/// the caller warns of `problem`.
pub fn run(failure: *Failure, hooks: *const Hooks, point: Point, about: []const u8, folder: ?fd_t, problem: *Problem) error{Failed}!void {
    problem.* = .{};
    for (hooks.at(point), 0..) |hook, entry| {
        const place: Place = .{ .point = point, .entry = @truncate(entry) };
        var output: Tail = .{};
        const cause = runOne(hook, about, folder, &output) orelse continue;
        if (problem.cause == null) problem.* = .{ .place = place, .path = hook.path, .cause = cause, .output = output };
        if (!point.isFatal()) continue;
        if (failure.step == .none) failure.index = @bitCast(place);
        return failure.fail(.hook, .CANCELED);
    }
}

fn isValid(hook: Hook) bool {
    if (hook.path.len == 0 or hook.path[0] != '/' or hook.timeout == 0) return false;
    if (hook.args.len > max_strings or hook.env.len > max_strings) return false;
    for (hook.env) |variable| if ((std.mem.findScalar(u8, variable, '=') orelse 0) == 0) return false;
    return true;
}

/// Null if it ended well.
fn runOne(hook: Hook, about: []const u8, folder: ?fd_t, output: *Tail) ?Problem.Cause {
    if (!isValid(hook)) return .{ .errno = .INVAL };
    var failure: Failure = .{};
    return supervise(&failure, hook, about, folder, output) catch .{ .errno = @fromBackingInt(failure.errno) };
}

fn supervise(failure: *Failure, hook: Hook, about: []const u8, folder: ?fd_t, output: *Tail) error{Failed}!?Problem.Cause {
    // A file, so that a hook that does not read its stdin holds nobody up.
    const stdin = try linux.memfd.create(failure, "state", about, .data);
    defer linux.file.close(stdin);
    const said = try pipe(failure);
    defer linux.file.close(said[0]);
    const refused = try pipe(failure);
    defer linux.file.close(refused[0]);

    var child: Child = .{ .hook = hook, .stdin = stdin, .output = said[1], .refused = refused[1], .folder = folder };
    // fork(2) and not clone3(2), which a container's filter refuses; the pid is its own
    // until we wait for it.
    const cloned = os.fork();
    if (cloned == 0) child.run();
    linux.file.close(said[1]);
    linux.file.close(refused[1]);
    const pid: linux.pid_t = @intCast(try failure.check(.hook, cloned));
    const pidfd = try linux.process.pidfdOpen(failure, pid);
    defer linux.file.close(pidfd);

    const in_time = awaitEnd(pidfd, said[0], hook.timeout, output);
    // What it left in its session is killed with it when it is late; a hook that is
    // not may leave a daemon behind.
    if (!in_time) _ = os.kill(-pid, .KILL);
    const status = try linux.process.wait(failure, pid);
    if (!in_time) return .{ .timed_out = hook.timeout.? };
    drain(said[0], output);

    var errno: u32 = 0;
    if (os.read(refused[0], std.mem.asBytes(&errno), @sizeOf(u32)) == @sizeOf(u32)) return .{ .errno = @fromBackingInt(@as(u16, @truncate(errno))) };
    if (os.W.IFSIGNALED(status)) return .{ .signalled = @intCast(status & 0x7f) };
    const code = os.W.EXITSTATUS(status);
    return if (code == 0) null else .{ .exited = code };
}

/// Takes in what the hook says until it ends; false if it does not in time.
fn awaitEnd(pidfd: fd_t, said: fd_t, timeout: ?u32, output: *Tail) bool {
    const limit: ?u64 = if (timeout) |seconds| linux.clock.monotonicMs() + @as(u64, seconds) * 1000 else null;
    var polled = [_]os.pollfd{
        .{ .fd = pidfd, .events = os.POLL.IN, .revents = 0 },
        .{ .fd = said, .events = os.POLL.IN, .revents = 0 },
    };
    while (true) {
        const left: i32 = if (limit) |at| @intCast(@min(at -| linux.clock.monotonicMs(), std.math.maxInt(i32))) else -1;
        const ready = os.poll(&polled, polled.len, left);
        if (os.errno(ready) == .INTR) continue;
        if (polled[0].revents != 0) return true;
        if (left == 0) return false;
        if (polled[1].revents & os.POLL.IN != 0) drain(said, output);
        // Closed on the other side: not to be woken by it again.
        if (polled[1].revents & os.POLL.IN == 0 and polled[1].revents != 0) polled[1].fd = -1;
    }
}

/// Reads what is there, without waiting for more; at most a pipe full, so that a hook
/// that never stops talking is held to its time.
fn drain(said: fd_t, output: *Tail) void {
    var buffer: [4096]u8 = undefined;
    for (0..16) |_| {
        const len = os.read(said, &buffer, buffer.len);
        if (os.errno(len) != .SUCCESS or len == 0) return;
        output.add(buffer[0..len]);
    }
}

/// A pipe whose reading end does not wait.
fn pipe(failure: *Failure) error{Failed}![2]fd_t {
    var ends: [2]fd_t = undefined;
    _ = try failure.check(.hook, os.pipe2(&ends, .{ .CLOEXEC = true }));
    const nonblock: os.O = .{ .NONBLOCK = true };
    _ = os.fcntl(ends[0], os.F.SETFL, @as(u32, @bitCast(nonblock)));
    return ends;
}

/// The new process on its way to the hook.
const Child = struct {
    hook: Hook,
    stdin: fd_t,
    output: fd_t,
    folder: ?fd_t,
    /// Tells the errno if the hook does not start; closed by its start.
    refused: fd_t,

    fn run(child: *Child) noreturn {
        var failure: Failure = .{};
        child.start(&failure) catch {};
        var errno: u32 = failure.errno;
        _ = os.write(child.refused, std.mem.asBytes(&errno).ptr, @sizeOf(u32));
        linux.process.exit(127);
    }

    fn start(child: *Child, failure: *Failure) error{Failed}!noreturn {
        linux.process.resetSignals();
        _ = linux.process.prctl(.SET_PDEATHSIG, @backingInt(os.SIG.KILL));
        // A session of its own: what it starts is found by its number, and no terminal is near.
        _ = try failure.check(.hook, os.setsid());
        // Above the three first, so that no stream overwrites another not yet moved.
        const in = try failure.check(.hook, os.fcntl(child.stdin, duplicate, 3));
        const out = try failure.check(.hook, os.fcntl(child.output, duplicate, 3));
        _ = try failure.check(.hook, os.dup3(@intCast(in), 0, 0));
        _ = try failure.check(.hook, os.dup3(@intCast(out), 1, 0));
        _ = try failure.check(.hook, os.dup3(@intCast(out), 2, 0));
        const refused = try failure.check(.hook, os.fcntl(child.refused, duplicate, 3));
        child.refused = @intCast(refused);
        try linux.process.closeOnExecFrom(failure, 3);
        _ = try failure.check(.hook, if (child.folder) |folder| os.fchdir(folder) else os.chdir("/"));
        linux.process.umask(0o022);
        var argv: [max_strings + 1:null]?[*:0]const u8 = undefined;
        var envp: [max_strings + 1:null]?[*:0]const u8 = undefined;
        const args: []const [:0]const u8 = if (child.hook.args.len == 0) &.{child.hook.path} else child.hook.args;
        const env = linux.weakness.hookEnvironment(if (child.hook.env.len == 0) &default_env else child.hook.env);
        const result = os.execve(child.hook.path, terminated(&argv, args), terminated(&envp, env));
        return failure.fail(.hook, os.errno(result));
    }

    const duplicate = 1030; // F_DUPFD_CLOEXEC

    fn terminated(space: *[max_strings + 1:null]?[*:0]const u8, strings: []const [:0]const u8) [*:null]const ?[*:0]const u8 {
        for (strings, space[0..strings.len]) |string, *slot| slot.* = string.ptr;
        space[strings.len] = null;
        return space;
    }
};

/// Hooks that run where the plan is not: their point's, with the begun state, in one block.
pub const Packed = struct {
    /// Bytes that `pack` takes for them.
    pub fn size(begun: []const u8, list: []const Hook) usize {
        var total: usize = begun.len + 1;
        for (list) |hook| {
            total += 3 * @sizeOf(u32) + hook.path.len + 1;
            for (hook.args) |string| total += string.len + 1;
            for (hook.env) |string| total += string.len + 1;
        }
        return total;
    }

    /// Writes them to `buffer`, which has `size` bytes: the state ended by NUL, then each
    /// hook as three numbers (time limit or 0, arguments, variables), the path, and the rest.
    pub fn write(buffer: []u8, begun: []const u8, list: []const Hook) void {
        var at: usize = 0;
        put(buffer, &at, begun);
        buffer[at] = 0;
        at += 1;
        for (list) |hook| {
            for ([_]u32{ hook.timeout orelse 0, @intCast(hook.args.len), @intCast(hook.env.len) }) |value| put(buffer, &at, std.mem.asBytes(&value));
            put(buffer, &at, hook.path[0 .. hook.path.len + 1]);
            for (hook.args) |string| put(buffer, &at, string[0 .. string.len + 1]);
            for (hook.env) |string| put(buffer, &at, string[0 .. string.len + 1]);
        }
    }

    fn put(buffer: []u8, at: *usize, bytes: []const u8) void {
        @memcpy(buffer[at.*..][0..bytes.len], bytes);
        at.* += bytes.len;
    }

    /// Runs what `block` holds as startContainer hooks, with `pid` as the container's. On
    /// failure `message` says why.
    pub fn run(failure: *Failure, block: []const u8, pid: linux.pid_t, message: *[]const u8) error{Failed}!void {
        var at: usize = 0;
        const begun = text(block, &at);
        const memory = try linux.file.mapPrivate(failure, -1, begun.len + state.finish_room);
        const about = state.finish(memory, begun, .created, pid) catch return failure.fail(.hook, .NOMEM);
        var entry: u16 = 0;
        while (at < block.len) : (entry += 1) {
            var strings: [2 * max_strings][:0]const u8 = undefined;
            const timeout = number(block, &at);
            const args = number(block, &at);
            const env = number(block, &at);
            const path = text(block, &at);
            for (strings[0 .. args + env]) |*string| string.* = text(block, &at);
            var hook: Hook = .{ .path = path, .args = strings[0..args], .env = strings[args..][0..env] };
            if (timeout != 0) hook.timeout = timeout;
            const place: Place = .{ .point = .startContainer, .entry = entry };
            var output: Tail = .{};
            const cause = runOne(hook, about, null, &output) orelse continue;
            const problem: Problem = .{ .place = place, .path = path, .cause = cause, .output = output };
            // For the process that is about to say so and end.
            message.* = problem.message(try linux.file.mapPrivate(failure, -1, 4096));
            failure.index = @bitCast(place);
            return failure.fail(.hook, .CANCELED);
        }
    }

    fn number(block: []const u8, at: *usize) u32 {
        defer at.* += @sizeOf(u32);
        return std.mem.bytesToValue(u32, block[at.*..][0..@sizeOf(u32)]);
    }

    fn text(block: []const u8, at: *usize) [:0]const u8 {
        const start = at.*;
        const end = std.mem.findScalarPos(u8, block, start, 0).?;
        at.* = end + 1;
        return block[start..end :0];
    }
};

test {
    _ = @import("hooks_test.zig");
    _ = state;
}
