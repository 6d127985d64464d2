//! From a process of the plan to the block that stage3 reads: names become numbers.

const std = @import("std");
const capabilities = @import("capabilities");
const hooks = @import("hooks");
const landlock = @import("landlock");
const linux = @import("linux");
const rlimits = @import("rlimits");
const seccomp = @import("seccomp");
const stage3 = @import("stage3");
const plan_module = @import("plan.zig");
const Failure = linux.Failure;
const Header = stage3.settings.Header;

/// How the process talks to stage2.
pub const Talk = struct {
    /// The number of the status socket in the process.
    status_fd: linux.fd_t,
    /// Whether it says there that all is set up, and then waits for a packet.
    ready: stage3.settings.Ready = .unsaid,
    /// Where the listener of its filter goes.
    notify_fd: linux.fd_t = -1,
    /// What an init is told beside its main process.
    init: Init = .{},
};

pub const Init = struct {
    log_fd: linux.fd_t = -1,
    listener_fd: linux.fd_t = -1,
    ended_fd: linux.fd_t = -1,
    terminal_fd: linux.fd_t = -1,
    stage1_fd: linux.fd_t = -1,
    rest_fd: linux.fd_t = -1,
    /// Its main process's input stays open.
    input: bool = false,
    log: ?plan_module.Log = null,
    stop: plan_module.Stop = .{},
    /// The begun state of the container, and what runs in it before its command.
    state: []const u8 = "",
    hooks: []const hooks.Hook = &.{},
};

/// What a process may not do: its system calls, and Landlock.
pub const Filtering = struct {
    own: plan_module.Seccomp,
    config: ?seccomp.oci.Seccomp,
    landlock: ?landlock.plan.Config,
};

/// Too large for the stack of whoever calls; used by one worker, in its own memory.
var scratch: seccomp.Scratch = undefined;

/// The block for `process`. On failure `subject` says of what, or, with step `plan` and
/// EINVAL, what is wrong.
pub fn describe(failure: *Failure, arena: std.mem.Allocator, process: *const plan_module.Process, user: ?[:0]const u8, filtering: Filtering, talk: Talk, subject: *[]const u8) error{Failed}![]align(8) u8 {
    const limits = arena.alloc(rlimits.Limit, process.rlimits.len) catch return failure.fail(.plan, .NOMEM);
    for (process.rlimits, limits) |limit, *slot| {
        subject.* = limit.type;
        slot.* = .{ .resource = rlimits.resource(limit.type) orelse return failure.fail(.rlimit, .INVAL), .soft = limit.soft, .hard = limit.hard };
    }
    const sets: capabilities.Sets = if (process.capabilities) |named| .{
        .bounding = try bits(failure, named.bounding, subject),
        .effective = try bits(failure, named.effective, subject),
        .inheritable = try bits(failure, named.inheritable, subject),
        .permitted = try bits(failure, named.permitted, subject),
        .ambient = try bits(failure, named.ambient, subject),
    } else .{};
    const filter = try makeFilter(failure, arena, filtering, sets.bounding, subject);
    const restrictions = try makeRestrictions(failure, arena, filtering.landlock, subject);
    const before = try packHooks(failure, arena, talk.init);
    const header: Header = .{
        .filter_flags = @bitCast(filter.flags),
        .uid = process.user.uid,
        .gid = process.user.gid,
        .umask = process.user.umask orelse 0o022,
        .status_fd = talk.status_fd,
        .notify_fd = if (filter.flags.new_listener) talk.notify_fd else -1,
        .log_fd = talk.init.log_fd,
        .listener_fd = talk.init.listener_fd,
        .ended_fd = talk.init.ended_fd,
        .terminal_fd = talk.init.terminal_fd,
        .stage1_fd = talk.init.stage1_fd,
        .rest_fd = talk.init.rest_fd,
        .log_max_size = if (talk.init.log) |log| log.maxSize else 0,
        .log_max_files = if (talk.init.log) |log| log.maxFiles else 0,
        .stop_signal = talk.init.stop.signal,
        .stop_limit_ms = talk.init.stop.limitMs,
        .capabilities = sets,
        .flags = .{
            .no_new_privs = process.noNewPrivileges,
            .terminal = process.terminal,
            .input = talk.init.input,
            .ready = talk.ready,
        },
    };
    var size: usize = @sizeOf(Header) + 4096 + filter.program.len * @sizeOf(seccomp.Instruction) + limits.len * @sizeOf(rlimits.Limit) + restrictions.len + before.len + process.user.additionalGids.len * @sizeOf(u32);
    size += process.cwd.len + wordsSize(process);
    if (user) |name| size += name.len;
    const buffer = arena.alignedAlloc(u8, .@"8", size) catch return failure.fail(.plan, .NOMEM);
    return @alignCast(stage3.settings.write(buffer, header, filter.program, restrictions, before, limits, process.user.additionalGids, user, process.cwd, process.args, linux.weakness.environment(process.env)) orelse
        return failure.fail(.plan, .@"2BIG"));
}

