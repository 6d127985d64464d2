//! What the server's workers are to do, with the descriptors that a request brought.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const exec = @import("exec.zig");
const launch = @import("launch.zig");
const placement = @import("placement.zig");
const plan_module = @import("plan.zig");
const slots = @import("slots.zig");
const wire = @import("wire.zig");
const Failure = linux.Failure;
const Status = stage3.settings.Status;
const os = linux.os;
const fd_t = linux.fd_t;

/// Makes a container; descriptors: the plan, 0 to 2 if the command is to have any, and the
/// socket to stage1 if the plan says so.
pub const Create = struct {
    program: fd_t,
    id: [wire.id_size]u8,
    descriptors: linux.socket.Descriptors,
    first_id: u32,
    /// Of that range, if the server has one.
    namespace: ?fd_t,
    /// The folder for ends (slots.zig), if the server has one, and the container's number.
    ends: ?fd_t,
    slot: usize,

    pub fn work(order: Create, status: fd_t) Status {
        var failure: Failure = .{};
        var reading: Reading = .{};
        const plan = reading.open(&failure, order.descriptors, &order.id, plan_module.parse) catch return .failed(failure, reading.problem.text());
        const stage1 = if (plan.kurma.stage1) reading.last orelse return .failed(.{ .step = .plan, .errno = @backingInt(linux.E.BADF) }, "stage1") else null;
        const ended = if (order.ends) |folder| slots.Slots.makeEnd(folder, &failure, order.slot) catch return .failed(failure, "ends") else null;
        const options: launch.Options = .{ .program = order.program, .survives = true, .held = true, .ended = ended, .stage1 = stage1, .shared = .{ .first = order.first_id, .namespace = order.namespace } };
        return launch.create(options, reading.arena.allocator(), &plan, status);
    }
};

/// Starts a process in a container; descriptors as for `Create`.
pub const Exec = struct {
    target: exec.Target,
    id: [wire.id_size]u8,
    descriptors: linux.socket.Descriptors,

    pub fn work(order: Exec, status: fd_t) Status {
        var failure: Failure = .{};
        var reading: Reading = .{};
        const plan = reading.open(&failure, order.descriptors, &order.id, plan_module.parseExec) catch return .failed(failure, reading.problem.text());
        return exec.create(order.target, reading.arena.allocator(), &plan, status);
    }
};

/// Removes a container's cgroup.
pub const Remove = struct {
    id: [wire.id_size]u8,

    pub fn work(order: Remove, _: fd_t) Status {
        var failure: Failure = .{};
        placement.remove(&failure, wire.name(&order.id).?) catch return .failed(failure, wire.name(&order.id).?);
        return .{ .kind = .finished };
    }
};

/// A worker's memory, with the plan in it.
const Reading = struct {
    arena: std.heap.FixedBufferAllocator = undefined,
    problem: plan_module.Problem = .{},
    /// The descriptor after the plan and the streams that the plan wants, if it wants one.
    last: ?fd_t = null,

    /// Reads the plan, checks that it is of the container that the request names, and
    /// takes the streams. An invalid plan fails with step `plan`, and `problem` says why.
    fn open(reading: *Reading, failure: *Failure, descriptors: linux.socket.Descriptors, id: *const [wire.id_size]u8, comptime parse: anytype) error{Failed}!Parsed(parse) {
        const text = try plan_module.readFile(failure, descriptors.fds[0]);
        const memory = try linux.file.mapPrivate(failure, -1, 4 * plan_module.max_bytes);
        reading.arena = .init(memory);
        const plan = parse(reading.arena.allocator(), text, &reading.problem) catch return failure.fail(.plan, .INVAL);
        if (!std.mem.eql(u8, plan.kurma.id, wire.name(id).?)) return failure.fail(.plan, .BADMSG);
        var streams = descriptors;
        if (@hasField(@TypeOf(plan.kurma), "stage1") and plan.kurma.stage1 and descriptors.count > 1) {
            streams.count -= 1;
            reading.last = try linux.file.duplicateAbove(failure, descriptors.fds[streams.count], 2);
        }
        try takeStreams(failure, streams);
        return plan;
    }

    fn Parsed(comptime parse: anytype) type {
        return @typeInfo(@typeInfo(@TypeOf(parse)).@"fn".return_type.?).error_union.payload;
    }
};

/// Makes the descriptors after the plan our 0 to 2; those not given are the null device.
fn takeStreams(failure: *Failure, descriptors: linux.socket.Descriptors) error{Failed}!void {
    const null_device = try linux.file.open(failure, "/dev/null", .{ .ACCMODE = .RDWR, .CLOEXEC = true }, 0);
    for (0..3) |stream| {
        const fd = if (stream + 1 < descriptors.count) descriptors.fds[stream + 1] else null_device;
        _ = try failure.check(.open, os.dup3(fd, @intCast(stream), 0));
    }
}
