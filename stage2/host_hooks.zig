//! The hooks that run on the host while a container is made. The worker has given up the
//! host's rights by then, so they run in a process that was forked before, and the
//! container waits until they are done.

const std = @import("std");
const hooks = @import("hooks");
const linux = @import("linux");
const stage3 = @import("stage3");
const plan_module = @import("plan.zig");
const worker = @import("worker.zig");
const Failure = linux.Failure;
const Status = stage3.settings.Status;
const os = linux.os;
const fd_t = linux.fd_t;

/// The state of the plan's container, to be finished; in `arena`. Empty if nobody asks.
pub fn beginState(failure: *Failure, arena: std.mem.Allocator, plan: *const plan_module.Plan) error{Failed}![]const u8 {
    const annotations = plan.config.annotations;
    const list = arena.alloc(hooks.state.State.Annotation, annotations.len) catch return failure.fail(.plan, .NOMEM);
    var room: usize = 256 + 6 * (plan.config.ociVersion.len + plan.kurma.id.len + plan.bundle().len);
    for (annotations, list) |annotation, *slot| {
        slot.* = .{ .key = annotation.key, .value = annotation.value };
        room += 8 + 6 * (annotation.key.len + annotation.value.len);
    }
    const about: hooks.state.State = .{ .ociVersion = plan.config.ociVersion, .id = plan.kurma.id, .bundle = plan.bundle(), .annotations = list };
    const buffer = arena.alloc(u8, room) catch return failure.fail(.plan, .NOMEM);
    return about.begin(buffer) catch return failure.fail(.plan, .@"2BIG");
}

/// Runs the hooks of `point` in this process. On failure `subject` is the whole message, in
/// static memory.
pub fn run(failure: *Failure, plan: *const plan_module.Plan, point: hooks.Point, begun: []const u8, status: hooks.state.Status, pid: ?linux.pid_t, folder: ?fd_t, subject: *[]const u8) error{Failed}!void {
    if (plan.config.hooks.at(point).len == 0) return;
    linux.weakness.noteImage(plan.config.process.env);
    const memory = try linux.file.mapPrivate(failure, -1, begun.len + hooks.state.finish_room);
    const about = hooks.state.finish(memory, begun, status, pid) catch return failure.fail(.hook, .NOMEM);
    var problem: hooks.Problem = .{};
    const result = hooks.run(failure, &plan.config.hooks, point, about, folder, &problem);
    if (problem.cause != null) subject.* = problem.message(&message);
    try result;
    // After the end it is only a warning, but one to be told.
    if (problem.cause != null) return failure.fail(.hook, .CANCELED);
}

var message: [512]u8 = undefined;

/// Who runs prestart and createRuntime.
pub const Keeper = struct {
    pid: linux.pid_t,
    socket: fd_t,

    /// Null if the plan has neither.
    pub fn start(failure: *Failure, plan: *const plan_module.Plan, begun: []const u8) error{Failed}!?Keeper {
        if (plan.config.hooks.prestart.len + plan.config.hooks.createRuntime.len == 0) return null;
        const order: Order = .{ .plan = plan, .begun = begun };
        const forked = try worker.spawn(failure, order, Order.work);
        return .{ .pid = forked.pid, .socket = forked.status };
    }

    /// Lets it run them for the container with this pid, and waits. On failure `subject` says
    /// what its message says.
    pub fn run(keeper: Keeper, failure: *Failure, pid: linux.pid_t, subject: *[]const u8) error{Failed}!void {
        try linux.socket.sendPacket(failure, keeper.socket, std.mem.asBytes(&pid), null);
        var descriptor: ?fd_t = null;
        const packet = try linux.socket.receive(failure, keeper.socket, std.mem.asBytes(&answer), &descriptor);
        _ = try linux.process.wait(failure, keeper.pid);
        if (packet.len < @sizeOf(Status)) return failure.fail(.hook, .CHILD);
        if (answer.kind == .finished) return;
        failure.* = answer.failure;
        subject.* = answer.subject[0..@min(answer.subject_len, answer.subject.len)];
        return error.Failed;
    }

    var answer: Status = undefined;
};

const Order = struct {
    plan: *const plan_module.Plan,
    begun: []const u8,

    fn work(order: Order, socket: fd_t) Status {
        var failure: Failure = .{};
        var subject: []const u8 = "";
        order.runAll(&failure, socket, &subject) catch return .failed(failure, subject);
        return .of(.finished);
    }

    fn runAll(order: Order, failure: *Failure, socket: fd_t, subject: *[]const u8) error{Failed}!void {
        var pid: linux.pid_t = 0;
        var descriptor: ?fd_t = null;
        const packet = try linux.socket.receive(failure, socket, std.mem.asBytes(&pid), &descriptor);
        if (packet.len < @sizeOf(linux.pid_t)) linux.process.exit(0); // There is no container.
        for ([_]hooks.Point{ .prestart, .createRuntime }) |point| {
            try run(failure, order.plan, point, order.begun, .creating, pid, null, subject);
        }
    }
};

/// Where the container waits for those on the host. Closed without a word, it ends.
pub const Gate = struct {
    outside: fd_t,
    inside: fd_t,

    pub fn make(failure: *Failure) error{Failed}!Gate {
        const sockets = try linux.socket.pair(failure);
        return .{ .outside = sockets[0], .inside = sockets[1] };
    }

    pub fn open(gate: Gate, failure: *Failure) error{Failed}!void {
        return linux.socket.sendPacket(failure, gate.outside, "!", null);
    }

    /// For the container.
    pub fn await(gate: Gate, failure: *Failure) error{Failed}!void {
        linux.file.close(gate.outside);
        var word: [1]u8 = undefined;
        var descriptor: ?fd_t = null;
        const packet = try linux.socket.receive(failure, gate.inside, &word, &descriptor);
        if (packet.len == 0) linux.process.exit(125);
    }
};
