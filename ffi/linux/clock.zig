//! The time, by a system call: finding the one of the vDSO would be a kilobyte of every
//! program. clock_gettime(2)

const std = @import("std");
const linux = std.os.linux;

pub noinline fn now(clock: linux.clockid_t) linux.timespec {
    var time: linux.timespec = undefined;
    _ = linux.syscall2(.clock_gettime, @intCast(@backingInt(clock)), @intFromPtr(&time));
    return time;
}

/// Milliseconds on the clock for waiting: it only goes forward.
pub fn monotonicMs() u64 {
    const time = now(.MONOTONIC);
    return @as(u64, @intCast(time.sec)) * std.time.ms_per_s + @as(u64, @intCast(time.nsec)) / std.time.ns_per_ms;
}

/// Nanoseconds since 1970, for records that people read.
pub fn wallNs() i64 {
    const time = now(.REALTIME);
    return time.sec * std.time.ns_per_s + time.nsec;
}
