//! The default filter in the kernel that runs the tests. No root is needed: a child
//! sets no_new_privs, installs the filter, and makes the calls.

const std = @import("std");
const os = std.os.linux;
const linux = @import("linux");
const Failure = linux.Failure;
const compiler = @import("compile.zig");
const Code = compiler.Code;
const default = @import("default.zig");
const installer = @import("install.zig");
const numbers = @import("numbers.zig");
const profiles = @import("profile.zig");

var scratch: compiler.Scratch = undefined;

/// Runs `body` in a process with no_new_privs and returns what wait4(2) says of it.
fn inChild(body: *const fn () u8) !u32 {
    var failure: Failure = .{};
    const args: linux.process.CloneArgs = .{ .exit_signal = @backingInt(os.SIG.CHLD) };
    const pid = linux.process.clone3(&args);
    if (pid == 0) {
        if (os.errno(linux.process.prctl(.SET_NO_NEW_PRIVS, 1)) != .SUCCESS) linux.process.exit(255);
        linux.process.exit(body());
    }
    return linux.process.wait(&failure, @intCast(pid));
}

fn installDefault() ?void {
    var failure: Failure = .{};
    const program = default.compile(.{}, &scratch) catch return null;
    _ = installer.install(&failure, program, .{}) catch return null;
}

/// No descriptor, no address, no flags.
const bad = std.math.maxInt(usize);

/// A call by number with arguments that no kernel would act on, if it got them.
fn call(number: usize, first: usize, second: usize) os.E {
    const result = asm volatile ("syscall"
        : [ret] "={rax}" (-> usize),
        : [number] "{rax}" (number),
          [first] "{rdi}" (first),
          [second] "{rsi}" (second),
          [third] "{rdx}" (bad),
          [fourth] "{r10}" (bad),
          [fifth] "{r8}" (bad),
          [sixth] "{r9}" (bad),
        : .{ .rcx = true, .r11 = true, .memory = true });
    return os.errno(result);
}

/// What the default profile is there to keep from containers.
const refused = .{
    .{ .PERM, "mount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr" },
    .{ .PERM, "setns bpf perf_event_open userfaultfd kexec_load kexec_file_load open_by_handle_at ptrace" },
    .{ .PERM, "process_vm_readv process_vm_writev kcmp pidfd_getfd quotactl iopl ioperm init_module" },
    .{ .PERM, "finit_module delete_module swapon swapoff reboot acct settimeofday clock_settime syslog" },
    .{ .NOSYS, "io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl lookup_dcookie" },
    .{ .NOSYS, "nfsservctl move_pages migrate_pages mbind vmsplice clone3 uselib modify_ldt" },
};

/// How many of the calls in `refused` are answered otherwise, from inside a process.
fn answeredOtherwise() u8 {
    var count: u8 = 0;
    inline for (refused) |group| {
        const calls = comptime numbers.list(group[1]);
        for (calls) |each| {
            if (call(each.number(.x86_64).?, bad, bad) != group[0]) count += 1;
        }
    }
    return count;
}

test "the kernel refuses what the default profile refuses" {
    try std.testing.expectEqual(0, try inChild(struct {
        fn body() u8 {
            installDefault() orelse return 254;
            return answeredOtherwise();
        }
    }.body));
    if (os.geteuid() != 0) return;
    // Without the filter, root gets to where the arguments are looked at.
    const unfiltered = linux.process.exitStatus(try inChild(answeredOtherwise));
    try std.testing.expect(unfiltered > 40 and unfiltered < 128);
}

