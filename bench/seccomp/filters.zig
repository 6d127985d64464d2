//! What a seccomp filter costs: compiling the default profile at run time, and
//! installing its tree beside a list with the same answers, each in a fresh process.
//! Installs are 50 ms apart, because the kernel's deferred work makes a tight loop
//! look better than a container's start.
//!
//!   filters [RUNS]      101 unless told
//!
//! On stdout one line of JSON: lengths in instructions, medians in nanoseconds.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const seccomp = @import("seccomp");
const Instruction = seccomp.Instruction;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

var scratch: seccomp.Scratch = undefined;
var linear_buffer: [seccomp.max_length]Instruction = undefined;

const max_runs = 1000;

pub fn main(start: std.process.Init.Minimal) u8 {
    const args = start.args.vector;
    const runs = if (args.len > 1) std.fmt.parseInt(usize, std.mem.span(args[1]), 10) catch 0 else 101;
    if (runs == 0 or runs > max_runs) return 64;
    var failure: linux.Failure = .{};
    measure(&failure, runs) catch return 1;
    return 0;
}

fn measure(failure: *linux.Failure, runs: usize) !void {
    var compile_ns: [max_runs]i64 = undefined;
    var tree_ns: [max_runs]i64 = undefined;
    var list_ns: [max_runs]i64 = undefined;
    const tree = try seccomp.default.compile(.{}, &scratch);
    const list = linear();
    for (compile_ns[0..runs], tree_ns[0..runs], list_ns[0..runs]) |*compiling, *first, *second| {
        const before = now();
        _ = try seccomp.default.compile(.{ .i386 = true }, &scratch);
        compiling.* = now() - before;
        first.* = try installTime(failure, tree);
        second.* = try installTime(failure, list);
    }
    var buffer: [256]u8 = undefined;
    const text = try std.fmt.bufPrint(&buffer, "{{\"runs\":{d},\"tree\":{{\"instructions\":{d},\"install_ns\":{d}}}," ++
        "\"list\":{{\"instructions\":{d},\"install_ns\":{d}}},\"compile_both_architectures_ns\":{d}}}\n", .{
        runs,     tree.len,                 median(tree_ns[0..runs]),
        list.len, median(list_ns[0..runs]), median(compile_ns[0..runs]),
    });
    try linux.file.writeAll(failure, 1, text);
}

/// The default profile as a list: two instructions for each call that is always allowed.
fn linear() []const Instruction {
    var rules: seccomp.default.Rules = undefined;
    const profile = seccomp.default.profile(.{}, &rules);
    var len: usize = 0;
    const add = struct {
        fn add(at: *usize, instruction: Instruction) void {
            linear_buffer[at.*] = instruction;
            at.* += 1;
        }
    }.add;
    const load, const equal, const give = .{ 0x20, 0x15, 0x06 }; // BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ, BPF_RET
    add(&len, .{ .code = load, .k = 0 });
    for (profile.rules) |rule| if (rule.action.kind == .allow and rule.conditions.len == 0) {
        for (rule.calls) |call| if (call.number(.x86_64)) |number| {
            add(&len, .{ .code = equal, .jt = 0, .jf = 1, .k = number });
            add(&len, .{ .code = give, .k = rule.action.value() });
        };
    };
    add(&len, .{ .code = give, .k = profile.default.value() });
    return linear_buffer[0..len];
}

/// How long a new process, 50 ms old, takes to install `program`.
fn installTime(failure: *linux.Failure, program: []const Instruction) !i64 {
    var ends: [2]i32 = undefined;
    _ = try failure.check(.open, os.pipe2(&ends, .{ .CLOEXEC = true }));
    defer for (ends) |end| linux.file.close(end);
    const child = try failure.check(.clone, linux.process.clone3(&.{ .exit_signal = @backingInt(os.SIG.CHLD) }));
    if (child == 0) {
        const pause: os.timespec = .{ .sec = 0, .nsec = 50 * std.time.ns_per_ms };
        _ = os.nanosleep(&pause, null);
        _ = linux.process.prctl(.SET_NO_NEW_PRIVS, 1);
        const before = now();
        const installed = seccomp.install(failure, program, .{});
        const taken = now() - before;
        _ = installed catch linux.process.exit(1);
        linux.file.writeAll(failure, ends[1], std.mem.asBytes(&taken)) catch linux.process.exit(1);
        linux.process.exit(0);
    }
    if (linux.process.exitStatus(try linux.process.wait(failure, @intCast(child))) != 0) return error.Failed;
    var taken: i64 = undefined;
    _ = try failure.check(.read, os.read(ends[0], std.mem.asBytes(&taken), @sizeOf(i64)));
    return taken;
}

fn median(values: []i64) i64 {
    std.mem.sortUnstable(i64, values, {}, std.sort.asc(i64));
    return values[values.len / 2];
}

fn now() i64 {
    var time: os.timespec = undefined;
    _ = os.clock_gettime(.MONOTONIC, &time);
    return time.sec * std.time.ns_per_s + time.nsec;
}
