//! One container from a plan: what is prepared on the host's side, the clone, and
//! what the child does until it becomes the container's init.
//!
//! Everything the host has to offer is opened before the clone and goes in as a
//! descriptor; the child resolves no host path. It ends in exec of this very
//! program, sealed in memory, so that nothing of the host is behind /proc/1/exe.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const clocks = @import("clocks.zig");
const descriptor_limit = @import("descriptor_limit.zig");
const host_hooks = @import("host_hooks.zig");
const inherited_settings = @import("inherited.zig");
const join = @import("join.zig");
const likeness = @import("likeness.zig");
const mount_options = @import("mount_options.zig");
const notify = @import("notify.zig");
const placement = @import("placement.zig");
const process_settings = @import("process_settings.zig");
const rootfs = @import("rootfs.zig");
const Sandbox = @import("sandbox.zig").Sandbox;
const sysctl = @import("sysctl.zig");
const table_module = @import("table.zig");
const worker = @import("worker.zig");
const userns = @import("userns.zig");
const Failure = linux.Failure;
const Handover = stage3.handover.Handover;
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
    /// Where its command, which is made ahead, waits for what it is to execute.
    rest: ?fd_t = null,
    /// A socket to stage1 for the command, if the plan wants one.
    stage1: ?fd_t = null,
    /// A user namespace that may be the plan's: `first` and the following ids of the host,
    /// as many as `userns.range`. It is used if the plan wants exactly that.
    shared: ?struct { first: u32, namespace: ?fd_t } = null,
    /// The server's containers, whose namespaces may be joined.
    containers: ?*table_module.Table = null,
    /// The plan's memory file, which the parent of the worker is to keep for hooks that run
    /// later; null if it has the plan itself.
    plan_file: ?fd_t = null,
    /// What was made before the plan was known.
    ahead: ?*const Ahead = null,
};

/// A cgroup, which who made it is in, and namespaces in which a process waits.
pub const Ahead = struct {
    cgroup: placement.Reserved = .{},
    sandbox: Sandbox = undefined,
    /// The container whose init the process is already, if it is one.
    made: ?Made = null,

    const Made = struct {
        plan: *const Plan,
        /// To its main process, which waits for what it is to execute.
        rest: fd_t,
    };

    /// Makes the container of `plan`, but for what another plan may have in its place
    /// (likeness.zig): its main process waits for that.
    pub fn make(ahead: *Ahead, failure: *Failure, options: Options, arena: std.mem.Allocator, plan: *const Plan, status: fd_t, subject: *[]const u8) error{Failed}!void {
        const process = &plan.config.process;
        // What it would have to be given with the rest, and what may forbid it to wait.
        const has_other = process.terminal or plan.kurma.stage1 or plan.config.linux.seccomp != null;
        if (has_other or leavesNoRoom(plan) or !ahead.sandbox.fits(plan)) return failure.fail(.plan, .OPNOTSUPP);
        const sockets = try linux.socket.pair(failure);
        {
            defer linux.file.close(sockets[1]);
            errdefer linux.file.close(sockets[0]);
            var own = options;
            own.ready = .unsaid;
            own.rest = sockets[1];
            own.ahead = ahead;
            _ = try clone(failure, own, arena, plan, status, subject);
        }
        ahead.made = .{ .plan = plan, .rest = sockets[0] };
        var word: [1]u8 = undefined;
        var none: linux.socket.Descriptors = .{};
        // One that has failed has said why, to who reads `status`.
        if ((try linux.socket.receiveAll(failure, sockets[0], &word, &none)).len == 0) return failure.fail(.clone, .CHILD);
    }

    /// Gives the container that was made the rest, which `plan` has.
    fn finish(ahead: *const Ahead, failure: *Failure, options: Options, arena: std.mem.Allocator, plan: *const Plan, subject: *[]const u8) error{Failed}!linux.pid_t {
        const made = &ahead.made.?;
        // Its work folder has the marks of a mount; who made that is to make another.
        if (!likeness.isSame(plan, made.plan)) return failure.fail(.plan, .STALE);
        if (!std.mem.eql(u8, made.plan.config.hostname orelse "", plan.config.hostname orelse "")) {
            try ahead.sandbox.enterNames(failure);
            try setNames(failure, plan, subject);
        }
        subject.* = plan.kurma.id;
        const block = try process_settings.describeRest(failure, arena, &plan.config.process, .{ .status_fd = inherited.status, .ready = options.ready });
        const settings = try linux.memfd.create(failure, "settings", block, .data);
        // One that has died meanwhile is to be made anew as well.
        var ignored: Failure = .{};
        linux.socket.sendPacket(&ignored, made.rest, "!", settings) catch return failure.fail(.plan, .STALE);
        return ahead.sandbox.pid;
    }

    /// Ends the process, for which there is no use.
    pub fn dismiss(ahead: *const Ahead) void {
        if (ahead.made) |made| linux.file.close(made.rest);
        ahead.sandbox.dismiss();
    }
};

