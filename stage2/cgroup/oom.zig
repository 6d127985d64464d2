//! Seeing that the kernel killed a process of a cgroup for want of memory. The
//! descriptor is taken when the cgroup is made: later, the end of the container and
//! the removal of the cgroup race with whoever asks why it ended.
//!
//! Source: cgroup-v2.rst, memory.events; cgroup-v1/memory.rst, "OOM Control"

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const files = @import("files.zig");
const Cgroup = @import("cgroup.zig").Cgroup;
const Version = @import("hierarchy.zig").Version;

/// One descriptor that becomes ready when the memory of a cgroup ran out, or when the
/// cgroup was removed.
pub const OomWatch = struct {
    fd: fd_t,
    version: Version,

    /// Null where no hierarchy limits memory: nothing can run out. `step` of a failure
    /// is `cgroup`.
    pub fn open(cgroup: *const Cgroup, failure: *Failure) error{Failed}!?OomWatch {
        const part = cgroup.root.having(.memory) orelse return null;
        switch (part.version) {
            .v2 => {
                const fd = try openFile(failure, part.dir, cgroup.relativePath(), "memory.events", .{ .CLOEXEC = true });
                errdefer linux.file.close(fd);
                // Only what changes after a read makes it ready.
                var buffer: [256]u8 = undefined;
                _ = try failure.check(.cgroup, linux.os.pread(fd, &buffer, buffer.len, 0));
                return .{ .fd = fd, .version = .v2 };
            },
            .v1 => {
                const control = try openFile(failure, part.dir, cgroup.relativePath(), "memory.oom_control", .{ .CLOEXEC = true });
                defer linux.file.close(control); // The kernel keeps what it needs of it.
                const event: fd_t = @intCast(try failure.check(.cgroup, linux.os.eventfd(0, linux.os.EFD.CLOEXEC | linux.os.EFD.NONBLOCK)));
                errdefer linux.file.close(event);
                var buffer: [32]u8 = undefined;
                const request = linux.text.print(&buffer, "{d} {d}", .{ event, control }) catch unreachable; // Two i32.
                const errno = files.write(part.dir, cgroup.relativePath(), "cgroup.event_control", request);
                if (errno != .SUCCESS) return failure.fail(.cgroup, errno);
                return .{ .fd = event, .version = .v1 };
            },
        }
    }

    pub fn close(watch: OomWatch) void {
        linux.file.close(watch.fd);
    }

    /// What poll(2) and epoll(7) are to wait for on `fd`.
    pub fn events(watch: OomWatch) u32 {
        return switch (watch.version) {
            .v1 => linux.os.POLL.IN,
            .v2 => linux.os.POLL.PRI,
        };
    }

    /// Takes the event in, so that only a new one makes `fd` ready again, and tells how
    /// many processes were killed so far. Version 1 also wakes for a process that could
    /// still be helped: the count says. 0 once the cgroup is gone.
    pub fn kills(watch: OomWatch, cgroup: *const Cgroup) u64 {
        var buffer: [256]u8 = undefined;
        const table = switch (watch.version) {
            .v1 => table: {
                _ = linux.os.read(watch.fd, &buffer, 8);
                const part = cgroup.root.having(.memory) orelse return 0;
                break :table switch (files.read(part.dir, cgroup.relativePath(), "memory.oom_control", &buffer)) {
                    .text => |text| text,
                    .errno => return 0,
                };
            },
            .v2 => table: {
                const len = linux.os.pread(watch.fd, &buffer, buffer.len, 0);
                if (linux.os.errno(len) != .SUCCESS) return 0;
                break :table buffer[0..len];
            },
        };
        return files.number(table, "oom_kill") orelse 0;
    }
};

fn openFile(failure: *Failure, dir: fd_t, path: []const u8, name: []const u8, flags: linux.os.O) error{Failed}!fd_t {
    return switch (files.open(dir, path, name, flags)) {
        .fd => |fd| fd,
        .errno => |errno| failure.fail(.cgroup, errno),
    };
}
