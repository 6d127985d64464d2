//! A container's namespaces made ahead of its plan, with a process in them that waits.
//! Making them is much of what a start costs, and nothing of it needs to know what will
//! run: who announces a container before asking for it finds them ready.
//!
//! The process is the one that becomes the container's init, as soon as it is in the
//! container's file tree. It is given the plan of that in memory that it shares with the worker
//! that reads it, and descriptors over a socket; what the init is given comes over it, too.

const std = @import("std");
const linux = @import("linux");
const inherited = @import("inherited.zig");
const launch = @import("launch.zig");
const plan_module = @import("plan.zig");
const rootfs = @import("rootfs.zig");
const stage3 = @import("stage3");
const userns = @import("userns.zig");
const Failure = linux.Failure;
const Plan = plan_module.Plan;
const os = linux.os;
const fd_t = linux.fd_t;

/// The namespaces that it has, beside a user namespace.
const kinds = [_]plan_module.Namespace.Kind{ .mount, .pid, .network, .ipc, .uts, .cgroup };

const flags = flags: {
    const Clone = linux.process.Clone;
    break :flags Clone.newns | Clone.newpid | Clone.newnet | Clone.newipc | Clone.newuts | Clone.newcgroup;
};

pub const Sandbox = struct {
    /// The process: a child of who made it.
    pid: linux.pid_t,
    /// To it. When this end is closed, the process ends.
    socket: fd_t,
    /// The first id of the host that its user namespace has.
    first: u32,

    /// Makes the namespaces and the process: in the user namespace `namespace`, in the
    /// caller's cgroups of version 1, and in that of version 2 whose folder is `unified`.
    /// What is to be handed over must lie in memory that is shared already.
    pub fn create(failure: *Failure, id: []const u8, first: u32, namespace: fd_t, unified: ?fd_t, program: fd_t) error{Failed}!Sandbox {
        const sockets = try linux.socket.pair(failure);
        errdefer linux.file.close(sockets[0]);
        // Another process joins the user namespace, so that the caller keeps its rights.
        const joiner = failure.check(.clone, os.fork()) catch |err| {
            linux.file.close(sockets[1]);
            return err;
        };
        if (joiner == 0) {
            join(failure, id, namespace, unified, sockets[1], program) catch linux.process.exit(125);
            linux.process.exit(0);
        }
        linux.file.close(sockets[1]);
        var pid: linux.pid_t = 0;
        var none: linux.socket.Descriptors = .{};
        _ = try linux.process.wait(failure, @intCast(joiner));
        // It has said so by now or never will: what it cloned would keep us waiting, as we it.
        var silence: Failure = .{};
        _ = linux.socket.receiveNow(&silence, sockets[0], std.mem.asBytes(&pid), &none) catch {};
        if (pid == 0) return failure.fail(.clone, .CHILD);
        return .{ .pid = pid, .socket = sockets[0], .first = first };
    }

    /// Ends the process, for which there is no use.
    pub fn dismiss(sandbox: *const Sandbox) void {
        linux.file.close(sandbox.socket);
        var ignored: Failure = .{}; // It is our child.
        _ = linux.process.wait(&ignored, sandbox.pid) catch 0;
    }

    /// Whether a container of this plan has just these namespaces, and wants nothing that a
    /// worker does to itself before it clones: this process was cloned long ago.
    pub fn fits(sandbox: *const Sandbox, plan: *const Plan) bool {
        const config = &plan.config.linux;
        const process = &plan.config.process;
        if (config.namespaces.len != kinds.len + 1 or !plan.makes(.user)) return false;
        for (kinds) |kind| if (!plan.makes(kind)) return false;
        if (process.scheduler != null or process.ioPriority != null or config.personality != null or plan.kurma.keyring != .own) return false;
        // Descriptors and a gate that are not handed over.
        if (config.devices.len > 0 or plan.config.hooks.any()) return false;
        if (config.seccomp) |filter| if (filter.listenerPath != null) return false;
        return userns.isRange(config.uidMappings, sandbox.first) and userns.isRange(config.gidMappings, sandbox.first);
    }

    // What is given lies in shared memory, with all that it points to. In two parts, so that
    // the process does its share of the work while the worker does the rest. Then it becomes
    // an init, which waits for what it is to run.

    /// The process makes the file systems that the plan wants of the kernel.
    pub fn givePlan(sandbox: *const Sandbox, failure: *Failure, plan: *const Plan) error{Failed}!void {
        return sandbox.give(failure, @intFromPtr(plan), &.{});
    }

    /// It puts them on its root and enters that.
    pub fn giveRoot(sandbox: *const Sandbox, failure: *Failure, root: *rootfs.Prepared) error{Failed}!void {
        var space: rootfs.Prepared.DescriptorList = undefined;
        var fds: [space.len]fd_t = undefined;
        return sandbox.give(failure, @intFromPtr(root), valuesOf(root.descriptors(&space), &fds));
    }

    /// Waits until it has entered that; the terminal, if the plan wants one.
    pub fn awaitTree(sandbox: *const Sandbox, failure: *Failure, subject: *[]const u8) error{Failed}!?rootfs.Terminal {
        var entered: Entered = undefined;
        var descriptors: linux.socket.Descriptors = .{};
        const packet = try linux.socket.receiveAll(failure, sandbox.socket, std.mem.asBytes(&entered), &descriptors);
        if (packet.len != @sizeOf(Entered)) return failure.fail(.clone, .CHILD);
        if (entered.failure.errno != 0) {
            failure.* = entered.failure;
            subject.* = entered.subject[0..entered.subject_len];
            return error.Failed;
        }
        return if (descriptors.count == 0) null else .{ .master = descriptors.fds[0], .slave = descriptors.fds[1] };
    }

    /// Has the caller enter its UTS namespace, to name it.
    pub fn enterNames(sandbox: *const Sandbox, failure: *Failure) error{Failed}!void {
        const pidfd = try linux.process.pidfdOpen(failure, sandbox.pid);
        defer linux.file.close(pidfd);
        _ = try failure.check(.hostname, os.setns(pidfd, linux.process.Clone.newuts));
    }

    /// As many descriptors at once as a packet carries. EPIPE: the process has ended.
    fn give(sandbox: *const Sandbox, failure: *Failure, address: usize, fds: []const fd_t) error{Failed}!void {
        var left = fds;
        while (true) {
            const part = left[0..@min(left.len, linux.socket.Descriptors.max)];
            try linux.socket.sendAll(failure, sandbox.socket, std.mem.asBytes(&address), part);
            left = left[part.len..];
            if (left.len == 0) return;
        }
    }
};