/// Whether the plan lets so few processes be that the main one cannot have a successor beside
/// it and the init.
fn leavesNoRoom(plan: *const Plan) bool {
    const least = 3;
    if (plan.config.linux.resources) |resources| if (resources.pids.limit) |limit| if (limit >= 0 and limit < least) return true;
    for (plan.config.process.rlimits) |limit| if (std.mem.eql(u8, limit.type, "RLIMIT_NPROC") and limit.soft < least) return true;
    return false;
}

/// Makes the container of `plan`, in a worker: its init becomes a child of the worker's
/// parent, with our 0 to 2. `arena` is the worker's own.
///
/// Returns `started` with the init's pid, or `failed`; the container says the rest over
/// `status` itself: `terminal`, `held`, `failed`, or nothing when its command runs.
pub fn create(options: Options, arena: std.mem.Allocator, plan: *const Plan, status: fd_t) settings_block.Status {
    var failure: Failure = .{};
    var subject: []const u8 = plan.kurma.id;
    const pid = clone(&failure, options, arena, plan, status, &subject) catch {
        if (options.ahead) |ahead| ahead.dismiss(); // It may wait for more.
        var message: settings_block.Status = .failed(failure, subject);
        message.cgroup = plan.hasCgroup() or options.ahead != null;
        return message;
    };
    return .{ .kind = .started, .pid = pid, .user_namespace = plan.has(.user), .cgroup = plan.hasCgroup() or options.ahead != null };
}

fn clone(failure: *Failure, options: Options, arena: std.mem.Allocator, plan: *const Plan, status: fd_t, subject: *[]const u8) error{Failed}!linux.pid_t {
    if (options.ahead) |ahead| if (ahead.made != null) return ahead.finish(failure, options, arena, plan, subject);
    if (plan.kurma.stage1 and options.stage1 == null) return failure.fail(.plan, .BADF);
    const joined = try join.open(failure, plan, options.containers, subject);
    subject.* = plan.kurma.id;
    const namespace: ?fd_t = if (plan.makes(.user)) try userNamespace(failure, options, plan, status) else joined.user();
    const waiting: ?*const Ahead = if (options.ahead) |ahead| (if (ahead.sandbox.fits(plan)) ahead else null) else null;
    const root: ?*rootfs.Prepared = if (plan.joins(.mount))
        null
    else if (waiting) |ahead|
        try makeTree(&ahead.sandbox, failure, arena, plan, namespace, subject)
    else
        try rootfs.prepare(failure, arena, plan, namespace, subject);
    subject.* = plan.kurma.id;
    const about = try beginState(failure, arena, plan);
    const settings = try describeInit(failure, arena, plan, options, about, subject);
    subject.* = plan.kurma.id;
    // An owner from outside would be unknown inside: first the container's root, who passes
    // them on to the command's user.
    if (namespace != null) stage3.process.giveStreams(userns.hostRoot(plan.config.linux.uidMappings), userns.hostRoot(plan.config.linux.gidMappings));
    const log = if (plan.kurma.log) |wanted| try openLog(failure, plan, wanted, subject) else null;
    const listener = if (plan.kurma.rpc) |path| try openRpc(failure, path, subject) else null;
    const filter_listener = try notify.begin(failure, plan.config.linux.seccomp, about, .creating, subject);
    subject.* = plan.kurma.id;
    if (options.plan_file) |file| try keepPlan(failure, plan, status, file);
    var given: Handover = .{};
    given.add(status, inherited.status);
    given.add(log, inherited.log);
    given.add(listener, inherited.listener);
    given.add(options.ended, inherited.ended);
    given.add(options.rest, inherited.rest);
    given.add(options.stage1, inherited.stage1);
    given.add(filter_listener, inherited.filter_listener);
    if (options.ahead) |ahead| {
        try ahead.cgroup.limit(failure, plan.kurma.id, plan.config.linux.resources);
        if (waiting != null) {
            if (try ahead.sandbox.awaitTree(failure, subject)) |pty| {
                try pty.use(failure, status);
                given.add(pty.master, inherited.terminal);
            }
            if (plan.config.process.oomScoreAdj) |score| try inherited_settings.setOomScore(failure, ahead.sandbox.pid, score, subject);
            try ahead.sandbox.enterNames(failure);
            try setNames(failure, plan, subject);
            for (0..3) |stream| given.add(@intCast(stream), @intCast(stream));
            given.add(settings, inherited.settings);
            try given.send(failure, ahead.sandbox.socket);
            return ahead.sandbox.pid;
        }
        ahead.sandbox.dismiss();
    }
    given.add(settings, inherited.settings);
    var child: Child = .{ .plan = plan, .root = root, .given = &given, .status = status, .about = about, .options = options };
    const unified = if (options.ahead) |ahead|
        try ahead.cgroup.unified(failure, plan.kurma.id)
    else if (plan.hasCgroup())
        try placement.enter(failure, plan.kurma.id, plan.config.linux.resources)
    else
        null;
    const keeper = try host_hooks.Keeper.start(failure, plan, about);
    if (keeper != null) child.gate = try .make(failure);
    const procfs = if (plan.config.linux.timeOffsets.len > 0) try linux.procfs.open(failure) else null;
    try inherited_settings.take(failure, .{ .id = plan.kurma.id, .process = &plan.config.process, .personality = plan.config.linux.personality, .keyring = plan.kurma.keyring, .first = true }, subject);
    // With the host's rights, whoever owns them.
    try joined.enter(failure, subject);
    if (root) |prepared| if (namespace != null) try prepared.makeForeign(failure, plan, subject);
    subject.* = plan.kurma.id;
    try joined.enterMount(failure, subject);
    // Last of all that happens here: the host is out of reach afterwards.
    if (namespace) |fd| try userns.join(failure, fd);
    if (plan.makes(.time)) try clocks.make(failure, plan.config.linux.timeOffsets, procfs);
    // CLONE_PARENT: the container is the child of who asked for it, not of this worker.
    var args: linux.process.CloneArgs = .{ .flags = linux.process.Clone.parent | namespaceFlags(plan) };
    if (unified) |fd| {
        args.flags |= linux.process.Clone.into_cgroup;
        args.cgroup = @intCast(fd);
    }
    const cloned = try failure.check(.clone, linux.process.clone3(&args));
    if (cloned == 0) child.run();
    const pid: linux.pid_t = @intCast(cloned);
    if (keeper) |hooks| {
        // If they fail, the container ends with us: it waits at the gate.
        try hooks.run(failure, pid, subject);
        try child.gate.?.open(failure);
    }
    return pid;
}

