//! The server with real sockets, without root: what clients send it, and how it takes
//! those that do not behave.

const std = @import("std");
const linux = @import("linux");
const vectors = @import("protocol_test.zig");
const Server = @import("server.zig").Server;
const Watch = @import("watch.zig").Watch;
const os = linux.os;
const testing = std.testing;

/// A server on an abstract address, driven by hand.
const Bench = struct {
    server: *Server,
    watch: *Watch,
    address: os.sockaddr.un,

    fn init() !Bench {
        var address: os.sockaddr.un = .{ .path = @splat(0) };
        var seed: u64 = undefined;
        _ = os.getrandom(std.mem.asBytes(&seed), @sizeOf(u64), 0);
        _ = std.fmt.bufPrint(address.path[1..], "kurma-test-{x}", .{seed}) catch unreachable;
        const listener = try check(os.socket(os.AF.UNIX, os.SOCK.STREAM | os.SOCK.CLOEXEC | os.SOCK.NONBLOCK, 0));
        _ = try check(os.bind(listener, @ptrCast(&address), @sizeOf(os.sockaddr.un)));
        _ = try check(os.listen(listener, 100));
        var failure: linux.Failure = .{};
        return .{
            .server = try Server.create(&failure, .{ .listener = listener }),
            .watch = @ptrCast(try linux.file.mapPrivate(&failure, -1, @sizeOf(Watch))),
            .address = address,
        };
    }

    fn deinit(bench: Bench) void {
        for (&bench.server.clients) |*client| if (client.state != .free) client.close();
        linux.file.close(bench.server.options.listener);
        _ = os.munmap(@ptrCast(bench.server), @sizeOf(Server));
        _ = os.munmap(@ptrCast(bench.watch), @sizeOf(Watch));
    }

    fn connect(bench: *const Bench) !linux.fd_t {
        const fd = try check(os.socket(os.AF.UNIX, os.SOCK.STREAM | os.SOCK.CLOEXEC | os.SOCK.NONBLOCK, 0));
        _ = try check(os.connect(fd, &bench.address, @sizeOf(os.sockaddr.un)));
        bench.turns(2);
        return fd;
    }

    /// Lets the server do what there is to do.
    fn turns(bench: *const Bench, count: usize) void {
        for (0..count) |_| {
            bench.watch.reset();
            bench.server.prepare(bench.watch);
            bench.watch.within(0);
            bench.watch.wait();
            bench.server.act(bench.watch);
        }
    }

    fn send(bench: *const Bench, fd: linux.fd_t, bytes: []const u8) void {
        var rest = bytes;
        while (rest.len > 0) {
            const result = os.sendto(fd, rest.ptr, rest.len, os.MSG.NOSIGNAL, null, 0);
            switch (os.errno(result)) {
                .SUCCESS => rest = rest[result..],
                .AGAIN => bench.turns(16),
                else => return, // The server refused it early.
            }
        }
        bench.turns(64);
    }

    /// The reply so far; null while the connection is open and nothing was said.
    fn receive(_: *const Bench, fd: linux.fd_t, buffer: []u8) ?[]u8 {
        var len: usize = 0;
        while (true) {
            const result = os.read(fd, buffer.ptr + len, buffer.len - len);
            switch (os.errno(result)) {
                .SUCCESS => if (result == 0) return buffer[0..len],
                .AGAIN => return null,
                else => return buffer[0..len],
            }
            len += result;
        }
    }

    fn ask(bench: *const Bench, bytes: []const u8, buffer: []u8) !?[]u8 {
        const fd = try bench.connect();
        defer linux.file.close(fd);
        bench.send(fd, bytes);
        return bench.receive(fd, buffer);
    }
};

fn check(result: usize) !linux.fd_t {
    if (os.errno(result) != .SUCCESS) return error.Unexpected;
    return @intCast(result);
}

const wait_request = "1\n1\n1\n4\nWAIT";
const status_request = "1\n1\n1\n6\nSTATUS";

test "every vector that needs nothing has its reply" {
    const loaded = try vectors.load(testing.allocator);
    defer loaded.deinit();
    const bench: Bench = try .init();
    defer bench.deinit();
    for (loaded.value.requests) |vector| {
        if (vector.needs) |needs| if (needs != .nothing) continue;
        const wire = try vector.bytes(testing.allocator);
        defer testing.allocator.free(wire);
        var buffer: [256]u8 = undefined;
        const said = try bench.ask(wire, &buffer);
        errdefer std.debug.print("vector: {s}\n", .{vector.name});
        if (vector.reply) |reply| try testing.expectEqualStrings(reply, said.?) else try testing.expectEqual(null, said);
    }
    bench.turns(2); // To see those gone that were half sent.
    try testing.expectEqual(0, bench.server.clients_end);
    try testing.expectEqual(0, bench.server.in_flight);
}

