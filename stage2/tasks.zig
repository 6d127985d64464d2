//! What the server has workers do for a container that is there: each may take long, or
//! look into what a container has made.

const std = @import("std");
const cgroup = @import("cgroup");
const linux = @import("linux");
const stage3 = @import("stage3");
const json = @import("json.zig");
const placement = @import("placement.zig");
const plan_module = @import("plan.zig");
const wire = @import("wire.zig");
const handles = stage3.handles;
const Failure = linux.Failure;
const Status = stage3.settings.Status;
const os = linux.os;
const fd_t = linux.fd_t;

const Id = [wire.id_size]u8;

comptime {
    std.debug.assert(@sizeOf(cgroup.Stats) <= wire.Reply.subject_size); // In place of a subject.
}

/// Stops or continues a container's processes.
pub const Freeze = struct {
    id: Id,
    frozen: bool,

    pub fn work(task: Freeze, _: fd_t) Status {
        var failure: Failure = .{};
        placement.setFrozen(&failure, wire.name(&task.id).?, task.frozen) catch return .failed(failure, wire.name(&task.id).?);
        return .of(.finished);
    }
};

/// Reads what a container uses: the bytes of `cgroup.Stats`.
pub const Stats = struct {
    id: Id,

    pub fn work(task: Stats, _: fd_t) Status {
        var failure: Failure = .{};
        const stats = placement.stats(&failure, wire.name(&task.id).?) catch return .failed(failure, wire.name(&task.id).?);
        return .said(.finished, std.mem.asBytes(&stats));
    }
};

/// Changes limits of a container, or of what its cgroup lies in; descriptor: an `Update`.
pub const Limit = struct {
    id: Id,
    descriptors: linux.socket.Descriptors,

    /// Other limits than these stay as they are.
    const Update = struct {
        kurma: struct { id: plan_module.Text },
        resources: cgroup.Limits,
    };

    pub fn work(task: Limit, _: fd_t) Status {
        var failure: Failure = .{};
        var problem: json.Problem = .{};
        task.apply(&failure, &problem) catch {
            const wrong = problem.text();
            return .failed(failure, if (wrong.len > 0) wrong else wire.name(&task.id).?);
        };
        return .of(.finished);
    }

    fn apply(task: *const Limit, failure: *Failure, problem: *json.Problem) error{Failed}!void {
        if (task.descriptors.count == 0) return failure.fail(.plan, .BADF);
        const text = try plan_module.readFile(failure, task.descriptors.fds[0]);
        const memory = try linux.file.mapPrivate(failure, -1, 4 * plan_module.max_bytes);
        var arena: std.heap.FixedBufferAllocator = .init(memory);
        const update = json.decode(Update, arena.allocator(), text, problem) catch return failure.fail(.plan, .INVAL);
        const rest = std.mem.cutPrefix(u8, wire.name(&task.id).?, update.kurma.id) orelse "?";
        if (rest.len > 0 and rest[0] != '/') return failure.fail(.plan, .BADMSG);
        try placement.limit(failure, update.kurma.id, &update.resources);
    }
};

/// Lets a client see what a container prints (descriptors: where to), and type.
pub const Attach = struct {
    pidfd: fd_t,
    descriptors: linux.socket.Descriptors,

    pub fn work(task: Attach, status: fd_t) Status {
        var failure: Failure = .{};
        task.attach(&failure, status) catch return .failed(failure, "");
        return .of(.finished);
    }

    fn attach(task: *const Attach, failure: *Failure, status: fd_t) error{Failed}!void {
        const outputs = task.descriptors.fds[0..task.descriptors.count];
        if (outputs.len > 0) try control(failure, task.pidfd, .attach, outputs);
        const input = try handles.take(failure, task.pidfd, .input) orelse
            try handles.take(failure, task.pidfd, .terminal) orelse return;
        const message: Status = .of(.terminal);
        try linux.socket.sendPacket(failure, status, std.mem.asBytes(&message), input);
    }
};

/// Ends the input of a container, as far as it is the init that keeps it open.
pub const CloseInput = struct {
    pidfd: fd_t,

    pub fn work(task: CloseInput, _: fd_t) Status {
        var failure: Failure = .{};
        control(&failure, task.pidfd, .close_input, &.{}) catch return .failed(failure, "");
        return .of(.finished);
    }
};

/// Gives a container's terminal another size.
pub const Resize = struct {
    pidfd: fd_t,
    size: Size,

    pub fn work(task: Resize, _: fd_t) Status {
        var failure: Failure = .{};
        task.resize(&failure) catch return .failed(failure, "");
        return .of(.finished);
    }

    fn resize(task: *const Resize, failure: *Failure) error{Failed}!void {
        const terminal = try handles.take(failure, task.pidfd, .terminal) orelse return failure.fail(.terminal, .NOTTY);
        try task.size.set(failure, terminal);
    }
};

/// Of a terminal, in characters: a request's argument has the rows above 16 bits of columns.
pub const Size = struct {
    rows: u16,
    columns: u16,

    pub fn of(argument: u64) ?Size {
        const both = std.math.cast(u32, argument) orelse return null;
        return .{ .rows = @intCast(both >> 16), .columns = @truncate(both) };
    }

    pub fn set(size: Size, failure: *Failure, terminal: fd_t) error{Failed}!void {
        const window: std.posix.winsize = .{ .row = size.rows, .col = size.columns, .xpixel = 0, .ypixel = 0 };
        const set_size = 0x5414; // TIOCSWINSZ
        _ = try failure.check(.terminal, os.ioctl(terminal, set_size, @intFromPtr(&window)));
    }
};

fn control(failure: *Failure, pidfd: fd_t, kind: handles.Control.Kind, descriptors: []const fd_t) error{Failed}!void {
    const socket = try handles.take(failure, pidfd, .control) orelse return failure.fail(.attach, .OPNOTSUPP);
    const message: handles.Control = .{ .kind = kind };
    try linux.socket.sendAll(failure, socket, std.mem.asBytes(&message), descriptors);
}
