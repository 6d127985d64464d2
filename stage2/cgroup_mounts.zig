//! /sys/fs/cgroup as a container sees it: its own cgroup as the root of each hierarchy
//! that the machine has. On version 2 that is one file system; with version 1 beside it, a
//! folder a hierarchy, named by its controllers, and version 2 below `unified`.
//!
//! Source: OCI runtime-spec 1.3, config-linux.md "Default Filesystems"; cgroups(7).

const std = @import("std");
const linux = @import("linux");
const mount_options = @import("mount_options.zig");
const plan_module = @import("plan.zig");
const rootfs = @import("rootfs.zig");
const Failure = linux.Failure;
const file = linux.file;
const mount = linux.mount;
const os = linux.os;
const fd_t = linux.fd_t;

/// Whether it is this that a plan asks for.
pub fn are(wanted: *const plan_module.Mount) bool {
    return std.mem.eql(u8, wanted.type orelse return false, "cgroup");
}

/// Mounts them below `root`. The caller is in the container's cgroup namespace, and the
/// host's procfs is still at /proc.
pub fn attach(failure: *Failure, root: fd_t, wanted: *const plan_module.Mount) error{Failed}!void {
    const options = mount_options.parse(wanted.options);
    const target = try rootfs.makeTarget(failure, root, wanted, true);
    defer file.close(target);
    const source = try file.open(failure, "/proc/self/cgroup", .{ .CLOEXEC = true }, 0);
    defer file.close(source);
    var buffer: [4096]u8 = undefined;
    const text = try file.readAll(failure, source, &buffer);
    var lines = std.mem.tokenizeScalar(u8, text, '\n');
    var count: usize = 0;
    while (lines.next()) |_| count += 1;
    lines.reset();
    if (count == 1 and std.mem.startsWith(u8, text, "0::")) {
        const made = try hierarchy(failure, "", options);
        defer file.close(made);
        return mount.attach(failure, made, target);
    }
    const folder = try emptyFolder(failure);
    defer file.close(folder);
    try mount.attach(failure, folder, target);
    // ID:CONTROLLERS:PATH
    while (lines.next()) |line| {
        const first = std.mem.findScalar(u8, line, ':') orelse continue;
        const second = std.mem.findScalarPos(u8, line, first + 1, ':') orelse continue;
        try attachOne(failure, folder, line[first + 1 .. second], options);
    }
    const readonly: mount.Attributes = .{ .readonly = true };
    _ = try failure.check(.mount, mount.change(folder, .{ .set = @bitCast(readonly) }, false));
}

fn attachOne(failure: *Failure, folder: fd_t, controllers: []const u8, options: mount_options.Options) error{Failed}!void {
    const made = try hierarchy(failure, controllers, options);
    defer file.close(made);
    var space: [128]u8 = undefined;
    const named = "name=";
    const short = if (std.mem.startsWith(u8, controllers, named)) controllers[named.len..] else controllers;
    const name = linux.text.printZ(&space, "{s}", .{if (short.len == 0) "unified" else short}) catch return failure.fail(.mount, .NAMETOOLONG);
    _ = try failure.check(.mkdir, os.mkdirat(folder, name, 0o755));
    try mount.attachAt(failure, made, folder, name);
    if (std.mem.findScalar(u8, short, ',') == null) return;
    // `cpu` for `cpu,cpuacct`, as everywhere.
    var each = std.mem.splitScalar(u8, short, ',');
    while (each.next()) |controller| {
        var link: [64]u8 = undefined;
        const path = linux.text.printZ(&link, "{s}", .{controller}) catch return failure.fail(.mount, .NAMETOOLONG);
        _ = try failure.check(.mount, os.symlinkat(name, folder, path));
    }
}

/// A detached mount of the hierarchy with these controllers; none is version 2.
fn hierarchy(failure: *Failure, controllers: []const u8, options: mount_options.Options) error{Failed}!fd_t {
    const fs: mount.FileSystem = try .open(failure, if (controllers.len == 0) "cgroup2" else "cgroup");
    defer fs.close();
    var each = std.mem.tokenizeScalar(u8, controllers, ',');
    while (each.next()) |option| {
        var space: [64]u8 = undefined;
        const text = linux.text.printZ(&space, "{s}", .{option}) catch return failure.fail(.mount, .NAMETOOLONG);
        if (std.mem.findScalar(u8, text, '=')) |equals| {
            space[equals] = 0;
            _ = try failure.check(.mount, fs.setFlag("none"));
            _ = try failure.check(.mount, fs.setString(space[0..equals :0], text[equals + 1 ..]));
        } else _ = try failure.check(.mount, fs.setFlag(text));
    }
    return fs.mount(failure, @bitCast(options.set | options.whole_set));
}

fn emptyFolder(failure: *Failure) error{Failed}!fd_t {
    const fs: mount.FileSystem = try .open(failure, "tmpfs");
    defer fs.close();
    _ = fs.setString("mode", "0755");
    _ = fs.setString("size", "64k");
    return fs.mount(failure, .{ .nosuid = true, .nodev = true, .noexec = true });
}
