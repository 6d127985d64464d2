//! A worker: a fork of stage2 that makes one container, or one process in one, and
//! ends. It may give up its rights, wait for what hangs, and use memory that is gone
//! afterwards, while stage2 goes on with everything else.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const Failure = linux.Failure;
const Status = stage3.settings.Status;
const os = linux.os;
const fd_t = linux.fd_t;

pub const Worker = struct {
    pid: linux.pid_t,
    /// Sequenced packets of `Status` from the worker and from what it makes; the end of
    /// file means that both have no more to say.
    status: fd_t,
};

/// A listening socket of the caller's that no worker keeps.
pub var listener: fd_t = -1;

/// Forks a worker that runs `work(context, status)` and sends what it returns.
pub fn spawn(failure: *Failure, context: anytype, comptime work: fn (@TypeOf(context), fd_t) Status) error{Failed}!Worker {
    const sockets = try linux.socket.pair(failure);
    defer linux.file.close(sockets[1]);
    errdefer linux.file.close(sockets[0]);
    const parent = os.getpid();
    const pid = try failure.check(.clone, os.fork());
    if (pid == 0) {
        linux.file.close(sockets[0]);
        // Whoever connects finds the one who listens, or nobody.
        if (listener >= 0) linux.file.close(listener);
        // What is half made does not outlive who asked for it.
        linux.process.dieWith(parent);
        work(context, sockets[1]).tell(sockets[1]);
        linux.process.exit(0);
    }
    return .{ .pid = @intCast(pid), .status = sockets[0] };
}
