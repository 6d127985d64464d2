//! Where a native operation stopped, and what the kernel answered.

const std = @import("std");
const assert = std.debug.assert;
const linux = std.os.linux;

/// Shared with TypeScript (ffi/abi.gen.ts). `step` names the operation, `index`
/// which of its objects: the position of a mount in the plan, of a descriptor, of
/// an option. TypeScript turns the index back into a path.
pub const Failure = extern struct {
    index: u32 = 0,
    /// As the kernel numbers it; 0 means that no system call failed.
    errno: u16 = 0,
    step: Step = .none,

    /// What was being done. Names are API: they appear in error messages.
    pub const Step = enum(u16) {
        none,
        memfd,
        spawn,
        wait,
        signal,
        exec,
        open,
        read,
        write,
        mkdir,
        remove,
        plan,
        clone,
        idmap,
        cgroup,
        mount,
        umount,
        pivot,
        device,
        mask,
        readonly,
        hostname,
        loopback,
        terminal,
        rlimit,
        capability,
        no_new_privs,
        seccomp,
        user,
        chdir,
        init,
        socket,
        supervise,
        freeze,
        limit,
        hook,
        record,
        landlock,
        read_attributes,
        keyring,
        attach,
        namespace,
        sysctl,
        clock,
        scheduler,
        personality,
        oom_score,
        quota,
    };

    /// Records the cause. The first cause is the one worth reporting: a later one,
    /// from undoing what was done, does not replace it.
    ///
    /// Not inlined: it is called from hundreds of places, all of them cold.
    pub noinline fn fail(failure: *Failure, step: Step, errno: linux.E) error{Failed} {
        if (failure.step == .none) {
            failure.step = step;
            failure.errno = @backingInt(errno);
        }
        return error.Failed;
    }

    /// The result of a raw system call, or `error.Failed` with its errno recorded.
    pub fn check(failure: *Failure, step: Step, result: usize) error{Failed}!usize {
        return switch (linux.errno(result)) {
            .SUCCESS => result,
            else => |errno| failure.fail(step, errno),
        };
    }

    comptime {
        assert(@sizeOf(Failure) == 8); // No padding to leak into TypeScript.
    }
};

test "fail() keeps the first cause" {
    var failure: Failure = .{};
    failure.fail(.mount, .PERM) catch {};
    failure.fail(.umount, .BUSY) catch {};
    try std.testing.expectEqual(Failure.Step.mount, failure.step);
    try std.testing.expectEqual(@as(u16, 1), failure.errno);
}
