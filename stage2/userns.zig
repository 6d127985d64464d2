//! A user namespace for containers: whoever is root in it is nobody on the host.
//!
//! It is made before the container, because the mounts of the container's layers are
//! mapped through it (mount_setattr(2), MOUNT_ATTR_IDMAP), and joined by the worker
//! that clones the container, so that all its other namespaces belong to it.
//!
//! Source: user_namespaces(7).

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const os = linux.os;
const fd_t = linux.fd_t;

/// One line of a map. OCI runtime-spec 1.3, config-linux.md "User namespace mappings".
pub const Mapping = struct {
    containerID: u32,
    hostID: u32,
    size: u32,
};

/// What the kernel takes; user_namespaces(7).
const max_mappings = 340;

/// A new user namespace with these maps, as a descriptor of its /proc/PID/ns/user.
///
/// A child is born into it and only waits, since the maps are written from outside and
/// a namespace lives as long as somebody holds it: afterwards that is the descriptor.
pub fn create(failure: *Failure, uids: []const Mapping, gids: []const Mapping) error{Failed}!fd_t {
    if (uids.len == 0 or gids.len == 0 or uids.len > max_mappings or gids.len > max_mappings) return failure.fail(.idmap, .INVAL);
    const args: linux.process.CloneArgs = .{ .flags = linux.process.Clone.newuser, .exit_signal = @backingInt(os.SIG.CHLD) };
    const parent = os.getpid();
    const result = try failure.check(.idmap, linux.process.clone3(&args));
    if (result == 0) {
        // A worker that is killed meanwhile takes it along.
        linux.process.dieWith(parent);
        while (true) _ = os.pause();
    }
    const holder: linux.pid_t = @intCast(result);
    defer {
        _ = os.kill(holder, .KILL);
        var ignored: Failure = .{};
        _ = linux.process.wait(&ignored, holder) catch {};
    }
    try writeMap(failure, holder, "uid_map", uids);
    try writeMap(failure, holder, "gid_map", gids);
    var path: [64]u8 = undefined;
    return linux.file.open(failure, processPath(&path, holder, "ns/user"), .{ .CLOEXEC = true }, 0);
}

/// The ids that a container is given, as one line of a map.
pub const range = 65_536;

/// Whether the map is the one line that gives root and the following ids `first` and on.
pub fn isRange(mappings: []const Mapping, first: u32) bool {
    return mappings.len == 1 and std.meta.eql(mappings[0], .{ .containerID = 0, .hostID = first, .size = range });
}

/// Enters the namespace and becomes its root; what is done from now on has no rights
/// outside it. For a process that nothing else depends on.
pub fn join(failure: *Failure, namespace: fd_t) error{Failed}!void {
    _ = try failure.check(.idmap, os.setns(namespace, linux.process.Clone.newuser));
}

/// Becomes uid and gid 0 of the namespace: who is not mapped can own no file in it.
pub fn becomeRoot(failure: *Failure) error{Failed}!void {
    const none = [0]u32{};
    if (!linux.weakness.has(.groups)) _ = try failure.check(.user, os.setgroups(0, &none));
    _ = try failure.check(.user, os.setresgid(0, 0, 0));
    _ = try failure.check(.user, os.setresuid(0, 0, 0));
}

/// What root of the namespace is on the host.
pub fn hostRoot(mappings: []const Mapping) u32 {
    for (mappings) |mapping| if (mapping.containerID == 0) return mapping.hostID;
    return mappings[0].hostID;
}

/// What an id of the container is on the host; null if it is not mapped. Without any
/// mappings it is itself.
pub fn toHost(mappings: []const Mapping, id: u32) ?u32 {
    if (mappings.len == 0) return id;
    for (mappings) |mapping| {
        if (id >= mapping.containerID and id - mapping.containerID < mapping.size) return mapping.hostID +% (id - mapping.containerID);
    }
    return null;
}

fn writeMap(failure: *Failure, holder: linux.pid_t, name: []const u8, mappings: []const Mapping) error{Failed}!void {
    var path: [64]u8 = undefined;
    const fd = try linux.file.open(failure, processPath(&path, holder, name), .{ .ACCMODE = .WRONLY, .CLOEXEC = true }, 0);
    defer linux.file.close(fd);
    // The kernel takes a map in one write, of less than a page.
    var text: [4096]u8 = undefined;
    var len: usize = 0;
    for (mappings) |mapping| {
        const line = linux.text.print(text[len..], "{d} {d} {d}\n", .{ mapping.containerID, mapping.hostID, mapping.size }) catch
            return failure.fail(.idmap, .@"2BIG");
        len += line.len;
    }
    const written = os.write(fd, &text, len);
    _ = try failure.check(.idmap, written);
}

fn processPath(buffer: *[64]u8, pid: linux.pid_t, name: []const u8) [:0]const u8 {
    return linux.text.printZ(buffer, "/proc/{d}/{s}", .{ pid, name }) catch unreachable; // Our own short names.
}
