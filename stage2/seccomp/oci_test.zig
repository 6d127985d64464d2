//! OCI configurations, from their words to what the kernel would answer.

const std = @import("std");
const expectEqual = std.testing.expectEqual;
const expectEqualStrings = std.testing.expectEqualStrings;
const bpf = @import("bpf.zig");
const compiler = @import("compile.zig");
const numbers = @import("numbers.zig");
const oci = @import("oci.zig");
const Action = @import("profile.zig").Action;

var scratch: compiler.Scratch = undefined;
var memory: [64 * 1024]u8 = undefined;

const Question = struct { name: []const u8, arch: numbers.Arch = .x86_64, args: [6]u64 = @splat(0) };

fn answer(spec: oci.Seccomp, question: Question) !u32 {
    var arena: std.heap.FixedBufferAllocator = .init(&memory);
    var problem: oci.Problem = .{};
    const filter = try oci.read(spec, arena.allocator(), &problem);
    const program = try compiler.compile(filter.profile, &scratch);
    try bpf.check(program);
    return bpf.run(program, &.{
        .nr = numbers.find(question.name).?.number(question.arch).?,
        .arch = compiler.auditArch(question.arch),
        .args = question.args,
    });
}

fn refusal(spec: oci.Seccomp) !oci.Problem {
    var arena: std.heap.FixedBufferAllocator = .init(&memory);
    var problem: oci.Problem = .{};
    try std.testing.expectError(error.Invalid, oci.read(spec, arena.allocator(), &problem));
    return problem;
}

const allowed = Action.allow.value();

test "a profile of the usual shape" {
    const spec: oci.Seccomp = .{
        .defaultAction = .SCMP_ACT_ERRNO,
        .architectures = &.{ .SCMP_ARCH_X86_64, .SCMP_ARCH_X86, .SCMP_ARCH_X32, .SCMP_ARCH_AARCH64 },
        .syscalls = &.{
            .{ .names = &.{ "read", "arm_fadvise64_64", "recv", "_llseek", "openat2" }, .action = .SCMP_ACT_ALLOW },
            .{ .names = &.{"clone"}, .action = .SCMP_ACT_ALLOW, .args = &.{
                .{ .index = 0, .value = 0x7e020000, .valueTwo = 0, .op = .SCMP_CMP_MASKED_EQ },
            } },
            .{ .names = &.{"clone3"}, .action = .SCMP_ACT_ERRNO, .errnoRet = 38 },
        },
    };
    try expectEqual(allowed, try answer(spec, .{ .name = "read" }));
    try expectEqual(allowed, try answer(spec, .{ .name = "llseek", .arch = .i386 }));
    try expectEqual(Action.errno(.PERM).value(), try answer(spec, .{ .name = "write" }));
    try expectEqual(Action.errno(.NOSYS).value(), try answer(spec, .{ .name = "clone3" }));
    try expectEqual(Action.errno(.NOSYS).value(), try answer(spec, .{ .name = "cachestat" })); // Newer than the profile.
    try expectEqual(allowed, try answer(spec, .{ .name = "clone", .args = .{ 17, 0, 0, 0, 0, 0 } }));
    try expectEqual(Action.errno(.PERM).value(), try answer(spec, .{ .name = "clone", .args = .{ 0x20011, 0, 0, 0, 0, 0 } }));
}

test "two conditions on one argument are alternatives, as under runc" {
    const spec: oci.Seccomp = .{ .defaultAction = .SCMP_ACT_KILL_PROCESS, .syscalls = &.{
        .{ .names = &.{"socket"}, .action = .SCMP_ACT_ALLOW, .args = &.{
            .{ .index = 0, .value = 1, .op = .SCMP_CMP_EQ },
            .{ .index = 0, .value = 2, .op = .SCMP_CMP_EQ },
            .{ .index = 1, .value = 7, .op = .SCMP_CMP_GE },
        } },
    } };
    for ([_][2]u64{ .{ 1, 0 }, .{ 2, 0 }, .{ 9, 7 } }) |args| {
        try expectEqual(allowed, try answer(spec, .{ .name = "socket", .args = .{ args[0], args[1], 0, 0, 0, 0 } }));
    }
    try expectEqual(Action.kill.value(), try answer(spec, .{ .name = "socket", .args = .{ 3, 6, 0, 0, 0, 0 } }));
}

test "actions keep their errno, and a tracer its message" {
    const spec: oci.Seccomp = .{ .defaultAction = .SCMP_ACT_TRACE, .defaultErrnoRet = 65535, .syscalls = &.{
        .{ .names = &.{"read"}, .action = .SCMP_ACT_ERRNO, .errnoRet = 4095 },
        .{ .names = &.{"write"}, .action = .SCMP_ACT_ERRNO },
        .{ .names = &.{"open"}, .action = .SCMP_ACT_KILL },
        .{ .names = &.{"close"}, .action = .SCMP_ACT_TRAP },
        .{ .names = &.{"dup"}, .action = .SCMP_ACT_LOG },
    } };
    try expectEqual(0x00050fff, try answer(spec, .{ .name = "read" }));
    try expectEqual(0x00050001, try answer(spec, .{ .name = "write" }));
    try expectEqual(0x00000000, try answer(spec, .{ .name = "open" }));
    try expectEqual(0x00030000, try answer(spec, .{ .name = "close" }));
    try expectEqual(0x7ffc0000, try answer(spec, .{ .name = "dup" }));
    try expectEqual(0x7ff0ffff, try answer(spec, .{ .name = "stat" }));
    try expectEqual(0x7ff0ffff, try answer(spec, .{ .name = "clone3" })); // Left to the tracer.
}

