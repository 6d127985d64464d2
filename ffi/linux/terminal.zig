//! Terminals. termios(3), tty_ioctl(4)

const std = @import("std");
const Failure = @import("failure.zig").Failure;
const linux = std.os.linux;
const fd_t = linux.fd_t;

/// How a terminal is set.
pub const Settings = extern struct {
    termios: linux.termios,
};

/// Makes a terminal raw once what was written before is out: every byte goes through as it
/// is, in both directions. Returns how it was. Fails with NOTTY for what is no terminal. A
/// process in the background is stopped until it comes to the fore.
pub fn makeRaw(failure: *Failure, fd: fd_t) error{Failed}!Settings {
    const before = try get(failure, fd);
    var raw = before;
    setRaw(&raw.termios);
    try set(failure, fd, &raw);
    return before;
}

/// Gives a terminal settings that it had before. A process in the background may do so too:
/// one that ends there must not be stopped instead.
pub fn restore(failure: *Failure, fd: fd_t, before: *const Settings) error{Failed}!void {
    var stops = linux.sigemptyset();
    linux.sigaddset(&stops, .TTOU);
    var mask: linux.sigset_t = undefined;
    _ = linux.sigprocmask(linux.SIG.BLOCK, &stops, &mask);
    defer _ = linux.sigprocmask(linux.SIG.SETMASK, &mask, null);
    try set(failure, fd, before);
}

fn get(failure: *Failure, fd: fd_t) error{Failed}!Settings {
    var settings: Settings = undefined;
    _ = try failure.check(.terminal, linux.tcgetattr(fd, &settings.termios));
    return settings;
}

fn set(failure: *Failure, fd: fd_t, settings: *const Settings) error{Failed}!void {
    while (true) {
        const result = linux.tcsetattr(fd, .DRAIN, &settings.termios);
        if (linux.errno(result) == .INTR) continue;
        _ = try failure.check(.terminal, result);
        return;
    }
}

/// cfmakeraw(3)
fn setRaw(termios: *linux.termios) void {
    termios.iflag.IGNBRK = false;
    termios.iflag.BRKINT = false;
    termios.iflag.PARMRK = false;
    termios.iflag.ISTRIP = false;
    termios.iflag.INLCR = false;
    termios.iflag.IGNCR = false;
    termios.iflag.ICRNL = false;
    termios.iflag.IXON = false;
    termios.oflag.OPOST = false;
    termios.lflag.ECHO = false;
    termios.lflag.ECHONL = false;
    termios.lflag.ICANON = false;
    termios.lflag.ISIG = false;
    termios.lflag.IEXTEN = false;
    termios.cflag.CSIZE = .CS8;
    termios.cflag.PARENB = false;
}

test "a terminal is raw meanwhile, and exactly as it was afterwards" {
    var failure: Failure = .{};
    const opened = linux.open("/dev/ptmx", .{ .ACCMODE = .RDWR, .NOCTTY = true, .CLOEXEC = true }, 0);
    if (linux.errno(opened) != .SUCCESS) return error.SkipZigTest;
    const master: fd_t = @intCast(opened);
    defer _ = linux.close(master);
    const before = try makeRaw(&failure, master);
    const raw = (try get(&failure, master)).termios;
    try std.testing.expect(before.termios.oflag.OPOST and !raw.oflag.OPOST);
    try std.testing.expect(!raw.lflag.ISIG and !raw.iflag.IXON and !raw.lflag.ECHO);
    try restore(&failure, master, &before);
    const after = try get(&failure, master);
    try std.testing.expectEqual(before.termios.iflag, after.termios.iflag);
    try std.testing.expectEqual(before.termios.oflag, after.termios.oflag);
    try std.testing.expectEqual(before.termios.lflag, after.termios.lflag);
}

test "what is no terminal is told" {
    var failure: Failure = .{};
    const file: fd_t = @intCast(linux.open("/dev/null", .{ .CLOEXEC = true }, 0));
    defer _ = linux.close(file);
    try std.testing.expectError(error.Failed, makeRaw(&failure, file));
    try std.testing.expectEqual(linux.E.NOTTY, @as(linux.E, @fromBackingInt(failure.errno)));
}
