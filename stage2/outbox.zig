//! What a client has not taken yet. Its socket holds some replies; what does not fit waits
//! here, in order, so that nothing is lost in a turn that has much to tell.

const std = @import("std");
const linux = @import("linux");
const wire = @import("wire.zig");
const Failure = linux.Failure;
const Reply = wire.Reply;
const fd_t = linux.fd_t;
const os = linux.os;

/// A list of all containers and the ends of all of them fit; who lets more wait does not read.
pub const capacity = 16 * 1024;

const Item = struct { reply: Reply, descriptor: ?fd_t };

/// Not part of an `Outbox`, which starts as zeros: this memory is untouched until used.
var items: [capacity]Item align(std.heap.page_size_min) = undefined;

pub const Outbox = struct {
    first: usize = 0,
    len: usize = 0,

    pub const Sent = enum { all, some, broken };

    /// Sends `reply` now, or keeps it and a copy of `descriptor` for later: then `some`.
    /// error.Full: there is no room for it.
    pub fn send(outbox: *Outbox, socket: fd_t, reply: *const Reply, descriptor: ?fd_t) error{Full}!Sent {
        if (outbox.len == 0) switch (trySend(socket, reply, descriptor)) {
            .SUCCESS => return .all,
            .AGAIN => {},
            else => return .broken,
        };
        if (outbox.len == capacity) return error.Full;
        var failure: Failure = .{};
        const copy = if (descriptor) |fd| linux.file.duplicateAbove(&failure, fd, 2) catch return error.Full else null;
        items[(outbox.first + outbox.len) % capacity] = .{ .reply = reply.*, .descriptor = copy };
        outbox.len += 1;
        return .some;
    }

    /// Sends what the socket takes now.
    pub fn flush(outbox: *Outbox, socket: fd_t) Sent {
        while (outbox.len > 0) {
            const item = &items[outbox.first];
            switch (trySend(socket, &item.reply, item.descriptor)) {
                .SUCCESS => outbox.drop(),
                .AGAIN => return .some,
                else => return .broken,
            }
        }
        outbox.clear();
        return .all;
    }

    /// Forgets what waits, and gives its memory back.
    pub fn clear(outbox: *Outbox) void {
        while (outbox.len > 0) outbox.drop();
        outbox.first = 0;
        _ = os.madvise(@ptrCast(&items), @sizeOf(@TypeOf(items)), os.MADV.DONTNEED);
    }

    fn drop(outbox: *Outbox) void {
        if (items[outbox.first].descriptor) |fd| linux.file.close(fd);
        outbox.first = (outbox.first + 1) % capacity;
        outbox.len -= 1;
    }
};

fn trySend(socket: fd_t, reply: *const Reply, descriptor: ?fd_t) linux.E {
    var failure: Failure = .{};
    linux.socket.sendPacket(&failure, socket, std.mem.asBytes(reply), descriptor) catch return @fromBackingInt(failure.errno);
    return .SUCCESS;
}

test "what does not fit into the socket arrives later, in order, with its descriptors" {
    var failure: Failure = .{};
    const sockets = try linux.socket.pair(&failure);
    defer for (sockets) |socket| linux.file.close(socket);
    var outbox: Outbox = .{};
    var waiting: usize = 0;
    var sent: u64 = 0;
    while (waiting < 300) : (sent += 1) {
        const reply: Reply = .{ .kind = .state, .sequence = sent };
        if (try outbox.send(sockets[0], &reply, if (sent % 50 == 0) sockets[1] else null) == .some) waiting += 1;
    }
    for (0..sent) |expected| {
        var reply: Reply = undefined;
        var descriptors: linux.socket.Descriptors = .{};
        _ = try linux.socket.receiveNow(&failure, sockets[1], std.mem.asBytes(&reply), &descriptors);
        defer descriptors.close();
        try std.testing.expectEqual(expected, reply.sequence);
        try std.testing.expectEqual(@intFromBool(expected % 50 == 0), descriptors.count);
        _ = outbox.flush(sockets[0]);
    }
    try std.testing.expectEqual(0, outbox.len);
}

test "there is an end to what waits" {
    var failure: Failure = .{};
    const sockets = try linux.socket.pair(&failure);
    defer for (sockets) |socket| linux.file.close(socket);
    var outbox: Outbox = .{};
    const reply: Reply = .{ .kind = .done };
    for (0..2 * capacity) |_| {
        _ = outbox.send(sockets[0], &reply, null) catch |err| {
            try std.testing.expectEqual(error.Full, err);
            try std.testing.expectEqual(capacity, outbox.len);
            return outbox.clear();
        };
    }
    return error.NeverFull;
}
