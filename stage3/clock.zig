//! The clock for waiting: it only goes forward.

const std = @import("std");
const linux = @import("linux");

pub fn monotonicMs() u64 {
    var now: linux.os.timespec = undefined;
    _ = linux.os.clock_gettime(.MONOTONIC, &now);
    return @as(u64, @intCast(now.sec)) * std.time.ms_per_s + @as(u64, @intCast(now.nsec)) / std.time.ns_per_ms;
}
