//! What the server's workers are to do, with the descriptors that a request brought.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const exec = @import("exec.zig");
const hooks = @import("hooks");
const host_hooks = @import("host_hooks.zig");
const launch = @import("launch.zig");
const placement = @import("placement.zig");
const plan_module = @import("plan.zig");
const slots = @import("slots.zig");
const table_module = @import("table.zig");
const userns = @import("userns.zig");
const wire = @import("wire.zig");
const Failure = linux.Failure;
const Status = stage3.settings.Status;
const os = linux.os;
const fd_t = linux.fd_t;

/// What the server knows of a container that is to be made.
pub const Place = struct {
    program: fd_t,
    id: [wire.id_size]u8,
    /// Of the host, that its range of ids begins with; 0 if it has none.
    first_id: u32,
    /// Of that range, if the server has one.
    namespace: ?fd_t,
    /// The folder for ends (slots.zig), if the server has one, and the container's number.
    ends: ?fd_t,
    slot: usize,
    /// Of the server, as they were when the worker was forked with its memory.
    containers: *table_module.Table,

    /// The file for its end; making one takes a tenth of a start.
    fn makeEnd(place: *const Place, failure: *Failure) error{Failed}!?fd_t {
        return if (place.ends) |folder| try slots.Slots.makeEnd(folder, failure, place.slot) else null;
    }

    fn options(place: *const Place, ended: ?fd_t, runs: bool, plan: fd_t, stage1: ?fd_t) launch.Options {
        return .{
            .program = place.program,
            .survives = true,
            .ready = if (runs) .said else .held,
            .ended = ended,
            .stage1 = stage1,
            .shared = .{ .first = place.first_id, .namespace = place.namespace },
            .containers = place.containers,
            .plan_file = plan,
        };
    }
};

/// Makes a container; descriptors: the plan, 0 to 2 if the command is to have any, and the
/// socket to stage1 if the plan says so.
pub const Create = struct {
    place: Place,
    descriptors: linux.socket.Descriptors,
    /// Its command does not wait for the word to go on.
    runs: bool,

    pub fn work(order: Create, status: fd_t) Status {
        var failure: Failure = .{};
        var reading: Reading = .{};
        reading.prepare(&failure, false) catch return .failed(failure, "");
        const plan = reading.open(&failure, order.descriptors, &order.place.id, plan_module.parse) catch return .failed(failure, reading.problem.text());
        const ended = order.place.makeEnd(&failure) catch return .failed(failure, "ends");
        const options = order.place.options(ended, order.runs, order.descriptors.fds[0], reading.last);
        return launch.create(options, reading.arena.allocator(), plan, status);
    }
};

/// Makes the cgroup and the namespaces of a container whose plan is not known yet, and then,
/// when it comes over the status socket, the container. Descriptors: a plan like which that will be,
/// of which the container is made already, or none.
pub const Prepare = struct {
    place: Place,
    descriptors: linux.socket.Descriptors,

    pub fn work(order: Prepare, status: fd_t) Status {
        var failure: Failure = .{};
        var reading: Reading = .{};
        var ahead: launch.Ahead = .{};
        const name = wire.name(&order.place.id).?;
        var subject = name;
        const ended = order.place.makeEnd(&failure) catch return failed(failure, "ends");
        const namespace = order.prepare(&failure, &reading, &ahead, ended, status, &subject) catch return failed(failure, subject);
        var runs = false;
        var descriptors: linux.socket.Descriptors = .{};
        const packet = linux.socket.receiveAll(&failure, status, std.mem.asBytes(&runs), &descriptors) catch return failed(failure, name);
        if (packet.len == 0) { // Nobody wants it any more.
            ahead.dismiss();
            return .of(.finished);
        }
        const read = if (ahead.made == null)
            reading.open(&failure, descriptors, &order.place.id, plan_module.parse)
        else if (descriptors.count == 1)
            reading.parseNamed(&failure, descriptors, &order.place.id, plan_module.parse)
        else
            failure.fail(.plan, .STALE); // It was made without streams.
        const plan = read catch return failed(failure, reading.problem.text());
        var options = order.place.options(ended, runs, descriptors.fds[0], reading.last);
        options.shared.?.namespace = namespace;
        options.ahead = &ahead;
        return launch.create(options, reading.arena.allocator(), plan, status);
    }

    /// Gives a worker that waits the plan; descriptors as for `Create`.
    pub fn goOn(failure: *Failure, status: fd_t, runs: bool, descriptors: *const linux.socket.Descriptors) error{Failed}!void {
        return linux.socket.sendAll(failure, status, std.mem.asBytes(&runs), descriptors.fds[0..descriptors.count]);
    }

    /// Returns the user namespace.
    fn prepare(order: *const Prepare, failure: *Failure, reading: *Reading, ahead: *launch.Ahead, ended: ?fd_t, status: fd_t, subject: *[]const u8) error{Failed}!fd_t {
        const place = &order.place;
        const name = wire.name(&place.id).?;
        try reading.prepare(failure, true);
        try ahead.cgroup.make(failure, name);
        const unified = try ahead.cgroup.unified(failure, name);
        defer if (unified) |fd| linux.file.close(fd);
        const range = [_]userns.Mapping{.{ .containerID = 0, .hostID = place.first_id, .size = userns.range }};
        const namespace = place.namespace orelse try launch.makeNamespace(failure, &range, &range, status);
        ahead.sandbox = try .create(failure, name, place.first_id, namespace, unified, place.program);
        if (order.descriptors.count > 0) {
            var options = place.options(ended, false, order.descriptors.fds[0], null);
            options.shared.?.namespace = namespace;
            errdefer ahead.dismiss();
            const plan = reading.open(failure, order.descriptors, &place.id, plan_module.parse) catch |err| {
                subject.* = reading.problem.text();
                return err;
            };
            try ahead.make(failure, options, reading.arena.allocator(), plan, status, subject);
        }
        try linux.socket.sendPacket(failure, status, std.mem.asBytes(&Status.of(.prepared)), null);
        return namespace;
    }

    /// There may be a cgroup by now.
    fn failed(failure: Failure, subject: []const u8) Status {
        var message: Status = .failed(failure, subject);
        message.cgroup = true;
        return message;
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
        reading.prepare(&failure, false) catch return .failed(failure, "");
        const plan = reading.open(&failure, order.descriptors, &order.id, plan_module.parseExec) catch return .failed(failure, reading.problem.text());
        return exec.create(order.target, reading.arena.allocator(), plan, status);
    }
};

