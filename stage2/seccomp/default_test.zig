//! The default profile, asked about every call, on every way into the kernel.

const std = @import("std");
const linux = std.os.linux;
const expectEqual = std.testing.expectEqual;
const capabilities = @import("capabilities");
const bpf = @import("bpf.zig");
const compiler = @import("compile.zig");
const Data = compiler.Data;
const default = @import("default.zig");
const Options = default.Options;
const numbers = @import("numbers.zig");
const Action = @import("profile.zig").Action;
const verdict = @import("compile_test.zig").verdict;

var scratch: compiler.Scratch = undefined;

const allowed = Action.allow.value();
const denied = Action.errno(.PERM).value();
const missing = Action.errno(.NOSYS).value();
const killed = Action.kill.value();

/// What a container with `options` gets for a call by its name.
fn ask(options: Options, arch: numbers.Arch, name: []const u8, args: [6]u64) !u32 {
    const program = try default.compile(options, &scratch);
    return bpf.run(program, &.{
        .nr = numbers.find(name).?.number(arch).?,
        .arch = compiler.auditArch(arch),
        .args = args,
    });
}

fn expectAll(expected: u32, options: Options, names: []const u8) !void {
    var words = std.mem.tokenizeScalar(u8, names, ' ');
    while (words.next()) |name| {
        expectEqual(expected, try ask(options, .x86_64, name, @splat(0))) catch |err| {
            std.debug.print("{s}\n", .{name});
            return err;
        };
    }
}

test "what programs need every day is allowed" {
    try expectAll(allowed, .{}, "read write openat close mmap munmap brk fork execve exit_group wait4 futex epoll_wait accept4 " ++
        "sendmsg clone chroot mknod setuid capset seccomp prctl kill rt_sigreturn restart_syscall " ++
        "getrandom statx copy_file_range inotify_add_watch timerfd_create memfd_create rseq uretprobe adjtimex");
}

test "what reaches into the kernel or out of the container is refused" {
    try expectAll(denied, .{}, "mount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr " ++
        "setns bpf perf_event_open userfaultfd kexec_load kexec_file_load open_by_handle_at ptrace " ++
        "process_vm_readv process_vm_writev kcmp pidfd_getfd quotactl quotactl_fd iopl ioperm init_module " ++
        "finit_module delete_module swapon swapoff reboot acct settimeofday clock_settime sethostname " ++
        "setdomainname syslog vhangup fanotify_init");
    try expectAll(missing, .{}, "clone3 io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl lookup_dcookie " ++
        "nfsservctl move_pages migrate_pages mbind vmsplice uselib ustat sysfs sysctl create_module modify_ldt " ++
        "process_madvise listns");
}

test "a capability brings its calls, and only those" {
    const cases = .{
        .{ "SYS_ADMIN", "mount umount2 fsopen setns clone3 quotactl fanotify_init bpf perf_event_open syslog sethostname" },
        .{ "SYS_PTRACE", "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise" },
        .{ "BPF", "bpf" },
        .{ "PERFMON", "perf_event_open" },
        .{ "SYS_MODULE", "init_module finit_module delete_module" },
        .{ "SYS_TIME", "settimeofday clock_settime" },
        .{ "SYS_NICE", "mbind move_pages migrate_pages set_mempolicy" },
        .{ "SYS_BOOT", "reboot" },
        .{ "SYS_PACCT", "acct" },
        .{ "SYS_RAWIO", "iopl ioperm" },
        .{ "SYSLOG", "syslog" },
        .{ "SYS_TTY_CONFIG", "vhangup" },
        .{ "DAC_READ_SEARCH", "open_by_handle_at" },
    };
    const never = "userfaultfd kexec_load kexec_file_load swapon swapoff";
    inline for (cases) |case| {
        const with: Options = .{ .capabilities = capabilities.default | comptime capabilities.of(case[0]) };
        try expectAll(allowed, with, case[1]);
        try expectAll(denied, with, never);
        try expectAll(missing, with, "io_uring_setup keyctl vmsplice");
        if (comptime !std.mem.eql(u8, case[0], "SYS_ADMIN")) try expectAll(denied, with, "mount setns");
    }
    try expectAll(denied, .{ .capabilities = 0 }, "chroot mount ptrace");
    try expectAll(allowed, .{ .io_uring = true }, "io_uring_setup io_uring_enter io_uring_register");
}

