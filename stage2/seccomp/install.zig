//! Puts a program into the kernel, for the calling thread and all it starts.

const std = @import("std");
const os = std.os.linux;
const linux = @import("linux");
const Failure = linux.Failure;
const Instruction = @import("compile.zig").Instruction;

/// SECCOMP_FILTER_FLAG_*
pub const Flags = packed struct(u32) {
    /// For all threads of the process.
    tsync: bool = false,
    /// What is refused goes to the audit log.
    log: bool = false,
    /// Leaves the processor's speculation as it is.
    spec_allow: bool = false,
    /// Returns a descriptor on which a supervisor answers what the filter asks.
    new_listener: bool = false,
    /// A thread that cannot follow is an errno, not its number; needed for `tsync`
    /// together with `new_listener`.
    tsync_esrch: bool = false,
    /// A call that the supervisor looks at ends for deadly signals only.
    wait_killable_recv: bool = false,
    _: u26 = 0,
};

/// seccomp(2), SECCOMP_SET_MODE_FILTER. Returns the listener with `new_listener`, closed
/// on exec, and null without.
///
/// The process must have no_new_privs set, or CAP_SYS_ADMIN in its user namespace.
/// With the first, this is the last step before execve(2): a filter need not allow
/// what prepares a container. What comes after, the profile must allow, and handing
/// the listener over must not wait for the listener.
///
/// Errors: EINVAL for a program or a flag that the kernel does not take; EACCES without
/// no_new_privs; EBUSY if a filter before has a listener already.
pub fn install(failure: *Failure, program: []const Instruction, flags: Flags) error{Failed}!?linux.fd_t {
    const written: Program = .{ .len = @intCast(program.len), .filter = program.ptr };
    var wanted = flags;
    wanted.tsync_esrch = flags.tsync;
    const result = try failure.check(.seccomp, os.seccomp(os.SECCOMP.SET_MODE_FILTER, @bitCast(wanted), &written));
    return if (flags.new_listener) @intCast(result) else null;
}

/// struct sock_fprog
const Program = extern struct {
    len: u16,
    filter: [*]const Instruction,
};
