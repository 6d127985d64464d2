//! What is tried: the right thing happens, the wrong thing is refused, nothing is left.

const std = @import("std");
const linux = @import("linux");
const cgroup = @import("cgroup");
const children = @import("child.zig");
const Child = children.Child;
const cloneInto = children.cloneInto;
const moves = children.moves;
const now = children.now;
const pause = children.pause;
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

    pub fn skip(attempt: *Attempt, reason: []const u8) Error {
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
        const child = try Child.start(attempt);
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
        defer web.destroy(&attempt.failure, 2000) catch {};
        const child = try cloneInto(attempt, &web);
        defer child.end();
        try web.joinV1(&attempt.failure, child.pid);
        var pids: [4]pid_t = undefined;
        const listed = try web.procs(&attempt.failure, &pids);
        try attempt.expect(listed.len == 1 and listed[0] == child.pid, "{d} processes are listed", .{listed.len});
    }

    /// A process that forks without end does not outrun us; cgroups made below go as well.
    pub fn destroy(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-bomb");
        for (attempt.root.parts()) |part| {
            _ = linux.os.mkdirat(part.dir, "driver-bomb/inner", 0o755);
            _ = linux.os.mkdirat(part.dir, "driver-bomb/inner/most", 0o755);
        }
        const child = try Child.startIn(attempt, &web, .chain);
        defer child.end();
        try web.destroy(&attempt.failure, 5000);
        try attempt.expectExists("driver-bomb", false);
    }

    /// Every process forks as fast as it can: the limit holds, and all are gone at once.
    pub fn bomb(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-forks");
        defer web.destroy(&attempt.failure, 5000) catch {};
        try web.apply(&attempt.failure, &.{ .pids = .{ .limit = 200 } });
        const child = try Child.startIn(attempt, &web, .bomb);
        defer child.end();
        var used = web.stats();
        for (0..100) |_| { // A slow machine takes its time to fork as many.
            pause(50);
            used = web.stats();
            if (used.pids > 100) break;
        }
        try attempt.expect(used.pids > 100 and used.pids <= 200, "{d} processes are counted", .{used.pids});
        const start = now();
        try web.destroy(&attempt.failure, 5000);
        attempt.say("{d} processes gone in {d} ms", .{ used.pids, (now() - start) / 1000 });
        try attempt.expectExists("driver-forks", false);
    }

    pub fn freeze(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-freeze");
        defer web.destroy(&attempt.failure, 2000) catch {};
        const child = try Child.startIn(attempt, &web, .count);
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

    /// What the kernel says afterwards is what was asked for, first and after a change.
    pub fn limits(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-limits");
        defer web.destroy(&attempt.failure, 2000) catch {};
        const mib = 1024 * 1024;
        try web.apply(&attempt.failure, &.{
            .cpu = .{ .shares = 512, .quota = 50_000, .period = 100_000, .burst = 10_000 },
            .memory = .{ .limit = 64 * mib, .reservation = 32 * mib, .swap = 96 * mib },
            .pids = .{ .limit = 17 },
        });
        try expectFile(attempt, "driver-limits", .cpu, .{ "cpu.shares", "512" }, .{ "cpu.weight", "59" });
        try expectFile(attempt, "driver-limits", .cpu, .{ "cpu.cfs_quota_us", "50000" }, .{ "cpu.max", "50000 100000" });
        try expectFile(attempt, "driver-limits", .cpu, .{ "cpu.cfs_burst_us", "10000" }, .{ "cpu.max.burst", "10000" });
        try expectFile(attempt, "driver-limits", .memory, .{ "memory.limit_in_bytes", "67108864" }, .{ "memory.max", "67108864" });
        try expectFile(attempt, "driver-limits", .memory, .{ "memory.soft_limit_in_bytes", "33554432" }, .{ "memory.low", "33554432" });
        try expectFile(attempt, "driver-limits", .memory, .{ "memory.memsw.limit_in_bytes", "100663296" }, .{ "memory.swap.max", "33554432" });
        try expectFile(attempt, "driver-limits", .pids, .{ "pids.max", "17" }, .{ "pids.max", "17" });
        // Larger and smaller, each in the order that the kernel takes; the quota stays.
        try web.apply(&attempt.failure, &.{ .memory = .{ .limit = 128 * mib, .swap = 128 * mib }, .cpu = .{ .period = 200_000 } });
        try expectFile(attempt, "driver-limits", .memory, .{ "memory.limit_in_bytes", "134217728" }, .{ "memory.swap.max", "0" });
        try expectFile(attempt, "driver-limits", .cpu, .{ "cpu.cfs_quota_us", "50000" }, .{ "cpu.max", "50000 200000" });
        try web.apply(&attempt.failure, &.{ .memory = .{ .limit = 16 * mib, .swap = 16 * mib }, .pids = .{ .limit = -1 } });
        try expectFile(attempt, "driver-limits", .memory, .{ "memory.memsw.limit_in_bytes", "16777216" }, .{ "memory.max", "16777216" });
        try expectFile(attempt, "driver-limits", .pids, .{ "pids.max", "max" }, .{ "pids.max", "max" });
        try web.apply(&attempt.failure, &.{ .memory = .{ .limit = -1, .swap = -1 }, .cpu = .{ .quota = -1 } });
        try expectFile(attempt, "driver-limits", .memory, .{ "memory.limit_in_bytes", "9223372036854771712" }, .{ "memory.max", "max" });
        try attempt.expect(web.stats().memory_limit_bytes == absent, "a limit is told where there is none", .{});
    }

    pub fn cpuset(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-cpuset");
        defer web.destroy(&attempt.failure, 2000) catch {};
        if (attempt.root.having(.cpuset) == null) return attempt.skip("no cpuset controller");
        try web.apply(&attempt.failure, &.{ .cpu = .{ .cpus = "0", .mems = "0" } });
        try expectFile(attempt, "driver-cpuset", .cpuset, .{ "cpuset.cpus", "0" }, .{ "cpuset.cpus", "0" });
        try expectFile(attempt, "driver-cpuset", .cpuset, .{ "cpuset.mems", "0" }, .{ "cpuset.mems", "0" });
    }

    /// A limit that the host does not have is refused by name.
    pub fn refuse(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-refuse");
        defer web.destroy(&attempt.failure, 2000) catch {};
        const huge = [_]cgroup.Limits.Hugepage{.{ .pageSize = "3MB", .limit = 0 }};
        const wanted = [_]struct { cgroup.Limits, cgroup.limits.Key }{
            .{ .{ .cpu = .{ .cpus = "4095" } }, .@"cpu.cpus" },
            .{ .{ .blockIO = .{ .leafWeight = 500 } }, .@"blockIO.leafWeight" },
            .{ .{ .hugepageLimits = &huge }, .hugepageLimits },
            .{ .{ .network = .{ .classID = 1 } }, .@"network.classID" },
            .{ .{ .unified = &.{.{ .key = "memory.none", .value = "1" }} }, .unified },
        };
        for (&wanted) |*row| {
            var failure: Failure = .{};
            try attempt.expect(web.apply(&failure, &row[0]) == error.Failed, "{t} was taken", .{row[1]});
            const place: cgroup.limits.Place = @bitCast(failure.index);
            try attempt.expect(failure.step == .limit and place.key == row[1], "{t} was named instead of {t}", .{ place.key, row[1] });
        }
    }

    pub fn forks(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-pids");
        defer web.destroy(&attempt.failure, 2000) catch {};
        try web.apply(&attempt.failure, &.{ .pids = .{ .limit = 3 } });
        const child = try Child.startIn(attempt, &web, .fork_ten);
        defer child.end();
        pause(100);
        try attempt.expect(children.counter.* == 2, "{d} children were forked", .{children.counter.*});
        const used = web.stats();
        try attempt.expect(used.pids == 3 and used.pids_limit == 3, "{d} of {d} are counted", .{ used.pids, used.pids_limit });
    }

    /// The memory runs out: it is seen on the descriptor, counted, and told by the status.
    pub fn oom(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-oom");
        defer web.destroy(&attempt.failure, 2000) catch {};
        const watch = try cgroup.OomWatch.open(&web, &attempt.failure) orelse return attempt.skip("no memory controller");
        defer watch.close();
        const limit = 16 * 1024 * 1024;
        try web.apply(&attempt.failure, &.{ .memory = .{ .limit = limit } });
        if (attempt.root.having(.memory).?.version == .v2) try web.apply(&attempt.failure, &.{ .memory = .{ .limit = limit, .swap = limit } });
        try attempt.expect(!ready(watch, 0), "ready before anything happened", .{});
        const child = try Child.startIn(attempt, &web, .take_memory);
        try attempt.expect(ready(watch, 10_000), "not seen within 10 s", .{});
        const status = child.wait();
        try attempt.expect(linux.process.exitStatus(status) == 128 + 9, "it ended with {d}", .{linux.process.exitStatus(status)});
        try attempt.expect(watch.kills(&web) == 1, "{d} kills are counted", .{watch.kills(&web)});
        const used = web.stats();
        try attempt.expect(used.oom_kills == 1, "stats count {d} kills", .{used.oom_kills});
        try attempt.expect(used.memory_limit_bytes == limit, "stats tell a limit of {d}", .{used.memory_limit_bytes});
        try attempt.expect(used.memory_peak_bytes == absent or used.memory_peak_bytes > limit / 2, "stats tell a peak of {d}", .{used.memory_peak_bytes});
        _ = watch.kills(&web);
        try attempt.expect(!ready(watch, 0), "still ready after it was taken in", .{});
    }

    /// A quota of a tenth of a processor holds, and is counted.
    pub fn throttle(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-throttle");
        defer web.destroy(&attempt.failure, 2000) catch {};
        try web.apply(&attempt.failure, &.{ .cpu = .{ .quota = 10_000, .period = 100_000 } });
        const before = now();
        const child = try Child.startIn(attempt, &web, .count);
        defer child.end();
        pause(1000);
        const used = web.stats();
        const share = used.cpu_usage_ns / 10 / (now() - before);
        try attempt.expect(share < 20, "it had {d} per cent of a processor", .{share});
        try attempt.expect(used.cpu_throttled_periods >= 3 and used.cpu_throttled_periods != absent, "{d} throttled periods", .{used.cpu_throttled_periods});
        try attempt.expect(used.cpu_user_ns > 0 and used.cpu_user_ns != absent, "user time is {d}", .{used.cpu_user_ns});
        attempt.say("{d} per cent", .{share});
    }

    /// The default devices can be made and opened, others neither; then one more is given.
    pub fn devices(attempt: *Attempt) Error!void {
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-devices");
        defer web.destroy(&attempt.failure, 2000) catch {};
        try attempt.expect(try reach(attempt, &web, 10, 229) == 0, "no device is open without rules", .{});
        try web.apply(&attempt.failure, &.{ .devices = &.{} });
        try attempt.expect(try reach(attempt, &web, 1, 3) == 0, "null is refused", .{});
        try attempt.expect(try reach(attempt, &web, 10, 229) == denied, "fuse is open", .{});
        try web.apply(&attempt.failure, &.{ .devices = &.{.{ .allow = true, .type = .c, .major = 10, .minor = 229 }} });
        try attempt.expect(try reach(attempt, &web, 10, 229) == 0, "fuse is refused although it was given", .{});
        try attempt.expect(try reach(attempt, &web, 1, 1) == denied, "mem is open", .{});
        try web.apply(&attempt.failure, &.{ .cpu = .{ .shares = 100 } });
        try attempt.expect(try reach(attempt, &web, 10, 229) == 0, "another limit took fuse away", .{});
        try web.apply(&attempt.failure, &.{ .devices = &.{.{ .allow = false }} });
        try attempt.expect(try reach(attempt, &web, 10, 229) == denied, "fuse stays open", .{});
        try attempt.expect(try reach(attempt, &web, 1, 3) == 0, "null went with the others", .{});
        try web.apply(&attempt.failure, &.{ .devices = &.{.{ .allow = true }} });
        try attempt.expect(try reach(attempt, &web, 1, 1) == 0, "all devices were given, but not mem", .{});
    }

    /// Who is given a cgroup divides it, up to a bound, and cannot leave it or lift limits.
    pub fn delegate(attempt: *Attempt) Error!void {
        const part = attempt.root.unified() orelse return attempt.skip("no version 2");
        const web = try Cgroup.create(&attempt.failure, attempt.root, "driver-own");
        defer web.destroy(&attempt.failure, 5000) catch {};
        const owner = 4242;
        try web.delegate(&attempt.failure, owner, owner);
        const pid = try attempt.failure.check(.clone, linux.os.fork());
        if (pid == 0) {
            var failure: Failure = .{};
            web.joinAll(&failure, 0) catch linux.process.exit(1);
            _ = linux.os.setresgid(owner, owner, owner);
            _ = linux.os.setresuid(owner, owner, owner);
            linux.process.exit(divide(part.dir));
        }
        const child: Child = .{ .pid = @intCast(pid) };
        const status = linux.process.exitStatus(child.wait());
        try attempt.expect(status == 0, "step {d} went otherwise", .{status});
        try web.destroy(&attempt.failure, 5000);
        try attempt.expectExists("driver-own", false);
    }
};

