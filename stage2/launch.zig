//! One container from a plan: what is prepared on the host's side, the clone, and
//! what the child does until it becomes the container's init.
//!
//! Everything the host has to offer is opened before the clone and goes in as a
//! descriptor; the child resolves no host path. It ends in exec of this very
//! program, sealed in memory, so that nothing of the host is behind /proc/1/exe.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const descriptor_limit = @import("descriptor_limit.zig");
const mount_options = @import("mount_options.zig");
const placement = @import("placement.zig");
const process_settings = @import("process_settings.zig");
const rootfs = @import("rootfs.zig");
const Sandbox = @import("sandbox.zig").Sandbox;
const worker = @import("worker.zig");
const userns = @import("userns.zig");
const Failure = linux.Failure;
const plan_module = @import("plan.zig");
const Plan = plan_module.Plan;
const os = linux.os;
const fd_t = linux.fd_t;
const settings_block = stage3.settings;

/// How a container stands to who makes it.
pub const Options = struct {
    /// This executable, as execveat(2) takes it.
    program: fd_t,
    /// It lives on when the stage2 process dies.
    survives: bool,
    /// Whether its command says, before its exec, that all is set up, and then waits for a
    /// packet on the status socket.
    ready: settings_block.Ready,
    /// Where its init leaves how it ended, if somebody is to find that there.
    ended: ?fd_t = null,
    /// A socket to stage1 for the command, if the plan wants one.
    stage1: ?fd_t = null,
    /// A user namespace that may be the plan's: `first` and the following ids of the host,
    /// as many as `userns.range`. It is used if the plan wants exactly that.
    shared: ?struct { first: u32, namespace: ?fd_t } = null,
    /// What was made before the plan was known.
    ahead: ?*const Ahead = null,
};

/// A cgroup, which who made it is in, and namespaces in which a process waits.
pub const Ahead = struct {
    cgroup: placement.Reserved = .{},
    sandbox: Sandbox = undefined,
};

/// Makes the container of `plan`, in a worker: its init becomes a child of the worker's
/// parent, with our 0 to 2. `arena` is the worker's own.
///
/// Returns `started` with the init's pid, or `failed`; the container says the rest over
/// `status` itself: `terminal`, `held`, `failed`, or nothing when its command runs.
pub fn create(options: Options, arena: std.mem.Allocator, plan: *const Plan, status: fd_t) settings_block.Status {
    var failure: Failure = .{};
    var subject: []const u8 = plan.kurma.id;
    const pid = clone(&failure, options, arena, plan, status, &subject) catch {
        var message: settings_block.Status = .failed(failure, subject);
        message.cgroup = plan.hasCgroup() or options.ahead != null;
        return message;
    };
    return .{ .kind = .started, .pid = pid, .user_namespace = plan.has(.user), .cgroup = plan.hasCgroup() or options.ahead != null };
}

fn clone(failure: *Failure, options: Options, arena: std.mem.Allocator, plan: *const Plan, status: fd_t, subject: *[]const u8) error{Failed}!linux.pid_t {
    if (plan.kurma.stage1 and options.stage1 == null) return failure.fail(.plan, .BADF);
    const namespace: ?fd_t = if (plan.has(.user)) try userNamespace(failure, options, plan, status) else null;
    var root = try rootfs.prepare(failure, arena, plan, namespace, subject);
    subject.* = plan.kurma.id;
    const settings = try describeInit(failure, arena, plan, options, subject);
    subject.* = plan.kurma.id;
    // An owner from outside would be unknown inside: first the container's root, who passes
    // them on to the command's user.
    if (namespace != null) stage3.process.giveStreams(userns.hostRoot(plan.config.linux.uidMappings), userns.hostRoot(plan.config.linux.gidMappings));
    const log = if (plan.kurma.log) |wanted| try openLog(failure, plan, wanted, subject) else null;
    const listener = if (plan.kurma.rpc) |path| try openRpc(failure, path, subject) else null;
    subject.* = plan.kurma.id;
    const child = arena.create(Child) catch return failure.fail(.plan, .NOMEM);
    child.* = .{ .plan = plan, .root = &root, .settings = settings, .status = status, .log = log, .listener = listener, .options = options };
    if (options.ahead) |ahead| {
        try ahead.cgroup.limit(failure, plan.kurma.id, plan.config.linux.resources);
        if (ahead.sandbox.fits(plan)) {
            child.root = arena.create(rootfs.Prepared) catch return failure.fail(.plan, .NOMEM);
            child.root.* = root;
            child.settled = true;
            try ahead.sandbox.hand(failure, child);
            return ahead.sandbox.pid;
        }
        ahead.sandbox.dismiss();
    }
    const unified = if (options.ahead) |ahead|
        try ahead.cgroup.unified(failure, plan.kurma.id)
    else if (plan.hasCgroup())
        try placement.enter(failure, plan.kurma.id, plan.config.linux.resources)
    else
        null;
    try linux.process.ownKeyring(failure);
    // Last of all that happens here: the host is out of reach afterwards.
    if (namespace) |fd| try userns.join(failure, fd);
    // CLONE_PARENT: the container is the child of who asked for it, not of this worker.
    var args: linux.process.CloneArgs = .{ .flags = linux.process.Clone.parent | namespaceFlags(plan) };
    if (unified) |fd| {
        args.flags |= linux.process.Clone.into_cgroup;
        args.cgroup = @intCast(fd);
    }
    const pid = try failure.check(.clone, linux.process.clone3(&args));
    if (pid == 0) child.run();
    return @intCast(pid);
}

