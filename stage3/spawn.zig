//! The two ways of the text RPC to run a program: START, in a child, and EXEC, in
//! place of the server. Every failure ends the process with status 71.
//!
//! The order is the original's, so that what a process may see and do stays the same:
//! descriptors, streams (opened with our rights), group, user, folder, program.

const std = @import("std");
const linux = @import("linux");
const command = @import("command.zig");
const process = @import("process.zig");
const stage1 = @import("stage1.zig");
const users = @import("users.zig");
const Failure = linux.Failure;
const Settings = @import("settings.zig").Settings;
const Strings = @import("protocol.zig").Strings;
const os = linux.os;

/// EX_OSERR of sysexits.h.
const failed_status = 71;

/// Where a command without a slash is looked for if stage3 itself has no PATH.
pub const default_path = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin";

/// What a process is started with besides the request.
pub const Surroundings = struct {
    /// Written to, then closed, if the program cannot be run; closed by exec(2) if it can.
    report: linux.fd_t,
    /// A socket to stage1 that the program inherits, or -1.
    stage1: linux.fd_t,
    /// Where a command without a slash is looked for.
    path: []const u8,
    /// The container's settings, whose limits hold for every process in it; null where
    /// stage3 was started by hand, and what it starts is as free as itself.
    confinement: ?*const Settings,
};

/// Becomes the process that START asks for; runs in a child of the server.
pub fn start(request: command.Start, surroundings: Surroundings) noreturn {
    var failure: Failure = .{};
    const report = keepOnly(&failure, surroundings) catch fail(surroundings.report, failure, "");
    tryStart(&failure, request, surroundings) catch fail(report, failure, std.mem.span(request.argv[0].?));
}

fn tryStart(failure: *Failure, request: command.Start, surroundings: Surroundings) error{Failed}!noreturn {
    try openStreams(failure, request.output);
    const identity = try lookup(failure, request.user, request.group);
    const env = if (surroundings.stage1 < 0) request.env else try stage1.announce(failure, request.env);
    if (surroundings.confinement) |settings| {
        const own: Own = .{ .identity = identity, .workdir = request.workdir, .stage1 = surroundings.stage1 };
        return becomeConfined(failure, settings, own, request.argv, env);
    }
    try become(failure, identity);
    if (request.workdir) |folder| _ = try failure.check(.chdir, os.chdir(folder));
    return exec(failure, surroundings.path, request.argv, env);
}

/// What a process of a container has of its own; all else is as for its main process.
const Own = struct { identity: users.Identity, workdir: ?[*:0]const u8, stage1: linux.fd_t };

fn becomeConfined(failure: *Failure, settings: *const Settings, own: Own, argv: Strings, env: Strings) error{Failed}!noreturn {
    var header = settings.header.*;
    header.uid = own.identity.uid;
    header.gid = own.identity.gid;
    header.flags.terminal = false;
    header.flags.ready = .unsaid;
    header.rest_fd = -1;
    header.stage1_fd = own.stage1;
    var confined = settings.*;
    confined.header = &header;
    confined.groups = &.{};
    confined.hooks = &.{};
    confined.user = null; // Looked up already; its HOME is for the request to give.
    confined.cwd = own.workdir orelse "/";
    confined.argv = argv;
    confined.envp = env;
    var subject: []const u8 = "";
    return process.become(failure, confined, &subject);
}

/// Becomes the program that EXEC asks for; runs in the process that was the server.
pub fn takeOver(request: command.Exec, surroundings: Surroundings) noreturn {
    var failure: Failure = .{};
    const report = keepOnly(&failure, surroundings) catch fail(surroundings.report, failure, "");
    tryTakeOver(&failure, request, surroundings) catch fail(report, failure, std.mem.span(request.argv[0].?));
}

fn tryTakeOver(failure: *Failure, request: command.Exec, surroundings: Surroundings) error{Failed}!noreturn {
    try openStreams(failure, request.output);
    if (surroundings.confinement) |settings| {
        return becomeConfined(failure, settings, .{ .identity = .{ .uid = 0, .gid = 0 }, .workdir = null, .stage1 = -1 }, request.argv, request.env);
    }
    _ = try failure.check(.user, os.setresgid(0, 0, 0));
    _ = try failure.check(.user, os.setresuid(0, 0, 0));
    return exec(failure, surroundings.path, request.argv, request.env);
}