test "the kernel looks at arguments as the profile says" {
    const status = try inChild(struct {
        fn body() u8 {
            const S = os.SYS;
            installDefault() orelse return 254;
            const cases = [_]struct { S, usize, usize, os.E }{
                .{ .socket, os.AF.ALG, os.SOCK.SEQPACKET, .AFNOSUPPORT },
                .{ .socket, os.AF.VSOCK, os.SOCK.STREAM, .AFNOSUPPORT },
                .{ .socket, os.AF.PACKET, os.SOCK.RAW, .PERM },
                .{ .socket, os.AF.ALG | 1 << 32, os.SOCK.SEQPACKET, .AFNOSUPPORT },
                .{ .unshare, os.CLONE.NEWUSER, 0, .PERM },
                .{ .unshare, os.CLONE.NEWNS, 0, .PERM },
                .{ .clone, os.CLONE.NEWUSER, 0, .PERM },
                .{ .unshare, os.CLONE.FS, 0, .SUCCESS },
                .{ .ioctl, 0, 0x5412, .PERM },
                .{ .ioctl, 0, 0x5412 | 1 << 32, .PERM },
                .{ .ioctl, 0, 0x541c, .PERM },
                .{ .ioctl, bad, 0x5413, .BADF },
                .{ .personality, 0x40000, 0, .PERM },
                .{ .personality, 0xffffffff, 0, .SUCCESS },
                .{ .getpid, 0, 0, .SUCCESS },
            };
            for (cases, 1..) |case, position| {
                if (call(@backingInt(case[0]), case[1], case[2]) != case[3]) return @intCast(position);
            }
            for ([_]usize{ 337, 423, numbers.limit, 100_000 }) |unknown| {
                if (call(unknown, bad, bad) != .NOSYS) return 200;
            }
            for ([_]u32{ os.AF.UNIX, os.AF.INET, os.AF.NETLINK }) |family| {
                const kind: u32 = if (family == os.AF.NETLINK) os.SOCK.RAW else os.SOCK.STREAM;
                const result = os.socket(family, kind, 0);
                if (os.errno(result) != .SUCCESS) return 201;
            }
            return 0;
        }
    }.body);
    try std.testing.expectEqual(0, status);
}

/// Whether the status says that the filter ended the process.
fn killedByFilter(status: u32) bool {
    return os.W.IFSIGNALED(status) and os.W.TERMSIG(status) == .SYS;
}

test "an x32 call ends the process" {
    const status = try inChild(struct {
        fn body() u8 {
            installDefault() orelse return 254;
            _ = call(compiler.x32_bit | @as(usize, @backingInt(os.SYS.getpid)), 0, 0);
            return 1;
        }
    }.body);
    try std.testing.expect(killedByFilter(status));
}

/// getpid(2) as a 32-bit program makes it.
fn narrowGetpid() i32 {
    return asm volatile ("int $0x80"
        : [ret] "={eax}" (-> i32),
        : [number] "{eax}" (@as(u32, 20)),
        : .{ .memory = true });
}

test "a 32-bit call ends the process, unless 32-bit programs were let in" {
    const supported = try inChild(struct {
        fn body() u8 {
            return if (narrowGetpid() > 0) 0 else 1;
        }
    }.body);
    if (supported != 0) return error.SkipZigTest; // A kernel without IA32 emulation.

    try std.testing.expect(killedByFilter(try inChild(struct {
        fn body() u8 {
            installDefault() orelse return 254;
            _ = narrowGetpid();
            return 1;
        }
    }.body)));

    try std.testing.expectEqual(0, try inChild(struct {
        fn body() u8 {
            var failure: Failure = .{};
            const program = default.compile(.{ .i386 = true }, &scratch) catch return 254;
            _ = installer.install(&failure, program, .{}) catch return 253;
            return if (narrowGetpid() > 0) 0 else 1;
        }
    }.body));
}

test "install() gives the listener that a rule asks, and says what the kernel refuses" {
    try std.testing.expectEqual(0, try inChild(struct {
        fn body() u8 {
            var failure: Failure = .{};
            const program = compiler.compile(.{ .default = .allow, .unassigned = null, .rules = &.{
                .{ .calls = numbers.list("mkdir"), .action = .{ .kind = .notify } },
            } }, &scratch) catch return 1;
            const listener = installer.install(&failure, program, .{ .new_listener = true, .tsync = true }) catch return 2;
            if (listener == null or listener.? < 0) return 3;
            const broken = [_]compiler.Instruction{.{ .code = Code.load, .k = 0 }};
            if (installer.install(&failure, &broken, .{})) |_| return 4 else |_| {}
            if (failure.step != .seccomp or failure.errno != @backingInt(os.E.INVAL)) return 5;
            return 0;
        }
    }.body));
}