/// What the process says when it has entered its file tree, or could not.
const Entered = extern struct {
    failure: Failure,
    /// In memory that both have at this address.
    subject: [*]const u8,
    subject_len: usize,
};

fn valuesOf(places: []const *fd_t, values: []fd_t) []fd_t {
    for (places, values[0..places.len]) |place, *value| value.* = place.*;
    return values[0..places.len];
}

fn join(failure: *Failure, id: []const u8, namespace: fd_t, unified: ?fd_t, socket: fd_t, program: fd_t) error{Failed}!void {
    try inherited.joinKeyring(failure, id, true);
    try userns.join(failure, namespace);
    var args: linux.process.CloneArgs = .{ .flags = linux.process.Clone.parent | flags };
    if (unified) |fd| {
        args.flags |= linux.process.Clone.into_cgroup;
        args.cgroup = @intCast(fd);
    }
    const pid: linux.pid_t = @intCast(try failure.check(.clone, linux.process.clone3(&args)));
    if (pid == 0) {
        wait(failure, socket, program) catch linux.process.exit(125);
        linux.process.exit(0);
    }
    try linux.socket.sendPacket(failure, socket, std.mem.asBytes(&pid), null);
}

/// The process in the namespaces: does what any plan wants, and waits for its own.
fn wait(failure: *Failure, socket: fd_t, program: fd_t) error{Failed}!void {
    // It holds nothing of stage2's: who waits for the end of a socket must see it.
    const own: fd_t = try linux.file.duplicateAbove(failure, program, 4);
    const talk: fd_t = try linux.file.duplicateAbove(failure, socket, 4);
    const cloexec: u32 = @bitCast(os.O{ .CLOEXEC = true });
    _ = try failure.check(.open, os.dup3(own, 3, cloexec));
    _ = try failure.check(.open, os.dup3(talk, 4, cloexec));
    try linux.process.closeRange(failure, 5, std.math.maxInt(u32));
    try launch.settle(failure, true, true);
    try leaveHost(failure);
    return follow(failure, .{ .socket = 4, .program = 3 });
}

