//! Requests that make something: a container, what one is prepared from, and a process
//! in one. Each is an entry of the server's table and the order of a worker. And the one
//! that deletes it.

const std = @import("std");
const linux = @import("linux");
const exits = @import("exits.zig");
const orders = @import("orders.zig");
const table = @import("table.zig");
const wire = @import("wire.zig");
const Server = @import("server.zig").Server;
const Entry = table.Entry;
const Request = wire.Request;

/// Containers that are prepared at once.
const max_prepared = 16;

/// `create` and `run`; what was prepared under the name goes on.
pub fn create(server: *Server, request: *const Request, descriptors: *linux.socket.Descriptors) error{Failed}!void {
    const failure = &server.failure;
    if (descriptors.count == 0) return failure.fail(.plan, .BADF);
    const runs = request.operation == .run;
    if (server.table.find(&request.id)) |entry| {
        if (entry.state != .prepared) return failure.fail(.supervise, .EXIST);
        try orders.Prepare.goOn(failure, entry.status, runs, descriptors);
        server.prepared -= 1;
        entry.state = .creating;
        entry.sequence = request.sequence;
        entry.runs = runs;
        return;
    }
    const entry = try enlist(server, request, .container);
    errdefer server.table.remove(entry);
    entry.runs = runs;
    try server.employ(entry, orders.Create{ .place = placeOf(server, entry), .descriptors = descriptors.*, .runs = runs });
}

/// Its `create` may come, or `discard`.
pub fn prepare(server: *Server, request: *const Request, descriptors: *linux.socket.Descriptors) error{Failed}!void {
    const failure = &server.failure;
    if (server.table.find(&request.id) != null) return failure.fail(.supervise, .EXIST);
    if (request.argument == 0) return failure.fail(.idmap, .INVAL);
    if (server.prepared == max_prepared) return failure.fail(.supervise, .AGAIN);
    const entry = try enlist(server, request, .container);
    errdefer server.table.remove(entry);
    try server.employ(entry, orders.Prepare{ .place = placeOf(server, entry), .descriptors = descriptors.* });
}

pub fn exec(server: *Server, request: *const Request, container: *Entry, descriptors: *linux.socket.Descriptors) error{Failed}!void {
    // Also one whose command still waits: its init is there, and so is all that it is to see.
    const is_there = container.pidfd != table.none and (container.state == .running or container.state == .created);
    if (!is_there) return server.failure.fail(.supervise, .BUSY);
    if (descriptors.count == 0) return server.failure.fail(.plan, .BADF);
    const entry = try enlist(server, request, .exec);
    errdefer server.table.remove(entry);
    try server.employ(entry, orders.Exec{
        .target = .{ .pidfd = container.pidfd, .user_namespace = container.user_namespace, .cgroup = container.cgroup },
        .id = request.id,
        .descriptors = descriptors.*,
    });
}

/// A new entry for what the request asks for, which is answered when it is made.
fn enlist(server: *Server, request: *const Request, kind: @FieldType(Entry, "kind")) error{Failed}!*Entry {
    const failure = &server.failure;
    if (wire.name(&request.id).?.len > exits.max_id) return failure.fail(.plan, .NAMETOOLONG);
    const first_id = std.math.cast(u32, request.argument) orelse return failure.fail(.plan, .RANGE);
    const entry = server.table.add() orelse return failure.fail(.supervise, .NFILE);
    entry.* = .{ .kind = kind, .state = .creating, .id = request.id, .sequence = request.sequence, .first_id = if (kind == .container) first_id else 0 };
    return entry;
}

fn placeOf(server: *Server, entry: *const Entry) orders.Place {
    return .{
        .program = server.program,
        .id = entry.id,
        .first_id = entry.first_id,
        .namespace = server.namespaces.find(entry.first_id),
        .ends = server.ledger.ends(),
        .slot = server.position(entry),
        .containers = &server.table,
    };
}

/// Answered when nothing of it is left.
pub fn delete(server: *Server, request: *const Request) error{Failed}!void {
    const entry = server.named(request) catch |unknown| {
        if (request.argument == 0) return unknown;
        // A server that is killed while it makes one leaves its cgroup, and no word of it. Who
        // lives in it is not ours to kill: the name may be another server's.
        return server.task(request, orders.Remove{ .id = request.id, .ending = .wait });
    };
    server.settle();
    if (entry.state != .stopped and entry.state != .prepared) return server.failure.fail(.supervise, .BUSY);
    entry.deleting = request.sequence;
    entry.deleted = entry.state == .stopped;
    discard(server, entry);
}

/// Lets go of a container that has ended, or of what was prepared for one that never came.
pub fn discard(server: *Server, entry: *Entry) void {
    if (entry.state == .prepared) {
        server.prepared -= 1;
        server.release(entry.status); // Whose end its worker waits for.
        entry.status = table.none;
    }
    entry.state = .none;
    server.giveUp(entry);
}
