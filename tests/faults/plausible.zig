//! What system calls answer when a machine is short of something or forbids it.

const linux = @import("linux");
const E = linux.E;
const SYS = linux.os.SYS;

/// The `which`-th errno that the call may have in life, from 0 and over again; null for
/// calls that do not fail unless they are called wrongly, and for those that nobody can
/// do anything about.
pub fn errno(call: SYS, which: u32) ?E {
    const list = answers(call);
    return if (list.len == 0) null else list[which % list.len];
}

fn answers(call: SYS) []const E {
    return switch (call) {
        .open, .openat, .openat2, .fsopen, .open_tree, .memfd_create, .socket, .socketpair, .pipe2, .signalfd4, .epoll_create1, .accept4 => &.{ .MFILE, .NFILE, .NOMEM },
        .fcntl, .fsmount, .pidfd_open => &.{ .MFILE, .NOMEM },
        .fsconfig, .mount_setattr, .mount, .pivot_root, .umount2 => &.{ .NOMEM, .PERM },
        .move_mount => &.{ .NOSPC, .NOMEM },
        .mkdir, .mkdirat, .mknodat, .symlinkat => &.{ .NOSPC, .DQUOT, .IO },
        .write, .writev, .ftruncate => &.{ .NOSPC, .IO },
        .read, .getdents64, .unlinkat, .rmdir, .renameat => &.{ .IO, .NOMEM },
        .fork, .clone, .clone3 => &.{ .AGAIN, .NOMEM },
        .mmap, .statx, .fstat, .fstatfs, .readlinkat, .chdir, .fchdir, .getcwd, .close_range, .ppoll, .poll, .seccomp, .setgroups => &.{.NOMEM},
        .sendto, .sendmsg => &.{ .NOMEM, .NOBUFS },
        .bind, .listen => &.{ .ADDRINUSE, .NOMEM },
        .setns, .unshare => &.{ .NOMEM, .PERM },
        .setresuid => &.{ .AGAIN, .PERM },
        .setresgid, .capset, .prctl, .sethostname, .setdomainname, .fchown, .fchownat, .prlimit64, .ioctl, .bpf => &.{.PERM},
        .execve, .execveat => &.{ .NOMEM, .TXTBSY },
        .keyctl => &.{ .DQUOT, .NOMEM },
        else => &.{},
    };
}
