//! A time namespace of the container: the clocks that count since the boot, moved.
//!
//! Source: time_namespaces(7).

const std = @import("std");
const linux = @import("linux");
const plan_module = @import("plan.zig");
const Failure = linux.Failure;

/// Makes the namespace for the children of the caller, and moves its clocks, which is
/// possible until the first of them is there. `procfs` was opened with the host's rights,
/// and is needed for offsets only.
pub fn make(failure: *Failure, offsets: []const plan_module.TimeOffset, procfs: ?linux.fd_t) error{Failed}!void {
    _ = try failure.check(.clock, linux.os.unshare(linux.process.Clone.newtime));
    for (offsets) |offset| {
        var space: [96]u8 = undefined;
        const line = linux.text.print(&space, "{s} {d} {d}\n", .{ offset.key, offset.value.secs, offset.value.nanosecs }) catch unreachable; // Two names are known, the longest has 9 letters.
        try linux.procfs.write(failure, .clock, procfs.?, "self/timens_offsets", line);
    }
}
