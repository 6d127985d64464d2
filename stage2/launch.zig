//! One container from a plan: what is prepared on the host's side, the clone, and
//! what the child does until it becomes the container's init.
//!
//! Everything the host has to offer is opened before the clone and goes in as a
//! descriptor; the child resolves no host path. It ends in exec of this very
//! program, sealed in memory, so that nothing of the host is behind /proc/1/exe.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const mount_options = @import("mount_options.zig");
const capabilities = @import("capabilities");
const rlimits = @import("rlimits");
const rootfs = @import("rootfs.zig");
const userns = @import("userns.zig");
const Failure = linux.Failure;
const Plan = @import("plan.zig").Plan;
const os = linux.os;
const fd_t = linux.fd_t;
const settings_block = stage3.settings;

/// Starts the container of `plan` and returns the status socket: sequenced packets of
/// `stage3.settings.Status`, the first of which says `started` with the pid of a child
/// of ours, or `failed`; the end of file means that the command runs.
///
/// A worker does it, a fork of us: it may give up its rights and wait for what hangs
/// while we go on. `program` is this executable, as execveat(2) takes it; our 0 to 2
/// become those of the main process.
pub fn start(failure: *Failure, arena: std.mem.Allocator, plan: *const Plan, program: fd_t) error{Failed}!Worker {
    var sockets: [2]fd_t = undefined;
    _ = try failure.check(.socket, os.socketpair(os.AF.UNIX, os.SOCK.SEQPACKET | os.SOCK.CLOEXEC, 0, &sockets));
    defer linux.file.close(sockets[1]);
    errdefer linux.file.close(sockets[0]);
    const pid = try failure.check(.clone, os.fork());
    if (pid == 0) {
        linux.file.close(sockets[0]);
        work(arena, plan, program, sockets[1]);
    }
    return .{ .pid = @intCast(pid), .status = sockets[0] };
}

/// The process that makes a container, and what it says.
pub const Worker = struct {
    pid: linux.pid_t,
    status: fd_t,
};

/// The worker's life: prepares on the host's side, gives up the host, clones, and ends.
fn work(arena: std.mem.Allocator, plan: *const Plan, program: fd_t, status: fd_t) noreturn {
    // A container of one call does not outlive it, nor does who makes it.
    _ = linux.process.prctl(.SET_PDEATHSIG, @backingInt(os.SIG.KILL));
    var failure: Failure = .{};
    var subject: []const u8 = plan.kurma.id;
    const message: settings_block.Status = if (clone(&failure, arena, plan, program, status, &subject)) |pid|
        .{ .kind = .started, .pid = pid }
    else |_|
        .failed(failure, subject);
    send(status, message);
    linux.process.exit(0);
}

fn clone(failure: *Failure, arena: std.mem.Allocator, plan: *const Plan, program: fd_t, status: fd_t, subject: *[]const u8) error{Failed}!linux.pid_t {
    const namespace: ?fd_t = if (plan.has(.user))
        try userns.create(failure, plan.config.linux.uidMappings, plan.config.linux.gidMappings)
    else
        null;
    var root = try rootfs.prepare(failure, arena, plan, namespace, subject);
    subject.* = plan.kurma.id;
    const settings = try describeInit(failure, arena, plan, subject);
    if (namespace != null) try giveStreams(failure, plan);
    // Last of all that happens here: the host is out of reach afterwards.
    if (namespace) |fd| try userns.join(failure, fd);
    // CLONE_PARENT: the container is the child of who asked for it, not of this worker.
    const args: linux.process.CloneArgs = .{ .flags = linux.process.Clone.parent | namespaceFlags(plan) };
    const pid = try failure.check(.clone, linux.process.clone3(&args));
    if (pid == 0) {
        var child: Child = .{ .plan = plan, .root = &root, .settings = settings, .status = status, .program = program };
        child.run();
    }
    return @intCast(pid);
}

/// Pipes among the streams become the container's: a command that opens /dev/stdout
/// opens the pipe anew, which its owner must be known inside for. Files and terminals
/// stay their owners'.
fn giveStreams(failure: *Failure, plan: *const Plan) error{Failed}!void {
    const uid = userns.hostRoot(plan.config.linux.uidMappings);
    const gid = userns.hostRoot(plan.config.linux.gidMappings);
    for (0..3) |stream| {
        const stat = try linux.file.stat(failure, @intCast(stream));
        if (stat.mode & os.S.IFMT == os.S.IFIFO) _ = os.fchown(@intCast(stream), uid, gid);
    }
}

fn send(socket: fd_t, message: settings_block.Status) void {
    // Nobody is left to tell if this fails: whoever asked is gone.
    _ = os.sendto(socket, std.mem.asBytes(&message).ptr, @sizeOf(settings_block.Status), os.MSG.NOSIGNAL, null, 0);
}

fn namespaceFlags(plan: *const Plan) u64 {
    const Clone = linux.process.Clone;
    var flags: u64 = 0;
    for (plan.config.linux.namespaces) |namespace| flags |= switch (namespace.type) {
        .mount => Clone.newns,
        .pid => Clone.newpid,
        .network => Clone.newnet,
        .ipc => Clone.newipc,
        .uts => Clone.newuts,
        .cgroup => Clone.newcgroup,
        .user => 0, // Made before, and joined by the worker.
    };
    return flags;
}

