//! Makes one system call of a container's start fail, or kills who made it.
//!
//!   injector PID
//!
//! PID is a stage2 server. A line on stdin arms it for the next worker that the server
//! forks, and all that comes from it; processes are counted from 1, the worker, in the
//! order in which they are made, calls from 1 in each:
//!
//!   kill PROCESS CALL       kills the process right after the call
//!   fail PROCESS CALL WHICH the call is not made and answers an errno that it may have in
//!                           life, the WHICH-th of those
//!   end                     says on one line what came of it: `hit NAME ERRNO`, `none NAME`
//!                           for a call that cannot fail, or `miss COUNT`, where the process
//!                           made only so many; lets go of all but the server
//!
//! Each is answered when it is done. Calls are counted up to the exec of the command.
//!
//! Source: ptrace(2), PTRACE_SEIZE and PTRACE_O_*.

const std = @import("std");
const linux = @import("linux");
const plausible = @import("plausible.zig");
const os = linux.os;
const pid_t = linux.pid_t;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

const Request = struct {
    const @"continue" = 7;
    const get_registers = 12;
    const set_registers = 13;
    const detach = 17;
    const syscall = 24;
    const get_event_message = 0x4201;
    const seize = 0x4206;
};

const Option = struct {
    const syscall_good = 1;
    const fork = 2;
    const vfork = 4;
    const clone = 8;
    const exec = 16;
};

const Event = struct {
    const fork = 1;
    const vfork = 2;
    const clone = 3;
    const exec = 4;
    const stop = 128;
};

/// user_regs_struct of sys/user.h, x86-64.
const Registers = [27]u64;
const result_register = 10; // rax
const number_register = 15; // orig_rax

const Process = struct {
    pid: pid_t = 0,
    /// In the order of their making; 0 for those that do not count.
    position: u32 = 0,
    calls: u32 = 0,
    in_call: bool = false,
    /// What the call under way is to answer.
    answer: ?linux.E = null,
    /// Forked by the container's init: what it executes is the command.
    command: bool = false,
    executed: bool = false,
    /// Stopped before its parent's stop told of it.
    waits: bool = false,
};

const Order = struct {
    armed: bool = false,
    kill: bool = false,
    position: u32 = 0,
    call: u32 = 0,
    which: u32 = 0,
    /// The processes of this start so far.
    made: u32 = 0,
    /// Calls of the process that is meant.
    seen: u32 = 0,
    hit: ?os.SYS = null,
    errno: linux.E = .SUCCESS,
    cannot_fail: bool = false,
};

var server: pid_t = 0;
var order: Order = .{};
var processes: [256]Process = @splat(.{});

pub fn main(start: std.process.Init.Minimal) u8 {
    const args = start.args.vector;
    if (args.len != 2) return 64;
    server = std.fmt.parseInt(pid_t, std.mem.span(args[1]), 10) catch return 64;
    var failure: linux.Failure = .{};
    const signals = linux.process.catchSignals(&failure) catch return 1;
    const options = Option.syscall_good | Option.fork | Option.vfork | Option.clone | Option.exec;
    if (os.errno(trace(Request.seize, server, 0, options)) != .SUCCESS) return 1;
    say("tracing\n", .{});
    while (true) {
        var watched = [_]os.pollfd{
            .{ .fd = 0, .events = os.POLL.IN, .revents = 0 },
            .{ .fd = signals, .events = os.POLL.IN, .revents = 0 },
        };
        _ = os.poll(&watched, watched.len, -1);
        if (watched[1].revents != 0) {
            var info: os.signalfd_siginfo = undefined;
            _ = os.read(signals, @ptrCast(&info), @sizeOf(os.signalfd_siginfo));
            while (waitForOne()) {}
        }
        if (watched[0].revents != 0 and !takeOrder()) return 0;
    }
}

/// False at the end of the orders.
fn takeOrder() bool {
    var buffer: [128]u8 = undefined;
    const len = os.read(0, &buffer, buffer.len);
    if (os.errno(len) != .SUCCESS or len == 0) return false;
    var words = std.mem.tokenizeAny(u8, buffer[0..len], " \n");
    const word = words.next() orelse return true;
    if (std.mem.eql(u8, word, "end")) {
        tell();
        order = .{};
        return true;
    }
    order = .{ .armed = true, .kill = std.mem.eql(u8, word, "kill") };
    order.position = number(words.next());
    order.call = number(words.next());
    if (!order.kill) order.which = number(words.next());
    say("armed\n", .{});
    return true;
}

fn number(word: ?[]const u8) u32 {
    return std.fmt.parseInt(u32, word orelse "", 10) catch linux.process.exit(64);
}

fn tell() void {
    const call = order.hit orelse return say("miss {d}\n", .{order.seen});
    const name = std.enums.tagName(os.SYS, call) orelse "unknown";
    if (order.cannot_fail) return say("none {s}\n", .{name});
    say("hit {s} E{s}\n", .{ name, std.enums.tagName(linux.E, order.errno) orelse "" });
}