test "of all socket families, four are left" {
    for ([_]numbers.Arch{ .x86_64, .i386 }) |arch| {
        for ([_][]const u8{ "socket", "socketpair" }) |name| {
            for (0..64) |family| {
                const expected = switch (family) {
                    linux.AF.UNIX, linux.AF.INET, linux.AF.INET6, linux.AF.NETLINK => allowed,
                    linux.AF.PACKET => denied,
                    else => Action.errno(.AFNOSUPPORT).value(),
                };
                const options: Options = .{ .i386 = true };
                try expectEqual(expected, try ask(options, arch, name, .{ family, 1, 0, 0, 0, 0 }));
                // What is left in the upper half of the register neither hides nor spoils.
                try expectEqual(expected, try ask(options, arch, name, .{ family | 0xdead_0000_0000, 1, 0, 0, 0, 0 }));
            }
        }
    }
    const raw: Options = .{ .capabilities = comptime capabilities.of("NET_RAW") };
    try expectEqual(allowed, try ask(raw, .x86_64, "socket", .{ linux.AF.PACKET, 3, 0, 0, 0, 0 }));
    try expectEqual(Action.errno(.AFNOSUPPORT).value(), try ask(raw, .x86_64, "socket", .{ linux.AF.VSOCK, 1, 0, 0, 0, 0 }));
}

test "without CAP_AUDIT_WRITE there is no audit log, rather than one that refuses" {
    const question = .{ linux.AF.NETLINK, linux.SOCK.RAW, linux.NETLINK.AUDIT, 0, 0, 0 };
    try expectEqual(Action.errno(.PROTONOSUPPORT).value(), try ask(.{}, .x86_64, "socket", question));
    const auditing: Options = .{ .capabilities = comptime capabilities.of("AUDIT_WRITE") };
    try expectEqual(allowed, try ask(auditing, .x86_64, "socket", question));
    try expectEqual(allowed, try ask(.{}, .x86_64, "socket", .{ linux.AF.INET, linux.SOCK.RAW, 9, 0, 0, 0 }));
}

test "socketcall, which hides the family, is refused" {
    try expectEqual(missing, try ask(.{ .i386 = true }, .i386, "socketcall", @splat(0)));
    const everything: Options = .{ .i386 = true, .capabilities = std.math.maxInt(u64) };
    try expectEqual(missing, try ask(everything, .i386, "socketcall", @splat(0)));
}

test "processes may be made, namespaces not" {
    const thread = 0x3d0f00;
    try expectEqual(allowed, try ask(.{}, .x86_64, "clone", .{ thread, 0, 0, 0, 0, 0 }));
    try expectEqual(allowed, try ask(.{}, .x86_64, "clone", .{ 17, 0, 0, 0, 0, 0 }));
    try expectEqual(allowed, try ask(.{}, .x86_64, "unshare", .{ 0x600, 0, 0, 0, 0, 0 }));
    const namespaces = [_]u64{ 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000 };
    const admin: Options = .{ .capabilities = comptime capabilities.of("SYS_ADMIN") };
    for (namespaces) |flag| {
        for ([_]u64{ flag, flag | 17, flag | thread, flag | 1 << 40 }) |flags| {
            try expectEqual(denied, try ask(.{}, .x86_64, "clone", .{ flags, 0, 0, 0, 0, 0 }));
            try expectEqual(allowed, try ask(admin, .x86_64, "clone", .{ flags, 0, 0, 0, 0, 0 }));
        }
        try expectEqual(denied, try ask(.{}, .x86_64, "unshare", .{ flag, 0, 0, 0, 0, 0 }));
        try expectEqual(allowed, try ask(admin, .x86_64, "unshare", .{ flag, 0, 0, 0, 0, 0 }));
    }
    // A time namespace, and flags that a later kernel may give a meaning.
    for ([_]u64{ 0x80, 0x100000, 1 << 32, 1 << 63 }) |flag| {
        try expectEqual(denied, try ask(.{}, .x86_64, "unshare", .{ flag, 0, 0, 0, 0, 0 }));
    }
}

test "nothing can be typed into the terminal of who watches" {
    for ([_]u64{ 0x5412, 0x541c, 0x5423 }) |request| {
        for ([_]u64{ request, request | 1 << 32, request | 0xffffffff_00000000 }) |spelled| {
            try expectEqual(denied, try ask(.{}, .x86_64, "ioctl", .{ 0, spelled, 0, 0, 0, 0 }));
        }
    }
    for ([_]u64{ 0x5401, 0x5411, 0x5413, 0x5414, 0x541b, 0x541d, 0x5412_0000_0000 }) |request| {
        try expectEqual(allowed, try ask(.{}, .x86_64, "ioctl", .{ 0, request, 0, 0, 0, 0 }));
    }
    const net: Options = .{ .capabilities = comptime capabilities.of("NET_ADMIN SYS_ADMIN") };
    try expectEqual(allowed, try ask(net, .x86_64, "ioctl", .{ 0, 0x5423, 0, 0, 0, 0 }));
    try expectEqual(denied, try ask(net, .x86_64, "ioctl", .{ 0, 0x5412, 0, 0, 0, 0 }));
}