/// The namespace that the caller has for these ids, or a new one, which the caller gets to
/// keep: making one is a process and half a millisecond.
fn userNamespace(failure: *Failure, options: Options, plan: *const Plan, status: fd_t) error{Failed}!fd_t {
    const uids = plan.config.linux.uidMappings;
    const gids = plan.config.linux.gidMappings;
    const fits = if (options.shared) |shared| userns.isRange(uids, shared.first) and userns.isRange(gids, shared.first) else false;
    if (fits) if (options.shared.?.namespace) |namespace| return namespace;
    return if (fits) makeNamespace(failure, uids, gids, status) else userns.create(failure, uids, gids);
}

/// A new user namespace, of which the caller of the worker is given a descriptor as well.
pub fn makeNamespace(failure: *Failure, uids: []const userns.Mapping, gids: []const userns.Mapping, status: fd_t) error{Failed}!fd_t {
    const made = try userns.create(failure, uids, gids);
    const message: settings_block.Status = .{ .kind = .namespace };
    try linux.socket.sendPacket(failure, status, std.mem.asBytes(&message), made);
    return made;
}

/// The folder for the log, which becomes the container's root's: who is root only there
/// writes the files.
fn openLog(failure: *Failure, plan: *const Plan, log: plan_module.Log, subject: *[]const u8) error{Failed}!fd_t {
    subject.* = log.directory;
    const folder = try linux.file.open(failure, log.directory, .{ .DIRECTORY = true, .CLOEXEC = true }, 0);
    if (!plan.has(.user)) return folder;
    const uid = userns.hostRoot(plan.config.linux.uidMappings);
    const gid = userns.hostRoot(plan.config.linux.gidMappings);
    _ = try failure.check(.open, os.fchownat(folder, "", uid, gid, os.AT.EMPTY_PATH));
    return folder;
}

