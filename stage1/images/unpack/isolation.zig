//! What the unpacker gives up before it reads the first byte of an archive: every
//! path but the target's, every capability but those that write files, and every
//! system call but those it makes.

const std = @import("std");
const builtin = @import("builtin");
const linux = @import("linux");
const os = linux.os;
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;

/// Makes `root` the root of this process and gives up the rest.
///
/// The order: chroot(2) needs a capability that goes next; the filter comes last,
/// since nothing above it is among the calls that it lets through.
pub fn confine(root: linux.fd_t, refusal: *Refusal) Error!void {
    _ = try refusal.check(os.fchdir(root));
    _ = try refusal.check(os.chroot("."));
    try dropCapabilities(refusal);
    _ = try refusal.check(linux.process.prctl(.SET_NO_NEW_PRIVS, 1));
    _ = try refusal.check(linux.process.prctl(.SET_DUMPABLE, 0));
    _ = try refusal.check(os.seccomp(os.SECCOMP.SET_MODE_FILTER, 0, &program));
}

const Capability = struct {
    const chown = 0;
    const dac_override = 1;
    const fowner = 3;
    const fsetid = 4;
    /// trusted.overlay.opaque. With the filter below, it allows nothing else.
    const sys_admin = 21;
    const mknod = 27;
    const setfcap = 31;
};

fn dropCapabilities(refusal: *Refusal) Error!void {
    const kept: u32 = 1 << Capability.chown | 1 << Capability.dac_override | 1 << Capability.fowner |
        1 << Capability.fsetid | 1 << Capability.sys_admin | 1 << Capability.mknod | 1 << Capability.setfcap;
    // capset(2), version 3: a header, and the low and high halves of the three sets.
    const header = [2]u32{ 0x20080522, 0 };
    const sets = [6]u32{ kept, kept, 0, 0, 0, 0 };
    _ = try refusal.check(os.syscall2(.capset, @intFromPtr(&header), @intFromPtr(&sets)));
}

/// All that unpacking takes; wait4(2) for the one that writes back. The last two end the process.
const calls = [_]os.SYS{
    .read,     .write,      .close,     .openat,     .openat2,   .statx,
    .lseek,    .ftruncate,  .mkdirat,   .mknodat,    .symlinkat, .linkat,
    .unlinkat, .fchown,     .fchownat,  .fchmod,     .fchmodat,  .utimensat,
    .fchdir,   .getdents64, .fsetxattr, .lsetxattr,  .mmap,      .munmap,
    .syncfs,   .wait4,      .exit,      .exit_group,
};

/// Linear: a filter this short costs less than the search for a better one.
const filter = filter: {
    const load = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const equal = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const answer = 0x06; // BPF_RET | BPF_K
    const audit_arch_x86_64 = 0xc000003e;
    const kill = 0x80000000; // SECCOMP_RET_KILL_PROCESS
    const allow = 0x7fff0000;
    var made: [calls.len + 6]Instruction = undefined;
    made[0] = .{ .code = load, .k = 4 }; // seccomp_data.arch
    made[1] = .{ .code = equal, .jt = 1, .k = audit_arch_x86_64 };
    made[2] = .{ .code = answer, .k = kill };
    made[3] = .{ .code = load, .k = 0 }; // seccomp_data.nr
    for (calls, 0..) |call, index| {
        made[4 + index] = .{ .code = equal, .jt = calls.len - index, .k = @backingInt(call) };
    }
    made[4 + calls.len] = .{ .code = answer, .k = kill };
    made[5 + calls.len] = .{ .code = answer, .k = allow };
    break :filter made;
};

/// sock_filter and sock_fprog of linux/filter.h.
const Instruction = extern struct { code: u16, jt: u8 = 0, jf: u8 = 0, k: u32 };
const Program = extern struct { len: u16, filter: [*]const Instruction };
const program: Program = .{ .len = filter.len, .filter = &filter };

comptime {
    std.debug.assert(builtin.cpu.arch == .x86_64); // The filter names its calls by number.
}
