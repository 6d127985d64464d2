//! From a process of the plan to the block that stage3 reads: names become numbers.

const std = @import("std");
const capabilities = @import("capabilities");
const linux = @import("linux");
const rlimits = @import("rlimits");
const stage3 = @import("stage3");
const plan_module = @import("plan.zig");
const Failure = linux.Failure;
const Header = stage3.settings.Header;

/// How the process talks to stage2.
pub const Talk = struct {
    /// The number of the status socket in the process.
    status_fd: linux.fd_t,
    /// It waits for a packet on that socket before its exec.
    held: bool,
};

/// The block for `process`. On failure `subject` is the name that is none.
pub fn describe(failure: *Failure, arena: std.mem.Allocator, process: *const plan_module.Process, user: ?[:0]const u8, talk: Talk, subject: *[]const u8) error{Failed}![]align(8) u8 {
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
    const header: Header = .{
        .uid = process.user.uid,
        .gid = process.user.gid,
        .umask = process.user.umask orelse 0o022,
        .oom_score_adj = process.oomScoreAdj orelse 0,
        .status_fd = talk.status_fd,
        .capabilities = sets,
        .flags = .{
            .no_new_privs = process.noNewPrivileges,
            .terminal = process.terminal,
            .held = talk.held,
            .set_oom_score_adj = process.oomScoreAdj != null,
        },
    };
    var size: usize = @sizeOf(Header) + 4096 + limits.len * @sizeOf(rlimits.Limit) + process.user.additionalGids.len * @sizeOf(u32);
    size += process.cwd.len;
    if (user) |name| size += name.len;
    for (process.args) |text| size += text.len + 1;
    for (process.env) |text| size += text.len + 1;
    const buffer = arena.alignedAlloc(u8, .@"8", size) catch return failure.fail(.plan, .NOMEM);
    return @alignCast(stage3.settings.write(buffer, header, limits, process.user.additionalGids, user, process.cwd, process.args, process.env) orelse
        return failure.fail(.plan, .@"2BIG"));
}

fn bits(failure: *Failure, list: []const [:0]const u8, subject: *[]const u8) error{Failed}!capabilities.Set {
    var set: capabilities.Set = 0;
    for (list) |name| {
        subject.* = name;
        set |= @as(capabilities.Set, 1) << (capabilities.bit(name) orelse return failure.fail(.capability, .INVAL));
    }
    return set;
}
