//! The attacker of tests/attacks inside a container, for what a shell cannot ask. Every
//! verb prints what it got, or the errno's name, on one line, and exits 0 if it got it.
//!
//!   attacker socket FAMILY TYPE    opens a socket
//!   attacker int80 NUMBER FIRST    a 32-bit call with that first argument, the others 0
//!   attacker x32 NUMBER            a call with the x32 bit, arguments 0
//!   attacker clone3-user           a child in a user namespace of its own
//!   attacker reach                 asks for each call of `calls`; prints those that the kernel looked at
//!   attacker type PATH HIGH        TIOCSTI of "!", with HIGH in the upper half of the request
//!   attacker fork N                has N children at once
//!   attacker fill PATH N           writes N MiB to a file
//!   attacker allocate N            uses N MiB of memory
//!   attacker swap A B              exchanges two names until it is killed
//!   attacker key TEXT              looks for a key of that description in the session's keyring
//!   attacker with-key TEXT CMD...  runs a command with such a key in its session's keyring
//!   attacker capability FILE       gives a file CAP_CHOWN for who has it inheritable
//!   attacker chown FILE            takes a file's owner away
//!   attacker look                  opens what leads out of each new process, until it is killed
//!   attacker overwrite SECONDS     holds programs of other processes until they may be written to

const std = @import("std");
const linux = @import("linux");
const os = linux.os;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

/// A verb was called wrongly.
const usage = 64;

pub fn main(start: std.process.Init.Minimal) u8 {
    const args = start.args.vector;
    if (args.len < 2) return usage;
    const verb = std.meta.stringToEnum(Verb, std.mem.span(args[1])) orelse return usage;
    const first: [*:0]const u8 = if (args.len > 2) args[2] else "";
    const second: [*:0]const u8 = if (args.len > 3) args[3] else "";
    return switch (verb) {
        .socket => answer(os.socket(@intCast(number(first)), @intCast(number(second)), 0)),
        .int80 => answer(int80(number(first), number(second))),
        .x32 => answer(x32(number(first))),
        .@"clone3-user" => cloneUser(),
        .reach => reach(),
        .type => answer(typeInto(first, number(second))),
        .fork => forkMany(number(first)),
        .fill => fill(first, number(second)),
        .allocate => allocate(number(first)),
        .swap => swap(first, second),
        .key => key(first),
        .@"with-key" => withKey(first, args[3..], start.environ.block.slice),
        .capability => answer(giveCapability(first)),
        .chown => answer(os.fchownat(os.AT.FDCWD, first, 1234, 1234, 0)),
        .look => look(),
        .overwrite => overwrite(number(first)),
    };
}

const Verb = enum { socket, int80, x32, @"clone3-user", reach, type, fork, fill, allocate, swap, key, @"with-key", capability, chown, look, overwrite };

fn number(text: [*:0]const u8) u32 {
    return std.fmt.parseInt(u32, std.mem.span(text), 10) catch linux.process.exit(usage);
}

/// What a system call says.
fn answer(result: usize) u8 {
    const errno = os.errno(result);
    print("{s}\n", .{if (errno == .SUCCESS) "got it" else name(errno)});
    return if (errno == .SUCCESS) 0 else 1;
}

fn name(errno: os.E) []const u8 {
    inline for (comptime std.meta.fieldNames(os.E)) |field| {
        if (@field(os.E, field) == errno) return "E" ++ field;
    }
    return "unknown errno";
}

fn print(comptime format: []const u8, arguments: anytype) void {
    var buffer: [1024]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, format, arguments) catch return;
    _ = os.write(1, text.ptr, text.len);
}

/// The numbers of programs with 64-bit registers and 32-bit addresses, where a kernel has
/// them: not among those that std knows.
fn x32(call: u32) usize {
    return asm volatile ("syscall"
        : [result] "={rax}" (-> usize),
        : [call] "{rax}" (@as(usize, call | 0x40000000)),
          [a] "{rdi}" (@as(usize, 0)),
          [b] "{rsi}" (@as(usize, 0)),
          [c] "{rdx}" (@as(usize, 0)),
        : .{ .rcx = true, .r11 = true, .memory = true });
}

