//! Programs of the administrator that run at six points of a container's life.
//!
//! A hook reads the container's state on its stdin. It is the host's program: nothing
//! that an image says reaches it, neither variables nor a working directory, and it has
//! no descriptor but its streams. Whoever calls `run` waits, so that is a worker.
//!
//! Source: OCI runtime-spec 1.3, config.md "POSIX-platform Hooks", runtime.md "Lifecycle"

const std = @import("std");
const linux = @import("linux");
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

    pub fn at(hooks: *const Hooks, point: Point) []const Hook {
        return switch (point) {
            inline else => |known| @field(hooks, @tagName(known)),
        };
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

/// The state that a hook reads.
pub const State = struct {
    ociVersion: []const u8,
    id: []const u8,
    status: Status,
    /// As numbered where the hook runs. Null once the container has stopped.
    pid: ?linux.pid_t,
    bundle: []const u8,
    /// `key` and `value` of each.
    annotations: []const Annotation = &.{},

    pub const Status = enum { creating, created, running, stopped };
    pub const Annotation = struct { key: [:0]const u8, value: [:0]const u8 };

    /// The state as JSON, in `buffer`. Errors: `WriteFailed` if it does not fit.
    pub fn json(state: *const State, buffer: []u8) std.Io.Writer.Error![]const u8 {
        var writer: std.Io.Writer = .fixed(buffer);
        var out: std.json.Stringify = .{ .writer = &writer };
        try out.beginObject();
        inline for (.{ "ociVersion", "id", "bundle" }) |field| {
            try out.objectField(field);
            try out.write(@field(state, field));
        }
        try out.objectField("status");
        try out.write(@tagName(state.status));
        if (state.pid) |pid| {
            try out.objectField("pid");
            try out.write(pid);
        }
        try out.objectField("annotations");
        try out.beginObject();
        for (state.annotations) |annotation| {
            try out.objectField(annotation.key);
            try out.write(annotation.value);
        }
        try out.endObject();
        try out.endObject();
        return writer.buffered();
    }
};

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
        var writer: std.Io.Writer = .fixed(buffer);
        problem.write(&writer) catch return writer.buffered(); // It does not fit: cut.
        return writer.buffered();
    }

    fn write(problem: *const Problem, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        const cause = problem.cause orelse return;
        try writer.print("Cannot run hook \"{t}[{d}]\": \"{s}\" ", .{ problem.place.point, problem.place.entry, problem.path });
        switch (cause) {
            .errno => |errno| try writer.print("does not start: E{t}", .{errno}),
            .exited => |status| try writer.print("exited with {d}", .{status}),
            .signalled => |signal| try writer.print("was ended by signal {d}", .{signal}),
            .timed_out => |seconds| try writer.print("took longer than {d} s", .{seconds}),
        }
        const said = std.mem.trim(u8, problem.output.text(), " \t\r\n");
        if (said.len == 0) return;
        try writer.writeAll(": ");
        for (said) |byte| try writer.writeByte(if (byte < ' ' or byte == 0x7f) ' ' else byte);
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

/// Runs the hooks of `point` one after the other, each with `state` (JSON) on stdin.
/// `problem` tells of the first that failed. At a fatal point that is an error as well,
/// and no other runs: `step` is `hook`, `index` a `Place`; errno is ECANCELED unless a
/// system call was refused. After poststop the caller warns of `problem`.
pub fn run(failure: *Failure, hooks: *const Hooks, point: Point, state: []const u8, problem: *Problem) error{Failed}!void {
    problem.* = .{};
    for (hooks.at(point), 0..) |hook, entry| {
        const place: Place = .{ .point = point, .entry = @truncate(entry) };
        var output: Tail = .{};
        const cause = runOne(hook, state, &output) orelse continue;
        if (problem.cause == null) problem.* = .{ .place = place, .path = hook.path, .cause = cause, .output = output };
        if (!point.isFatal()) continue;
        if (failure.step == .none) failure.index = @bitCast(place);
        return failure.fail(.hook, if (cause == .errno) cause.errno else .CANCELED);
    }
}

fn isValid(hook: Hook) bool {
    if (hook.path.len == 0 or hook.path[0] != '/' or hook.timeout == 0) return false;
    if (hook.args.len > max_strings or hook.env.len > max_strings) return false;
    for (hook.env) |variable| if ((std.mem.findScalar(u8, variable, '=') orelse 0) == 0) return false;
    return true;
}

/// Null if it ended well.
fn runOne(hook: Hook, state: []const u8, output: *Tail) ?Problem.Cause {
    if (!isValid(hook)) return .{ .errno = .INVAL };
    var failure: Failure = .{};
    return supervise(&failure, hook, state, output) catch .{ .errno = @fromBackingInt(failure.errno) };
}

fn supervise(failure: *Failure, hook: Hook, state: []const u8, output: *Tail) error{Failed}!?Problem.Cause {
    // A file, so that a hook that does not read its stdin holds nobody up.
    const stdin = try linux.memfd.create(failure, "state", state, .data);
    defer linux.file.close(stdin);
    const said = try pipe(failure);
    defer linux.file.close(said[0]);
    const refused = try pipe(failure);
    defer linux.file.close(refused[0]);

    var child: Child = .{ .hook = hook, .stdin = stdin, .output = said[1], .refused = refused[1] };
    var pidfd: fd_t = -1;
    const args: linux.process.CloneArgs = .{
        .flags = linux.process.Clone.pidfd,
        .pidfd = @intFromPtr(&pidfd),
        .exit_signal = @backingInt(os.SIG.CHLD),
    };
    const cloned = linux.process.clone3(&args);
    if (cloned == 0) child.run();
    linux.file.close(said[1]);
    linux.file.close(refused[1]);
    const pid: linux.pid_t = @intCast(try failure.check(.hook, cloned));
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
    const limit: ?u64 = if (timeout) |seconds| nowMs() + @as(u64, seconds) * 1000 else null;
    var polled = [_]os.pollfd{
        .{ .fd = pidfd, .events = os.POLL.IN, .revents = 0 },
        .{ .fd = said, .events = os.POLL.IN, .revents = 0 },
    };
    while (true) {
        const left: i32 = if (limit) |at| @intCast(@min(at -| nowMs(), std.math.maxInt(i32))) else -1;
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
        _ = try failure.check(.hook, os.chdir("/"));
        _ = os.syscall1(.umask, 0o022);
        var argv: [max_strings + 1:null]?[*:0]const u8 = undefined;
        var envp: [max_strings + 1:null]?[*:0]const u8 = undefined;
        const args: []const [:0]const u8 = if (child.hook.args.len == 0) &.{child.hook.path} else child.hook.args;
        const env: []const [:0]const u8 = if (child.hook.env.len == 0) &default_env else child.hook.env;
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

fn nowMs() u64 {
    var time: os.timespec = undefined;
    _ = os.clock_gettime(.MONOTONIC, &time);
    return @as(u64, @intCast(time.sec)) * 1000 + @as(u64, @intCast(time.nsec)) / std.time.ns_per_ms;
}

test {
    _ = @import("hooks_test.zig");
}