/// Runs the hooks that come after the start, or after the end.
pub const Hooks = struct {
    plan: fd_t,
    point: hooks.Point,
    /// Of the container's init; 0 once it has ended.
    pid: linux.pid_t,

    pub fn work(order: Hooks, _: fd_t) Status {
        var failure: Failure = .{};
        var reading: Reading = .{};
        var subject: []const u8 = "";
        order.run(&failure, &reading, &subject) catch return .failed(failure, subject);
        return .of(.finished);
    }

    fn run(order: Hooks, failure: *Failure, reading: *Reading, subject: *[]const u8) error{Failed}!void {
        try reading.prepare(failure, false);
        const plan = try reading.parsePlan(failure, order.plan, plan_module.parse);
        const begun = try host_hooks.beginState(failure, reading.arena.allocator(), plan);
        const running = order.pid != 0;
        return host_hooks.run(failure, plan, order.point, begun, if (running) .running else .stopped, if (running) order.pid else null, null, subject);
    }
};

/// Removes a container's cgroup.
pub const Remove = struct {
    id: [wire.id_size]u8,
    ending: placement.Ending,

    pub fn work(order: Remove, _: fd_t) Status {
        var failure: Failure = .{};
        placement.remove(&failure, wire.name(&order.id).?, order.ending) catch return .failed(failure, wire.name(&order.id).?);
        return .of(.finished);
    }
};

/// A worker's memory, with the plan in it.
const Reading = struct {
    arena: std.heap.FixedBufferAllocator = undefined,
    problem: plan_module.Problem = .{},
    /// The descriptor after the plan and the streams that the plan wants, if it wants one.
    last: ?fd_t = null,

    /// Gets the memory: its own, or shared with what it makes.
    fn prepare(reading: *Reading, failure: *Failure, shared: bool) error{Failed}!void {
        reading.arena = .init(try linux.file.mapFresh(failure, 4 * plan_module.max_bytes, shared));
    }

    /// Reads the plan, checks that it is of the container that the request names, and
    /// takes the streams. An invalid plan fails with step `plan`, and `problem` says why.
    fn open(reading: *Reading, failure: *Failure, descriptors: linux.socket.Descriptors, id: *const [wire.id_size]u8, comptime parse: anytype) error{Failed}!*const Parsed(parse) {
        const plan = try reading.parseNamed(failure, descriptors, id, parse);
        var streams = descriptors;
        if (@hasField(@TypeOf(plan.kurma), "stage1") and plan.kurma.stage1 and descriptors.count > 1) {
            streams.count -= 1;
            reading.last = try linux.file.duplicateAbove(failure, descriptors.fds[streams.count], 2);
        }
        try takeStreams(failure, streams);
        return plan;
    }

    fn parseNamed(reading: *Reading, failure: *Failure, descriptors: linux.socket.Descriptors, id: *const [wire.id_size]u8, comptime parse: anytype) error{Failed}!*const Parsed(parse) {
        const plan = try reading.parsePlan(failure, descriptors.fds[0], parse);
        if (!std.mem.eql(u8, plan.kurma.id, wire.name(id).?)) return failure.fail(.plan, .BADMSG);
        return plan;
    }

    fn parsePlan(reading: *Reading, failure: *Failure, fd: fd_t, comptime parse: anytype) error{Failed}!*const Parsed(parse) {
        const text = try plan_module.readFile(failure, fd);
        const allocator = reading.arena.allocator();
        const plan = allocator.create(Parsed(parse)) catch return failure.fail(.plan, .NOMEM);
        plan.* = parse(allocator, text, &reading.problem) catch return failure.fail(.plan, .INVAL);
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