/// The block for a process that was made ahead, and lacks what it is to execute.
pub fn describeRest(failure: *Failure, arena: std.mem.Allocator, process: *const plan_module.Process, talk: Talk) error{Failed}![]align(8) u8 {
    const header: Header = .{ .status_fd = talk.status_fd, .flags = .{ .ready = talk.ready } };
    const buffer = arena.alignedAlloc(u8, .@"8", @sizeOf(Header) + 1 + wordsSize(process)) catch return failure.fail(.plan, .NOMEM);
    return @alignCast(stage3.settings.write(buffer, header, &.{}, &.{}, &.{}, &.{}, &.{}, null, "", process.args, linux.weakness.environment(process.env)) orelse
        return failure.fail(.plan, .@"2BIG"));
}

fn wordsSize(process: *const plan_module.Process) usize {
    var size: usize = 0;
    for (process.args) |text| size += text.len + 1;
    for (linux.weakness.environment(process.env)) |text| size += text.len + 1;
    return size;
}

const Program = struct {
    program: []const seccomp.Instruction = &.{},
    flags: seccomp.Flags = .{},
};

fn makeFilter(failure: *Failure, arena: std.mem.Allocator, filtering: Filtering, bounding: capabilities.Set, subject: *[]const u8) error{Failed}!Program {
    if (linux.weakness.has(.filter)) return .{};
    if (filtering.config) |config| {
        var problem: seccomp.oci.Problem = .{};
        const filter = seccomp.oci.read(config, arena, &problem) catch {
            subject.* = arena.dupe(u8, problem.text()) catch "seccomp";
            return failure.fail(.plan, .INVAL);
        };
        const program = seccomp.compile(filter.profile, &scratch) catch |err| {
            subject.* = seccomp.explain(err);
            return failure.fail(.plan, .INVAL);
        };
        return .{ .program = program, .flags = filter.flags };
    }
    if (filtering.own == .none) return .{};
    const program = seccomp.default.compile(.{ .capabilities = bounding }, &scratch) catch |err| {
        subject.* = seccomp.explain(err);
        return failure.fail(.plan, .INVAL);
    };
    // What an x86-64 program asks for is looked up from its third instruction on.
    const start: usize = if (linux.weakness.has(.architecture)) 2 else 0;
    return .{ .program = program[start..] };
}

fn packHooks(failure: *Failure, arena: std.mem.Allocator, init: Init) error{Failed}![]const u8 {
    if (init.hooks.len == 0) return &.{};
    const block = arena.alloc(u8, hooks.Packed.size(init.state, init.hooks)) catch return failure.fail(.plan, .NOMEM);
    hooks.Packed.write(block, init.state, init.hooks);
    return block;
}

/// Landlock's block for stage3, empty for none.
fn makeRestrictions(failure: *Failure, arena: std.mem.Allocator, config: ?landlock.plan.Config, subject: *[]const u8) error{Failed}![]const u8 {
    const asked = config orelse return &.{};
    const buffer = arena.alloc(u8, landlock.plan.size(asked)) catch return failure.fail(.plan, .NOMEM);
    var problem: landlock.plan.Problem = .{};
    return landlock.plan.write(asked, try landlock.detect(failure), buffer, &problem) catch {
        subject.* = arena.dupe(u8, problem.text()) catch "landlock";
        return failure.fail(.plan, .INVAL);
    };
}

noinline fn bits(failure: *Failure, list: []const [:0]const u8, subject: *[]const u8) error{Failed}!capabilities.Set {
    var set: capabilities.Set = 0;
    for (list) |name| {
        subject.* = name;
        set |= @as(capabilities.Set, 1) << (capabilities.bit(name) orelse return failure.fail(.capability, .INVAL));
    }
    return set;
}
