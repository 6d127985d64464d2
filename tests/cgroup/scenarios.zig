//! What is tried: the right thing happens, the wrong thing is refused, nothing is left.

const std = @import("std");
const linux = @import("linux");
const cgroup = @import("cgroup");
const Cgroup = cgroup.Cgroup;
const Failure = linux.Failure;
const pid_t = linux.pid_t;

pub const Error = error{ Failed, Unexpected, Skipped };

/// One run of one scenario.
pub const Attempt = struct {
    root: *const cgroup.Root,
    failure: Failure = .{},
    reason: []const u8 = "",
    reason_buffer: [256]u8 = undefined,

    fn say(attempt: *Attempt, comptime format: []const u8, args: anytype) void {
        attempt.reason = std.fmt.bufPrint(&attempt.reason_buffer, format, args) catch attempt.reason_buffer[0..];
    }

    fn expect(attempt: *Attempt, holds: bool, comptime what: []const u8, args: anytype) Error!void {
        if (holds) return;
        attempt.say(what, args);
        return error.Unexpected;
    }

    fn skip(attempt: *Attempt, reason: []const u8) Error {
        attempt.reason = reason;
        return error.Skipped;
    }

    /// That `path` exists in every hierarchy, or in none.
    fn expectExists(attempt: *Attempt, path: [*:0]const u8, exists: bool) Error!void {
        for (attempt.root.parts(), 0..) |part, index| {
            const found = linux.os.errno(linux.os.faccessat(part.dir, path, 0, 0)) == .SUCCESS;
            try attempt.expect(found == exists, "{s} in hierarchy {d}: exists {}", .{ path, index, found });
        }
    }

    /// That the last call failed with `errno`.
    fn expectErrno(attempt: *Attempt, failure: Failure, errno: linux.E) Error!void {
        const actual: linux.E = @fromBackingInt(failure.errno);
        try attempt.expect(actual == errno, "expected {t}, not {t}", .{ errno, actual });
    }
};

