//! Which system calls the kernel has: each is asked for what cannot be, so that nothing
//! happens, and says whether it is there by the way in which it refuses.

const std = @import("std");
const os = std.os.linux;
const file = @import("file.zig");

/// What is asked for. Linux has clone3 and openat2 since 5.6, pidfd_getfd since 5.6,
/// close_range since 5.9, mount_setattr since 5.12, Landlock since 5.13.
pub const Feature = enum(u32) {
    clone3,
    openat2,
    pidfd_open,
    pidfd_getfd,
    close_range,
    fsopen,
    open_tree,
    move_mount,
    mount_setattr,
    seccomp,
    landlock,
    memfd_sealing,
};

/// The errno of a kernel that lacks it or keeps it from us, or `.SUCCESS`.
pub fn missing(feature: Feature) os.E {
    const errno = os.errno(switch (feature) {
        .clone3 => os.syscall2(.clone3, 0, 0),
        .openat2 => os.syscall4(.openat2, file.fdArg(-1), 0, 0, 0),
        .pidfd_open => os.syscall2(.pidfd_open, 0, 0),
        .pidfd_getfd => os.syscall3(.pidfd_getfd, file.fdArg(-1), file.fdArg(-1), 0),
        .close_range => os.syscall3(.close_range, 1, 0, 0),
        .fsopen => os.syscall2(.fsopen, 0, unknown_flags),
        .open_tree => os.syscall3(.open_tree, file.fdArg(-1), 0, unknown_flags),
        .move_mount => os.syscall5(.move_mount, file.fdArg(-1), 0, file.fdArg(-1), 0, unknown_flags),
        .mount_setattr => os.syscall5(.mount_setattr, file.fdArg(-1), 0, 0, 0, 0),
        .seccomp => os.syscall3(.seccomp, get_action_avail, 0, @intFromPtr(&kill_process)),
        .landlock => os.syscall3(.landlock_create_ruleset, 0, 0, version_flag),
        .memfd_sealing => sealed(),
    });
    return switch (errno) {
        .NOSYS, .OPNOTSUPP, .PERM, .ACCES => errno,
        else => .SUCCESS,
    };
}

const unknown_flags = 0x4000_0000;
const get_action_avail = 2; // SECCOMP_GET_ACTION_AVAIL
const kill_process: u32 = 0x8000_0000; // SECCOMP_RET_KILL_PROCESS
const version_flag = 1; // LANDLOCK_CREATE_RULESET_VERSION

/// What a memory file that may be executed and sealed is refused with.
fn sealed() usize {
    const made = os.memfd_create("feature", 0x0001 | 0x0002 | 0x0010); // CLOEXEC, ALLOW_SEALING, EXEC
    const result = if (os.errno(made) == .INVAL) os.memfd_create("feature", 0x0001 | 0x0002) else made;
    if (os.errno(result) == .SUCCESS) file.close(@intCast(result));
    return result;
}

test "this machine has what every start of a container calls" {
    inline for (.{ Feature.clone3, .openat2, .pidfd_open, .close_range, .memfd_sealing }) |feature| {
        try std.testing.expectEqual(os.E.SUCCESS, missing(feature));
    }
}