/// The settings of the container's init, in a sealed memory file.
fn describeInit(failure: *Failure, arena: std.mem.Allocator, plan: *const Plan, subject: *[]const u8) error{Failed}!fd_t {
    const process = &plan.config.process;
    const limits = arena.alloc(rlimits.Limit, process.rlimits.len) catch return failure.fail(.plan, .NOMEM);
    for (process.rlimits, limits) |limit, *slot| {
        subject.* = limit.type;
        slot.* = .{ .resource = rlimits.resource(limit.type) orelse return failure.fail(.rlimit, .INVAL), .soft = limit.soft, .hard = limit.hard };
    }
    const header: settings_block.Header = .{
        .uid = process.user.uid,
        .gid = process.user.gid,
        .umask = process.user.umask orelse 0o022,
        .oom_score_adj = process.oomScoreAdj orelse 0,
        .status_fd = inherited.status,
        .capabilities = if (process.capabilities) |sets| .{
            .bounding = try capabilityBits(failure, sets.bounding, subject),
            .effective = try capabilityBits(failure, sets.effective, subject),
            .inheritable = try capabilityBits(failure, sets.inheritable, subject),
            .permitted = try capabilityBits(failure, sets.permitted, subject),
            .ambient = try capabilityBits(failure, sets.ambient, subject),
        } else .{},
        .flags = .{
            .no_new_privs = process.noNewPrivileges,
            .terminal = process.terminal,
            .set_oom_score_adj = process.oomScoreAdj != null,
        },
    };
    const buffer = try linux.file.mapPrivate(failure, -1, settings_block.max_bytes);
    defer _ = os.munmap(buffer.ptr, buffer.len);
    subject.* = plan.kurma.id;
    const block = settings_block.write(buffer, header, limits, process.user.additionalGids, plan.kurma.user, process.cwd, process.args, process.env) orelse
        return failure.fail(.plan, .@"2BIG");
    return linux.memfd.create(failure, "settings", block, .data);
}

fn capabilityBits(failure: *Failure, list: []const [:0]const u8, subject: *[]const u8) error{Failed}!u64 {
    var bits: u64 = 0;
    for (list) |name| {
        subject.* = name;
        bits |= @as(capabilities.Set, 1) << (capabilities.bit(name) orelse return failure.fail(.capability, .INVAL));
    }
    return bits;
}

/// The descriptors that the init inherits beside 0 to 2.
const inherited = struct {
    const settings = 3;
    const status = 4;
};

/// The cloned child: alone in its namespaces, with a copy of our memory.
const Child = struct {
    plan: *const Plan,
    root: *rootfs.Prepared,
    settings: fd_t,
    status: fd_t,
    program: fd_t,
    failure: Failure = .{},
    subject: []const u8 = "",

    fn run(child: *Child) noreturn {
        child.enter() catch {};
        send(child.status, .failed(child.failure, child.subject));
        linux.process.exit(125);
    }

    fn enter(child: *Child) error{Failed}!noreturn {
        const failure = &child.failure;
        const plan = child.plan;
        if (plan.has(.user)) try userns.becomeRoot(failure);
        // After the change of user, which clears it.
        _ = linux.process.prctl(.SET_PDEATHSIG, @backingInt(os.SIG.KILL));
        linux.process.umask(0); // Modes are as written here; the main process gets its own.
        if (plan.has(.uts)) try child.setNames();
        if (plan.has(.network)) try linux.net.loopbackUp(failure);
        const terminal = try child.root.enter(failure, plan, &child.subject);
        child.subject = plan.kurma.id;
        if (terminal) |pty| try child.useTerminal(pty);
        return child.becomeInit();
    }

    fn setNames(child: *Child) error{Failed}!void {
        const config = &child.plan.config;
        if (config.hostname) |name| {
            child.subject = name;
            _ = try child.failure.check(.hostname, os.syscall2(.sethostname, @intFromPtr(name.ptr), name.len));
        }
        if (config.domainname) |name| {
            child.subject = name;
            _ = try child.failure.check(.hostname, os.syscall2(.setdomainname, @intFromPtr(name.ptr), name.len));
        }
    }

    /// Sends the master out and makes the slave our streams.
    fn useTerminal(child: *Child, pty: rootfs.Terminal) error{Failed}!void {
        const status: settings_block.Status = .{ .kind = .terminal };
        try linux.socket.sendWithDescriptor(&child.failure, child.status, std.mem.asBytes(&status), pty.master);
        linux.file.close(pty.master);
        for (0..3) |stream| _ = try child.failure.check(.terminal, os.dup3(pty.slave, @intCast(stream), 0));
        linux.file.close(pty.slave);
    }

    /// Becomes the init: the same program, with nothing inherited but what it is told of.
    fn becomeInit(child: *Child) error{Failed}!noreturn {
        const failure = &child.failure;
        // Out of the way of the numbers that the init expects.
        const settings = try linux.file.duplicateAbove(failure, child.settings, inherited.status);
        const program = try linux.file.duplicateAbove(failure, child.program, inherited.status);
        child.status = try linux.file.duplicateAbove(failure, child.status, inherited.status);
        _ = try failure.check(.exec, os.dup3(settings, inherited.settings, 0));
        _ = try failure.check(.exec, os.dup3(child.status, inherited.status, 0));
        try linux.process.closeOnExecFrom(failure, inherited.status + 1);
        const argv = [_:null]?[*:0]const u8{"init"};
        const envp = [_:null]?[*:0]const u8{ "INITD_INTERCEPT=1", stage3.init.settings_variable ++ "=" ++ std.fmt.comptimePrint("{d}", .{inherited.settings}) };
        return failure.fail(.exec, linux.process.execFd(program, &argv, &envp));
    }
};
