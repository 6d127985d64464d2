//! `linux.seccomp` of an OCI configuration, read into a profile.
//!
//! What is not said there is read as runc does, so that a profile means the same
//! under both, with four differences, each stricter: x32 is refused even if listed;
//! what lies outside the architectures ends the process and not only a thread; a
//! condition that refuses holds also beside a rule that allows the call; allowing a
//! socket call does not open it inside socketcall(2).
//!
//! Source: OCI runtime-spec 1.3, config-linux.md "Seccomp"; the field names are its own.

const std = @import("std");
const install = @import("install.zig");
const numbers = @import("numbers.zig");
const profiles = @import("profile.zig");
const Profile = profiles.Profile;
const Rule = profiles.Rule;
const Condition = profiles.Condition;

pub const Seccomp = struct {
    defaultAction: Action,
    defaultErrnoRet: ?u32 = null,
    architectures: []const Architecture = &.{},
    flags: []const Flag = &.{},
    listenerPath: ?[:0]const u8 = null,
    listenerMetadata: ?[:0]const u8 = null,
    syscalls: []const Syscall = &.{},
};

pub const Syscall = struct {
    names: []const [:0]const u8,
    action: Action,
    errnoRet: ?u32 = null,
    args: []const Argument = &.{},
};

pub const Argument = struct {
    index: u32,
    value: u64,
    valueTwo: u64 = 0,
    op: Operator,
};

pub const Action = enum {
    SCMP_ACT_KILL,
    SCMP_ACT_KILL_PROCESS,
    SCMP_ACT_KILL_THREAD,
    SCMP_ACT_TRAP,
    SCMP_ACT_ERRNO,
    SCMP_ACT_TRACE,
    SCMP_ACT_ALLOW,
    SCMP_ACT_LOG,
    SCMP_ACT_NOTIFY,

    fn kind(action: Action) profiles.Action.Kind {
        return switch (action) {
            .SCMP_ACT_KILL, .SCMP_ACT_KILL_THREAD => .kill_thread,
            .SCMP_ACT_KILL_PROCESS => .kill_process,
            .SCMP_ACT_TRAP => .trap,
            .SCMP_ACT_ERRNO => .errno,
            .SCMP_ACT_TRACE => .trace,
            .SCMP_ACT_ALLOW => .allow,
            .SCMP_ACT_LOG => .log,
            .SCMP_ACT_NOTIFY => .notify,
        };
    }
};

pub const Operator = enum {
    SCMP_CMP_NE,
    SCMP_CMP_LT,
    SCMP_CMP_LE,
    SCMP_CMP_EQ,
    SCMP_CMP_GE,
    SCMP_CMP_GT,
    SCMP_CMP_MASKED_EQ,

    fn operator(op: Operator) Condition.Operator {
        return switch (op) {
            .SCMP_CMP_NE => .not_equal,
            .SCMP_CMP_LT => .less,
            .SCMP_CMP_LE => .less_or_equal,
            .SCMP_CMP_EQ => .equal,
            .SCMP_CMP_GE => .greater_or_equal,
            .SCMP_CMP_GT => .greater,
            .SCMP_CMP_MASKED_EQ => .masked_equal,
        };
    }
};

pub const Flag = enum {
    SECCOMP_FILTER_FLAG_TSYNC,
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
};

/// Those that cannot occur on this machine are taken and mean nothing, so that one
/// profile serves several kinds of machine.
pub const Architecture = enum {
    SCMP_ARCH_X86,
    SCMP_ARCH_X86_64,
    SCMP_ARCH_X32,
    SCMP_ARCH_ARM,
    SCMP_ARCH_AARCH64,
    SCMP_ARCH_MIPS,
    SCMP_ARCH_MIPS64,
    SCMP_ARCH_MIPS64N32,
    SCMP_ARCH_MIPSEL,
    SCMP_ARCH_MIPSEL64,
    SCMP_ARCH_MIPSEL64N32,
    SCMP_ARCH_PPC,
    SCMP_ARCH_PPC64,
    SCMP_ARCH_PPC64LE,
    SCMP_ARCH_S390,
    SCMP_ARCH_S390X,
    SCMP_ARCH_PARISC,
    SCMP_ARCH_PARISC64,
    SCMP_ARCH_RISCV64,
    SCMP_ARCH_LOONGARCH64,
    SCMP_ARCH_M68K,
    SCMP_ARCH_SH,
    SCMP_ARCH_SHEB,
};

/// A profile and how to install it.
pub const Filter = struct {
    profile: Profile,
    /// `new_listener` is set if a rule asks the listener.
    flags: install.Flags,
};

