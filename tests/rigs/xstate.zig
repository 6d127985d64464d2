//! Loaded into user-mode Linux (LD_PRELOAD): its ptrace(2), for processors whose registers
//! are more than it has room for. Linux 6.1 keeps 2,696 bytes of extended state for a process.
//! With AMX there are 11,008, which PTRACE_SETREGSET wants all of, and each process of the
//! machine inside would end at its start. What lies beyond is the state of registers that no
//! process has without asking the host for them (ARCH_REQ_XCOMP_PERM), so it is empty.
//!
//! Source: ptrace(2); Documentation/arch/x86/xstate.rst and arch/x86/um in the kernel's tree.

const std = @import("std");
const os = std.os.linux;

/// Longer than the extended state of any processor; the kernel takes what there is.
const max_xstate = 32 * 1024;

/// The note that names the extended state; elf.h.
const nt_x86_xstate = 0x202;

extern fn __errno_location() *c_int;

/// As the C library has it: a peeked word is the answer.
export fn ptrace(request: c_uint, pid: c_int, address: usize, data: usize) c_long {
    var word: usize = 0;
    const peeks = request >= os.PTRACE.PEEKTEXT and request <= os.PTRACE.PEEKUSER;
    const answer = if (request == os.PTRACE.SETREGSET and address == nt_x86_xstate)
        setExtendedState(pid, @ptrFromInt(data))
    else
        call(request, pid, address, if (peeks) @intFromPtr(&word) else data);
    const errno = os.errno(answer);
    if (errno != .SUCCESS) {
        __errno_location().* = @backingInt(errno);
        return -1;
    }
    if (!peeks) return @bitCast(answer);
    __errno_location().* = 0;
    return @bitCast(word);
}

/// Not on the stack: that of a process in the machine has 16 KiB. One thread calls us.
var whole: [max_xstate]u8 align(64) = @splat(0);

fn setExtendedState(pid: c_int, given: *const std.posix.iovec) usize {
    const length = @min(given.len, whole.len);
    @memcpy(whole[0..length], given.base[0..length]);
    @memset(whole[length..], 0);
    // The kernel writes the length back.
    var all: std.posix.iovec = .{ .base = &whole, .len = whole.len };
    return call(os.PTRACE.SETREGSET, pid, nt_x86_xstate, @intFromPtr(&all));
}

fn call(request: usize, pid: c_int, address: usize, data: usize) usize {
    return os.syscall4(.ptrace, request, @bitCast(@as(isize, pid)), address, data);
}
