//! stage3 started by hand, as the original was: `INITD_INTERCEPT=1 INITD_SOCKET=PATH`.
//! It makes the socket, says so, and serves until it is killed.

const std = @import("std");
const linux = @import("linux");
const footprint = @import("footprint.zig");
const spawn = @import("spawn.zig");
const Server = @import("server.zig").Server;
const Trace = @import("trace.zig").Trace;
const Watch = @import("watch.zig").Watch;
const Failure = linux.Failure;
const os = linux.os;

/// Serves for ever; returns the exit status 1 if it cannot start.
pub fn run(init: std.process.Init.Minimal) u8 {
    const trace: Trace = .{ .level = if (init.environ.getPosix("INITD_DEBUG") != null) .verbose else .normal };
    rename(init.args);
    const path = init.environ.getPosix("INITD_SOCKET") orelse {
        trace.failure(null, "Cannot start: set INITD_SOCKET to the path of the socket to create", .{});
        return 1;
    };
    var failure: Failure = .{};
    serve(&failure, trace, path, init.environ.getPosix("PATH") orelse spawn.default_path) catch {
        const errno: linux.E = @fromBackingInt(failure.errno);
        trace.failure(null, "Cannot start on socket \"{s}\": {t}: E{t}", .{ path, failure.step, errno });
        return 1;
    };
}

fn serve(failure: *Failure, trace: Trace, path: [:0]const u8, search_path: []const u8) error{Failed}!noreturn {
    // What root in the container may not read: /proc/1/fd, /proc/1/environ.
    _ = try failure.check(.init, linux.process.prctl(.SET_DUMPABLE, 0));
    const listener = try listen(failure, path);
    trace.info(listener, "Socket file \"{s}\" is ready", .{path});
    const signals = try openSignals(failure);
    trace.info(signals, "Setup signal handler.", .{});
    const server = try Server.create(failure, .{ .listener = listener, .trace = trace, .path = search_path });
    const watch: *Watch = @ptrCast(try linux.file.mapPrivate(failure, -1, @sizeOf(Watch)));

    footprint.rest();
    var rhythm: footprint.Rhythm = .{};
    trace.info(null, "Starting initd.", .{});
    while (true) {
        watch.reset();
        const signalled = watch.add(signals, os.POLL.IN);
        server.prepare(watch);
        rhythm.prepare(watch);
        watch.wait();
        if (watch.ready(signalled) != 0) drain(signals);
        reap(server);
        server.act(watch);
        if (rhythm.isOver(watch)) footprint.rest();
    }
}

/// Shows up as `init` in ps(1): argv[0] is overwritten, as far as it reaches.
fn rename(args: std.process.Args) void {
    if (args.vector.len == 0) return;
    const name = std.mem.span(@constCast(args.vector[0]));
    const len = @min(name.len, "init".len);
    @memset(name, 0);
    @memcpy(name[0..len], "init"[0..len]);
}

/// A socket that nobody but its owner can connect to. What is there already stays.
fn listen(failure: *Failure, path: [:0]const u8) error{Failed}!linux.fd_t {
    var address: os.sockaddr.un = .{ .path = @splat(0) };
    if (path.len >= address.path.len) return failure.fail(.socket, .NAMETOOLONG);
    @memcpy(address.path[0..path.len], path);
    const kind = os.SOCK.STREAM | os.SOCK.CLOEXEC | os.SOCK.NONBLOCK;
    const fd: linux.fd_t = @intCast(try failure.check(.socket, os.socket(os.AF.UNIX, kind, 0)));
    const before: u32 = @intCast(os.syscall1(.umask, 0o177));
    defer linux.process.umask(before);
    _ = try failure.check(.socket, os.bind(fd, @ptrCast(&address), @sizeOf(os.sockaddr.un)));
    _ = try failure.check(.socket, os.listen(fd, 10));
    return fd;
}

/// SIGCHLD by descriptor; SIGPIPE, from whoever reads our lines, by EPIPE. All other
/// signals do what they do to any program.
fn openSignals(failure: *Failure) error{Failed}!linux.fd_t {
    var child = os.sigemptyset();
    os.sigaddset(&child, .CHLD);
    _ = try failure.check(.signal, os.sigprocmask(os.SIG.BLOCK, &child, null));
    const ignore: os.Sigaction = .{ .handler = .{ .handler = os.SIG.IGN }, .mask = os.sigemptyset(), .flags = 0 };
    _ = try failure.check(.signal, os.sigaction(.PIPE, &ignore, null));
    return @intCast(try failure.check(.signal, os.signalfd(-1, &child, os.SFD.CLOEXEC | os.SFD.NONBLOCK)));
}

fn drain(signals: linux.fd_t) void {
    var info: [8]os.signalfd_siginfo = undefined;
    while (os.errno(os.read(signals, @ptrCast(&info), @sizeOf(@TypeOf(info)))) == .SUCCESS) {}
}

/// Reaps all that have ended: ours, and whatever was left to us.
fn reap(server: *Server) void {
    while (true) {
        var status: u32 = 0;
        const result = os.wait4(-1, @ptrCast(&status), os.W.NOHANG, null);
        switch (os.errno(result)) {
            .SUCCESS => if (result == 0) return else server.ended(@intCast(result), status),
            .INTR => {},
            else => return, // ECHILD: there are no children.
        }
    }
}