pub const measurements = struct {
    /// What each step costs, isolated from other moves.
    pub fn cost(attempt: *Attempt) Error!void {
        const rounds = 20;
        var made: u64 = 0;
        var joined: u64 = 0;
        var removed: u64 = 0;
        for (0..rounds) |_| {
            const child = try Child.start(attempt);
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

const absent = std.math.maxInt(u64);

/// That the file of the version that has `controller` here holds the text.
fn expectFile(attempt: *Attempt, path: []const u8, controller: cgroup.Controller, v1: [2][]const u8, v2: [2][]const u8) Error!void {
    const part = attempt.root.having(controller) orelse return attempt.skip("a controller is missing");
    const name, const expected = if (part.version == .v1) v1 else v2;
    var path_buffer: [256:0]u8 = undefined;
    const file = std.fmt.bufPrintSentinel(&path_buffer, "{s}/{s}", .{ path, name }, 0) catch unreachable;
    const fd = try linux.file.openAt(&attempt.failure, part.dir, file, .{ .CLOEXEC = true }, 0);
    defer linux.file.close(fd);
    var buffer: [256]u8 = undefined;
    const text = std.mem.trimEnd(u8, try linux.file.readAll(&attempt.failure, fd, &buffer), "\n");
    try attempt.expect(std.mem.eql(u8, text, expected), "{s} is {s}, not {s}", .{ name, text, expected });
}

fn ready(watch: cgroup.OomWatch, patience_ms: i32) bool {
    var polled = [1]linux.os.pollfd{.{ .fd = watch.fd, .events = @intCast(watch.events()), .revents = 0 }};
    return linux.os.poll(&polled, 1, patience_ms) == 1;
}

const denied = @backingInt(linux.E.PERM);

/// What a process in the cgroup gets when it makes a device and opens it: an errno,
/// or 0 if nothing forbade it.
fn reach(attempt: *Attempt, home: *const Cgroup, major: u32, minor: u32) Error!u32 {
    const pid = try attempt.failure.check(.clone, linux.os.fork());
    if (pid == 0) {
        var failure: Failure = .{};
        home.joinAll(&failure, 0) catch linux.process.exit(255);
        const path = "/run/cgroup-driver-device";
        const made = linux.os.errno(linux.os.mknodat(linux.os.AT.FDCWD, path, linux.os.S.IFCHR | 0o600, major << 8 | minor));
        if (made == .SUCCESS) _ = linux.os.unlinkat(linux.os.AT.FDCWD, path, 0);
        linux.process.exit(@intCast(@backingInt(made)));
    }
    const child: Child = .{ .pid = @intCast(pid) };
    return linux.process.exitStatus(child.wait());
}

/// What the owner of driver-own does; the step that went otherwise than it has to, or 0.
fn divide(dir: linux.fd_t) u8 {
    if (mkdir(dir, "driver-own/inner") != .SUCCESS) return 2;
    if (writeZero(dir, "driver-own/inner/cgroup.procs") != .SUCCESS) return 3;
    if (writeZero(dir, "cgroup.procs") != .ACCES) return 4;
    if (mkdir(dir, "driver-other") != .ACCES) return 5;
    if (writeZero(dir, "driver-own/cgroup.max.depth") != .ACCES) return 6;
    var buffer: [64:0]u8 = undefined;
    for (0..2000) |count| {
        const path = std.fmt.bufPrintSentinel(&buffer, "driver-own/{d}", .{count}, 0) catch unreachable;
        switch (mkdir(dir, path)) {
            .SUCCESS => {},
            .AGAIN => return if (count == 999) 0 else 7,
            else => return 8,
        }
    }
    return 9;
}

fn mkdir(dir: linux.fd_t, path: [*:0]const u8) linux.E {
    return linux.os.errno(linux.os.mkdirat(dir, path, 0o755));
}

fn writeZero(dir: linux.fd_t, path: [*:0]const u8) linux.E {
    const fd = linux.os.openat(dir, path, .{ .ACCMODE = .WRONLY }, 0);
    if (linux.os.errno(fd) != .SUCCESS) return linux.os.errno(fd);
    defer linux.file.close(@intCast(fd));
    return linux.os.errno(linux.os.write(@intCast(fd), "0", 1));
}
