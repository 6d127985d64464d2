//! What a process has from whoever forked it, and keeps through exec: the worker takes it
//! on itself, with the rights of the host, before it clones. The init of a container has
//! it as well; what inherits nothing cannot be given this way and is refused.

const std = @import("std");
const linux = @import("linux");
const plan_module = @import("plan.zig");
const Failure = linux.Failure;
const os = linux.os;

/// What of a plan is inherited.
pub const Wanted = struct {
    /// The container's id.
    id: []const u8,
    process: *const plan_module.Process,
    personality: ?plan_module.Personality,
    keyring: plan_module.Keyring,
    /// Whether it is for the container's first process.
    first: bool,
};

/// On failure `subject` says of what.
pub fn take(failure: *Failure, wanted: Wanted, subject: *[]const u8) error{Failed}!void {
    if (wanted.keyring == .own) try joinKeyring(failure, wanted.id, wanted.first);
    if (wanted.process.oomScoreAdj) |score| try setOomScore(failure, os.getpid(), score, subject);
    if (wanted.process.scheduler) |*scheduler| try schedule(failure, scheduler, subject);
    if (wanted.process.ioPriority) |priority| {
        subject.* = @tagName(priority.class);
        const class_shift = 13;
        const own_process = 1; // IOPRIO_WHO_PROCESS
        const value = @as(usize, @backingInt(priority.class)) << class_shift | priority.priority;
        _ = try failure.check(.scheduler, os.syscall3(.ioprio_set, own_process, 0, value));
    }
    if (wanted.personality) |personality| {
        subject.* = @tagName(personality.domain);
        const domain: usize = switch (personality.domain) {
            .LINUX => 0,
            .LINUX32 => 8,
        };
        _ = try failure.check(.personality, os.syscall1(.personality, domain));
    }
}

/// A session keyring that the processes of one container share, and no other: keys that
/// one of them adds to its session would be ours otherwise. Whoever is root elsewhere has
/// no rights to a name that our root has made, and root may have more keyrings than other
/// users. keyctl(2), KEYCTL_JOIN_SESSION_KEYRING
pub fn joinKeyring(failure: *Failure, id: []const u8, first: bool) error{Failed}!void {
    if (linux.weakness.has(.keyring)) return;
    var space: [160]u8 = undefined;
    const name = linux.text.printZ(&space, "kurma:{s}", .{id}) catch return failure.fail(.keyring, .NAMETOOLONG);
    const join_session = 1;
    const joined = os.syscall2(.keyctl, join_session, @intFromPtr(name.ptr));
    if (os.errno(joined) == .NOSYS) return; // A kernel without keys.
    const keyring = try failure.check(.keyring, joined);
    if (!first) return;
    // Keyrings go some time after who had them: this may be that of one that had the name.
    const clear = 7;
    _ = try failure.check(.keyring, os.syscall2(.keyctl, clear, keyring));
    // All rights for who has it, and for its owner also to find it: who starts a further
    // process asks for the name again.
    const rights = 0x3f0b_0000;
    const set_rights = 5;
    _ = try failure.check(.keyring, os.syscall3(.keyctl, set_rights, keyring, rights));
}

/// For a child of ours, or ourselves: what it starts inherits it.
pub fn setOomScore(failure: *Failure, pid: linux.pid_t, score: i32, subject: *[]const u8) error{Failed}!void {
    subject.* = "oomScoreAdj";
    var space: [48]u8 = undefined;
    const path = linux.text.printZ(&space, "/proc/{d}/oom_score_adj", .{pid}) catch unreachable; // It fits.
    var buffer: [16]u8 = undefined;
    const text = linux.text.print(&buffer, "{d}", .{score}) catch unreachable; // An i32 fits.
    const fd = try linux.file.open(failure, path, .{ .ACCMODE = .WRONLY, .CLOEXEC = true }, 0);
    defer linux.file.close(fd);
    _ = try failure.check(.oom_score, os.write(fd, text.ptr, text.len));
}

/// struct sched_attr of sched_setattr(2), as far as every kernel has it.
const Attributes = extern struct {
    size: u32 = @sizeOf(Attributes),
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64 = 0,
    deadline: u64 = 0,
    period: u64 = 0,
};

fn schedule(failure: *Failure, scheduler: *const plan_module.Scheduler, subject: *[]const u8) error{Failed}!void {
    subject.* = @tagName(scheduler.policy);
    var flags: u64 = 0;
    for (scheduler.flags) |flag| flags |= @as(u64, 1) << @backingInt(flag);
    const attributes: Attributes = .{ .policy = @backingInt(scheduler.policy), .flags = flags, .nice = scheduler.nice, .priority = scheduler.priority };
    _ = try failure.check(.scheduler, os.syscall3(.sched_setattr, 0, @intFromPtr(&attributes), 0));
}