pub const table = struct {
    pub fn create(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-web");
        try attempt.expectExists("driver-web", true);
        var failure: Failure = .{};
        const again = Cgroup.create(&failure, attempt.root, "driver-web");
        try attempt.expect(again == error.Failed, "the name was given twice", .{});
        try attempt.expectErrno(failure, .EXIST);
        try web.remove(&attempt.failure, 0);
        try attempt.expectExists("driver-web", false);
        try web.remove(&attempt.failure, 0);
    }

    /// A name that is taken in the last hierarchy only: the others are cleaned.
    pub fn undo(attempt: *Attempt) Error!void {
        const last = attempt.root.parts()[attempt.root.len - 1];
        _ = try attempt.failure.check(.mkdir, linux.os.mkdirat(last.dir, "driver-taken", 0o755));
        defer _ = linux.os.unlinkat(last.dir, "driver-taken", linux.os.AT.REMOVEDIR);
        var failure: Failure = .{};
        const refused = Cgroup.create(&failure, attempt.root, "driver-taken");
        try attempt.expect(refused == error.Failed, "the name was given twice", .{});
        try attempt.expectErrno(failure, .EXIST);
        try attempt.expect(failure.index == attempt.root.len - 1, "hierarchy {d} is named", .{failure.index});
        for (attempt.root.parts()[0 .. attempt.root.len - 1]) |part| {
            const left = linux.os.errno(linux.os.faccessat(part.dir, "driver-taken", 0, 0));
            try attempt.expect(left == .NOENT, "a folder is left", .{});
        }
    }

    /// What leads to a cgroup comes and goes with it, unless somebody else uses it.
    pub fn nested(attempt: *Attempt) Error!void {
        const one = try Cgroup.create(&attempt.failure, attempt.root, "driver-a/b/one");
        const two = try Cgroup.create(&attempt.failure, attempt.root, "driver-a/b/two");
        try one.remove(&attempt.failure, 0);
        try attempt.expectExists("driver-a/b", true);
        try two.remove(&attempt.failure, 0);
        try attempt.expectExists("driver-a", false);
    }

    pub fn join(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-join");
        const child = try Sleeper.start(attempt);
        defer child.end();
        try web.joinAll(&attempt.failure, child.pid);
        var pids: [4]pid_t = undefined;
        const listed = try web.procs(&attempt.failure, &pids);
        try attempt.expect(listed.len == 1 and listed[0] == child.pid, "{d} processes are listed", .{listed.len});
        var failure: Failure = .{};
        const early = web.remove(&failure, 0);
        try attempt.expect(early == error.Failed, "a cgroup in use was removed", .{});
        try attempt.expectErrno(failure, .BUSY);
        try web.kill(&attempt.failure);
        child.end();
        try web.remove(&attempt.failure, 1000);
        try attempt.expectExists("driver-join", false);
    }

    /// clone3(2) puts a child into version 2 while version 1 was joined ahead of time.
    pub fn into(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-into");
        const fd = try web.openUnified(&attempt.failure) orelse {
            try web.remove(&attempt.failure, 0);
            return attempt.skip("no version 2");
        };
        defer linux.file.close(fd);
        const args: linux.process.CloneArgs = .{
            .flags = linux.process.Clone.into_cgroup,
            .exit_signal = @backingInt(linux.os.SIG.CHLD),
            .cgroup = @intCast(fd),
        };
        const cloned = try attempt.failure.check(.clone, linux.process.clone3(&args));
        if (cloned == 0) Sleeper.sleep();
        const child: Sleeper = .{ .pid = @intCast(cloned) };
        defer child.end();
        try web.joinV1(&attempt.failure, child.pid);
        var pids: [4]pid_t = undefined;
        const listed = try web.procs(&attempt.failure, &pids);
        try attempt.expect(listed.len == 1 and listed[0] == child.pid, "{d} processes are listed", .{listed.len});
        try web.destroy(&attempt.failure, 2000);
    }

    /// A process that forks without end does not outrun us; cgroups made below go as well.
    pub fn destroy(attempt: *Attempt) Error!void {
        const bomb = try Cgroup.create(&attempt.failure, attempt.root, "driver-bomb");
        for (attempt.root.parts()) |part| {
            _ = linux.os.mkdirat(part.dir, "driver-bomb/inner", 0o755);
            _ = linux.os.mkdirat(part.dir, "driver-bomb/inner/most", 0o755);
        }
        const child = try Sleeper.startIn(attempt, &bomb, .chain);
        defer child.end();
        try bomb.destroy(&attempt.failure, 5000);
        try attempt.expectExists("driver-bomb", false);
    }

    pub fn freeze(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-freeze");
        defer web.destroy(&attempt.failure, 2000) catch {};
        const child = try Sleeper.startIn(attempt, &web, .count);
        defer child.end();
        try attempt.expect(moves(), "the counter does not run", .{});
        try web.freeze(&attempt.failure, 2000);
        try attempt.expect(try web.isFrozen(&attempt.failure), "frozen, but says it is not", .{});
        try attempt.expect(!moves(), "the counter runs although it is frozen", .{});
        try web.freeze(&attempt.failure, 2000);
        try web.thaw(&attempt.failure, 2000);
        try attempt.expect(!try web.isFrozen(&attempt.failure), "thawed, but says it is frozen", .{});
        try attempt.expect(moves(), "the counter does not run after the thaw", .{});
        try web.freeze(&attempt.failure, 2000);
        try web.destroy(&attempt.failure, 2000); // Frozen processes die as well.
        try attempt.expectExists("driver-freeze", false);
    }

    /// A worker waits in version 1 and becomes a container's by its new name.
    pub fn rename(attempt: *Attempt) Error!void {
        var pooled = try Cgroup.create(&attempt.failure, attempt.root, "driver-pool");
        defer pooled.destroy(&attempt.failure, 2000) catch {};
        const child = try Sleeper.start(attempt);
        defer child.end();
        try pooled.joinV1(&attempt.failure, child.pid);
        try pooled.rename(&attempt.failure, "driver-named");
        try attempt.expectExists("driver-pool", false);
        try attempt.expectExists("driver-named", true);
        var failure: Failure = .{};
        try attempt.expect(pooled.rename(&failure, "other/folder") == error.Failed, "moved to another folder", .{});
        try attempt.expectErrno(failure, .XDEV);
        try pooled.joinAll(&attempt.failure, child.pid);
        var pids: [4]pid_t = undefined;
        try attempt.expect((try pooled.procs(&attempt.failure, &pids)).len == 1, "the worker is not there", .{});
        try pooled.destroy(&attempt.failure, 2000);
        try attempt.expectExists("driver-named", false);
    }

    /// Not a check: what it costs, isolated from other moves.
    pub fn cost(attempt: *Attempt) Error!void {
        const rounds = 20;
        var made: u64 = 0;
        var joined: u64 = 0;
        var removed: u64 = 0;
        for (0..rounds) |_| {
            const child = try Sleeper.start(attempt);
            defer child.end();
            pause(50);
            const start = now();
            const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-cost");
            const there = now();
            try web.joinV1(&attempt.failure, child.pid);
            const in = now();
            try web.kill(&attempt.failure);
            child.end();
            pause(50);
            const ended = now();
            try web.remove(&attempt.failure, 1000);
            made += there - start;
            joined += in - there;
            removed += now() - ended;
        }
        attempt.say("create {d} us, joinV1 {d} us, remove {d} us", .{ made / rounds, joined / rounds, removed / rounds });
    }
};

