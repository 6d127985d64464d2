//! PID 1 of a container: starts its main process, passes signals on to it, reaps
//! whatever dies, and ends with the main process's status, which ends the container.

const std = @import("std");
const linux = @import("linux");
const settings_block = @import("settings.zig");
const process = @import("process.zig");
const Failure = linux.Failure;
const os = linux.os;

/// The descriptor of the settings block, in the environment of this program.
pub const settings_variable = "INITD_SETTINGS";

/// Runs the container and returns its exit status.
pub fn run(settings_fd: linux.fd_t) u8 {
    var failure: Failure = .{};
    const settings = settings_block.map(&failure, settings_fd) catch return 125;
    const status = settings.header.status_fd;
    return supervise(&failure, settings) catch {
        report(status, failure, "init");
        return 125;
    };
}

fn supervise(failure: *Failure, settings: settings_block.Settings) error{Failed}!u8 {
    // What root in the container may not read: /proc/1/fd, /proc/1/exe, /proc/1/environ.
    _ = try failure.check(.init, linux.process.prctl(.SET_DUMPABLE, 0));
    // Blocked before the fork, so that no signal is lost; the child lets them in again.
    const signals = try linux.process.catchSignals(failure);
    const main = try start(failure, settings);
    try releaseStreams(failure, settings.header.status_fd);

    while (true) {
        if (try reap(failure, main)) |status| return linux.process.exitStatus(status);
        try forward(failure, signals, main);
    }
}

/// Forks the main process. An exec that fails is told to stage2 by the child itself;
/// one that succeeds closes the child's copy of the status socket.
fn start(failure: *Failure, settings: settings_block.Settings) error{Failed}!linux.pid_t {
    const pid = try failure.check(.init, os.fork());
    if (pid != 0) return @intCast(pid);

    var child_failure: Failure = .{};
    var subject: []const u8 = "";
    process.become(&child_failure, settings, &subject) catch report(settings.header.status_fd, child_failure, subject);
    linux.process.exit(switch (@as(linux.E, @fromBackingInt(child_failure.errno))) {
        .NOENT, .NOTDIR => 127,
        else => 126,
    });
}

/// Lets go of what the main process was given: a pipe to it ends when it closes its
/// end, not when the container does.
fn releaseStreams(failure: *Failure, status: linux.fd_t) error{Failed}!void {
    const null_fd = try linux.file.open(failure, "/dev/null", .{ .ACCMODE = .RDWR, .CLOEXEC = true }, 0);
    defer linux.file.close(null_fd);
    for (0..3) |stream| _ = try failure.check(.init, os.dup3(null_fd, @intCast(stream), 0));
    linux.file.close(status);
}

/// Reaps all that have ended; the main process's status if it was among them.
fn reap(failure: *Failure, main: linux.pid_t) error{Failed}!?u32 {
    while (true) {
        var status: u32 = 0;
        const result = os.wait4(-1, @ptrCast(&status), os.W.NOHANG, null);
        switch (os.errno(result)) {
            .SUCCESS => {},
            .CHILD => return null,
            else => |errno| return failure.fail(.wait, errno),
        }
        if (result == 0) return null;
        if (result == main) return status;
    }
}

/// Waits for a signal and passes it on. SIGCHLD is for us; so is what the kernel says
/// of a terminal that no foreground group of ours has.
fn forward(failure: *Failure, signals: linux.fd_t, main: linux.pid_t) error{Failed}!void {
    var info: os.signalfd_siginfo = undefined;
    const bytes = try linux.file.readAll(failure, signals, std.mem.asBytes(&info));
    if (bytes.len < @sizeOf(os.signalfd_siginfo)) return failure.fail(.init, .IO);
    const signal: os.SIG = @fromBackingInt(@intCast(info.signo));
    switch (signal) {
        .CHLD, .PIPE, .TTIN, .TTOU => {},
        else => _ = os.kill(main, signal),
    }
}

fn report(socket: linux.fd_t, failure: Failure, subject: []const u8) void {
    const status: settings_block.Status = .failed(failure, subject);
    // Nobody is left to tell if stage2 is gone; the exit status still says it.
    _ = os.sendto(socket, std.mem.asBytes(&status).ptr, @sizeOf(settings_block.Status), os.MSG.NOSIGNAL, null, 0);
}
