//! A container's namespaces made ahead of its plan, with a process in them that waits.
//! Making them is much of what a start costs, and nothing of it needs to know what will
//! run: who announces a container before asking for it finds them ready.
//!
//! The process is the one that becomes the container's init. It is given the plan in
//! memory that it shares with the worker that reads it, and descriptors over a socket.

const std = @import("std");
const linux = @import("linux");
const inherited = @import("inherited.zig");
const launch = @import("launch.zig");
const plan_module = @import("plan.zig");
const rootfs = @import("rootfs.zig");
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
        const packet = try linux.socket.receiveAll(failure, sockets[0], std.mem.asBytes(&pid), &none);
        _ = try linux.process.wait(failure, @intCast(joiner));
        if (packet.len != @sizeOf(linux.pid_t)) return failure.fail(.clone, .CHILD);
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

    // What is given lies in shared memory, with all that it points to. In three parts, so that
    // the process does its share of the work while the worker does the rest.

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

    /// Waits until it has entered that.
    pub fn awaitTree(sandbox: *const Sandbox, failure: *Failure) error{Failed}!void {
        var entered: Failure = .{};
        var none: linux.socket.Descriptors = .{};
        const packet = try linux.socket.receiveAll(failure, sandbox.socket, std.mem.asBytes(&entered), &none);
        if (packet.len != @sizeOf(Failure)) return failure.fail(.clone, .CHILD);
        if (entered.errno != 0) return failure.fail(entered.step, @fromBackingInt(@intCast(entered.errno)));
    }

    /// It becomes the init of this container, with our 0 to 2.
    pub fn giveRest(sandbox: *const Sandbox, failure: *Failure, child: *launch.Child) error{Failed}!void {
        var space: launch.Child.DescriptorList = undefined;
        var fds: [3 + space.len]fd_t = undefined;
        fds[0..3].* = .{ 0, 1, 2 };
        const rest = valuesOf(child.descriptors(&space), fds[3..]);
        return sandbox.give(failure, @intFromPtr(child), fds[0 .. 3 + rest.len]);
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

/// What the worker gives, as it comes.
const Following = struct {
    socket: fd_t,
    program: fd_t,
    fds: [3 + rootfs.max_mounts + launch.Child.max_descriptors]fd_t = undefined,
    count: usize = 0,

    /// The next packet's address, its descriptors kept; null if nobody wants us any more.
    fn next(following: *Following, failure: *Failure) error{Failed}!?usize {
        var address: usize = 0;
        var descriptors: linux.socket.Descriptors = .{};
        const packet = try linux.socket.receiveAll(failure, following.socket, std.mem.asBytes(&address), &descriptors);
        if (packet.len != @sizeOf(usize)) return null;
        @memcpy(following.fds[following.count..][0..descriptors.count], descriptors.fds[0..descriptors.count]);
        following.count += descriptors.count;
        return address;
    }

    /// Receives until there are `wanted` descriptors, and returns them.
    fn collect(following: *Following, failure: *Failure, wanted: usize) error{Failed}!?[]const fd_t {
        while (following.count < wanted) _ = try following.next(failure) orelse return null;
        following.count = 0;
        return following.fds[0..wanted];
    }
};

/// Returns if nobody wants us any more. What fails of our share is told in the end: until
/// then there is no socket to tell it over.
fn follow(failure: *Failure, start: struct { socket: fd_t, program: fd_t }) error{Failed}!void {
    var following: Following = .{ .socket = start.socket, .program = start.program };
    const plan: *const Plan = @ptrFromInt(try following.next(failure) orelse return);
    var child: launch.Child = .{ .plan = plan };
    var made: rootfs.FileSystems = undefined;
    var works = true;
    rootfs.makeFileSystems(&child.failure, plan, &made, &child.subject) catch {
        works = false;
    };

    // The numbers in the shared memory are the worker's, who may still need them.
    const shared_root: *rootfs.Prepared = @ptrFromInt(try following.next(failure) orelse return);
    var root = shared_root.*;
    var root_space: rootfs.Prepared.DescriptorList = undefined;
    const root_places = root.descriptors(&root_space);
    for (root_places, try following.collect(failure, root_places.len) orelse return) |place, fd| place.* = fd;
    child.root = &root;
    var terminal: ?rootfs.Terminal = null;
    if (works) {
        root.add(&made);
        terminal = child.enterTree() catch null: {
            works = false;
            break :null null;
        };
    }
    // A worker that does not wait for it may have gone.
    linux.socket.sendPacket(failure, following.socket, std.mem.asBytes(&child.failure), null) catch {};

    const shared_child: *launch.Child = @ptrFromInt(try following.next(failure) orelse return);
    var rest = shared_child.*;
    var space: launch.Child.DescriptorList = undefined;
    const places = rest.descriptors(&space);
    const fds = try following.collect(failure, 3 + places.len) orelse return;
    for (places, fds[3..]) |place, fd| place.* = fd;
    for (fds[0..3], 0..) |fd, stream| {
        _ = try failure.check(.open, os.dup3(fd, @intCast(stream), 0));
        linux.file.close(fd);
    }
    linux.file.close(following.socket);
    rest.options.program = following.program;
    rest.failure = child.failure;
    rest.subject = child.subject;
    rest.run(if (works) .{ .entered = terminal } else .failed);
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
