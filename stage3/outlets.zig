//! Who looks on: descriptors that get a copy of what the main process prints, beside the
//! log. Nothing is skipped for one that is slow: the process waits for it as for any reader,
//! but not longer than `patience_ms`; then it is cut off.

const std = @import("std");
const linux = @import("linux");
const handles = @import("handles.zig");
const Watch = @import("watch.zig").Watch;
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const os = linux.os;

/// At once; one more is closed at once.
pub const capacity = 16;

/// How long a reader may take nothing.
const patience_ms = 10_000;

/// What one read of the log's pump brings.
const buffer_size = 64 * 1024;

/// It is large and mostly untouched, so `create` maps it.
pub const Outlets = struct {
    /// Brings `handles.Control` packets.
    control: fd_t,
    control_watched: u32,
    used: usize,
    items: [capacity]Outlet,

    const Outlet = struct { streams: [2]Stream };

    const Stream = struct {
        /// 0 for none.
        fd: fd_t,
        watched: u32,
        /// Since when it takes nothing of what waits.
        since_ms: u64,
        start: usize,
        end: usize,
        buffer: [buffer_size]u8 align(std.heap.page_size_min),

        fn waits(stream: *const Stream) bool {
            return stream.start < stream.end;
        }

        fn send(stream: *Stream, bytes: []const u8) usize {
            var done: usize = 0;
            while (done < bytes.len) {
                const result = os.write(stream.fd, bytes[done..].ptr, bytes.len - done);
                switch (os.errno(result)) {
                    .SUCCESS => done += result,
                    .INTR => {},
                    .AGAIN => break,
                    else => { // Nobody reads any more.
                        stream.close();
                        return bytes.len;
                    },
                }
            }
            if (done > 0) stream.since_ms = linux.clock.monotonicMs();
            return done;
        }

        fn flush(stream: *Stream) void {
            stream.start += stream.send(stream.buffer[stream.start..stream.end]);
            if (stream.start >= stream.end) stream.rest();
        }

        fn rest(stream: *Stream) void {
            stream.start = 0;
            stream.end = 0;
            _ = os.madvise(&stream.buffer, buffer_size, os.MADV.DONTNEED);
        }

        fn close(stream: *Stream) void {
            linux.file.close(stream.fd);
            stream.fd = 0;
            stream.rest();
        }
    };

    /// Makes the control socket, whose other end is kept for stage2.
    pub fn create(failure: *Failure) error{Failed}!*Outlets {
        const memory = try linux.file.mapPrivate(failure, -1, @sizeOf(Outlets));
        const outlets: *Outlets = @ptrCast(memory.ptr); // All else is as the kernel gave it: zero.
        const sockets = try linux.socket.pair(failure);
        outlets.control = sockets[0];
        try handles.keep(failure, sockets[1], .control);
        return outlets;
    }

    /// Whether the stream must not be read yet: somebody has not taken what came before.
    pub fn isFull(outlets: *const Outlets, index: usize) bool {
        for (outlets.items[0..outlets.used]) |*outlet| if (outlet.streams[index].waits()) return true;
        return false;
    }

    /// Copies what stream `index` brought, at most `buffer_size`, which must not be full.
    pub fn copy(outlets: *Outlets, index: usize, bytes: []const u8) void {
        for (outlets.items[0..outlets.used]) |*outlet| {
            const stream = &outlet.streams[index];
            if (stream.fd == 0) continue;
            stream.since_ms = linux.clock.monotonicMs();
            const rest = bytes[stream.send(bytes)..];
            @memcpy(stream.buffer[0..rest.len], rest);
            stream.end = rest.len;
        }
    }

    pub fn prepare(outlets: *Outlets, watch: *Watch) void {
        outlets.control_watched = watch.add(outlets.control, os.POLL.IN);
        const now = linux.clock.monotonicMs();
        for (outlets.items[0..outlets.used]) |*outlet| for (&outlet.streams) |*stream| {
            if (stream.fd == 0) continue;
            // That nobody reads any more is told in any case.
            stream.watched = watch.add(stream.fd, if (stream.waits()) os.POLL.OUT else 0);
            if (stream.waits()) watch.within(@intCast(stream.since_ms + patience_ms -| now));
        };
    }

    /// Goes on with what waits. What stage2 wants comes last: it is in no watch yet.
    pub fn act(outlets: *Outlets, watch: *const Watch) void {
        const now = linux.clock.monotonicMs();
        for (outlets.items[0..outlets.used]) |*outlet| for (&outlet.streams) |*stream| {
            if (stream.fd == 0) continue;
            const ready = watch.ready(stream.watched);
            if (ready & (os.POLL.ERR | os.POLL.HUP | os.POLL.NVAL) != 0) {
                stream.close();
            } else if (stream.waits()) {
                if (ready != 0) stream.flush();
                if (stream.waits() and now >= stream.since_ms + patience_ms) stream.close();
            }
        };
        while (outlets.used > 0 and isFree(&outlets.items[outlets.used - 1])) outlets.used -= 1;
        if (watch.ready(outlets.control_watched) != 0) outlets.obey();
    }

    /// Whether all has been taken that was copied.
    pub fn areDone(outlets: *const Outlets) bool {
        return !outlets.isFull(0) and !outlets.isFull(1);
    }

    fn obey(outlets: *Outlets) void {
        var failure: Failure = .{};
        var wanted: handles.Control = undefined;
        var descriptors: linux.socket.Descriptors = .{};
        defer descriptors.close();
        const packet = linux.socket.receiveNow(&failure, outlets.control, std.mem.asBytes(&wanted), &descriptors) catch return;
        if (packet.len < @sizeOf(handles.Control)) return;
        switch (wanted.kind) {
            .attach => outlets.add(&descriptors),
            .close_input => linux.file.close(@backingInt(handles.Number.input)),
            _ => {},
        }
    }

    fn add(outlets: *Outlets, descriptors: *linux.socket.Descriptors) void {
        const outlet = for (&outlets.items, 0..) |*item, index| {
            if (!isFree(item)) continue;
            outlets.used = @max(outlets.used, index + 1);
            break item;
        } else return;
        for (&outlet.streams, 0..) |*stream, index| {
            var failure: Failure = .{};
            // Never 0, which is none: that is the null device.
            stream.fd = linux.file.duplicateAbove(&failure, descriptors.fds[@min(index, descriptors.count -| 1)], 2) catch continue;
            // Ours or theirs, if they share it: nobody may make the init wait.
            const nonblock: u32 = @bitCast(os.O{ .NONBLOCK = true });
            _ = os.fcntl(stream.fd, os.F.SETFL, nonblock);
        }
    }

    fn isFree(outlet: *const Outlet) bool {
        return outlet.streams[0].fd == 0 and outlet.streams[1].fd == 0;
    }
};

