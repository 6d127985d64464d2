//! The tests' own program inside a container: static, so that it runs in an image
//! that holds nothing else. Without arguments it reports what it sees (report.zig);
//! with a verb it behaves as a test needs it.
//!
//!   guest                          the report, as JSON on stdout
//!   guest exit N                   ends with status N
//!   guest signal N                 ends itself with signal N
//!   guest sleep [SECONDS]          sleeps, for ever unless told
//!   guest clock                    says the time, as nanoseconds since 1970, and sleeps
//!   guest catch                    says "ready", then "signal N" for the first one, and exits 0
//!   guest orphans N                leaves N children to pid 1, each of which then exits
//!   guest write-lines N            writes "line 1" to "line N"
//!   guest tick N STATUS            writes "tick 1" to "tick N", one each 100 ms, and exits
//!   guest allocate N [SECONDS]     takes N MiB of memory and uses them, after a while if told
//!   guest fork-bomb                forks until it may not, says "N processes, ERRNO", and sleeps
//!   guest echo                     copies stdin to stdout
//!   guest terminal                 says "terminal ROWS COLUMNS", or "no terminal" and exits 1
//!   guest resized                  says as `terminal`, now and whenever the size changes
//!   guest chain [ANSWER]           says "link PID ANSWER" on the socket to stage1; without an
//!                                  answer, it takes one from there and executes itself with it
//!   guest try-open PATH [write]    says "open", or the errno's name and exits 1

const std = @import("std");
const linux = @import("linux");
const report = @import("report.zig");
const os = linux.os;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

/// A verb was called wrongly.
const usage = 64;

var out_buffer: [1024 * 1024]u8 = undefined;

pub fn main(start: std.process.Init.Minimal) u8 {
    const args = start.args.vector;
    if (args.len < 2) {
        var out: std.Io.Writer = .fixed(&out_buffer);
        report.write(&out, args, start.environ.block.slice) catch return 1;
        return say(out.buffered());
    }
    const verb = std.meta.stringToEnum(Verb, std.mem.span(args[1])) orelse return usage;
    const argument: ?[*:0]const u8 = if (args.len > 2) args[2] else null;
    const second: ?[*:0]const u8 = if (args.len > 3) args[3] else null;
    return switch (verb) {
        .exit => @intCast((number(argument) orelse return usage) & 0xff),
        .signal => signalSelf(number(argument) orelse return usage),
        .sleep => sleep(argument),
        .clock => clock(),
        .@"catch" => catchOne(),
        .orphans => orphans(number(argument) orelse return usage),
        .@"write-lines" => writeLines(number(argument) orelse return usage),
        .tick => tick(number(argument) orelse return usage, number(second) orelse return usage),
        .allocate => allocate(number(argument) orelse return usage, number(second) orelse 0),
        .@"fork-bomb" => forkBomb(),
        .echo => echo(),
        .terminal => terminal(),
        .resized => resized(),
        .chain => chain(argument, start.environ),
        .@"try-open" => tryOpen(argument orelse return usage, args.len > 3),
    };
}

const Verb = enum { exit, signal, sleep, clock, @"catch", orphans, @"write-lines", tick, allocate, @"fork-bomb", echo, terminal, resized, chain, @"try-open" };

fn signalSelf(signal: u32) u8 {
    _ = os.kill(os.getpid(), @fromBackingInt(signal));
    return 1; // The signal was one that is ignored.
}

fn sleep(seconds: ?[*:0]const u8) u8 {
    const span: os.timespec = .{ .sec = number(seconds) orelse std.math.maxInt(i32), .nsec = 0 };
    _ = os.nanosleep(&span, null);
    return 0;
}

fn clock() u8 {
    var buffer: [32]u8 = undefined;
    const line = std.fmt.bufPrint(&buffer, "{d}\n", .{linux.clock.wallNs()}) catch unreachable;
    if (say(line) != 0) return 1;
    return sleep(null);
}

fn catchOne() u8 {
    const all = os.sigfillset();
    _ = os.sigprocmask(os.SIG.SETMASK, &all, null);
    const fd: linux.fd_t = @intCast(os.signalfd(-1, &all, 0));
    if (say("ready\n") != 0) return 1;
    var info: os.signalfd_siginfo = undefined;
    _ = os.read(fd, @ptrCast(&info), @sizeOf(os.signalfd_siginfo));
    return print("signal {d}\n", .{info.signo});
}