/// Why a configuration is refused.
pub const Problem = struct {
    /// The position in `syscalls`, or null for what stands beside it.
    entry: ?u32 = null,
    why: []const u8 = "",
    /// The name in question, or "".
    name: []const u8 = "",
    buffer: [256]u8 = undefined,

    /// One line: `A rule refuses a system call that does not exist: "ptraec" (linux.seccomp.syscalls[3])`.
    /// A name too long for it is cut.
    pub fn text(problem: *Problem) []const u8 {
        var len: usize = 0;
        for ([_][]const u8{
            problem.why,
            if (problem.name.len > 0) ": \"" else "",
            problem.name,
            if (problem.name.len > 0) "\"" else "",
            " (linux.seccomp",
            if (problem.entry != null) ".syscalls[" else "",
        }) |part| len += problem.append(len, part);
        if (problem.entry) |entry| {
            var digits: [10]u8 = undefined;
            len += problem.append(len, digits[0..std.fmt.printInt(&digits, entry, 10, .lower, .{})]);
            len += problem.append(len, "]");
        }
        len += problem.append(len, ")");
        return problem.buffer[0..len];
    }

    noinline fn append(problem: *Problem, at: usize, part: []const u8) usize {
        const len = @min(part.len, problem.buffer.len - at);
        @memcpy(problem.buffer[at..][0..len], part[0..len]);
        return len;
    }

    fn set(problem: *Problem, why: []const u8) error{Invalid} {
        problem.why = why;
        return error.Invalid;
    }
};

/// Reads `spec`. `arena` holds what the result points to: two bytes a name, some 60 a
/// rule.
///
/// Errors: `Invalid`, and `problem` says why.
pub fn read(spec: Seccomp, arena: std.mem.Allocator, problem: *Problem) error{Invalid}!Filter {
    const default = try readAction(spec.defaultAction, spec.defaultErrnoRet, problem);
    if (spec.listenerMetadata != null and spec.listenerPath == null) {
        return problem.set("listenerMetadata needs listenerPath");
    }
    const narrow = std.mem.findScalar(Architecture, spec.architectures, .SCMP_ARCH_X86) != null;
    const rules = arena.alloc(Rule, spec.syscalls.len * (1 + multiplexers.len)) catch return problem.set("No room for the rules");
    var len: usize = 0;
    var notifies = false;
    for (spec.syscalls, 0..) |syscall, entry| {
        problem.entry = @intCast(entry);
        const rule = try readRule(syscall, default, arena, problem);
        rules[len] = rule;
        len += 1;
        notifies = notifies or rule.action.kind == .notify;
        if (!narrow or rule.conditions.len > 0 or !rule.action.stricterThan(default)) continue;
        for (multiplexers) |multiplexer| {
            const conditions = try multiplexed(multiplexer, syscall.names, arena, problem);
            if (conditions.len == 0) continue;
            rules[len] = .{ .calls = multiplexer.calls, .action = rule.action, .conditions = conditions, .match = .any };
            len += 1;
        }
    }
    problem.entry = null;
    if (notifies and spec.listenerPath == null) return problem.set("SCMP_ACT_NOTIFY needs listenerPath");
    var flags: install.Flags = .{ .new_listener = notifies };
    for (spec.flags) |flag| switch (flag) {
        .SECCOMP_FILTER_FLAG_TSYNC => flags.tsync = true,
        .SECCOMP_FILTER_FLAG_LOG => flags.log = true,
        .SECCOMP_FILTER_FLAG_SPEC_ALLOW => flags.spec_allow = true,
        .SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV => flags.wait_killable_recv = true,
    };
    if (flags.wait_killable_recv and !notifies) {
        return problem.set("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY");
    }
    return .{ .flags = flags, .profile = .{
        .default = default,
        .unassigned = unassigned(default),
        .i386 = narrow,
        .rules = rules[0..len],
    } };
}

/// A profile that refuses what it does not name would answer new calls with an errno
/// that no libc takes for "not there". One that allows, or asks a tracer, leaves the
/// answer to the kernel or the tracer.
fn unassigned(default: profiles.Action) ?profiles.Action {
    return switch (default.kind) {
        .allow, .log, .trace => null,
        .kill_process, .kill_thread, .trap, .errno, .notify => .errno(.NOSYS),
    };
}

/// A call of i386 that does the work of several, chosen by its first argument. A rule that
/// refuses one of those has to refuse it here too, or 32-bit programs go around it.
/// Conditions on further arguments cannot be carried over: they lie in memory.
const Multiplexer = struct {
    calls: []const numbers.Call,
    /// What of the first argument chooses.
    mask: u64,
    operations: []const struct { []const u8, u64 },
};

