//! The one client of a server: kurmad. A newer one takes the place of an older one, which
//! is dead or about to be; one that does not read is cut off.

const std = @import("std");
const linux = @import("linux");
const outbox_module = @import("outbox.zig");
const wire = @import("wire.zig");
const Failure = linux.Failure;
const Reply = wire.Reply;
const fd_t = linux.fd_t;
const none = @import("table.zig").none;
const os = linux.os;

pub const Client = struct {
    epoll: fd_t = none,
    /// What epoll says an event of ours is about.
    tag: u64 = 0,
    socket: fd_t = none,
    outbox: outbox_module.Outbox = .{},
    /// Whether epoll tells when there is room in the socket.
    awaits_room: bool = false,
    /// A client was cut off, and nobody was told why yet.
    cut_off: bool = false,

    /// Takes over `socket`, which is non-blocking, from whoever was here before.
    pub fn replace(client: *Client, failure: *Failure, socket: fd_t) error{Failed}!void {
        client.disconnect();
        client.socket = socket;
        errdefer client.disconnect();
        try client.control(failure, os.EPOLL.CTL_ADD, os.EPOLL.IN);
        if (!client.cut_off) return;
        client.cut_off = false;
        var notice: Reply = .{ .kind = .notice, .failure = .{ .step = .socket, .errno = @backingInt(linux.E.NOBUFS) } };
        notice.setSubject("The client before this one was cut off: it did not read its replies");
        client.reply(&notice, null);
    }

    pub fn disconnect(client: *Client) void {
        if (client.socket == none) return;
        client.outbox.clear();
        client.awaits_room = false;
        // Not only closed: a worker that hangs holds a copy, which epoll would go by, too.
        _ = os.shutdown(client.socket, os.SHUT.RDWR);
        _ = os.epoll_ctl(client.epoll, os.EPOLL.CTL_DEL, client.socket, null);
        linux.file.close(client.socket);
        client.socket = none;
    }

    /// Tells whoever is connected, in order, without ever waiting.
    pub fn reply(client: *Client, message: *const Reply, descriptor: ?fd_t) void {
        if (client.socket == none) return;
        const sent = client.outbox.send(client.socket, message, descriptor) catch {
            client.cut_off = true;
            return client.disconnect();
        };
        client.follow(sent);
    }

    /// There is room in the socket.
    pub fn flush(client: *Client) void {
        if (client.socket != none) client.follow(client.outbox.flush(client.socket));
    }

    fn follow(client: *Client, sent: outbox_module.Outbox.Sent) void {
        var failure: Failure = .{};
        const wants_room = switch (sent) {
            .broken => return client.disconnect(),
            .some => true,
            .all => false,
        };
        if (wants_room == client.awaits_room) return;
        client.awaits_room = wants_room;
        const events: u32 = if (wants_room) os.EPOLL.IN | os.EPOLL.OUT else os.EPOLL.IN;
        client.control(&failure, os.EPOLL.CTL_MOD, events) catch client.disconnect();
    }

    fn control(client: *Client, failure: *Failure, operation: u32, events: u32) error{Failed}!void {
        var event: os.epoll_event = .{ .events = events, .data = .{ .u64 = client.tag } };
        _ = try failure.check(.supervise, os.epoll_ctl(client.epoll, operation, client.socket, &event));
    }
};