/// Returns if nobody wants us any more, or what is wanted of us failed.
fn follow(failure: *Failure, start: struct { socket: fd_t, program: fd_t }) error{Failed}!void {
    var none: linux.socket.Descriptors = .{};
    const plan: *const Plan = @ptrFromInt(try next(failure, start.socket, &none) orelse return);
    var child: launch.Child = .{ .plan = plan };
    var made: rootfs.FileSystems = undefined;
    rootfs.makeFileSystems(&child.failure, plan, &made, &child.subject) catch {}; // Told below.

    // The numbers in the shared memory are the worker's, who may still need them.
    var descriptors: linux.socket.Descriptors = .{};
    const shared: *rootfs.Prepared = @ptrFromInt(try next(failure, start.socket, &descriptors) orelse return);
    var root = shared.*;
    var space: rootfs.Prepared.DescriptorList = undefined;
    var taken: usize = 0;
    for (root.descriptors(&space)) |place| {
        if (taken == descriptors.count) {
            _ = try next(failure, start.socket, &descriptors) orelse return;
            taken = 0;
        }
        place.* = descriptors.fds[taken];
        taken += 1;
    }
    child.root = &root;
    var terminal: ?rootfs.Terminal = null;
    if (child.failure.errno == 0) {
        root.add(&made);
        terminal = child.enterTree() catch null;
    }
    const entered: Entered = .{ .failure = child.failure, .subject = child.subject.ptr, .subject_len = child.subject.len };
    const fds: []const fd_t = if (terminal) |pty| &.{ pty.master, pty.slave } else &.{};
    try linux.socket.sendAll(failure, start.socket, std.mem.asBytes(&entered), fds);
    if (child.failure.errno != 0) return;

    const program = try linux.file.duplicateAbove(failure, start.program, stage3.handover.last);
    const socket = try linux.file.duplicateAbove(failure, start.socket, stage3.handover.last);
    try linux.process.closeOnExecFrom(failure, stage3.handover.settings);
    _ = try failure.check(.exec, os.dup3(socket, stage3.handover.settings, 0));
    try launch.becomeInit(failure, program);
}

/// The next packet's address and its descriptors; null if nobody wants us any more.
fn next(failure: *Failure, socket: fd_t, descriptors: *linux.socket.Descriptors) error{Failed}!?usize {
    var address: usize = 0;
    const packet = try linux.socket.receiveAll(failure, socket, std.mem.asBytes(&address), descriptors);
    return if (packet.len == @sizeOf(usize)) address else null;
}

/// Goes to a small tree with what the making of a container needs of the host's. Nothing
/// that the host mounts stays busy because of us, and leaving what is small is fast.
///
/// The kernel lets a user namespace mount procfs and sysfs only where they are seen already,
/// so ours must be there before the host's are gone. The sysfs of a network namespace is
/// one, however often it is mounted, and making it takes its time.
fn leaveHost(failure: *Failure) error{Failed}!void {
    try linux.mount.makePrivate(failure);
    const tree = try make(failure, "tmpfs");
    const folder: os.O = .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true };
    const top = try linux.file.open(failure, "/", folder, 0);
    try linux.mount.attach(failure, tree, top);
    linux.file.close(top);
    for ([_][:0]const u8{ "proc", "sysfs" }) |kind| {
        const made = make(failure, kind) catch continue; // The plan's own mount says why.
        _ = try failure.check(.mkdir, os.mkdirat(tree, kind, 0o755));
        try linux.mount.attachAt(failure, made, tree, kind);
        linux.file.close(made);
    }
    _ = try failure.check(.mkdir, os.mkdirat(tree, "dev", 0o755));
    const dev = try linux.file.openAt(failure, tree, "dev", folder, 0);
    for (rootfs.devices) |device| try rootfs.bindDevice(failure, dev, device);
    linux.file.close(dev);
    try rootfs.pivot(failure, tree);
    linux.file.close(tree);
}

fn make(failure: *Failure, kind: [:0]const u8) error{Failed}!fd_t {
    const fs: linux.mount.FileSystem = try .open(failure, kind);
    defer fs.close();
    return fs.mount(failure, .{});
}
