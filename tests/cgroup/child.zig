//! The processes that scenarios put into cgroups. None outlives a driver that was
//! killed by more than 20 seconds.

const std = @import("std");
const linux = @import("linux");
const cgroup = @import("cgroup");
const scenarios = @import("scenarios.zig");
const Attempt = scenarios.Attempt;
const Cgroup = cgroup.Cgroup;
const Error = scenarios.Error;
const Failure = linux.Failure;
const pid_t = linux.pid_t;

/// Shared with the child.
pub var counter: *volatile u64 = undefined;

pub fn moves() bool {
    const before = counter.*;
    pause(50);
    return counter.* != before;
}

/// A sleeping child that starts in the cgroup of version 2.
pub fn cloneInto(attempt: *Attempt, home: *const Cgroup) Error!Child {
    const fd = try home.openUnified(&attempt.failure) orelse return attempt.skip("no version 2");
    defer linux.file.close(fd);
    const args: linux.process.CloneArgs = .{
        .flags = linux.process.Clone.into_cgroup,
        .exit_signal = @backingInt(linux.os.SIG.CHLD),
        .cgroup = @intCast(fd),
    };
    const cloned = try attempt.failure.check(.clone, linux.process.clone3(&args));
    if (cloned == 0) Child.sleep();
    return .{ .pid = @intCast(cloned) };
}

pub const Child = struct {
    pid: pid_t,

    pub const Work = enum { sleep, chain, bomb, count, fork_ten, take_memory };

    pub fn start(attempt: *Attempt) Error!Child {
        return fork(attempt, null, .sleep);
    }

    pub fn startIn(attempt: *Attempt, home: *const Cgroup, work: Work) Error!Child {
        const page = try attempt.failure.check(.plan, linux.os.mmap(null, 4096, .{ .READ = true, .WRITE = true }, .{ .TYPE = .SHARED, .ANONYMOUS = true }, -1, 0));
        counter = @ptrFromInt(page);
        const child = try fork(attempt, home, work);
        pause(20);
        return child;
    }

    fn fork(attempt: *Attempt, home: ?*const Cgroup, work: Work) Error!Child {
        const pid = try attempt.failure.check(.clone, linux.os.fork());
        if (pid != 0) return .{ .pid = @intCast(pid) };
        var failure: Failure = .{};
        if (home) |web| web.joinAll(&failure, 0) catch linux.process.exit(1);
        switch (work) {
            .sleep => sleep(),
            .chain => chain(),
            .bomb => bomb(),
            .fork_ten => forkTen(),
            .take_memory => takeMemory(),
            .count => {
                const born = now();
                while (now() - born < lifetime_us) counter.* += 1;
                linux.process.exit(0);
            },
        }
    }

    const lifetime_us = 20 * std.time.us_per_s;

    pub fn sleep() noreturn {
        pause(lifetime_us / std.time.us_per_ms);
        linux.process.exit(0);
    }

    /// Lives on under a new number all the time, two at once.
    fn chain() noreturn {
        const born = now();
        _ = linux.os.fork();
        while (now() - born < lifetime_us) {
            const pid = linux.os.fork();
            if (linux.os.errno(pid) == .SUCCESS and pid != 0) linux.process.exit(0);
        }
        linux.process.exit(0);
    }

    fn bomb() noreturn {
        const born = now();
        while (now() - born < lifetime_us) _ = linux.os.fork();
        linux.process.exit(0);
    }

    /// Counts the forks that succeed.
    fn forkTen() noreturn {
        for (0..10) |_| {
            const forked = linux.os.fork();
            if (linux.os.errno(forked) != .SUCCESS) continue;
            if (forked == 0) sleep();
            counter.* += 1;
        }
        sleep();
    }

    fn takeMemory() noreturn {
        const size = 256 * 1024 * 1024;
        const mapped = linux.os.mmap(null, size, .{ .READ = true, .WRITE = true }, .{ .TYPE = .PRIVATE, .ANONYMOUS = true }, -1, 0);
        const bytes: [*]volatile u8 = @ptrFromInt(mapped);
        var at: usize = 0;
        while (at < size) : (at += 4096) bytes[at] = 1;
        linux.process.exit(0);
    }

    pub fn end(child: Child) void {
        _ = linux.os.kill(child.pid, .KILL);
        _ = child.wait();
    }

    pub fn wait(child: Child) u32 {
        var status: i32 = 0;
        _ = linux.os.wait4(child.pid, &status, 0, null);
        return @bitCast(status);
    }
};

pub fn pause(ms: u32) void {
    const request: linux.os.timespec = .{ .sec = ms / 1000, .nsec = @as(i64, ms % 1000) * std.time.ns_per_ms };
    _ = linux.os.nanosleep(&request, null);
}

pub fn now() u64 {
    var time: linux.os.timespec = undefined;
    _ = linux.os.clock_gettime(.MONOTONIC, &time);
    return @as(u64, @intCast(time.sec)) * std.time.us_per_s + @as(u64, @intCast(time.nsec)) / std.time.ns_per_us;
}