/// Shared with the counting child.
var counter: *volatile u64 = undefined;

fn moves() bool {
    const before = counter.*;
    pause(50);
    return counter.* != before;
}

const Sleeper = struct {
    pid: pid_t,

    const Work = enum { sleep, chain, count };

    fn start(attempt: *Attempt) Error!Sleeper {
        return fork(attempt, null, .sleep);
    }

    fn startIn(attempt: *Attempt, home: *const Cgroup, work: Work) Error!Sleeper {
        const page = try attempt.failure.check(.plan, linux.os.mmap(null, 4096, .{ .READ = true, .WRITE = true }, .{ .TYPE = .SHARED, .ANONYMOUS = true }, -1, 0));
        counter = @ptrFromInt(page);
        const child = try fork(attempt, home, work);
        pause(20);
        return child;
    }

    fn fork(attempt: *Attempt, home: ?*const Cgroup, work: Work) Error!Sleeper {
        const pid = try attempt.failure.check(.clone, linux.os.fork());
        if (pid != 0) return .{ .pid = @intCast(pid) };
        var failure: Failure = .{};
        if (home) |web| web.joinAll(&failure, 0) catch linux.process.exit(1);
        switch (work) {
            .sleep => sleep(),
            .chain => chain(),
            .count => {
                const born = now();
                while (now() - born < lifetime_us) counter.* += 1;
                linux.process.exit(0);
            },
        }
    }

    /// No child outlives a driver that was killed by more than this.
    const lifetime_us = 20 * std.time.us_per_s;

    fn sleep() noreturn {
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

    fn end(child: Sleeper) void {
        _ = linux.os.kill(child.pid, .KILL);
        var status: i32 = 0;
        _ = linux.os.wait4(child.pid, &status, 0, null);
    }
};

fn pause(ms: u32) void {
    const request: linux.os.timespec = .{ .sec = ms / 1000, .nsec = @as(i64, ms % 1000) * std.time.ns_per_ms };
    _ = linux.os.nanosleep(&request, null);
}

fn now() u64 {
    var time: linux.os.timespec = undefined;
    _ = linux.os.clock_gettime(.MONOTONIC, &time);
    return @as(u64, @intCast(time.sec)) * std.time.us_per_s + @as(u64, @intCast(time.nsec)) / std.time.ns_per_us;
}