/// The socket of the text RPC. It is of the host's side: nothing in the container names it.
fn openRpc(failure: *Failure, path: [:0]const u8, subject: *[]const u8) error{Failed}!fd_t {
    subject.* = path;
    return linux.socket.listenStream(failure, path);
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
fn describeInit(failure: *Failure, arena: std.mem.Allocator, plan: *const Plan, options: Options, subject: *[]const u8) error{Failed}!fd_t {
    const block = try process_settings.describe(failure, arena, &plan.config.process, plan.kurma.user, .{ .own = plan.kurma.seccomp, .config = plan.config.linux.seccomp, .landlock = plan.kurma.landlock }, .{
        .status_fd = inherited.status,
        .ready = options.ready,
        .init = .{
            .log_fd = if (plan.kurma.log == null) -1 else inherited.log,
            .listener_fd = if (plan.kurma.rpc == null) -1 else inherited.listener,
            .ended_fd = if (options.ended == null) -1 else inherited.ended,
            .terminal_fd = if (plan.config.process.terminal and options.survives) inherited.terminal else -1,
            .stage1_fd = if (options.stage1 == null) -1 else inherited.stage1,
            .input = plan.kurma.stdin,
            .log = plan.kurma.log,
            .stop = plan.kurma.stop,
        },
    }, subject);
    return linux.memfd.create(failure, "settings", block, .data);
}

/// The descriptors that the init inherits beside 0 to 2.
const inherited = struct {
    const settings = 3;
    const status = 4;
    const log = 5;
    const listener = 6;
    const ended = 7;
    const terminal = 8;
    const stage1 = 9;
    const last = stage1;
};

/// What a process that is alone in its namespaces does whatever the plan says.
pub fn settle(failure: *Failure, user: bool, network: bool) error{Failed}!void {
    if (user) try userns.becomeRoot(failure);
    linux.process.umask(0); // Modes are as written here; the main process gets its own.
    if (network) try linux.net.loopbackUp(failure);
}

/// The cloned child: alone in its namespaces, with a copy of our memory, or with what of
/// it was shared.
pub const Child = struct {
    plan: *const Plan,
    root: *rootfs.Prepared,
    settings: fd_t,
    status: fd_t,
    log: ?fd_t,
    listener: ?fd_t,
    /// The master, for the init of a container that may outlive who has it otherwise.
    terminal: ?fd_t = null,
    options: Options,
    /// `settle` is done.
    settled: bool = false,
    failure: Failure = .{},
    subject: []const u8 = "",

    pub const max_descriptors = 7 + rootfs.max_mounts;
    pub const DescriptorList = [max_descriptors]*fd_t;

    /// Where its descriptors are, for who passes them on; all but 0 to 2 and the program.
    pub fn descriptors(child: *Child, space: *DescriptorList) []*fd_t {
        space[0..3].* = .{ &child.settings, &child.status, &child.root.root };
        var count: usize = 3;
        for ([_]*?fd_t{ &child.log, &child.listener, &child.options.ended, &child.options.stage1 }) |optional| if (optional.*) |*fd| {
            space[count] = fd;
            count += 1;
        };
        for (child.root.binds[0..child.root.bind_count]) |*fd| if (fd.* >= 0) {
            space[count] = fd;
            count += 1;
        };
        return space[0..count];
    }

    pub fn run(child: *Child) noreturn {
        child.enter() catch {};
        worker.send(child.status, .failed(child.failure, child.subject));
        linux.process.exit(125);
    }

    fn enter(child: *Child) error{Failed}!noreturn {
        const failure = &child.failure;
        const plan = child.plan;
        if (!child.settled) try settle(failure, plan.has(.user), plan.has(.network));
        // After the change of user, which clears it.
        if (!child.options.survives) _ = linux.process.prctl(.SET_PDEATHSIG, @backingInt(os.SIG.KILL));
        if (plan.has(.uts)) try child.setNames();
        const terminal = try child.root.enter(failure, plan, &child.subject);
        child.subject = plan.kurma.id;
        if (terminal) |pty| {
            try pty.use(failure, child.status);
            if (child.options.survives) child.terminal = pty.master;
        }
        return child.becomeInit();
    }

    /// Gives the init a copy of `fd` under a number that it knows.
    fn inherit(failure: *Failure, fd: fd_t, number: fd_t) error{Failed}!void {
        _ = try failure.check(.exec, os.dup3(fd, number, 0));
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

    /// Becomes the init: the same program, with nothing inherited but what it is told of.
    fn becomeInit(child: *Child) error{Failed}!noreturn {
        const failure = &child.failure;
        // Out of the way of the numbers that the init expects.
        const program = try linux.file.duplicateAbove(failure, child.options.program, inherited.last);
        child.status = try linux.file.duplicateAbove(failure, child.status, inherited.last);
        const settings = try linux.file.duplicateAbove(failure, child.settings, inherited.last);
        const log = if (child.log) |fd| try linux.file.duplicateAbove(failure, fd, inherited.last) else null;
        const listener = if (child.listener) |fd| try linux.file.duplicateAbove(failure, fd, inherited.last) else null;
        const ended = if (child.options.ended) |fd| try linux.file.duplicateAbove(failure, fd, inherited.last) else null;
        const terminal = if (child.terminal) |fd| try linux.file.duplicateAbove(failure, fd, inherited.last) else null;
        const stage1 = if (child.options.stage1) |fd| try linux.file.duplicateAbove(failure, fd, inherited.last) else null;
        try linux.process.closeOnExecFrom(failure, inherited.settings);
        try inherit(failure, settings, inherited.settings);
        try inherit(failure, child.status, inherited.status);
        if (log) |fd| try inherit(failure, fd, inherited.log);
        if (listener) |fd| try inherit(failure, fd, inherited.listener);
        if (ended) |fd| try inherit(failure, fd, inherited.ended);
        if (terminal) |fd| try inherit(failure, fd, inherited.terminal);
        if (stage1) |fd| try inherit(failure, fd, inherited.stage1);
        descriptor_limit.restore();
        const argv = [_:null]?[*:0]const u8{"init"};
        const envp = [_:null]?[*:0]const u8{ "INITD_INTERCEPT=1", stage3.init.settings_variable ++ "=" ++ std.fmt.comptimePrint("{d}", .{inherited.settings}), linux.weakness.inherited() };
        return failure.fail(.exec, linux.process.execFd(program, &argv, &envp));
    }
};