/// A 32-bit program's way into the kernel, which has numbers of its own.
fn int80(call: u32, argument: u32) usize {
    const result = asm volatile ("int $0x80"
        : [result] "={eax}" (-> i32),
        : [call] "{eax}" (call),
          [a] "{ebx}" (argument),
          [b] "{ecx}" (@as(u32, 0)),
          [c] "{edx}" (@as(u32, 0)),
          [d] "{esi}" (@as(u32, 0)),
          [e] "{edi}" (@as(u32, 0)),
        : .{ .memory = true });
    return @bitCast(@as(isize, result));
}

/// The flags are behind a pointer, where no filter sees them.
fn cloneUser() u8 {
    const args: linux.process.CloneArgs = .{ .flags = linux.process.Clone.newuser, .exit_signal = @backingInt(os.SIG.CHLD) };
    const pid = linux.process.clone3(&args);
    if (pid == 0) linux.process.exit(0);
    return answer(pid);
}

/// Calls that have a history, each with arguments that are wrong in a harmless way: an
/// answer other than EPERM and ENOSYS is the kernel's own.
const calls = [_]struct { os.SYS, [6]usize }{
    .{ .io_uring_setup, .{ 0, 0, 0, 0, 0, 0 } },
    .{ .userfaultfd, .{ 0xffff, 0, 0, 0, 0, 0 } },
    .{ .bpf, .{ 0xffff, 0, 0, 0, 0, 0 } },
    .{ .perf_event_open, .{ 0, 0, 0, 0, 0, 0 } },
    .{ .kexec_load, .{ 0, 0, 0, 0xffff, 0, 0 } },
    .{ .open_by_handle_at, .{ bad, 0, 0, 0, 0, 0 } },
    .{ .add_key, .{ 0, 0, 0, 0, 0, 0 } },
    .{ .request_key, .{ 0, 0, 0, 0, 0, 0 } },
    .{ .keyctl, .{ 0xffff, 0, 0, 0, 0, 0 } },
    .{ .ptrace, .{ 0xffff, 1, 0, 0, 0, 0 } },
    .{ .process_vm_readv, .{ 1, 0, 0, 0, 0, 1 } },
    .{ .process_vm_writev, .{ 1, 0, 0, 0, 0, 1 } },
    .{ .kcmp, .{ 1, 1, 0xffff, 0, 0, 0 } },
    .{ .mount, .{ 0, 0, 0, 0, 0, 0 } },
    .{ .umount2, .{ 0, 0xffffffff, 0, 0, 0, 0 } },
    .{ .fsopen, .{ 0, 0xffff, 0, 0, 0, 0 } },
    .{ .fsmount, .{ bad, 0xffff, 0, 0, 0, 0 } },
    .{ .open_tree, .{ bad, 0, 0xffffffff, 0, 0, 0 } },
    .{ .move_mount, .{ bad, 0, bad, 0, 0xffffffff, 0 } },
    .{ .mount_setattr, .{ bad, 0, 0xffffffff, 0, 0, 0 } },
    .{ .pivot_root, .{ 0, 0, 0, 0, 0, 0 } },
    .{ .setns, .{ bad, 0, 0, 0, 0, 0 } },
    .{ .quotactl, .{ 0xffffffff, 0, 0, 0, 0, 0 } },
    .{ .iopl, .{ 4, 0, 0, 0, 0, 0 } },
    .{ .ioperm, .{ 0xffffffff, 0xffffffff, 0, 0, 0, 0 } },
    .{ .move_pages, .{ 0, 0, 0, 0, 0, 0xffff } },
    .{ .migrate_pages, .{ 0, 0xffffffff, 0, 0, 0, 0 } },
    .{ .mbind, .{ 1, 0, 0, 0, 0, 0xffff } },
    .{ .vmsplice, .{ bad, 0, 0, 0xffff, 0, 0 } },
    .{ .fanotify_init, .{ 0xffffffff, 0, 0, 0, 0, 0 } },
    .{ .pidfd_getfd, .{ bad, 0, 0xffff, 0, 0, 0 } },
    .{ .syslog, .{ 0xffff, 0, 0, 0, 0, 0 } },
    .{ .acct, .{ 1, 0, 0, 0, 0, 0 } },
    .{ .swapon, .{ 0, 0xffffffff, 0, 0, 0, 0 } },
    .{ .init_module, .{ 0, 0, 0, 0, 0, 0 } },
    .{ .finit_module, .{ bad, 0, 0xffffffff, 0, 0, 0 } },
    .{ .delete_module, .{ 0, 0, 0, 0, 0, 0 } },
    .{ .settimeofday, .{ 1, 0, 0, 0, 0, 0 } },
};

