//! Hands the listener of a filter that asks somebody over to whoever answers: a server at
//! a path of the host.
//!
//! The listener comes into being in the container, in the process that becomes the command;
//! the server is on the host, and is told the process's number there. Between the two
//! stands a process that is forked while the worker still has the host's rights, keeps
//! two sockets, and ends with the one message that it passes on.
//!
//! Source: OCI runtime-spec 1.3, config-linux.md "Seccomp", "The Container Process State";
//! seccomp_unotify(2).

const std = @import("std");
const linux = @import("linux");
const seccomp = @import("seccomp");
const state = @import("hooks").state;
const Failure = linux.Failure;
const os = linux.os;
const fd_t = linux.fd_t;

/// Connects to the server that `filter` names, and returns the socket that the process is
/// to send its listener to; null if it names none. `begun` is the container's state. On
/// failure `subject` is the path.
pub fn begin(failure: *Failure, filter: ?seccomp.oci.Seccomp, begun: []const u8, status: state.Status, subject: *[]const u8) error{Failed}!?fd_t {
    const wanted = filter orelse return null;
    const path = wanted.listenerPath orelse return null;
    subject.* = path;
    const server = try linux.socket.connectStream(failure, path);
    defer linux.file.close(server);
    const sockets = try linux.socket.pair(failure);
    errdefer linux.file.close(sockets[0]);
    defer linux.file.close(sockets[1]);
    // Set before anybody can send: the number of the process comes with its packet.
    const on: u32 = 1;
    _ = try failure.check(.socket, os.setsockopt(sockets[1], os.SOL.SOCKET, os.SO.PASSCRED, std.mem.asBytes(&on), @sizeOf(u32)));
    const pid = try failure.check(.clone, os.fork());
    if (pid == 0) {
        const carrier: Carrier = .{ .server = server, .process = sockets[1], .begun = begun, .status = status, .metadata = wanted.listenerMetadata };
        carrier.run();
    }
    return sockets[0];
}

const Carrier = struct {
    server: fd_t,
    process: fd_t,
    begun: []const u8,
    status: state.Status,
    metadata: ?[]const u8,

    fn run(carrier: Carrier) noreturn {
        var failure: Failure = .{};
        carrier.keepOnlySockets(&failure) catch linux.process.exit(1);
        const got = receive(&failure, carrier.process) catch linux.process.exit(1);
        // A process whose calls nobody answers would hang for ever.
        carrier.deliver(&failure, got) catch {
            _ = os.kill(got.pid, .KILL);
            linux.process.exit(1);
        };
        linux.process.exit(0);
    }

    fn keepOnlySockets(carrier: Carrier, failure: *Failure) error{Failed}!void {
        var kept = [2]fd_t{ carrier.server, carrier.process };
        std.mem.sort(fd_t, &kept, {}, std.sort.asc(fd_t));
        try linux.process.closeRange(failure, 0, @intCast(kept[0] - 1));
        try linux.process.closeRange(failure, @intCast(kept[0] + 1), @intCast(kept[1] - 1));
        try linux.process.closeRange(failure, @intCast(kept[1] + 1), std.math.maxInt(u32));
    }

    fn deliver(carrier: Carrier, failure: *Failure, got: Received) error{Failed}!void {
        const memory = try linux.file.mapPrivate(failure, -1, 2 * carrier.begun.len + 6 * (if (carrier.metadata) |text| text.len else 0) + 512);
        var number: [16]u8 = undefined;
        const pid = linux.text.print(&number, "{d}", .{got.pid}) catch unreachable; // An i32 fits.
        var line: state.Line = .{ .buffer = memory };
        line.raw("{\"ociVersion\":\"1.3.0\",\"fds\":[\"seccompFd\"],\"pid\":");
        line.raw(pid);
        if (carrier.metadata) |text| {
            line.raw(",\"metadata\":");
            line.string(text);
        }
        line.raw(",\"state\":");
        const about = state.finish(line.buffer[line.len..], carrier.begun, carrier.status, got.pid) catch return failure.fail(.socket, .@"2BIG");
        line.len += about.len;
        line.raw("}");
        const text = line.done() catch return failure.fail(.socket, .@"2BIG");
        try linux.socket.sendPacket(failure, carrier.server, text, got.listener);
    }
};

const Received = struct { pid: linux.pid_t, listener: fd_t };

/// struct cmsghdr
const Header = extern struct {
    len: usize,
    level: i32,
    kind: i32,

    const rights = 1;
    const credentials = 2;
};

/// Waits for the one packet. It has two control messages, in an order that is the kernel's.
fn receive(failure: *Failure, socket: fd_t) error{Failed}!Received {
    var control: [128]u8 align(8) = undefined;
    var byte: [1]u8 = undefined;
    var parts = [_]std.posix.iovec{.{ .base = &byte, .len = byte.len }};
    var message: os.msghdr = .{ .name = null, .namelen = 0, .iov = &parts, .iovlen = 1, .control = &control, .controllen = control.len, .flags = 0 };
    const cmsg_cloexec: u32 = 0x40000000;
    _ = try failure.check(.socket, os.recvmsg(socket, &message, cmsg_cloexec));
    var got: Received = .{ .pid = 0, .listener = -1 };
    var at: usize = 0;
    while (at + @sizeOf(Header) <= message.controllen) {
        const header: *const Header = @ptrCast(@alignCast(&control[at]));
        const value = std.mem.bytesToValue(i32, control[at + @sizeOf(Header) ..][0..4]);
        if (header.kind == Header.rights) got.listener = value else if (header.kind == Header.credentials) got.pid = value;
        at += std.mem.alignForward(usize, header.len, 8);
    }
    // The end of the connection: it never came to its filter.
    if (got.pid == 0 or got.listener < 0) return failure.fail(.socket, .NODATA);
    return got;
}
