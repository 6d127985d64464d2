//! The text RPC of stage3 on a unix stream socket: many clients at once, one request
//! each, in one thread. protocol.md says what goes over the wire.
//!
//! It never blocks for a client: one that sends half a request, stops reading or goes
//! away costs a table entry until it is gone, and nobody else waits for it.

const std = @import("std");
const linux = @import("linux");
const protocol = @import("protocol.zig");
const root = @import("root.zig");
const spawn = @import("spawn.zig");
const command = @import("command.zig");
const Connection = @import("connection.zig").Connection;
const Roster = @import("roster.zig").Roster;
const Settings = @import("settings.zig").Settings;
const Trace = @import("trace.zig").Trace;
const Watch = @import("watch.zig").Watch;
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const os = linux.os;
const reply = protocol.reply;

/// All that the server keeps. It is large and mostly untouched, so `create` maps it.
pub const Server = struct {
    options: Options,
    clients: [max_clients]Connection,
    /// One more than the highest entry of `clients` in use.
    clients_end: usize,
    /// Bytes of requests that are not yet answered.
    in_flight: usize,
    roster: Roster,
    listener_watch: ?u32,
    /// accept(2) found no room: the listener is left alone for a turn.
    paused: bool,

    pub const Options = struct {
        /// Listening and non-blocking.
        listener: fd_t,
        trace: Trace = .{},
        /// Where commands without a slash are looked for.
        path: []const u8 = spawn.default_path,
        /// The container's settings: what holds for its main process holds for all.
        confinement: ?*const Settings = null,
    };

    /// Clients beyond this wait in the socket's backlog.
    pub const max_clients = 2048;

    /// What all unanswered requests together may have sent.
    const max_in_flight = 16 * 1024 * 1024;

    pub fn create(failure: *Failure, options: Options) error{Failed}!*Server {
        const memory = try linux.file.mapPrivate(failure, -1, @sizeOf(Server));
        const server: *Server = @ptrCast(memory.ptr);
        server.options = options; // All else is as the kernel gave it: zero.
        return server;
    }

    /// Says what this turn is to wait for.
    pub fn prepare(server: *Server, watch: *Watch) void {
        server.listener_watch = null;
        if (server.paused) {
            watch.within(1000);
            server.paused = false;
        } else if (server.freeEntry() != null) {
            server.listener_watch = watch.add(server.options.listener, os.POLL.IN);
        }
        for (server.clients[0..server.clients_end]) |*client| client.prepare(watch);
    }

    /// Does what this turn found to do.
    pub fn act(server: *Server, watch: *const Watch) void {
        for (server.clients[0..server.clients_end]) |*client| {
            if (client.state == .free or watch.ready(client.watched) == 0) continue;
            switch (client.state) {
                .free => unreachable,
                .receiving => server.receive(client),
                .starting => server.started(client),
                .waiting => server.drop(client), // Nothing else was asked for: it hung up.
                .sending => server.send(client),
            }
        }
        while (server.clients_end > 0 and server.clients[server.clients_end - 1].state == .free) server.clients_end -= 1;
        // Last, since a new client is not in `watch` yet.
        if (server.listener_watch) |added| if (watch.ready(added) != 0) server.accept();
    }

    /// Takes note of a process that was reaped; the end of a named one releases WAIT.
    pub fn ended(server: *Server, pid: linux.pid_t, status: u32) void {
        if (!server.roster.ended(pid, status)) return;
        for (server.clients[0..server.clients_end]) |*client| {
            if (client.state == .waiting) server.answer(client, reply.ok);
        }
    }

    fn freeEntry(server: *Server) ?*Connection {
        for (server.clients[0..server.clients_end]) |*client| if (client.state == .free) return client;
        return if (server.clients_end < max_clients) &server.clients[server.clients_end] else null;
    }

    fn accept(server: *Server) void {
        const result = os.accept4(server.options.listener, null, null, os.SOCK.CLOEXEC | os.SOCK.NONBLOCK);
        switch (os.errno(result)) {
            .SUCCESS => {},
            .MFILE, .NFILE, .NOBUFS, .NOMEM => {
                server.paused = true;
                return;
            },
            else => return, // It is gone already, or the next turn finds it again.
        }
        const client = server.freeEntry().?;
        client.* = .{ .state = .receiving, .socket = @intCast(result) };
        server.clients_end = @max(server.clients_end, client - &server.clients[0] + 1);
        server.options.trace.debug(client.socket, "Accepted a connection", .{});
    }

    fn receive(server: *Server, client: *Connection) void {
        var buffer: [4096]u8 = undefined;
        const bytes = client.receive(&buffer) orelse return;
        if (bytes.len == 0) return server.drop(client); // Gone before its request was whole.
        client.charged += bytes.len;
        server.in_flight += bytes.len;
        if (server.in_flight > max_in_flight) return server.answer(client, reply.failed);
        const whole = client.feed(bytes) catch |err| switch (err) {
            error.Malformed => return server.refuse(client),
            error.Failed => return server.answer(client, reply.failed),
        };
        if (whole) server.execute(client);
    }

    fn execute(server: *Server, client: *Connection) void {
        const request = command.Command.of(client.parser.request()) catch return server.refuse(client);
        const trace = server.options.trace;
        trace.info(client.socket, "Received {t}", .{request});
        switch (request) {
            .start => |wanted| server.start(client, wanted),
            .exec => |wanted| server.takeOver(client, wanted),
            .status => server.list(client),
            .wait => if (server.roster.alive == 0) {
                trace.info(client.socket, "Nothing is running, responding to WAIT immediately", .{});
                server.answer(client, reply.ok);
            } else {
                trace.info(client.socket, "Added to the waiting queue", .{});
                server.forgetRequest(client);
                client.state = .waiting;
            },
            .chroot => |wanted| server.conclude(client, root.change(wanted)),
            .set_hostname => |name| {
                const result = os.syscall2(.sethostname, @intFromPtr(name), std.mem.len(name));
                server.conclude(client, os.errno(result));
            },
        }
    }

    fn start(server: *Server, client: *Connection, request: command.Start) void {
        if (request.name.len > 0 and !server.roster.hasRoom()) return server.conclude(client, .NOMEM);
        const report = openReport(client) orelse return server.conclude(client, .MFILE);
        const forked = os.fork();
        if (forked == 0) spawn.start(request, .{ .report = report, .stage1 = client.passed, .path = server.options.path, .confinement = server.options.confinement });
        linux.file.close(report);
        if (os.errno(forked) != .SUCCESS) return server.conclude(client, os.errno(forked));
        const pid: linux.pid_t = @intCast(forked);
        if (request.name.len > 0) server.roster.add(request.name, pid);
        server.options.trace.debug(client.socket, "Started process {d}", .{pid});
        server.awaitStart(client);
    }

    /// PID 1 becomes the program; the server goes on in the child, with the same table
    /// and the same clients.
    fn takeOver(server: *Server, client: *Connection, request: command.Exec) void {
        const report = openReport(client) orelse return server.conclude(client, .MFILE);
        const forked = os.fork();
        const parent = forked != 0 and os.errno(forked) == .SUCCESS;
        if (parent) spawn.takeOver(request, .{ .report = report, .stage1 = -1, .path = server.options.path, .confinement = server.options.confinement });
        linux.file.close(report);
        if (forked != 0) return server.conclude(client, os.errno(forked));
        server.awaitStart(client);
    }

    /// A pipe for the child to say that exec(2) failed; returns the end to write to.
    fn openReport(client: *Connection) ?fd_t {
        var ends: [2]fd_t = undefined;
        if (os.errno(os.pipe2(&ends, .{ .CLOEXEC = true })) != .SUCCESS) return null;
        client.report = ends[0];
        return ends[1];
    }

    /// The reply waits until exec(2) has happened: then the pipe ends.
    fn awaitStart(server: *Server, client: *Connection) void {
        server.forgetRequest(client);
        client.state = .starting;
    }

    fn started(server: *Server, client: *Connection) void {
        var said: [1]u8 = undefined;
        const result = os.read(client.report, &said, said.len);
        server.answer(client, if (result == 0) reply.ok else reply.failed);
    }

    fn list(server: *Server, client: *Connection) void {
        comptime std.debug.assert(reply.ok.len + Roster.max_listing + reply.end.len <= protocol.budget);
        var writer: std.Io.Writer = .fixed(client.memory.?);
        server.writeList(&writer) catch unreachable; // It fits, see above.
        server.answer(client, writer.buffered());
    }

    fn writeList(server: *Server, writer: *std.Io.Writer) !void {
        try writer.writeAll(reply.ok);
        try server.roster.list(writer);
        try writer.writeAll(reply.end);
    }

    fn refuse(server: *Server, client: *Connection) void {
        server.options.trace.failure(client.socket, "Refused a request that is no request", .{});
        server.answer(client, reply.malformed);
    }

    fn conclude(server: *Server, client: *Connection, errno: linux.E) void {
        if (errno == .SUCCESS) return server.answer(client, reply.ok);
        server.options.trace.failure(client.socket, "Cannot do it: E{t}", .{errno});
        server.answer(client, reply.failed);
    }

    fn answer(server: *Server, client: *Connection, text: []const u8) void {
        client.reply = text;
        client.state = .sending;
        server.send(client);
    }

    fn send(server: *Server, client: *Connection) void {
        if (client.send()) server.drop(client);
    }

    fn drop(server: *Server, client: *Connection) void {
        server.options.trace.debug(client.socket, "Closing the connection", .{});
        server.forgetRequest(client);
        client.close();
    }

    fn forgetRequest(server: *Server, client: *Connection) void {
        client.releaseMemory();
        server.in_flight -= client.charged;
        client.charged = 0;
    }
};

test {
    _ = @import("server_test.zig");
}