test "flags, and the listener that a rule asks" {
    var arena: std.heap.FixedBufferAllocator = .init(&memory);
    var problem: oci.Problem = .{};
    const filter = try oci.read(.{
        .defaultAction = .SCMP_ACT_ALLOW,
        .flags = &.{ .SECCOMP_FILTER_FLAG_LOG, .SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
        .listenerPath = "/run/agent.sock",
        .syscalls = &.{.{ .names = &.{"mkdir"}, .action = .SCMP_ACT_NOTIFY }},
    }, arena.allocator(), &problem);
    try expectEqual(0b101010, @as(u32, @bitCast(filter.flags)));
}

test "what cannot be carried out is refused with its reason" {
    const notify: oci.Syscall = .{ .names = &.{"mkdir"}, .action = .SCMP_ACT_NOTIFY };
    var mistyped = try refusal(.{ .defaultAction = .SCMP_ACT_ALLOW, .syscalls = &.{
        .{ .names = &.{"read"}, .action = .SCMP_ACT_LOG },
        .{ .names = &.{"ptraec"}, .action = .SCMP_ACT_ERRNO },
    } });
    try expectEqualStrings(
        "A rule refuses a system call that does not exist: \"ptraec\" (linux.seccomp.syscalls[1])",
        mistyped.text(),
    );
    var beside = try refusal(.{ .defaultAction = .SCMP_ACT_ALLOW, .listenerMetadata = "x" });
    try expectEqualStrings("listenerMetadata needs listenerPath (linux.seccomp)", beside.text());

    const cases = [_]struct { []const u8, oci.Seccomp }{
        .{ "SCMP_ACT_NOTIFY needs listenerPath", .{ .defaultAction = .SCMP_ACT_ALLOW, .syscalls = &.{notify} } },
        .{ "listenerMetadata needs listenerPath", .{ .defaultAction = .SCMP_ACT_ALLOW, .listenerMetadata = "x" } },
        .{ "A rule needs a name", .{ .defaultAction = .SCMP_ACT_ALLOW, .syscalls = &.{.{ .names = &.{}, .action = .SCMP_ACT_ALLOW }} } },
        .{ "An errno is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only", .{ .defaultAction = .SCMP_ACT_KILL, .defaultErrnoRet = 1 } },
        .{ "An errno is at most 4095, and what a tracer is told at most 65535", .{ .defaultAction = .SCMP_ACT_ERRNO, .defaultErrnoRet = 4096 } },
        .{ "An errno is at most 4095, and what a tracer is told at most 65535", .{ .defaultAction = .SCMP_ACT_TRACE, .defaultErrnoRet = 65536 } },
        .{ "A system call's arguments are numbered from 0 to 5", .{ .defaultAction = .SCMP_ACT_ALLOW, .syscalls = &.{
            .{ .names = &.{"read"}, .action = .SCMP_ACT_ERRNO, .args = &.{.{ .index = 6, .value = 0, .op = .SCMP_CMP_EQ }} },
        } } },
        .{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY", .{
            .defaultAction = .SCMP_ACT_ALLOW,
            .flags = &.{.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
        } },
    };
    for (cases) |case| try expectEqualStrings(case[0], (try refusal(case[1])).why);
}

test "what is refused by name is refused on 32-bit programs' other ways, too" {
    const spec: oci.Seccomp = .{
        .defaultAction = .SCMP_ACT_ALLOW,
        .architectures = &.{.SCMP_ARCH_X86},
        .syscalls = &.{.{ .names = &.{ "socket", "recv", "cacheflush", "shmget" }, .action = .SCMP_ACT_ERRNO, .errnoRet = 13 }},
    };
    const refused = Action.errno(.ACCES).value();
    const cases = [_]struct { []const u8, u64, u32 }{
        .{ "socket", 0, refused },         .{ "socketcall", 1, refused }, .{ "socketcall", 10, refused },
        .{ "socketcall", 9, allowed },     .{ "socketcall", 2, allowed }, .{ "ipc", 23, refused },
        .{ "ipc", 1 << 16 | 23, refused }, .{ "ipc", 24, allowed },       .{ "shmget", 0, refused },
    };
    for (cases) |case| {
        try expectEqual(case[2], try answer(spec, .{ .name = case[0], .arch = .i386, .args = .{ case[1], 0, 0, 0, 0, 0 } }));
    }
    try expectEqual(allowed, try answer(spec, .{ .name = "bind" }));
    try expectEqual(refused, try answer(spec, .{ .name = "socket" }));
}

test "memory that runs out is a refusal" {
    var small: std.heap.FixedBufferAllocator = .init(memory[0..100]);
    var problem: oci.Problem = .{};
    const spec: oci.Seccomp = .{ .defaultAction = .SCMP_ACT_ALLOW, .syscalls = &.{
        .{ .names = &.{"read"}, .action = .SCMP_ACT_LOG },
        .{ .names = &.{"write"}, .action = .SCMP_ACT_LOG },
    } };
    try std.testing.expectError(error.Invalid, oci.read(spec, small.allocator(), &problem));
    try expectEqualStrings("No room for the rules", problem.why);
}
