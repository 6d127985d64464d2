//! One client of the text RPC: its socket, its request as far as it has come, and
//! what is left to send of the reply.

const std = @import("std");
const linux = @import("linux");
const protocol = @import("protocol.zig");
const Watch = @import("watch.zig").Watch;
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const os = linux.os;

pub const Connection = struct {
    state: State = .free,
    socket: fd_t = -1,
    /// Bytes of its request that count against what all may have in memory.
    charged: usize = 0,
    /// Where the request is kept while it is read; null before its first byte and
    /// while waiting, so that a client at rest costs its table entry only.
    memory: ?*align(std.heap.page_size_min) protocol.Arena = null,
    parser: protocol.Parser = undefined,
    reply: []const u8 = "",
    /// Says how the exec(2) of a process that was asked for went; -1 if none was.
    report: fd_t = -1,
    /// A socket to stage1 that came with the request, for the process to start; or -1.
    passed: fd_t = -1,
    watched: u32 = 0,

    pub const State = enum(u8) {
        /// Zero, as in a table fresh from the kernel.
        free = 0,
        receiving,
        /// START or EXEC has forked; exec(2) has not happened or failed yet.
        starting,
        /// Parked by WAIT.
        waiting,
        sending,
    };

    pub fn prepare(connection: *Connection, watch: *Watch) void {
        connection.watched = switch (connection.state) {
            .free => return,
            .receiving => watch.add(connection.socket, os.POLL.IN),
            .starting => watch.add(connection.report, os.POLL.IN),
            .waiting => watch.add(connection.socket, 0), // A hang-up is reported in any case.
            .sending => watch.add(connection.socket, os.POLL.OUT),
        };
    }

    /// The next bytes of the request; null if there are none now, none at all once the
    /// client is gone or has said that it sends no more.
    pub fn receive(connection: *Connection, buffer: []u8) ?[]u8 {
        // cmsghdr and one descriptor; the kernel closes what else somebody may send.
        var control: extern struct { header: os.cmsghdr, fd: fd_t } = undefined;
        const control_len = @offsetOf(@TypeOf(control), "fd") + @sizeOf(fd_t);
        var part: [1]std.posix.iovec = .{.{ .base = buffer.ptr, .len = buffer.len }};
        var message: os.msghdr = .{ .name = null, .namelen = 0, .iov = &part, .iovlen = 1, .control = &control, .controllen = control_len, .flags = 0 };
        const result = os.recvmsg(connection.socket, &message, os.MSG.DONTWAIT | os.MSG.CMSG_CLOEXEC);
        switch (os.errno(result)) {
            .SUCCESS => {},
            .AGAIN, .INTR => return null,
            else => return buffer[0..0],
        }
        if (message.controllen >= control_len and control.header.level == os.SOL.SOCKET and control.header.type == os.SCM.RIGHTS) {
            closeIfOpen(&connection.passed);
            connection.passed = control.fd;
        }
        return buffer[0..result];
    }

    /// Reads on with `bytes`; true once the request is whole.
    pub fn feed(connection: *Connection, bytes: []const u8) error{ Malformed, Failed }!bool {
        if (connection.memory == null) {
            var failure: Failure = .{};
            const memory = try linux.file.mapPrivate(&failure, -1, protocol.budget);
            connection.memory = memory[0..protocol.budget];
            connection.parser = .{ .arena = connection.memory.? };
        }
        return connection.parser.feed(bytes);
    }

    /// Gives the request's memory back to the kernel.
    pub fn releaseMemory(connection: *Connection) void {
        const memory = connection.memory orelse return;
        _ = os.munmap(memory, protocol.budget);
        connection.memory = null;
    }

    /// Sends what it can of the reply; true when all is sent or nobody is left to read it.
    pub fn send(connection: *Connection) bool {
        while (connection.reply.len > 0) {
            const flags = os.MSG.DONTWAIT | os.MSG.NOSIGNAL;
            const result = os.sendto(connection.socket, connection.reply.ptr, connection.reply.len, flags, null, 0);
            switch (os.errno(result)) {
                .SUCCESS => connection.reply = connection.reply[result..],
                .INTR => {},
                .AGAIN => return false,
                else => return true,
            }
        }
        // What was sent after the request is read and forgotten: closing over it would
        // have the client see ECONNRESET in place of the end of the reply.
        var forgotten: [4096]u8 = undefined;
        for (0..16) |_| {
            const rest = connection.receive(&forgotten) orelse break;
            if (rest.len == 0) break;
        }
        return true;
    }

    pub fn close(connection: *Connection) void {
        connection.releaseMemory();
        closeIfOpen(&connection.report);
        closeIfOpen(&connection.passed);
        linux.file.close(connection.socket);
        connection.* = .{};
    }

    pub fn closeIfOpen(fd: *fd_t) void {
        if (fd.* >= 0) linux.file.close(fd.*);
        fd.* = -1;
    }
};
