//! Booting as a list: each phase by name, in order, with one runner that measures them
//! and says what failed.

const std = @import("std");
const linux = @import("linux");
const command_line = @import("command_line.zig");
const console = @import("console.zig");
const mounts = @import("mounts.zig");
const os = linux.os;
const Failure = linux.Failure;

const Phase = struct {
    name: []const u8,
    run: *const fn (failure: *Failure) error{Failed}!void,
    /// Whether the machine is of use without it.
    optional: bool = false,
};

const phases = [_]Phase{
    .{ .name = "processes", .run = processes },
    .{ .name = "devices", .run = devices },
    .{ .name = "system", .run = system },
    .{ .name = "run", .run = runtime },
    .{ .name = "cgroups", .run = cgroups },
    .{ .name = "loopback", .run = linux.net.loopbackUp, .optional = true },
    .{ .name = "hostname", .run = hostname, .optional = true },
    .{ .name = "keys", .run = keys, .optional = true },
    .{ .name = "state", .run = state },
};

/// Runs them all; false if one failed that the machine needs.
pub fn run() bool {
    for (phases) |phase| {
        var failure: Failure = .{};
        const before = linux.clock.monotonicMs();
        if (phase.run(&failure)) {
            console.line("phase {s}: done in {d} ms", .{ phase.name, linux.clock.monotonicMs() - before });
        } else |_| {
            console.line("phase {s}: cannot {t}: E{t}", .{ phase.name, failure.step, console.errno(&failure) });
            if (!phase.optional) return false;
        }
    }
    return true;
}

fn processes(failure: *Failure) error{Failed}!void {
    try mounts.mount(failure, .{ .kind = "proc", .target = "/proc" });
}

fn devices(failure: *Failure) error{Failed}!void {
    const exec = os.MS.NOSUID;
    try mounts.mount(failure, .{ .kind = "devtmpfs", .target = "/dev", .flags = exec, .options = "mode=0755" });
    console.open();
    try mounts.mount(failure, .{ .kind = "devpts", .target = "/dev/pts", .flags = os.MS.NOSUID | os.MS.NOEXEC, .options = "ptmxmode=0666,mode=0620,gid=5" });
    try mounts.mount(failure, .{ .kind = "tmpfs", .target = "/dev/shm", .flags = os.MS.NOSUID | os.MS.NODEV, .options = "mode=1777" });
    try mounts.mount(failure, .{ .kind = "mqueue", .target = "/dev/mqueue" });
    const links = [_][2][*:0]const u8{
        .{ "/proc/self/fd", "/dev/fd" },
        .{ "/proc/self/fd/0", "/dev/stdin" },
        .{ "/proc/self/fd/1", "/dev/stdout" },
        .{ "/proc/self/fd/2", "/dev/stderr" },
    };
    for (links) |link| switch (os.errno(os.symlink(link[0], link[1]))) {
        .SUCCESS, .EXIST => {},
        else => |errno| return failure.fail(.device, errno),
    };
}

fn system(failure: *Failure) error{Failed}!void {
    try mounts.mount(failure, .{ .kind = "sysfs", .target = "/sys" });
}

fn runtime(failure: *Failure) error{Failed}!void {
    try mounts.mount(failure, .{ .kind = "tmpfs", .target = "/run", .flags = os.MS.NOSUID | os.MS.NODEV, .options = "mode=0755" });
}

/// Version 2 alone: every kernel that Kurma boots has all controllers there.
fn cgroups(failure: *Failure) error{Failed}!void {
    try mounts.mount(failure, .{ .kind = "cgroup2", .target = "/sys/fs/cgroup" });
}

/// From the kernel's command line, or /etc/hostname, or else it is called kurma.
fn hostname(failure: *Failure) error{Failed}!void {
    var buffer: [4096]u8 = undefined;
    var name: []const u8 = "kurma";
    if (readFile("/etc/hostname", &buffer)) |text| {
        const first = std.mem.trim(u8, std.mem.sliceTo(text, '\n'), " \t");
        if (isHostname(first)) name = first;
    }
    var line: [4096]u8 = undefined;
    if (readFile("/proc/cmdline", &line)) |text| {
        if (command_line.value(text, "kurma.hostname")) |given| if (isHostname(given)) {
            name = given;
        };
    }
    _ = try failure.check(.hostname, os.syscall2(.sethostname, @intFromPtr(name.ptr), name.len));
}

/// RFC 1123, section 2.1; at most 64 bytes, as sethostname(2) takes it.
fn isHostname(name: []const u8) bool {
    if (name.len == 0 or name.len > 64 or name[0] == '-' or name[0] == '.') return false;
    for (name) |byte| if (!std.ascii.isAlphanumeric(byte) and byte != '-' and byte != '.') return false;
    return true;
}

/// Ctrl-Alt-Del is a signal to us instead of a restart without a word.
fn keys(failure: *Failure) error{Failed}!void {
    _ = try failure.check(.signal, os.reboot(.MAGIC1, .MAGIC2, .CAD_OFF, null));
}

/// The disk that the kernel's command line names (`kurma.state=/dev/sda1`), for all that is to
/// outlive a restart; without one it lies on the root.
fn state(failure: *Failure) error{Failed}!void {
    const target = "/var/lib/kurma";
    for ([_][*:0]const u8{ "/var", "/var/lib", target }) |folder| switch (os.errno(os.mkdir(folder, 0o755))) {
        .SUCCESS, .EXIST, .ROFS => {},
        else => |errno| return failure.fail(.mkdir, errno),
    };
    var line: [4096]u8 = undefined;
    const text = readFile("/proc/cmdline", &line) orelse return;
    const device = command_line.value(text, "kurma.state") orelse return;
    var path: [256]u8 = undefined;
    const named = linux.text.printZ(&path, "{s}", .{device}) catch return failure.fail(.mount, .NAMETOOLONG);
    var last: linux.E = .NODEV;
    for ([_][*:0]const u8{ "ext4", "xfs", "btrfs" }) |kind| {
        last = os.errno(os.mount(named, target, kind, os.MS.NODEV | os.MS.NOSUID, 0));
        if (last == .SUCCESS or last == .BUSY) return;
        if (last == .NOENT or last == .NOTBLK) break; // It is not the kind that is wrong.
    }
    return failure.fail(.mount, last);
}

/// What a small file holds; null if it cannot be read.
fn readFile(path: [*:0]const u8, buffer: []u8) ?[]const u8 {
    var failure: Failure = .{};
    const fd = linux.file.open(&failure, path, .{ .CLOEXEC = true }, 0) catch return null;
    defer linux.file.close(fd);
    return linux.file.readAll(&failure, fd, buffer) catch null;
}

test "a host name is letters, digits, hyphens and dots" {
    for ([_][]const u8{ "a", "web-1.example.com", &@as([64]u8, @splat('A')) }) |name| try std.testing.expect(isHostname(name));
    for ([_][]const u8{ "", "-a", ".a", "a b", "a_b", &@as([65]u8, @splat('A')), "a\n" }) |name| try std.testing.expect(!isHostname(name));
}