test "a reader gets all that it takes in time, one that takes nothing is cut off" {
    var failure: Failure = .{};
    const watch: *Watch = @ptrCast(try linux.file.mapPrivate(&failure, -1, @sizeOf(Watch)));
    // Where `create` would keep the other end: the test's own descriptors end far below.
    const outlets = try Outlets.create(&failure);
    const control = @backingInt(handles.Number.control);
    var ends: [2]fd_t = undefined;
    _ = os.pipe2(&ends, .{ .CLOEXEC = true });
    const attach: handles.Control = .{ .kind = .attach };
    try linux.socket.sendAll(&failure, control, std.mem.asBytes(&attach), ends[1..]);
    linux.file.close(ends[1]);
    turn(outlets, watch);
    try std.testing.expectEqual(1, outlets.used);

    var sent: usize = 0;
    var chunk: [buffer_size]u8 = undefined;
    for (&chunk, 0..) |*byte, index| byte.* = @truncate(index *% 31);
    while (!outlets.isFull(0)) : (sent += 1) outlets.copy(0, &chunk);
    try std.testing.expect(!outlets.isFull(1) and !outlets.areDone());
    for (0..sent * chunk.len / 4096) |piece| {
        var taken: [4096]u8 = undefined;
        _ = try linux.file.readAll(&failure, ends[0], &taken);
        try std.testing.expectEqualSlices(u8, chunk[(piece * 4096) % chunk.len ..][0..4096], &taken);
        turn(outlets, watch);
    }
    try std.testing.expect(outlets.areDone());

    while (!outlets.isFull(0)) outlets.copy(0, &chunk);
    turn(outlets, watch);
    try std.testing.expect(outlets.isFull(0));
    try std.testing.expect(watch.timeout_ms > 0 and watch.timeout_ms <= patience_ms);
    for (&outlets.items[0].streams) |*stream| stream.since_ms -|= patience_ms;
    turn(outlets, watch);
    try std.testing.expect(!outlets.isFull(0));

    // The other stream goes on, until nobody reads it.
    linux.file.close(ends[0]);
    turn(outlets, watch);
    try std.testing.expectEqual(0, outlets.used);
    for ([_]fd_t{ outlets.control, control }) |fd| linux.file.close(fd);
}

fn turn(outlets: *Outlets, watch: *Watch) void {
    watch.reset();
    outlets.prepare(watch);
    const waited = watch.timeout_ms;
    watch.within(0);
    watch.wait();
    outlets.act(watch);
    watch.timeout_ms = waited;
}
