//! Resource limits: their names and setting them.
//!
//! Source: prlimit(2), asm-generic/resource.h

const std = @import("std");
const os = std.os.linux;
const linux = @import("linux");
const Failure = linux.Failure;

/// In the kernel's order, without `RLIMIT_`.
const names = [_][]const u8{
    "CPU",     "FSIZE", "DATA",  "STACK",      "CORE",     "RSS",  "NPROC",  "NOFILE",
    "MEMLOCK", "AS",    "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
};

/// RLIM_INFINITY
pub const unlimited = std.math.maxInt(u64);

pub const Limit = extern struct {
    /// As `resource` returns it.
    resource: u32,
    _: u32 = 0,
    soft: u64,
    /// Raising it needs CAP_SYS_RESOURCE.
    hard: u64,
};

/// The number of a limit as OCI configurations spell it (`RLIMIT_NOFILE`), or null for
/// what Linux does not have.
pub fn resource(name: []const u8) ?u32 {
    const prefix = "RLIMIT_";
    if (!std.mem.startsWith(u8, name, prefix)) return null;
    for (names, 0..) |known, number| if (std.mem.eql(u8, known, name[prefix.len..])) return @intCast(number);
    return null;
}

/// Sets the limits of the calling process, which its children inherit. Before the
/// user changes and capabilities go: only then can a hard limit be raised.
///
/// Errors: `failure.index` is the position in `limits`. EINVAL: the soft limit is above
/// the hard one; EPERM: the hard limit may not be raised that far.
pub fn apply(failure: *Failure, limits: []const Limit) error{Failed}!void {
    for (limits, 0..) |limit, position| {
        failure.index = @intCast(position);
        const wanted: [2]u64 = .{ limit.soft, limit.hard };
        _ = try failure.check(.rlimit, os.syscall4(.prlimit64, 0, limit.resource, @intFromPtr(&wanted), 0));
    }
    failure.index = 0;
}

test "names have the kernel's numbers" {
    inline for (names, 0..) |name, number| {
        try std.testing.expectEqual(@backingInt(@field(os.rlimit_resource, name)), number);
        try std.testing.expectEqual(number, resource("RLIMIT_" ++ name).?);
    }
    for ([_][]const u8{ "", "NOFILE", "RLIMIT_", "RLIMIT_nofile", "RLIMIT_NOFILES" }) |name| {
        try std.testing.expectEqual(null, resource(name));
    }
}

test "apply() lowers, and names the limit that cannot be set" {
    var failure: Failure = .{};
    const args: linux.process.CloneArgs = .{ .exit_signal = @backingInt(os.SIG.CHLD) };
    const pid = linux.process.clone3(&args);
    if (pid == 0) linux.process.exit(child());
    try std.testing.expectEqual(0, linux.process.exitStatus(try linux.process.wait(&failure, @intCast(pid))));
}

fn child() u8 {
    var failure: Failure = .{};
    const nofile = resource("RLIMIT_NOFILE").?;
    const core = resource("RLIMIT_CORE").?;
    apply(&failure, &.{ .{ .resource = nofile, .soft = 20, .hard = 30 }, .{ .resource = core, .soft = 0, .hard = 0 } }) catch return 1;
    var now: os.rlimit = undefined;
    if (os.errno(os.getrlimit(.NOFILE, &now)) != .SUCCESS or now.cur != 20 or now.max != 30) return 2;
    const inverted: Limit = .{ .resource = nofile, .soft = 21, .hard = 20 };
    if (apply(&failure, &.{ .{ .resource = core, .soft = 0, .hard = 0 }, inverted })) |_| return 3 else |_| {}
    if (failure.index != 1 or failure.step != .rlimit or failure.errno != @backingInt(os.E.INVAL)) return 4;
    return 0;
}