/// Takes one report of a tracee; false if there is none.
fn waitForOne() bool {
    const all = 0x40000000; // __WALL
    var status: u32 = 0;
    const result = os.wait4(-1, @ptrCast(&status), os.W.NOHANG | all, null);
    if (os.errno(result) != .SUCCESS or result == 0) return false;
    const pid: pid_t = @intCast(result);
    if (status & 0x7f != 0x7f) { // It has ended.
        if (find(pid)) |process| process.* = .{};
        return true;
    }
    const signal = status >> 8 & 0xff;
    const event = status >> 16;
    if (pid == server) {
        if (isBirth(event)) born(pid, order.armed and order.made == 0, false);
        _ = trace(Request.@"continue", pid, 0, if (event == 0) signal else 0);
        return true;
    }
    const process = find(pid) orelse {
        const slot = find(0) orelse linux.process.exit(2);
        slot.* = .{ .pid = pid, .waits = true };
        return true;
    };
    stopped(process, signal, event);
    return true;
}

fn isBirth(event: u32) bool {
    return event == Event.fork or event == Event.vfork or event == Event.clone;
}

/// `parent` has a new child, which is traced as well, and part of the start if `counts`.
fn born(parent: pid_t, counts: bool, command: bool) void {
    var message: usize = 0;
    _ = trace(Request.get_event_message, parent, 0, @intFromPtr(&message));
    const pid: pid_t = @intCast(message);
    const known = find(pid);
    const process = known orelse find(0) orelse linux.process.exit(2);
    const waits = known != null and process.waits;
    if (counts) order.made += 1;
    process.* = .{ .pid = pid, .position = if (counts) order.made else 0, .command = command };
    if (waits) proceed(process, 0);
}

fn stopped(process: *Process, signal: u32, event: u32) void {
    const trap = @backingInt(os.SIG.TRAP);
    if (isBirth(event)) {
        born(process.pid, process.position != 0 and order.armed, process.executed);
        return proceed(process, 0);
    }
    if (event == Event.exec) {
        process.executed = true;
        return proceed(process, 0);
    }
    if (event != 0) return proceed(process, 0);
    if (signal != trap | 0x80) return proceed(process, signal);
    if (!process.in_call) entered(process) else left(process);
}

fn entered(process: *Process) void {
    process.in_call = true;
    process.calls += 1;
    if (process.position == order.position) {
        order.seen = @max(order.seen, process.calls);
        if (order.armed and order.hit == null and process.calls == order.call and !order.kill) inject(process);
    }
    proceed(process, 0);
}

/// Takes the call away: the number becomes one that no call has.
fn inject(process: *Process) void {
    var registers: Registers = undefined;
    _ = trace(Request.get_registers, process.pid, 0, @intFromPtr(&registers));
    const call: os.SYS = callOf(&registers);
    order.hit = call;
    const errno = plausible.errno(call, order.which) orelse {
        order.cannot_fail = true;
        return;
    };
    order.errno = errno;
    process.answer = errno;
    registers[number_register] = std.math.maxInt(u64);
    _ = trace(Request.set_registers, process.pid, 0, @intFromPtr(&registers));
}

fn callOf(registers: *const Registers) os.SYS {
    return std.enums.fromInt(os.SYS, registers[number_register]) orelse .getpid;
}

fn left(process: *Process) void {
    process.in_call = false;
    if (process.answer) |errno| {
        var registers: Registers = undefined;
        _ = trace(Request.get_registers, process.pid, 0, @intFromPtr(&registers));
        registers[result_register] = @bitCast(-@as(i64, @backingInt(errno)));
        _ = trace(Request.set_registers, process.pid, 0, @intFromPtr(&registers));
        process.answer = null;
    }
    const meant = order.armed and order.hit == null and process.position == order.position and process.calls == order.call;
    if (meant and order.kill) {
        var registers: Registers = undefined;
        _ = trace(Request.get_registers, process.pid, 0, @intFromPtr(&registers));
        order.hit = callOf(&registers);
        _ = os.kill(process.pid, .KILL);
        return;
    }
    proceed(process, 0);
}

/// Lets it go on: from call to call while its start is watched, else for good.
fn proceed(process: *Process, signal: u32) void {
    const done = process.position == 0 or !order.armed or (process.command and process.executed) or (order.hit != null and process.answer == null);
    if (!done) {
        _ = trace(Request.syscall, process.pid, 0, signal);
        return;
    }
    _ = trace(Request.detach, process.pid, 0, signal);
    process.* = .{};
}

fn find(pid: pid_t) ?*Process {
    for (&processes) |*process| if (process.pid == pid) return process;
    return null;
}

fn trace(request: usize, pid: pid_t, address: usize, data: usize) usize {
    return os.syscall4(.ptrace, request, @intCast(pid), address, data);
}

fn say(comptime format: []const u8, arguments: anytype) void {
    var buffer: [128]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, format, arguments) catch return;
    _ = os.write(1, text.ptr, text.len);
}
