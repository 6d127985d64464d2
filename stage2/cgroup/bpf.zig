//! The few BPF instructions that a device filter takes, and bpf(2) to attach one.
//!
//! Source: bpf(2); Documentation/bpf/standardization/instruction-set.rst of Linux

const std = @import("std");
const linux = @import("linux");
const fd_t = linux.fd_t;

/// struct bpf_insn. A jump's offset counts from the instruction after it.
pub const Instruction = extern struct {
    code: u8,
    registers: packed struct(u8) { dst: u4, src: u4 } = .{ .dst = 0, .src = 0 },
    offset: i16 = 0,
    constant: i32 = 0,

    comptime {
        std.debug.assert(@sizeOf(Instruction) == 8);
    }
};

/// Class, source and operation, added up.
pub const Code = struct {
    pub const load32 = 0x61; // LDX | MEM | W
    pub const move = 0xbf; // ALU64 | X | MOV
    pub const set = 0xb7; // ALU64 | K | MOV
    pub const and_constant = 0x57; // ALU64 | K | AND
    pub const shift_right = 0x77; // ALU64 | K | RSH
    pub const jump_if = 0x15; // JMP | K | JEQ
    pub const jump_unless = 0x55; // JMP | K | JNE
    pub const exit = 0x95; // JMP | EXIT
};

pub fn load32(dst: u4, address: u4, offset: i16) Instruction {
    return .{ .code = Code.load32, .registers = .{ .dst = dst, .src = address }, .offset = offset };
}

pub fn move(dst: u4, src: u4) Instruction {
    return .{ .code = Code.move, .registers = .{ .dst = dst, .src = src } };
}

pub fn set(dst: u4, constant: i32) Instruction {
    return .{ .code = Code.set, .registers = .{ .dst = dst, .src = 0 }, .constant = constant };
}

pub fn andConstant(dst: u4, constant: i32) Instruction {
    return .{ .code = Code.and_constant, .registers = .{ .dst = dst, .src = 0 }, .constant = constant };
}

pub fn shiftRight(dst: u4, bits: i32) Instruction {
    return .{ .code = Code.shift_right, .registers = .{ .dst = dst, .src = 0 }, .constant = bits };
}

/// Jumps if the register holds `constant`; the caller fills in how far.
pub fn jumpIf(dst: u4, constant: i32) Instruction {
    return .{ .code = Code.jump_if, .registers = .{ .dst = dst, .src = 0 }, .constant = constant };
}

pub fn jumpUnless(dst: u4, constant: i32) Instruction {
    return .{ .code = Code.jump_unless, .registers = .{ .dst = dst, .src = 0 }, .constant = constant };
}

pub const exit: Instruction = .{ .code = Code.exit };

const cgroup_device_program = 15; // BPF_PROG_TYPE_CGROUP_DEVICE
const cgroup_device_attach = 6; // BPF_CGROUP_DEVICE
const allow_multi = 2; // BPF_F_ALLOW_MULTI
const max_attached = 64; // The kernel's own limit for one cgroup.

const Command = enum(usize) { load = 5, attach = 8, detach = 9, fd_by_id = 13, query = 16 };

const LoadAttr = extern struct {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32 = 0,
    log_size: u32 = 0,
    log_buffer: u64 = 0,
    kernel_version: u32 = 0,
    flags: u32 = 0,
    name: [16]u8,
    interface: u32 = 0,
    attach_type: u32,
};

const AttachAttr = extern struct {
    target: i32,
    program: i32,
    type: u32 = cgroup_device_attach,
    flags: u32 = 0,
};

const QueryAttr = extern struct {
    target: i32,
    type: u32 = cgroup_device_attach,
    query_flags: u32 = 0,
    attach_flags: u32 = 0,
    ids: u64,
    count: u32,
    _: u32 = 0,
};

const IdAttr = extern struct {
    id: u32,
    next: u32 = 0,
    flags: u32 = 0,
};

/// Attaches the program to the cgroup behind `cgroup`, and then detaches what was there:
/// in between both must agree, so that no moment is without a filter. The programs of
/// the cgroups above go on being asked as well.
pub fn replaceDeviceFilter(cgroup: fd_t, instructions: []const Instruction) linux.E {
    var before: [max_attached]u32 = undefined;
    var query: QueryAttr = .{ .target = cgroup, .ids = @intFromPtr(&before), .count = before.len };
    const queried = call(.query, &query);
    if (linux.os.errno(queried) != .SUCCESS) return linux.os.errno(queried);

    var load: LoadAttr = .{
        .program_type = cgroup_device_program,
        .instruction_count = @intCast(instructions.len),
        .instructions = @intFromPtr(instructions.ptr),
        .license = @intFromPtr(@as([*:0]const u8, "Apache-2.0")),
        .name = ("kurma_devices" ++ .{0} ++ .{0} ++ .{0}).*,
        .attach_type = cgroup_device_attach,
    };
    const loaded = call(.load, &load);
    if (linux.os.errno(loaded) != .SUCCESS) return linux.os.errno(loaded);
    defer linux.file.close(@intCast(loaded));
    var attach: AttachAttr = .{ .target = cgroup, .program = @intCast(loaded), .flags = allow_multi };
    const attached = call(.attach, &attach);
    if (linux.os.errno(attached) != .SUCCESS) return linux.os.errno(attached);

    for (before[0..@min(query.count, before.len)]) |id| {
        var by_id: IdAttr = .{ .id = id };
        const old = call(.fd_by_id, &by_id);
        if (linux.os.errno(old) != .SUCCESS) return linux.os.errno(old);
        defer linux.file.close(@intCast(old));
        var detach: AttachAttr = .{ .target = cgroup, .program = @intCast(old) };
        const detached = call(.detach, &detach);
        if (linux.os.errno(detached) != .SUCCESS) return linux.os.errno(detached);
    }
    return .SUCCESS;
}

fn call(command: Command, attr: anytype) usize {
    return linux.os.syscall3(.bpf, @backingInt(command), @intFromPtr(attr), @sizeOf(@typeInfo(@TypeOf(attr)).pointer.child));
}
