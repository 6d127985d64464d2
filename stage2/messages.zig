//! Replies about entries of the table.

const linux = @import("linux");
const wire = @import("wire.zig");
const Entry = @import("table.zig").Entry;
const Reply = wire.Reply;

/// How far a container, or a process in one, has come.
pub fn describe(entry: *const Entry) Reply {
    return .{
        .kind = .state,
        .state = entry.state,
        .pid = entry.pid,
        .status = entry.exit_status,
        .ended_ns = entry.ended_ns,
        .oom = @intFromBool(entry.oom),
        .record = entry.record,
        .id = entry.id,
        .process = if (entry.kind != .exec) 0 else if (entry.has_ended) entry.last_pid else entry.pid,
    };
}

pub fn refusal(sequence: u64, failure: linux.Failure, id: *const [wire.id_size]u8) Reply {
    var message: Reply = .{ .sequence = sequence, .kind = .failed, .failure = failure, .id = id.* };
    message.setSubject(wire.name(id) orelse "");
    return message;
}
