//! Making, ending and waiting for processes.

const std = @import("std");
const linux = std.os.linux;
const Failure = @import("failure.zig").Failure;
const file = @import("file.zig");
const weakness = @import("weakness.zig");
const fd_t = linux.fd_t;
const pid_t = linux.pid_t;

/// clone_args of clone3(2), version 2 (with the cgroup).
pub const CloneArgs = extern struct {
    flags: u64 = 0,
    pidfd: u64 = 0,
    child_tid: u64 = 0,
    parent_tid: u64 = 0,
    exit_signal: u64 = 0,
    stack: u64 = 0,
    stack_size: u64 = 0,
    tls: u64 = 0,
    set_tid: u64 = 0,
    set_tid_size: u64 = 0,
    cgroup: u64 = 0,
};

/// CLONE_* as clone3(2) takes them.
pub const Clone = struct {
    pub const vm = 0x00000100;
    pub const pidfd = 0x00001000;
    pub const vfork = 0x00004000;
    pub const parent = 0x00008000;
    pub const newtime = 0x00000080;
    pub const newns = 0x00020000;
    pub const newcgroup = 0x02000000;
    pub const newuts = 0x04000000;
    pub const newipc = 0x08000000;
    pub const newuser = 0x10000000;
    pub const newpid = 0x20000000;
    pub const newnet = 0x40000000;
    pub const into_cgroup = 0x200000000;
};

/// clone3(2) that returns twice, as fork(2) does: the child has a copy of the
/// memory. Only for single-threaded programs without a libc.
pub fn clone3(args: *const CloneArgs) usize {
    return linux.syscall2(.clone3, @intFromPtr(args), @sizeOf(CloneArgs));
}

/// Ends the process at once; no exit handlers exist.
pub fn exit(status: u8) noreturn {
    linux.exit_group(status);
}

/// execveat(2) of the program behind a descriptor. Returns only on failure.
///
/// The descriptor needs no name in any file system, so it also works after
/// pivot_root(2); with AT_EMPTY_PATH nothing is looked up that a container owns.
pub fn execFd(fd: fd_t, argv: [*:null]const ?[*:0]const u8, envp: [*:null]const ?[*:0]const u8) linux.E {
    return linux.errno(linux.syscall5(.execveat, file.fdArg(fd), @intFromPtr(""), @intFromPtr(argv), @intFromPtr(envp), linux.AT.EMPTY_PATH));
}

/// What a child ended with: its exit status, or 128 + the signal as a shell says it.
pub fn exitStatus(status: u32) u8 {
    if (linux.W.IFEXITED(status)) return linux.W.EXITSTATUS(status);
    return @intCast(128 + (status & 0x7f));
}

/// Waits for one child and returns its status as wait4(2) gives it.
pub noinline fn wait(failure: *Failure, pid: pid_t) error{Failed}!u32 {
    var status: u32 = 0;
    while (true) {
        const result = linux.wait4(pid, @ptrCast(&status), 0, null);
        switch (linux.errno(result)) {
            .SUCCESS => return status,
            .INTR => {},
            else => |errno| return failure.fail(.wait, errno),
        }
    }
}

/// A descriptor that stands for the process, readable once it has ended. pidfd_open(2)
pub noinline fn pidfdOpen(failure: *Failure, pid: pid_t) error{Failed}!fd_t {
    return @intCast(try failure.check(.wait, linux.pidfd_open(pid, 0)));
}

/// Sends `signal` to the process behind `pidfd`, or nothing if that one has ended:
/// a descriptor cannot mean another process that got the same number.
pub noinline fn signalPidfd(failure: *Failure, pidfd: fd_t, signal: u32) error{Failed}!void {
    const result = linux.syscall4(.pidfd_send_signal, file.fdArg(pidfd), signal, 0, 0);
    switch (linux.errno(result)) {
        .SUCCESS, .SRCH => {},
        else => |errno| return failure.fail(.signal, errno),
    }
}

/// prctl(2) with one argument: the raw result.
pub fn prctl(option: linux.PR, argument: usize) usize {
    return linux.prctl(@intCast(@backingInt(option)), argument, 0, 0, 0);
}

/// Marks every descriptor from `first` on close-on-exec. close_range(2)
pub noinline fn closeOnExecFrom(failure: *Failure, first: u32) error{Failed}!void {
    const cloexec = 4; // CLOSE_RANGE_CLOEXEC
    _ = try failure.check(.exec, linux.syscall3(.close_range, first, std.math.maxInt(u32), cloexec));
    if (weakness.has(.descriptors)) weakness.leak();
}

/// Closes every descriptor from `first` to `last`. close_range(2)
pub noinline fn closeRange(failure: *Failure, first: u32, last: u32) error{Failed}!void {
    const end = if (weakness.has(.descriptors)) @min(last, weakness.leaked - 1) else last;
    if (first > end) return;
    _ = try failure.check(.exec, linux.syscall3(.close_range, first, end, 0));
}

/// Gives every signal its default action and lets all of them in. What a program
/// inherits from Deno (SIGPIPE ignored, masks of its threads) is not a container's.
pub noinline fn resetSignals() void {
    var act: linux.Sigaction = std.mem.zeroes(linux.Sigaction);
    var number: u8 = 1;
    while (number < linux.NSIG) : (number += 1) {
        const sig: linux.SIG = @fromBackingInt(number);
        if (sig != .KILL and sig != .STOP) _ = linux.sigaction(sig, &act, null);
    }
    unblockSignals();
}

/// Lets all signals in.
pub noinline fn unblockSignals() void {
    const none = linux.sigemptyset();
    _ = linux.sigprocmask(linux.SIG.SETMASK, &none, null);
}

/// Blocks all signals and returns a descriptor that they arrive at instead. signalfd(2)
pub noinline fn catchSignals(failure: *Failure) error{Failed}!fd_t {
    const all = linux.sigfillset();
    _ = linux.sigprocmask(linux.SIG.SETMASK, &all, null);
    return @intCast(try failure.check(.signal, linux.signalfd(-1, &all, linux.SFD.CLOEXEC)));
}

/// Lets a child end with its parent, also with one that is gone already: then it has
/// another by now. PR_SET_PDEATHSIG(2const)
pub noinline fn dieWith(parent: pid_t) void {
    _ = prctl(.SET_PDEATHSIG, @backingInt(linux.SIG.KILL));
    if (linux.getppid() != parent) exit(1);
}

/// Makes 0 to 2 the null device: what they were ends when its last holder lets go.
pub noinline fn releaseStreams(failure: *Failure) error{Failed}!void {
    const null_device = try file.open(failure, "/dev/null", .{ .ACCMODE = .RDWR, .CLOEXEC = true }, 0);
    defer file.close(null_device);
    for (0..3) |stream| _ = try failure.check(.open, linux.dup3(null_device, @intCast(stream), 0));
}

/// The bits that files made from now on are not to have. umask(2)
pub fn umask(mask: u32) void {
    _ = linux.syscall1(.umask, mask);
}