/// Has the process in the sandbox make the file systems of `plan`, and enter them.
fn makeTree(sandbox: *const Sandbox, failure: *Failure, arena: std.mem.Allocator, plan: *const Plan, namespace: ?fd_t, subject: *[]const u8) error{Failed}!*rootfs.Prepared {
    try sandbox.givePlan(failure, plan);
    const root = try rootfs.prepare(failure, arena, plan, namespace, subject);
    subject.* = plan.kurma.id;
    try sandbox.giveRoot(failure, root);
    return root;
}

/// What hooks and listeners are told of the container; empty if it has none.
fn beginState(failure: *Failure, arena: std.mem.Allocator, plan: *const Plan) error{Failed}![]const u8 {
    const listens = if (plan.config.linux.seccomp) |filter| filter.listenerPath != null else false;
    if (!plan.config.hooks.any() and !listens) return "";
    return host_hooks.beginState(failure, arena, plan);
}

/// Gives the plan to whoever runs the hooks that come later.
fn keepPlan(failure: *Failure, plan: *const Plan, status: fd_t, file: fd_t) error{Failed}!void {
    if (plan.config.hooks.poststart.len + plan.config.hooks.poststop.len == 0) return;
    const message: settings_block.Status = .of(.hooks);
    try linux.socket.sendPacket(failure, status, std.mem.asBytes(&message), file);
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
    const message: settings_block.Status = .of(.namespace);
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

/// What clone3(2) is to make: the user namespace is made before, and the time namespace.
fn namespaceFlags(plan: *const Plan) u64 {
    var flags: u64 = 0;
    for (plan.config.linux.namespaces) |namespace| {
        if (namespace.path == null and namespace.type != .user and namespace.type != .time) flags |= join.flag(namespace.type);
    }
    return flags;
}

/// The settings of the container's init, in a sealed memory file.
fn describeInit(failure: *Failure, arena: std.mem.Allocator, plan: *const Plan, options: Options, about: []const u8, subject: *[]const u8) error{Failed}!fd_t {
    const block = try process_settings.describe(failure, arena, &plan.config.process, plan.kurma.user, .{ .own = plan.kurma.seccomp, .config = plan.config.linux.seccomp, .landlock = plan.kurma.landlock }, .{
        .status_fd = inherited.status,
        .ready = options.ready,
        .notify_fd = inherited.filter_listener,
        .init = .{
            .state = about,
            .hooks = plan.config.hooks.startContainer,
            .log_fd = if (plan.kurma.log == null) -1 else inherited.log,
            .listener_fd = if (plan.kurma.rpc == null) -1 else inherited.listener,
            .ended_fd = if (options.ended == null) -1 else inherited.ended,
            .terminal_fd = if (plan.config.process.terminal and options.survives) inherited.terminal else -1,
            .rest_fd = if (options.rest == null) -1 else inherited.rest,
            .stage1_fd = if (options.stage1 == null) -1 else inherited.stage1,
            .input = plan.kurma.stdin,
            .log = plan.kurma.log,
            .stop = plan.kurma.stop,
        },
    }, subject);
    return linux.memfd.create(failure, "settings", block, .data);
}

/// The numbers of what the init is given beside 0 to 2.
const inherited = struct {
    const settings = stage3.handover.settings;
    const status = 4;
    const log = 5;
    const listener = 6;
    const ended = 7;
    const terminal = 8;
    const stage1 = 9;
    const filter_listener = 10;
    const rest = stage3.handover.last;
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
    /// Null in a mount namespace that was there before.
    root: ?*rootfs.Prepared = null,
    given: *Handover = undefined,
    status: fd_t = -1,
    gate: ?host_hooks.Gate = null,
    about: []const u8 = "",
    options: Options = .{ .program = -1, .survives = true, .ready = .unsaid },
    failure: Failure = .{},
    subject: []const u8 = "",

    fn run(child: *Child) noreturn {
        child.goOn() catch {};
        settings_block.Status.failed(child.failure, child.subject).tell(child.status);
        linux.process.exit(125);
    }

    fn goOn(child: *Child) error{Failed}!noreturn {
        const failure = &child.failure;
        try settle(failure, child.plan.has(.user), child.plan.makes(.network));
        // After the change of user, which clears it.
        if (!child.options.survives) _ = linux.process.prctl(.SET_PDEATHSIG, @backingInt(os.SIG.KILL));
        if (child.gate) |gate| try gate.await(failure);
        try setNames(failure, child.plan, &child.subject);
        const terminal = try child.enterTree();
        child.subject = child.plan.kurma.id;
        if (terminal) |pty| {
            try pty.use(failure, child.status);
            if (child.options.survives) child.given.add(pty.master, inherited.terminal);
        }
        // Out of the way of the numbers that the init expects.
        const program = try linux.file.duplicateAbove(failure, child.options.program, stage3.handover.last);
        try linux.process.closeOnExecFrom(failure, inherited.settings);
        child.status = inherited.status;
        try child.given.place(failure);
        return becomeInit(failure, program);
    }

    /// Sets what the plan wants to be set, and goes where the container's files are.
    pub fn enterTree(child: *Child) error{Failed}!?rootfs.Terminal {
        try sysctl.apply(&child.failure, child.plan.config.linux.sysctl, &child.subject);
        return if (child.root) |root| child.enterOwn(root) else child.enterJoined();
    }

    fn enterOwn(child: *Child, root: *rootfs.Prepared) error{Failed}!?rootfs.Terminal {
        const terminal = try root.attach(&child.failure, child.plan, &child.subject);
        // Paths are still the host's: the container's root is where the hooks start.
        try host_hooks.run(&child.failure, child.plan, .createContainer, child.about, .creating, os.getpid(), root.root, &child.subject);
        child.subject = "/";
        try root.enter(&child.failure, child.plan);
        return terminal;
    }

    /// The file tree of a mount namespace that the worker has joined.
    fn enterJoined(child: *Child) error{Failed}!?rootfs.Terminal {
        try host_hooks.run(&child.failure, child.plan, .createContainer, child.about, .creating, os.getpid(), null, &child.subject);
        if (!child.plan.config.process.terminal) return null;
        child.subject = "/dev/pts/ptmx";
        const tree = try linux.file.open(&child.failure, "/", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
        return try rootfs.openTerminal(&child.failure, tree, child.plan.config.process.consoleSize);
    }
};

/// Names the UTS namespace of the caller.
fn setNames(failure: *Failure, plan: *const Plan, subject: *[]const u8) error{Failed}!void {
    if (plan.config.hostname) |name| {
        subject.* = name;
        _ = try failure.check(.hostname, os.syscall2(.sethostname, @intFromPtr(name.ptr), name.len));
    }
    if (plan.config.domainname) |name| {
        subject.* = name;
        _ = try failure.check(.hostname, os.syscall2(.setdomainname, @intFromPtr(name.ptr), name.len));
    }
}

/// Becomes the init: the same program, with nothing inherited but what it is told of.
pub fn becomeInit(failure: *Failure, program: fd_t) error{Failed}!noreturn {
    descriptor_limit.restore();
    const argv = [_:null]?[*:0]const u8{"init"};
    const envp = [_:null]?[*:0]const u8{ "INITD_INTERCEPT=1", stage3.init.settings_variable ++ "=" ++ std.fmt.comptimePrint("{d}", .{inherited.settings}), linux.weakness.inherited() };
    return failure.fail(.exec, linux.process.execFd(program, &argv, &envp));
}
