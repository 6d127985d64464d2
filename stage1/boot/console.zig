//! What the first process says: lines on the console that the kernel opened for it.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;

/// Writes one line. A console that is not there or does not take it is no reason to stop.
pub fn line(comptime format: []const u8, args: anytype) void {
    var buffer: [512]u8 = undefined;
    const text = linux.text.printCut(buffer[0 .. buffer.len - 1], "kurma-init: " ++ format, args);
    buffer[text.len] = '\n';
    _ = os.write(2, &buffer, text.len + 1);
}

/// The kernel's answer that a failure recorded.
pub fn errno(failure: *const linux.Failure) linux.E {
    return @fromBackingInt(failure.errno);
}

/// Opens the console if the kernel could not: a file system without /dev has none until
/// devtmpfs is there.
pub fn open() void {
    if (os.errno(os.fcntl(2, os.F.GETFD, 0)) == .SUCCESS) return;
    const result = os.open("/dev/console", .{ .ACCMODE = .RDWR, .NOCTTY = true }, 0);
    if (os.errno(result) != .SUCCESS) return;
    const fd: os.fd_t = @intCast(result);
    for ([_]os.fd_t{ 0, 1, 2 }) |stream| if (stream != fd) {
        _ = os.dup2(fd, stream);
    };
    if (fd > 2) linux.file.close(fd);
}