/// A child that forks and ends at once leaves its own child to pid 1.
fn orphans(count: u32) u8 {
    for (0..count) |_| {
        const child = os.fork();
        if (os.errno(child) != .SUCCESS) return 1;
        if (child == 0) {
            const orphan = os.fork();
            linux.process.exit(if (os.errno(orphan) == .SUCCESS) 0 else 1);
        }
        var failure: linux.Failure = .{};
        const status = linux.process.wait(&failure, @intCast(child)) catch return 1;
        if (status != 0) return 1;
    }
    return print("{d} orphans\n", .{count});
}

fn writeLines(count: u32) u8 {
    for (1..count + 1) |line| if (print("line {d}\n", .{line}) != 0) return 1;
    return 0;
}

fn tick(count: u32, status: u32) u8 {
    const between: os.timespec = .{ .sec = 0, .nsec = 100 * std.time.ns_per_ms };
    for (1..count + 1) |number_of| {
        if (print("tick {d}\n", .{number_of}) != 0) return 1;
        _ = os.nanosleep(&between, null);
    }
    return @truncate(status);
}

fn allocate(megabytes: u32, seconds: u32) u8 {
    _ = os.nanosleep(&.{ .sec = seconds, .nsec = 0 }, null);
    var failure: linux.Failure = .{};
    const memory = linux.file.mapPrivate(&failure, -1, @as(usize, megabytes) * 1024 * 1024) catch return 1;
    @memset(memory, 1);
    return 0;
}

fn forkBomb() u8 {
    var made: u32 = 1; // The one that counts.
    while (true) : (made += 1) {
        const pid = os.fork();
        switch (os.errno(pid)) {
            .SUCCESS => if (pid == 0) return sleep(null),
            else => |errno| {
                _ = print("{d} processes, {s}\n", .{ made, report.errnoName(@backingInt(errno)) });
                return sleep(null);
            },
        }
    }
}

fn echo() u8 {
    while (true) {
        const len = os.read(0, &out_buffer, out_buffer.len);
        if (os.errno(len) == .INTR) continue;
        if (os.errno(len) != .SUCCESS) return 1;
        if (len == 0) return 0;
        if (say(out_buffer[0..len]) != 0) return 1;
    }
}

fn terminal() u8 {
    var size: std.posix.winsize = undefined;
    if (os.errno(os.ioctl(0, os.T.IOCGWINSZ, @intFromPtr(&size))) != .SUCCESS) {
        _ = say("no terminal\n");
        return 1;
    }
    return print("terminal {d} {d}\n", .{ size.row, size.col });
}

fn resized() u8 {
    var wanted = os.sigemptyset();
    os.sigaddset(&wanted, .WINCH);
    _ = os.sigprocmask(os.SIG.BLOCK, &wanted, null);
    const fd: linux.fd_t = @intCast(os.signalfd(-1, &wanted, 0));
    while (true) {
        if (terminal() != 0) return 1;
        var info: os.signalfd_siginfo = undefined;
        _ = os.read(fd, @ptrCast(&info), @sizeOf(os.signalfd_siginfo));
    }
}

fn chain(answer: ?[*:0]const u8, environ: std.process.Environ) u8 {
    const text = environ.getPosix("KURMA_STAGE1_FD") orelse return usage;
    const socket: linux.fd_t = @intCast(number(text) orelse return usage);
    var buffer: [64:0]u8 = @splat(0);
    const said = std.fmt.bufPrint(&buffer, "link {d} {s}", .{ os.getpid(), if (answer) |got| std.mem.span(got) else "" }) catch return 1;
    if (os.write(socket, said.ptr, said.len) != said.len) return 1;
    if (answer != null) return 0;
    buffer = @splat(0);
    _ = os.read(socket, &buffer, buffer.len - 1);
    const argv = [_:null]?[*:0]const u8{ "guest", "chain", &buffer };
    _ = os.execve("/proc/self/exe", &argv, @ptrCast(environ.block.slice.ptr));
    return 1;
}

fn tryOpen(path: [*:0]const u8, write: bool) u8 {
    var failure: linux.Failure = .{};
    const fd = linux.file.open(&failure, path, .{ .ACCMODE = if (write) .WRONLY else .RDONLY }, 0) catch {
        _ = print("{s}\n", .{report.errnoName(failure.errno)});
        return 1;
    };
    linux.file.close(fd);
    return say("open\n");
}

fn number(text: ?[*:0]const u8) ?u32 {
    return std.fmt.parseInt(u32, std.mem.span(text orelse return null), 10) catch null;
}

fn print(comptime format: []const u8, arguments: anytype) u8 {
    var buffer: [256]u8 = undefined;
    return say(std.fmt.bufPrint(&buffer, format, arguments) catch return 1);
}

/// Writes to stdout; 0, or 1 if nobody listens.
fn say(text: []const u8) u8 {
    var failure: linux.Failure = .{};
    linux.file.writeAll(&failure, 1, text) catch return 1;
    return 0;
}