test "personalities that keep a program's memory protected" {
    for ([_]u64{ 0, 8, 0x20000, 0x20008, 0xffffffff }) |persona| {
        try expectEqual(allowed, try ask(.{}, .x86_64, "personality", .{ persona, 0, 0, 0, 0, 0 }));
    }
    // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, MMAP_PAGE_ZERO, PER_SVR4
    for ([_]u64{ 0x40000, 0x400000, 0x100000, 0x1, 0x40008 }) |persona| {
        try expectEqual(denied, try ask(.{}, .x86_64, "personality", .{ persona, 0, 0, 0, 0, 0 }));
    }
}

test "32-bit programs end at their first call unless they were let in" {
    const program = try default.compile(.{}, &scratch);
    for (0..numbers.limit) |number| {
        try expectEqual(killed, bpf.run(program, &.{ .nr = @intCast(number), .arch = compiler.auditArch(.i386) }));
    }
    const wide: Options = .{ .i386 = true };
    try expectEqual(allowed, try ask(wide, .i386, "mmap2", @splat(0)));
    try expectEqual(allowed, try ask(wide, .i386, "modify_ldt", @splat(0)));
    for ([_][]const u8{ "mount", "umount", "ptrace", "bpf", "stime", "setns" }) |name| {
        try expectEqual(denied, try ask(wide, .i386, name, @splat(0)));
    }
    try expectEqual(denied, try ask(wide, .i386, "clone", .{ 0x10000000, 0, 0, 0, 0, 0 }));
    try expectEqual(missing, try ask(wide, .i386, "vm86", @splat(0)));
}

test "every call, every way, agrees with the profile" {
    const options = [_]Options{
        .{},
        .{ .capabilities = 0 },
        .{ .capabilities = std.math.maxInt(u64), .i386 = true, .io_uring = true },
        .{ .i386 = true },
        .{ .capabilities = comptime capabilities.of("SYS_ADMIN") },
        .{ .capabilities = comptime capabilities.of("NET_ADMIN NET_RAW") },
        .{ .capabilities = comptime capabilities.of("SYS_PTRACE SYS_NICE"), .io_uring = true },
    };
    const words = [_]u64{
        0,       1,            2,           10,                   16,                       17,      38,    40,
        0x5412,  0x541c,       0x5423,      0x5412 | 1 << 32,     1 << 32,                  0x20008, 0x8,   0x20000,
        0x40000, 0x3d0f00,     0x10000000,  0x7e020000,           0xffffffff,               1 << 40, 0x600, 0x80,
        1 << 63, 38 | 1 << 32, 1 | 1 << 32, std.math.maxInt(u64), std.math.maxInt(u32) - 1,
    };
    const archs = [_]u32{ compiler.auditArch(.x86_64), compiler.auditArch(.i386), 0xc00000b7, 0 };
    var asked: usize = 0;
    for (options) |each| {
        var rules: default.Rules = undefined;
        const profile = default.profile(each, &rules);
        const program = try default.compile(each, &scratch);
        try bpf.check(program);
        for (0..2 * numbers.limit + 8) |step| {
            // The tables, their x32 twins, and the ends of the range.
            const number: u32 = switch (step / numbers.limit) {
                0 => @intCast(step),
                1 => @intCast(step - numbers.limit + compiler.x32_bit),
                else => 0xffffffff - @as(u32, @intCast(step - 2 * numbers.limit)),
            };
            for (archs) |arch| for (words) |word| for (0..3) |index| {
                var data: Data = .{ .nr = number, .arch = arch };
                data.args[index] = word;
                try expectEqual(verdict(profile, &data), bpf.run(program, &data));
                asked += 1;
            };
        }
    }
    try expectEqual(options.len * (2 * numbers.limit + 8) * archs.len * words.len * 3, asked);
}

test "x32 ends the process, whatever the number" {
    const program = try default.compile(.{ .capabilities = std.math.maxInt(u64) }, &scratch);
    for (0..numbers.limit) |number| {
        const data: Data = .{ .nr = compiler.x32_bit | @as(u32, @intCast(number)), .arch = compiler.auditArch(.x86_64) };
        try expectEqual(killed, bpf.run(program, &data));
    }
}

test "the program of most containers is part of the binary" {
    const program = try default.compile(.{}, &scratch);
    try std.testing.expect(program.len < 300);
    const start = @intFromPtr(&scratch);
    try std.testing.expect(@intFromPtr(program.ptr) < start or @intFromPtr(program.ptr) >= start + @sizeOf(compiler.Scratch));
    // Capabilities that lift nothing change nothing.
    const same = try default.compile(.{ .capabilities = capabilities.default | comptime capabilities.of("IPC_LOCK WAKE_ALARM") }, &scratch);
    try expectEqual(program.ptr, same.ptr);
}
