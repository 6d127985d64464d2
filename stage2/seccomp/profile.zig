//! What a filter shall do, before it is a program.

const std = @import("std");
const linux = std.os.linux;
const numbers = @import("numbers.zig");

pub const Profile = struct {
    /// For calls that no rule decides.
    default: Action,
    /// For numbers that are no call yet, and for those above the highest that a rule
    /// names: calls that the profile's author could not know. ENOSYS makes a libc
    /// fall back to an older call where EPERM would make it give up. Null: `default`.
    unassigned: ?Action = .errno(.NOSYS),
    /// Whether 32-bit programs may run. If not, their first call ends the process.
    i386: bool = false,
    rules: []const Rule = &.{},
};

/// What happens to some calls.
///
/// When several rules match a call, the strictest action holds, as it does in the
/// kernel when a process has several filters. A rule without conditions that
/// repeats the profile's default says nothing and is skipped.
pub const Rule = struct {
    calls: []const numbers.Call,
    action: Action,
    /// None: always.
    conditions: []const Condition = &.{},
    /// Whether all conditions must hold, or one of them is enough.
    match: Match = .all,
    /// With conditions: what the calls get if no rule matches, instead of the default.
    otherwise: ?Action = null,

    pub const Match = enum { all, any };
};

/// What an argument is compared with, as an unsigned number of 64 bits.
pub const Condition = struct {
    /// 0 to 5.
    index: u8,
    operator: Operator,
    value: u64,
    /// Of `masked_equal` alone: `argument & value == value_two & value`.
    value_two: u64 = 0,

    pub const Operator = enum { not_equal, less, less_or_equal, equal, greater_or_equal, greater, masked_equal };

    /// Compares an argument that the kernel takes as an `int`: what a program leaves
    /// in the upper half of the register must neither hide a value nor spoil it.
    pub fn int(index: u8, value: u32) Condition {
        return .{ .index = index, .operator = .masked_equal, .value = std.math.maxInt(u32), .value_two = value };
    }

    /// None of these bits is set.
    pub fn without(index: u8, bits: u64) Condition {
        return .{ .index = index, .operator = .masked_equal, .value = bits };
    }
};

/// What a filter answers. seccomp(2), SECCOMP_RET_*
pub const Action = struct {
    kind: Kind,
    /// The errno, or what a tracer is told.
    data: u16 = 0,

    pub const Kind = enum(u32) {
        kill_process = linux.SECCOMP.RET.KILL_PROCESS,
        kill_thread = linux.SECCOMP.RET.KILL_THREAD,
        trap = linux.SECCOMP.RET.TRAP,
        errno = linux.SECCOMP.RET.ERRNO,
        notify = linux.SECCOMP.RET.USER_NOTIF,
        trace = linux.SECCOMP.RET.TRACE,
        log = linux.SECCOMP.RET.LOG,
        allow = linux.SECCOMP.RET.ALLOW,

        /// The kernel's own order: the lowest as a signed number wins.
        pub fn rank(kind: Kind) i32 {
            return @bitCast(@backingInt(kind));
        }
    };

    pub const allow: Action = .{ .kind = .allow };
    pub const kill: Action = .{ .kind = .kill_process };

    pub fn errno(code: linux.E) Action {
        return .{ .kind = .errno, .data = @backingInt(code) };
    }

    /// The return value of a filter.
    pub fn value(action: Action) u32 {
        return @backingInt(action.kind) | action.data;
    }

    pub fn stricterThan(action: Action, other: Action) bool {
        return action.kind.rank() < other.kind.rank();
    }
};
