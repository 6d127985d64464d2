//! What the kernel does with a filter: it checks the program once, then runs it for
//! each call. For tests.
//!
//! Source: seccomp_check_filter() and bpf_check_classic() as seccomp(2) and
//! Documentation/networking/filter.rst describe them.

const std = @import("std");
const compiler = @import("compile.zig");
const Instruction = compiler.Instruction;
const Code = compiler.Code;
const Data = compiler.Data;

/// Refuses what the kernel would: a jump past the end, a load outside `Data` or not
/// on a word, an unknown code, an end that is no `ret`.
pub fn check(program: []const Instruction) !void {
    if (program.len == 0 or program.len > compiler.max_length) return error.Length;
    for (program, 0..) |instruction, at| {
        const after = program.len - at - 1;
        switch (instruction.code) {
            Code.load => if (instruction.k % 4 != 0 or instruction.k >= @sizeOf(Data)) return error.Load,
            Code.mask, Code.give => {},
            Code.jump => if (instruction.k >= after) return error.Jump,
            Code.equal, Code.above, Code.at_least => {
                if (instruction.jt >= after or instruction.jf >= after) return error.Jump;
            },
            else => return error.Code,
        }
    }
    if (program[program.len - 1].code != Code.give) return error.End;
}

/// The program's return value for one call. `program` passed `check`.
pub fn run(program: []const Instruction, data: *const Data) u32 {
    const words: *const [@sizeOf(Data) / 4]u32 = @ptrCast(data);
    var accumulator: u32 = 0;
    var at: usize = 0;
    while (true) {
        const instruction = program[at];
        at += 1;
        const k = instruction.k;
        const holds = switch (instruction.code) {
            Code.load => {
                accumulator = words[k / 4];
                continue;
            },
            Code.mask => {
                accumulator &= k;
                continue;
            },
            Code.jump => {
                at += k;
                continue;
            },
            Code.equal => accumulator == k,
            Code.above => accumulator > k,
            Code.at_least => accumulator >= k,
            else => return k,
        };
        at += if (holds) instruction.jt else instruction.jf;
    }
}

test "check() refuses what the kernel would" {
    const give: Instruction = .{ .code = Code.give, .k = 0 };
    try check(&.{give});
    try check(&.{ .{ .code = Code.equal, .jt = 0, .jf = 1, .k = 7 }, give, give });
    try std.testing.expectError(error.Length, check(&.{}));
    try std.testing.expectError(error.Jump, check(&.{ .{ .code = Code.equal, .jt = 0, .jf = 1, .k = 7 }, give }));
    try std.testing.expectError(error.Jump, check(&.{ .{ .code = Code.jump, .k = 1 }, give }));
    try std.testing.expectError(error.Load, check(&.{ .{ .code = Code.load, .k = 64 }, give }));
    try std.testing.expectError(error.Load, check(&.{ .{ .code = Code.load, .k = 2 }, give }));
    try std.testing.expectError(error.Code, check(&.{ .{ .code = 0x16, .k = 0 }, give }));
    try std.testing.expectError(error.End, check(&.{ give, .{ .code = Code.load, .k = 0 } }));
}
