//! The devices that a plan names. They are made on the host's side, on a file system that
//! only they are on, and bound into the container: in a user namespace nobody may make a
//! device, but one that is there can be opened, as far as the device filter lets it.
//!
//! Source: OCI runtime-spec 1.3, config-linux.md "Devices"

const std = @import("std");
const linux = @import("linux");
const plan_module = @import("plan.zig");
const userns = @import("userns.zig");
const Failure = linux.Failure;
const file = linux.file;
const mount = linux.mount;
const os = linux.os;
const fd_t = linux.fd_t;

/// A detached file system with the devices of the plan, named by their position; null if it
/// has none. `subject` is the path of one that cannot be made.
pub fn make(failure: *Failure, plan: *const plan_module.Plan, subject: *[]const u8) error{Failed}!?fd_t {
    const list = plan.config.linux.devices;
    if (list.len == 0) return null;
    const fs: mount.FileSystem = try .open(failure, "tmpfs");
    defer fs.close();
    const folder = try fs.mount(failure, .{ .nosuid = true, .noexec = true });
    errdefer file.close(folder);
    for (list, 0..) |device, position| {
        subject.* = device.path;
        var space: [16]u8 = undefined;
        const name = positionName(&space, position);
        const kind: u32 = switch (device.type) {
            .c, .u => os.S.IFCHR,
            .b => os.S.IFBLK,
            .p => os.S.IFIFO,
        };
        const number = if (device.type == .p) 0 else file.deviceNumber(device.major.?, device.minor.?);
        _ = try failure.check(.device, os.mknodat(folder, name, kind | 0o600, number));
        const uid = userns.toHost(plan.config.linux.uidMappings, device.uid) orelse return failure.fail(.device, .INVAL);
        const gid = userns.toHost(plan.config.linux.gidMappings, device.gid) orelse return failure.fail(.device, .INVAL);
        _ = try failure.check(.device, os.fchownat(folder, name, uid, gid, os.AT.SYMLINK_NOFOLLOW));
        // Not by mknod(2): the umask of whoever started us.
        _ = try failure.check(.device, os.fchmodat(folder, name, @intCast(device.fileMode & 0o7777)));
    }
    return folder;
}

/// Binds them below `root`, whose /dev is there already. The caller is about to leave the
/// host's tree, and needs nothing of its /dev any more.
pub fn attach(failure: *Failure, plan: *const plan_module.Plan, folder: fd_t, root: fd_t, subject: *[]const u8) error{Failed}!void {
    // A part of a mount can be copied only when the mount is in our namespace: so it goes
    // on top of a folder that is left behind.
    const place = try file.open(failure, "/dev", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
    defer file.close(place);
    try mount.attach(failure, folder, place);
    for (plan.config.linux.devices, 0..) |device, position| {
        subject.* = device.path;
        var space: [16]u8 = undefined;
        const node = try mount.cloneTree(failure, folder, positionName(&space, position), false);
        defer file.close(node);
        const target = try file.makeInRoot(failure, root, device.path, .file, 0o755);
        defer file.close(target);
        try mount.attach(failure, node, target);
    }
}

fn positionName(space: *[16]u8, position: usize) [:0]const u8 {
    return linux.text.printZ(space, "{d}", .{position}) catch unreachable; // Fewer than fit in memory.
}