/// socketcall(2), linux/net.h; ipc(2), linux/ipc.h
const multiplexers = [_]Multiplexer{
    .{ .calls = numbers.list("socketcall"), .mask = 0xffffffff, .operations = &.{
        .{ "socket", 1 },      .{ "bind", 2 },        .{ "connect", 3 },    .{ "listen", 4 },      .{ "accept", 5 },
        .{ "getsockname", 6 }, .{ "getpeername", 7 }, .{ "socketpair", 8 }, .{ "send", 9 },        .{ "recv", 10 },
        .{ "sendto", 11 },     .{ "recvfrom", 12 },   .{ "shutdown", 13 },  .{ "setsockopt", 14 }, .{ "getsockopt", 15 },
        .{ "sendmsg", 16 },    .{ "recvmsg", 17 },    .{ "accept4", 18 },   .{ "recvmmsg", 19 },   .{ "sendmmsg", 20 },
    } },
    .{ .calls = numbers.list("ipc"), .mask = 0xffff, .operations = &.{
        .{ "semop", 1 },   .{ "semget", 2 },  .{ "semctl", 3 }, .{ "semtimedop", 4 }, .{ "msgsnd", 11 }, .{ "msgrcv", 12 },
        .{ "msgget", 13 }, .{ "msgctl", 14 }, .{ "shmat", 21 }, .{ "shmdt", 22 },     .{ "shmget", 23 }, .{ "shmctl", 24 },
    } },
};

/// Conditions for those of `names` that `multiplexer` does.
noinline fn multiplexed(multiplexer: Multiplexer, names: []const [:0]const u8, arena: std.mem.Allocator, problem: *Problem) error{Invalid}![]const Condition {
    var buffer: [20]Condition = undefined;
    var len: usize = 0;
    for (multiplexer.operations) |operation| {
        for (names) |name| if (std.mem.eql(u8, name, operation[0])) {
            buffer[len] = .{ .index = 0, .operator = .masked_equal, .value = multiplexer.mask, .value_two = operation[1] };
            len += 1;
            break;
        };
    }
    return arena.dupe(Condition, buffer[0..len]) catch problem.set("No room for the conditions");
}

/// Calls that other architectures have, or i386 by another way: profiles for several
/// kinds of machine name them.
const foreign =
    \\send recv arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush get_tls set_tls usr26
    \\usr32 cachectl sysmips multiplexer pciconfig_iobase pciconfig_read pciconfig_write rtas
    \\spu_create spu_run subpage_prot swapcontext switch_endian sync_file_range2
    \\sys_debug_setcontext s390_guarded_storage s390_pci_mmio_read s390_pci_mmio_write
    \\s390_runtime_instr s390_sthyi riscv_flush_icache riscv_hwprobe atomic_barrier
    \\atomic_cmpxchg_32 getpagesize
;

fn elsewhere(name: []const u8) bool {
    var known = std.mem.tokenizeAny(u8, foreign, " \n");
    while (known.next()) |word| if (std.mem.eql(u8, word, name)) return true;
    return false;
}

fn readRule(syscall: Syscall, default: profiles.Action, arena: std.mem.Allocator, problem: *Problem) error{Invalid}!Rule {
    const decided = try readAction(syscall.action, syscall.errnoRet, problem);
    if (syscall.names.len == 0) return problem.set("A rule needs a name");
    const calls = arena.alloc(numbers.Call, syscall.names.len) catch return problem.set("No room for the names");
    var len: usize = 0;
    for (syscall.names) |name| {
        if (numbers.find(name)) |call| {
            calls[len] = call;
            len += 1;
        } else if (decided.stricterThan(default) and !elsewhere(name)) {
            // Allowing a call that is not there takes nothing away; refusing it only in the
            // configuration, under a name mistyped, would.
            problem.name = name;
            return problem.set("A rule refuses a system call that does not exist");
        }
    }
    const conditions = arena.alloc(Condition, syscall.args.len) catch return problem.set("No room for the conditions");
    var seen: [6]bool = @splat(false);
    var match: Rule.Match = .all;
    for (syscall.args, conditions) |argument, *condition| {
        if (argument.index > 5) return problem.set("A system call's arguments are numbered from 0 to 5");
        // Two conditions on one argument: all of the rule's are alternatives then, as runc
        // has it.
        if (seen[argument.index]) match = .any;
        seen[argument.index] = true;
        condition.* = .{
            .index = @intCast(argument.index),
            .operator = argument.op.operator(),
            .value = argument.value,
            .value_two = argument.valueTwo,
        };
    }
    return .{ .calls = calls[0..len], .action = decided, .conditions = conditions, .match = match };
}

noinline fn readAction(named: Action, data: ?u32, problem: *Problem) error{Invalid}!profiles.Action {
    const kind = named.kind();
    const takes_data = kind == .errno or kind == .trace;
    if (!takes_data) {
        if (data != null) return problem.set("An errno is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only");
        return .{ .kind = kind };
    }
    const eperm = 1;
    const value = data orelse eperm;
    const max: u32 = if (kind == .errno) 4095 else std.math.maxInt(u16);
    if (value > max) return problem.set("An errno is at most 4095, and what a tracer is told at most 65535");
    return .{ .kind = kind, .data = @intCast(value) };
}