/// Says why on stderr, which is the program's own by now, and gives up.
fn fail(report: linux.fd_t, failure: Failure, program: []const u8) noreturn {
    var space: [256]u8 = undefined;
    const errno: linux.E = @fromBackingInt(failure.errno);
    const shown = program[0..@min(program.len, 128)];
    const text = linux.text.print(&space, "init: Cannot run \"{s}\": {t}: E{t}\n", .{ shown, failure.step, errno }) catch "init: Cannot run the command\n";
    // Neither the log nor the server can be told anything if these fail.
    _ = os.write(2, text.ptr, text.len);
    _ = os.write(report, "!", 1);
    linux.process.exit(failed_status);
}

/// Closes all descriptors but 0 to 2, the socket to stage1 and the one to report
/// on, whose new number is returned.
fn keepOnly(failure: *Failure, surroundings: Surroundings) error{Failed}!linux.fd_t {
    linux.process.resetSignals();
    // First out of the way, so that neither is overwritten before it has moved.
    const report = try linux.file.duplicateAbove(failure, surroundings.report, stage1.target + 1);
    var first_free: linux.fd_t = stage1.target;
    if (surroundings.stage1 >= 0) {
        try stage1.move(failure, surroundings.stage1);
        first_free += 1;
    }
    const cloexec: u32 = @bitCast(os.O{ .CLOEXEC = true });
    _ = try failure.check(.exec, os.dup3(report, first_free, cloexec));
    try linux.process.closeRange(failure, @intCast(first_free + 1), std.math.maxInt(u32));
    return first_free;
}

fn openStreams(failure: *Failure, output: command.Output) error{Failed}!void {
    try replace(failure, 0, "/dev/null", .{ .ACCMODE = .RDONLY });
    try replace(failure, 1, output.stdout, outputFlags(output.stdout));
    try replace(failure, 2, output.stderr, outputFlags(output.stderr));
}

/// Neither truncated nor appended to, as ever: a longer file keeps its tail.
fn outputFlags(path: [*:0]const u8) os.O {
    if (std.mem.eql(u8, std.mem.span(path), "/dev/null")) return .{ .ACCMODE = .WRONLY, .APPEND = true };
    return .{ .ACCMODE = .WRONLY, .CREAT = true, .NOFOLLOW = true, .NOCTTY = true };
}

fn replace(failure: *Failure, stream: linux.fd_t, path: [*:0]const u8, flags: os.O) error{Failed}!void {
    const fd = try linux.file.open(failure, path, flags, 0o700);
    if (fd == stream) return; // It was closed when stage3 started.
    defer linux.file.close(fd);
    _ = try failure.check(.open, os.dup3(fd, stream, 0));
}

/// User and group, each a name of the current root's files or a number.
fn lookup(failure: *Failure, user: [*:0]const u8, group: [*:0]const u8) error{Failed}!users.Identity {
    var space: [512]u8 = undefined;
    const names = .{ std.mem.span(user), std.mem.span(group) };
    inline for (names) |name| if (std.mem.findScalar(u8, name, ':') != null) return failure.fail(.user, .INVAL);
    const spec = linux.text.print(&space, "{s}:{s}", names) catch return failure.fail(.user, .NAMETOOLONG);
    return users.lookup(failure, spec);
}

pub fn become(failure: *Failure, identity: users.Identity) error{Failed}!void {
    // Groups of whoever started us are not the program's. A user namespace may deny
    // setgroups(2); then there is nothing to lose there either, and ids are mapped.
    switch (os.errno(os.setgroups(0, &identity.groups))) {
        .SUCCESS => {},
        .PERM => if (os.getgroups(0, null) != 0) return failure.fail(.user, .PERM),
        else => |errno| return failure.fail(.user, errno),
    }
    _ = try failure.check(.user, os.setresgid(identity.gid, identity.gid, identity.gid));
    _ = try failure.check(.user, os.setresuid(identity.uid, identity.uid, identity.uid));
}

/// execvpe(3): a name with a slash as it is, another along `path`.
pub fn exec(failure: *Failure, path: []const u8, argv: Strings, env: Strings) error{Failed} {
    const name = std.mem.span(argv[0].?);
    if (std.mem.findScalar(u8, name, '/') != null) return failure.fail(.exec, os.errno(os.execve(name, argv, env)));
    var seen: linux.E = .NOENT;
    var folders = std.mem.splitScalar(u8, path, ':');
    while (folders.next()) |folder| {
        var space: [std.posix.PATH_MAX]u8 = undefined;
        const file = linux.text.printZ(&space, "{s}/{s}", .{ if (folder.len == 0) "." else folder, name }) catch continue;
        switch (os.errno(os.execve(file, argv, env))) {
            .NOENT, .NOTDIR => {},
            .ACCES => seen = .ACCES, // Perhaps a later folder has one that may be run.
            else => |errno| return failure.fail(.exec, errno),
        }
    }
    return failure.fail(.exec, seen);
}
