//! The image that Kurma carries inside itself: shows what a container looks like
//! from where its program stands. No libc, no files but those of /proc.

const std = @import("std");
const linux = std.os.linux;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

const label_width = 12;

/// With the argument `pause` it only waits, to hold a pod's namespaces.
pub fn main(init: std.process.Init.Minimal) u8 {
    const args = init.args.vector;
    if (args.len == 2 and std.mem.eql(u8, std.mem.span(args[1]), "pause")) {
        while (true) _ = linux.pause();
    }
    var out: Output = .{};
    out.text("Hello from inside a container.\n");
    out.fact("pid", "{d} (parent {d})", .{ linux.getpid(), linux.getppid() });
    out.fact("user", "uid {d}, gid {d}", .{ linux.getuid(), linux.getgid() });
    hostname(&out);
    namespaces(&out);
    mounts(&out);
    out.text(
        \\
        \\Next, run a program of an image of your own:
        \\
        \\  kurma run IMAGE /bin/sh -c 'id; ps; mount'
        \\
        \\IMAGE is an ACI file, an OCI layout (a folder or a tar), or what `docker save`
        \\and `podman save` write.
    );
    return if (out.flush()) 0 else 1;
}

fn hostname(out: *Output) void {
    var uts: linux.utsname = undefined;
    _ = linux.uname(&uts);
    out.fact("hostname", "{s}", .{std.mem.sliceTo(&uts.nodename, 0)});
    out.fact("kernel", "{s} {s}", .{ std.mem.sliceTo(&uts.sysname, 0), std.mem.sliceTo(&uts.release, 0) });
}

/// Each kind with the number that the kernel knows it by: outside, they differ.
fn namespaces(out: *Output) void {
    const kinds = [_][:0]const u8{ "mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time" };
    for (kinds, 0..) |kind, index| {
        var path: [32]u8 = undefined;
        var target: [64]u8 = undefined;
        const link = std.fmt.bufPrintSentinel(&path, "/proc/self/ns/{s}", .{kind}, 0) catch unreachable;
        const len = linux.readlink(link, &target, target.len);
        const found = if (linux.errno(len) == .SUCCESS) target[0..len] else "(none)";
        out.fact(if (index == 0) "namespaces" else "", "{s}", .{found});
    }
}

/// mountinfo's mount point, file system type and options. proc_pid_mountinfo(5)
fn mounts(out: *Output) void {
    var buffer: [32 * 1024]u8 = undefined;
    const text = read("/proc/self/mountinfo", &buffer) orelse {
        out.fact("mounts", "(/proc is not mounted)", .{});
        return;
    };
    var first = true;
    var lines = std.mem.tokenizeScalar(u8, text, '\n');
    while (lines.next()) |line| {
        const dash = std.mem.find(u8, line, " - ") orelse continue;
        var before = std.mem.tokenizeScalar(u8, line[0..dash], ' ');
        for (0..4) |_| _ = before.next();
        const point = before.next() orelse continue;
        const options = before.next() orelse continue;
        var after = std.mem.tokenizeScalar(u8, line[dash + 3 ..], ' ');
        const kind = after.next() orelse continue;
        out.fact(if (first) "mounts" else "", "{s: <20} {s: <8} {s}", .{ point, kind, options });
        first = false;
    }
}

fn read(path: [*:0]const u8, buffer: []u8) ?[]const u8 {
    const opened = linux.open(path, .{ .CLOEXEC = true }, 0);
    if (linux.errno(opened) != .SUCCESS) return null;
    const fd: linux.fd_t = @intCast(opened);
    defer _ = linux.close(fd);
    var len: usize = 0;
    while (len < buffer.len) {
        const result = linux.read(fd, buffer.ptr + len, buffer.len - len);
        if (linux.errno(result) != .SUCCESS) return null;
        if (result == 0) break;
        len += result;
    }
    return buffer[0..len];
}

/// Collected and written at once, so that the text stays whole between other output.
const Output = struct {
    space: [16 * 1024]u8 = undefined,
    len: usize = 0,

    /// A fact with its label in front; one that has no room is left out.
    fn fact(out: *Output, label: []const u8, comptime format: []const u8, args: anytype) void {
        const start = out.len;
        const spaces: [label_width]u8 = @splat(' ');
        out.add("  {s}{s}" ++ format ++ "\n", .{ label, spaces[label.len..] } ++ args) catch {
            out.len = start;
        };
    }

    fn text(out: *Output, comptime lines: []const u8) void {
        out.add(lines ++ "\n", .{}) catch {};
    }

    fn add(out: *Output, comptime format: []const u8, args: anytype) !void {
        const added = try std.fmt.bufPrint(out.space[out.len..], format, args);
        out.len += added.len;
    }

    fn flush(out: *Output) bool {
        var rest: []const u8 = out.space[0..out.len];
        while (rest.len > 0) {
            const result = linux.write(1, rest.ptr, rest.len);
            switch (linux.errno(result)) {
                .SUCCESS => rest = rest[result..],
                .INTR => {},
                else => return false,
            }
        }
        return true;
    }
};