/// No descriptor: -1.
const bad: usize = std.math.maxInt(usize);

fn reach() u8 {
    var reached: usize = 0;
    for (calls) |call| {
        const arguments = call[1];
        const result = os.syscall6(call[0], arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
        switch (os.errno(result)) {
            .PERM, .NOSYS => {},
            else => {
                reached += 1;
                print("{t} ", .{call[0]});
            },
        }
    }
    print("reached {d} of {d}\n", .{ reached, calls.len });
    return if (reached > 0) 0 else 1;
}

/// The kernel looks at the lower 32 bits of an ioctl's request alone.
fn typeInto(path: [*:0]const u8, high: u32) usize {
    const opened = os.open(path, .{ .ACCMODE = .RDWR }, 0);
    if (os.errno(opened) != .SUCCESS) return opened;
    const request: usize = @as(usize, high) << 32 | 0x5412; // TIOCSTI
    const character: u8 = '!';
    return os.syscall3(.ioctl, opened, request, @intFromPtr(&character));
}

fn forkMany(count: u32) u8 {
    for (0..count) |made| {
        const pid = os.fork();
        if (pid == 0) while (true) {
            _ = os.pause();
        };
        if (os.errno(pid) == .SUCCESS) continue;
        print("{s} after {d}\n", .{ name(os.errno(pid)), made });
        return 1;
    }
    print("{d} children\n", .{count});
    return 0;
}

var block: [1 << 20]u8 = @splat(0x55);

fn fill(path: [*:0]const u8, megabytes: u32) u8 {
    const opened = os.open(path, .{ .ACCMODE = .WRONLY, .CREAT = true }, 0o600);
    if (os.errno(opened) != .SUCCESS) return answer(opened);
    for (0..megabytes) |written| {
        var failure: linux.Failure = .{};
        linux.file.writeAll(&failure, @intCast(opened), &block) catch {
            print("{s} after {d} MiB\n", .{ name(@fromBackingInt(failure.errno)), written });
            return 1;
        };
    }
    print("{d} MiB\n", .{megabytes});
    return 0;
}

fn allocate(megabytes: u32) u8 {
    var failure: linux.Failure = .{};
    const memory = linux.file.mapPrivate(&failure, -1, @as(usize, megabytes) << 20) catch return answer(@bitCast(-@as(isize, failure.errno)));
    @memset(memory, 1);
    print("{d} MiB\n", .{megabytes});
    return 0;
}

fn swap(a: [*:0]const u8, b: [*:0]const u8) u8 {
    const exchange = 2; // RENAME_EXCHANGE
    while (true) {
        const result = os.syscall5(.renameat2, linux.file.fdArg(os.AT.FDCWD), @intFromPtr(a), linux.file.fdArg(os.AT.FDCWD), @intFromPtr(b), exchange);
        if (os.errno(result) != .SUCCESS) return answer(result);
    }
}

/// keyctl(2), KEYCTL_SEARCH of the session keyring.
fn key(description: [*:0]const u8) u8 {
    const search = 10;
    const session: usize = @bitCast(@as(isize, -3));
    return answer(os.syscall5(.keyctl, search, session, @intFromPtr("user"), @intFromPtr(description), 0));
}

/// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING; add_key(2)
fn withKey(description: [*:0]const u8, command: []const [*:0]const u8, environ: [:null]const ?[*:0]const u8) u8 {
    const join_session = 1;
    const session: usize = @bitCast(@as(isize, -3));
    if (os.errno(os.syscall2(.keyctl, join_session, 0)) != .SUCCESS) return 1;
    const made = os.syscall5(.add_key, @intFromPtr("user"), @intFromPtr(description), @intFromPtr("secret"), 6, session);
    if (os.errno(made) != .SUCCESS) return answer(made);
    var argv: [32:null]?[*:0]const u8 = @splat(null);
    if (command.len == 0 or command.len >= argv.len) return usage;
    for (command, argv[0..command.len]) |word, *slot| slot.* = word;
    return answer(@bitCast(-@as(isize, @backingInt(os.errno(os.execve(command[0], &argv, environ))))));
}

/// vfs_cap_data, version 2, of linux/capability.h: nothing permitted, one inheritable,
/// and effective.
fn giveCapability(path: [*:0]const u8) usize {
    const data = [5]u32{ 0x02000001, 0, 1, 0, 0 };
    return os.setxattr(path, "security.capability", std.mem.asBytes(&data), @sizeOf(@TypeOf(data)), 0);
}

/// What a process that enters may still have open: descriptors of the host.
const ways = [_][]const u8{ "fd/3", "fd/4", "fd/5", "fd/6", "fd/7", "fd/8", "fd/9" };

/// Looks at each process that it does not know until it is killed; it says what it
/// opened of which.
fn look() u8 {
    var seen: u32 = @intCast(os.getpid());
    print("looking\n", .{});
    while (true) {
        var pid = seen + 1;
        while (pid < seen + 6) : (pid += 1) {
            for (ways) |way| {
                var space: [64]u8 = undefined;
                const path = linux.text.printZ(&space, "/proc/{d}/{s}", .{ pid, way }) catch unreachable; // It fits.
                const opened = os.open(path, .{ .PATH = true }, 0);
                if (os.errno(opened) != .SUCCESS) continue;
                print("opened {s}\n", .{path});
                linux.file.close(@intCast(opened));
                seen = pid;
            }
        }
        // What is gone meanwhile was too fast for us.
        var space: [64]u8 = undefined;
        const next = linux.text.printZ(&space, "/proc/{d}/stat", .{seen + 1}) catch unreachable;
        var about: os.Statx = undefined;
        _ = os.statx(os.AT.FDCWD, next, 0, os.STATX.BASIC_STATS, &about);
    }
}

/// Waits for programs of other processes, holds what it can of them, and writes to the
/// first that is no longer being executed.
fn overwrite(seconds: u32) u8 {
    var held: [64]linux.fd_t = undefined;
    var count: usize = 0;
    var pid: u32 = 2;
    const end = linux.clock.wallNs() + @as(i64, seconds) * std.time.ns_per_s;
    print("waiting\n", .{});
    while (linux.clock.wallNs() < end) : (pid = if (pid < 400) pid + 1 else 2) {
        var space: [64]u8 = undefined;
        const path = linux.text.printZ(&space, "/proc/{d}/exe", .{pid}) catch unreachable; // It fits.
        const opened = os.open(path, .{ .CLOEXEC = true }, 0);
        if (os.errno(opened) == .SUCCESS and count < held.len) {
            held[count] = @intCast(opened);
            count += 1;
        }
        for (held[0..count]) |fd| {
            const again = linux.text.printZ(&space, "/proc/self/fd/{d}", .{fd}) catch unreachable; // It fits.
            const writable = os.open(again, .{ .ACCMODE = .WRONLY }, 0);
            if (os.errno(writable) != .SUCCESS) continue;
            const written = os.write(@intCast(writable), "overwritten", 11);
            if (os.errno(written) == .SUCCESS) return answer(written);
            linux.file.close(@intCast(writable));
        }
    }
    print("held {d}, wrote to none\n", .{count});
    return 1;
}
