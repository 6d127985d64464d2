//! Namespaces that are there already: of a path, or of another container of the same
//! server. They are opened before anything of the host is given up, and entered by the
//! worker with the host's rights, so that it does not matter who owns them.
//!
//! Source: setns(2), namespaces(7).

const std = @import("std");
const linux = @import("linux");
const plan_module = @import("plan.zig");
const table_module = @import("table.zig");
const wire = @import("wire.zig");
const Failure = linux.Failure;
const Kind = plan_module.Namespace.Kind;
const os = linux.os;
const fd_t = linux.fd_t;

/// A descriptor for each that is joined.
pub const Joined = struct {
    fds: std.EnumArray(Kind, fd_t) = .initFill(-1),

    /// The user namespace, which layers are mapped through; for `userns.join`.
    pub fn user(joined: *const Joined) ?fd_t {
        const fd = joined.fds.get(.user);
        return if (fd < 0) null else fd;
    }

    /// Enters all but the user namespace and the mount namespace. The pid namespace holds
    /// for children only.
    pub fn enter(joined: *const Joined, failure: *Failure, subject: *[]const u8) error{Failed}!void {
        for ([_]Kind{ .network, .ipc, .uts, .cgroup, .time, .pid }) |kind| try joined.enterOne(failure, kind, subject);
    }

    /// Changes the root and the working folder as well; nothing of the host can be opened by
    /// a path from then on.
    pub fn enterMount(joined: *const Joined, failure: *Failure, subject: *[]const u8) error{Failed}!void {
        try joined.enterOne(failure, .mount, subject);
    }

    fn enterOne(joined: *const Joined, failure: *Failure, kind: Kind, subject: *[]const u8) error{Failed}!void {
        const fd = joined.fds.get(kind);
        if (fd < 0) return;
        subject.* = @tagName(kind);
        _ = try failure.check(.namespace, os.setns(fd, @intCast(flag(kind))));
    }
};

/// Opens what the plan names. `containers` are those of the server, as they were when the
/// worker was forked. On failure `subject` is a path, or the name of a container.
pub fn open(failure: *Failure, plan: *const plan_module.Plan, containers: ?*table_module.Table, subject: *[]const u8) error{Failed}!Joined {
    var joined: Joined = .{};
    for (plan.config.linux.namespaces) |namespace| {
        const path = namespace.path orelse continue;
        subject.* = path;
        const fd = try failure.check(.namespace, os.open(path, .{ .CLOEXEC = true }, 0));
        joined.fds.set(namespace.type, @intCast(fd));
        try expect(failure, @intCast(fd), namespace.type);
    }
    for (plan.kurma.join) |wanted| {
        subject.* = wanted.container;
        joined.fds.set(wanted.type, try openOf(failure, wanted, containers));
    }
    return joined;
}

/// A namespace of a container's init. Its pid is that of the init for sure if the init has
/// not ended once the namespace is open: until then nobody else is given the number.
fn openOf(failure: *Failure, wanted: plan_module.Joined, containers: ?*table_module.Table) error{Failed}!fd_t {
    const table = containers orelse return failure.fail(.namespace, .NOENT);
    var id: [wire.id_size]u8 = @splat(0);
    if (wanted.container.len >= id.len) return failure.fail(.namespace, .NOENT);
    @memcpy(id[0..wanted.container.len], wanted.container);
    const entry = table.find(&id) orelse return failure.fail(.namespace, .NOENT);
    if (entry.pidfd == table_module.none or entry.pid == 0) return failure.fail(.namespace, .SRCH);
    var path: [48]u8 = undefined;
    const name = linux.text.printZ(&path, "/proc/{d}/ns/{s}", .{ entry.pid, fileName(wanted.type) }) catch unreachable; // It fits.
    const fd: fd_t = @intCast(try failure.check(.namespace, os.open(name, .{ .CLOEXEC = true }, 0)));
    errdefer linux.file.close(fd);
    _ = try failure.check(.namespace, os.syscall4(.pidfd_send_signal, linux.file.fdArg(entry.pidfd), 0, 0, 0));
    return fd;
}

/// Refuses what is no namespace, or one of another kind. ioctl_nsfs(2), NS_GET_NSTYPE
fn expect(failure: *Failure, fd: fd_t, kind: Kind) error{Failed}!void {
    const get_type = 0xb703;
    const found = try failure.check(.namespace, os.ioctl(fd, get_type, 0));
    if (found != flag(kind)) return failure.fail(.namespace, .INVAL);
}

fn fileName(kind: Kind) []const u8 {
    return switch (kind) {
        .mount => "mnt",
        .network => "net",
        else => @tagName(kind),
    };
}

/// CLONE_NEW*
pub fn flag(kind: Kind) u64 {
    const Clone = linux.process.Clone;
    return switch (kind) {
        .mount => Clone.newns,
        .pid => Clone.newpid,
        .network => Clone.newnet,
        .ipc => Clone.newipc,
        .uts => Clone.newuts,
        .cgroup => Clone.newcgroup,
        .user => Clone.newuser,
        .time => Clone.newtime,
    };
}
