//! From the wish to stop to a machine that is off, with everything on its disks.
//!
//! The order: processes first, because they write; then the disks' caches; then the file
//! systems, which nobody uses any more; then the power.

const std = @import("std");
const linux = @import("linux");
const console = @import("console.zig");
const mounts = @import("mounts.zig");
const supervise = @import("supervise.zig");
const os = linux.os;
const Wish = supervise.Wish;

/// From SIGTERM to SIGKILL, for what kurmad did not stop.
const term_limit_ms = 3_000;

/// After SIGKILL a process only stays if the kernel cannot end it.
const kill_limit_ms = 10_000;

/// Ends every process, unmounts every file system, and turns the machine off.
pub fn run(signals: os.fd_t, wish: Wish) noreturn {
    endAll(signals);
    os.sync();
    mounts.unmountAll();
    os.sync();
    console.line("file systems are unmounted", .{});
    power(wish);
}

fn endAll(signals: os.fd_t) void {
    _ = os.kill(-1, .TERM);
    if (!allEnded(signals, term_limit_ms)) {
        _ = os.kill(-1, .KILL);
        if (!allEnded(signals, kill_limit_ms)) {
            console.line("some processes cannot be ended", .{});
            return;
        }
    }
    console.line("all processes have ended", .{});
}

/// Whether no process but us is left within the limit.
fn allEnded(signals: os.fd_t, limit_ms: i64) bool {
    const deadline = supervise.now() + limit_ms;
    while (true) {
        while (supervise.reap()) |_| {}
        if (!anyLeft()) return true;
        const rest = deadline - supervise.now();
        if (rest <= 0) return false;
        // Grandchildren tell their parents, not us: look again soon.
        _ = supervise.next(signals, @intCast(@min(rest, 20)));
    }
}

/// Whether /proc has a process with a program beside us. Kernel threads and what has ended
/// already have none.
fn anyLeft() bool {
    var failure: linux.Failure = .{};
    const proc = linux.file.open(&failure, "/proc", .{ .DIRECTORY = true, .CLOEXEC = true }, 0) catch return false;
    defer linux.file.close(proc);
    var names: linux.folder.Names = .{ .fd = proc };
    while (names.next(&failure) catch return false) |name| {
        if (std.ascii.isDigit(name[0]) and !std.mem.eql(u8, name, "1") and hasProgram(proc, name)) return true;
    }
    return false;
}

fn hasProgram(proc: os.fd_t, pid: []const u8) bool {
    var path: [32]u8 = undefined;
    const exe = linux.text.printZ(&path, "{s}/exe", .{pid}) catch return false;
    var target: [1]u8 = undefined;
    return os.errno(os.readlinkat(proc, exe, &target, target.len)) == .SUCCESS;
}

/// Turns the machine off or restarts it, now.
pub fn power(wish: Wish) noreturn {
    const command: os.LINUX_REBOOT.CMD = switch (wish) {
        .off => .POWER_OFF,
        .restart => .RESTART,
    };
    _ = os.reboot(.MAGIC1, .MAGIC2, command, null);
    // A machine that cannot turn itself off.
    while (true) _ = os.reboot(.MAGIC1, .MAGIC2, .HALT, null);
}