test "half a request holds nobody up, and one that goes away is forgotten" {
    const bench: Bench = try .init();
    defer bench.deinit();
    var idle: [64]linux.fd_t = undefined;
    for (&idle, 0..) |*fd, index| {
        fd.* = try bench.connect();
        bench.send(fd.*, wait_request[0 .. index % wait_request.len]);
    }
    var buffer: [64]u8 = undefined;
    try testing.expectEqualStrings("REQUEST OK\n", (try bench.ask(wait_request, &buffer)).?);
    for (idle) |fd| linux.file.close(fd);
    bench.turns(2);
    try testing.expectEqual(0, bench.server.clients_end);
}

test "WAIT is parked, released by an end, and forgotten when its client goes" {
    const bench: Bench = try .init();
    defer bench.deinit();
    bench.server.roster.add("one", 1_000_000);
    const waiting = try bench.connect();
    defer linux.file.close(waiting);
    const leaving = try bench.connect();
    bench.send(waiting, wait_request);
    bench.send(leaving, wait_request);
    var buffer: [64]u8 = undefined;
    try testing.expectEqual(null, bench.receive(waiting, &buffer));

    linux.file.close(leaving);
    bench.turns(2);
    try testing.expectEqual(1, bench.server.clients_end);
    // Whoever says that it sends no more still waits for the reply.
    _ = os.shutdown(waiting, os.SHUT.WR);
    bench.turns(2);
    try testing.expectEqual(null, bench.receive(waiting, &buffer));

    bench.server.ended(999_999, 0);
    try testing.expectEqual(null, bench.receive(waiting, &buffer));
    bench.server.ended(1_000_000, 3 << 8);
    try testing.expectEqualStrings("REQUEST OK\n", bench.receive(waiting, &buffer).?);
    try testing.expectEqualStrings("REQUEST OK\none\nexited(3)\nEND\n", (try bench.ask(status_request, &buffer)).?);
}

test "a long reply waits for a slow reader and holds nobody up" {
    const bench: Bench = try .init();
    defer bench.deinit();
    for (0..4096) |index| {
        var name: [100]u8 = undefined;
        bench.server.roster.add(try std.fmt.bufPrint(&name, "{d:0>100}", .{index}), @intCast(1_000_000 + index));
    }
    const slow = try bench.connect();
    defer linux.file.close(slow);
    bench.send(slow, status_request);
    var buffer: [64]u8 = undefined;
    try testing.expectEqualStrings("PROTOCOL ERROR\n", (try bench.ask("0\n", &buffer)).?);

    const whole = try testing.allocator.alloc(u8, 1024 * 1024);
    defer testing.allocator.free(whole);
    var len: usize = 0;
    while (true) {
        const result = os.read(slow, whole.ptr + len, whole.len - len);
        switch (os.errno(result)) {
            .SUCCESS => if (result == 0) break,
            .AGAIN => {
                bench.turns(1);
                continue;
            },
            else => return error.Unexpected,
        }
        len += result;
    }
    try testing.expectEqual("REQUEST OK\n".len + 4096 * (101 + "running\n".len) + "END\n".len, len);
}

test "unanswered requests take no more than their share of memory" {
    const bench: Bench = try .init();
    defer bench.deinit();
    var clients: [20]linux.fd_t = undefined;
    const large = try testing.allocator.alloc(u8, 1_000_000);
    defer testing.allocator.free(large);
    @memset(large, 'x');
    var refused: usize = 0;
    for (&clients) |*fd| {
        fd.* = try bench.connect();
        bench.send(fd.*, "1\n1\n1\n1048543\n");
        bench.send(fd.*, large);
        var buffer: [64]u8 = undefined;
        const said = bench.receive(fd.*, &buffer) orelse continue;
        try testing.expectEqualStrings("INTERNAL ERROR\n", said);
        refused += 1;
    }
    try testing.expectEqual(4, refused);
    for (clients) |fd| linux.file.close(fd);
    bench.turns(2);
    try testing.expectEqual(0, bench.server.in_flight);
}
