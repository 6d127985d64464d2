//! Puts files on disk while more are unpacked, so that little is left to wait for at the
//! end. A process of its own, since syncfs(2) waits.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const isolation = @import("isolation.zig");
const fd_t = linux.fd_t;

pub const Writeback = struct {
    /// A byte in here asks for one more round; its end, to stop.
    requests: fd_t,
    pid: linux.pid_t,
    /// Bytes written since the last request.
    pending: u64 = 0,

    /// Rounds cost: each waits for the file system's journal. Small images need none.
    const interval = 32 << 20;

    /// The child has given up as much as its parent is to, before this returns in it: it
    /// never does.
    pub fn start(root: fd_t, refusal: *Refusal) Error!Writeback {
        var pipe: [2]fd_t = undefined;
        _ = try refusal.check(os.pipe2(&pipe, .{ .CLOEXEC = true, .NONBLOCK = true }));
        const args: linux.process.CloneArgs = .{ .exit_signal = @backingInt(os.SIG.CHLD) };
        const pid = try refusal.check(linux.process.clone3(&args));
        if (pid == 0) {
            linux.file.close(pipe[1]);
            linux.process.exit(run(root, pipe[0]));
        }
        linux.file.close(pipe[0]);
        return .{ .requests = pipe[1], .pid = @intCast(pid) };
    }

    pub fn wrote(writeback: *Writeback, bytes: u64) void {
        writeback.pending += bytes;
        if (writeback.pending < interval) return;
        writeback.pending = 0;
        // A full pipe has requests enough.
        _ = os.write(writeback.requests, "s", 1);
    }

    /// Ends it, if that was not done: nobody is interested in what it met.
    pub fn stop(writeback: *Writeback) void {
        var refusal: Refusal = .{};
        if (writeback.requests >= 0) writeback.finish(&refusal) catch {};
    }

    /// Ends it. What it met counts as met here: an error of a write-back is reported once.
    pub fn finish(writeback: *Writeback, refusal: *Refusal) Error!void {
        linux.file.close(writeback.requests);
        writeback.requests = -1;
        var failure: linux.Failure = .{};
        const status = linux.process.wait(&failure, writeback.pid) catch return refusal.system(@fromBackingInt(failure.errno));
        const code = linux.process.exitStatus(status);
        if (code != 0) return refusal.system(@fromBackingInt(code));
    }
};

/// The child's whole life; its exit status is an errno.
fn run(root: fd_t, requests: fd_t) u8 {
    // The archive and the answer are the parent's: their other ends wait for it alone.
    linux.file.close(0);
    linux.file.close(1);
    var refusal: Refusal = .{};
    _ = refusal.check(os.fcntl(requests, os.F.SETFL, 0)) catch return errnoOf(&refusal);
    isolation.confine(root, &refusal) catch return errnoOf(&refusal);
    while (true) {
        var taken: [64]u8 = undefined;
        const len = refusal.check(os.read(requests, &taken, taken.len)) catch return errnoOf(&refusal);
        if (len == 0) return 0;
        _ = refusal.check(os.syncfs(root)) catch return errnoOf(&refusal);
    }
}

fn errnoOf(refusal: *const Refusal) u8 {
    return @intCast(@backingInt(refusal.errno));
}
