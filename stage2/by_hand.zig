//! One launch by hand, as the original's: `SPAWNER_INTERCEPT=1 kurma [options] -- CMD…`.
//! Joins and makes the namespaces that the options name, builds the file tree, forks,
//! and ends as the command did. The order is the original's; where each step stands for
//! a reason, it says so.

const std = @import("std");
const linux = @import("linux");
const rlimits = @import("rlimits");
const stage3 = @import("stage3");
const options_module = @import("options.zig");
const rootfs = @import("rootfs.zig");
const userns = @import("userns.zig");
const Failure = linux.Failure;
const Namespace = options_module.Namespace;
const Options = options_module.Options;
const Plan = @import("plan.zig");
const file = linux.file;
const mount = linux.mount;
const os = linux.os;
const fd_t = linux.fd_t;

/// EX_OSERR of sysexits.h: descriptors or cgroups are not as they were said to be.
const outside_status = 71;

/// Every other failure.
const failed_status = 1;

/// Carries out what follows the program's name in `args`. Returns the exit status of the
/// command, 128 + n after signal n; 71 or 1, with one line on stderr, if it did not run.
pub fn run(args: []const [*:0]const u8, debug: bool) u8 {
    var launch: Launch = .{ .options = undefined, .debug = debug };
    var problem: options_module.Problem = .{};
    const vector: [*:null]const ?[*:0]const u8 = @ptrCast(args.ptr);
    const first = @min(args.len, 1);
    // For each argument a pointer, a path or a line of a map; no argument is without bytes.
    var bytes: usize = 4096;
    for (args) |word| bytes += 64 + 16 * std.mem.span(word).len;
    const memory = file.mapPrivate(&launch.failure, -1, bytes) catch return launch.report();
    var arena: std.heap.FixedBufferAllocator = .init(memory);
    launch.options = options_module.parse(arena.allocator(), vector[first..args.len :null], &problem) catch |err| {
        say("Cannot launch:", if (err == error.OutOfMemory) "Too many arguments" else problem.text());
        return failed_status;
    };
    return launch.carryOut() catch launch.report();
}

/// One line on stderr; whoever cannot be told there cannot be told at all.
noinline fn say(what: []const u8, subject: []const u8) void {
    var space: [640]u8 = undefined;
    const line = linux.text.print(&space, "kurma: {s} {s}\n", .{ what, subject[0..@min(subject.len, 512)] }) catch unreachable; // Our own short words.
    _ = os.write(2, line.ptr, line.len);
}

const Launch = struct {
    options: Options,
    debug: bool,
    failure: Failure = .{},
    /// What is being worked on, for the message.
    subject: []const u8 = "",
    /// What a failure ends with.
    status: u8 = outside_status,
    /// The caller's, for the command.
    umask: u32 = 0o022,
    /// The container directory as a mount of its own.
    root: ?fd_t = null,

    fn report(launch: *const Launch) u8 {
        var space: [640]u8 = undefined;
        const errno: linux.E = @fromBackingInt(launch.failure.errno);
        const subject = launch.subject[0..@min(launch.subject.len, 512)];
        const why = linux.text.print(&space, "{t} \"{s}\": E{t}", .{ launch.failure.step, subject, errno }) catch unreachable; // It fits.
        say("Cannot launch:", why);
        return launch.status;
    }

    noinline fn trace(launch: *Launch, what: []const u8, subject: []const u8) void {
        launch.subject = subject;
        if (launch.debug) say(what, subject);
    }

    fn carryOut(launch: *Launch) error{Failed}!u8 {
        const failure = &launch.failure;
        const options = &launch.options;
        linux.process.resetSignals();
        launch.umask = @truncate(os.syscall1(.umask, 0)); // Modes are as written here.
        try launch.takeStreams();
        try linux.process.closeRange(failure, 3, std.math.maxInt(u32));
        try launch.enterCgroups();
        launch.status = failed_status;

        // Before all joining: the maps are written from where the caller is.
        launch.subject = "user namespace";
        const own: ?fd_t = if (options.new.contains(.user)) try userns.create(failure, options.uid_map, options.gid_map) else null;
        try launch.join();
        try launch.limit();
        try launch.dropSetId();
        if (options.container_directory) |directory| try launch.copyRoot(directory);
        // First, so that the others belong to it and its root may change them.
        if (own) |namespace| {
            launch.trace("entering", "user namespace");
            try userns.join(failure, namespace);
            try userns.becomeRoot(failure);
        }
        launch.trace("making", "namespaces");
        _ = try failure.check(.clone, os.unshare(launch.flags()));
        if (options.new.contains(.mount)) {
            // Before anything is mounted: the host sees none of it.
            launch.trace("cutting off", "/");
            try mount.makePrivate(failure);
        }
        if (launch.root) |root| try launch.attachRoot(root);
        return launch.fork();
    }

    /// The given descriptors become 0 to 2. First all are copied out of the way: one may
    /// have the number that another is to get.
    fn takeStreams(launch: *Launch) error{Failed}!void {
        const failure = &launch.failure;
        var copies: [3]fd_t = @splat(-1);
        for (launch.options.streams, &copies, [_][]const u8{ "--stdinfd", "--stdoutfd", "--stderrfd" }) |stream, *copy, option| {
            const fd = stream orelse continue;
            launch.trace("taking", option);
            copy.* = try file.duplicateAbove(failure, fd, 2);
        }
        for (copies, 0..) |copy, number| {
            if (copy >= 0) _ = try failure.check(.open, os.dup3(copy, @intCast(number), 0));
        }
    }

    fn enterCgroups(launch: *Launch) error{Failed}!void {
        const failure = &launch.failure;
        var space: [16]u8 = undefined;
        const pid = linux.text.print(&space, "{d}\n", .{os.getpid()}) catch unreachable; // An i32 fits.
        for (launch.options.taskfiles) |path| {
            launch.trace("joining cgroup", path);
            const fd = try file.open(failure, path, .{ .ACCMODE = .WRONLY, .APPEND = true, .CLOEXEC = true }, 0);
            defer file.close(fd);
            try file.writeAll(failure, fd, pid);
        }
    }

    /// All are opened before the first is joined, after which paths may mean other things.
    fn join(launch: *Launch) error{Failed}!void {
        const failure = &launch.failure;
        var opened: std.EnumArray(Namespace, fd_t) = .initFill(-1);
        for (std.enums.values(Namespace)) |namespace| {
            const path = launch.options.join.get(namespace) orelse continue;
            launch.subject = path;
            opened.set(namespace, try file.open(failure, path, .{ .CLOEXEC = true }, 0));
        }
        for (std.enums.values(Namespace)) |namespace| {
            const fd = opened.get(namespace);
            if (fd < 0) continue;
            launch.trace("joining", launch.options.join.get(namespace).?);
            // While we may: the namespace may deny it (user_namespaces(7), setgroups).
            if (namespace == .user) _ = os.setgroups(0, &[0]u32{});
            _ = try failure.check(.clone, os.setns(fd, flag(namespace)));
            file.close(fd);
            // Nobody else may change users in it.
            if (namespace == .user) try stage3.spawn.become(failure, .{ .uid = 0, .gid = 0 });
        }
    }

    fn limit(launch: *Launch) error{Failed}!void {
        const wanted = [_]struct { name: []const u8, value: u32 }{
            .{ .name = "RLIMIT_NOFILE", .value = launch.options.max_open_files },
            .{ .name = "RLIMIT_NPROC", .value = launch.options.max_processes },
        };
        for (wanted) |each| {
            if (each.value == 0) continue;
            launch.trace("setting", each.name);
            const resource = rlimits.resource(each.name).?;
            try rlimits.apply(&launch.failure, &.{.{ .resource = resource, .soft = each.value, .hard = each.value }});
        }
    }

    /// Whoever called, not the owner of a set-id executable, is who launches.
    fn dropSetId(launch: *Launch) error{Failed}!void {
        const failure = &launch.failure;
        launch.subject = "set-id";
        const gid = os.getgid();
        const uid = os.getuid();
        if (os.getegid() != gid) _ = try failure.check(.user, os.setresgid(gid, gid, gid));
        if (os.geteuid() != uid) _ = try failure.check(.user, os.setresuid(uid, uid, uid));
    }

    /// The namespaces to make, but the user namespace, which is made before.
    fn flags(launch: *const Launch) usize {
        var set: u32 = 0;
        for (std.enums.values(Namespace)) |namespace| {
            if (namespace != .user and launch.options.new.contains(namespace)) set |= flag(namespace);
        }
        return set;
    }

    /// The container directory as a detached mount, which no path of the host leads to.
    /// With the caller's rights: the root of a user namespace may not get that far.
    fn copyRoot(launch: *Launch, directory: [:0]const u8) error{Failed}!void {
        const failure = &launch.failure;
        launch.trace("copying", directory);
        const root = try mount.cloneTree(failure, os.AT.FDCWD, directory, true);
        _ = try failure.check(.mount, mount.change(root, .{ .propagation = mount.Propagation.private }, true));
        launch.root = root;
    }

    /// Attaches it at the bind directory, which is where we then are, with its own /dev
    /// and /tmp. The caller's /tmp is behind an empty one.
    fn attachRoot(launch: *Launch, root: fd_t) error{Failed}!void {
        const failure = &launch.failure;
        const options = &launch.options;
        const host = try file.open(failure, "/", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
        defer file.close(host);
        launch.trace("covering", "/tmp");
        try rootfs.mountNew(failure, host, &.{ .destination = "/tmp", .type = "tmpfs", .source = "tmpfs", .options = &.{"mode=0755"} });
        launch.trace("attaching", options.bind_directory);
        const below = std.mem.startsWith(u8, options.bind_directory, "/tmp/");
        const target = if (below)
            try file.makeInRoot(failure, host, options.bind_directory, .directory, 0o755)
        else
            try file.open(failure, options.bind_directory, .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
        defer file.close(target);
        try mount.attach(failure, root, target);
        _ = try failure.check(.chdir, os.fchdir(root));
        if (options.host_privileged) try launch.shareDevices(root) else try launch.makeDevices(root);
        launch.trace("mounting", "/tmp");
        try rootfs.mountNew(failure, root, &.{ .destination = "/tmp", .type = "tmpfs", .source = "tmpfs", .options = &.{"mode=0755"} });
    }

    fn makeDevices(launch: *Launch, root: fd_t) error{Failed}!void {
        const failure = &launch.failure;
        launch.trace("mounting", "/dev");
        const device_options = [_][:0]const u8{ "noexec", "strictatime", "mode=0755" };
        try rootfs.mountNew(failure, root, &.{ .destination = "/dev", .type = "tmpfs", .source = "tmpfs", .options = &device_options });
        const dev = try rootfs.openFolder(failure, root, "/dev");
        defer file.close(dev);
        for (rootfs.devices) |device| try rootfs.bindDevice(failure, dev, device);
        const fuse: rootfs.Device = .{ .name = "fuse", .major = 10, .minor = 229 };
        var absent: Failure = .{};
        // Not every kernel has it.
        rootfs.bindDevice(&absent, dev, fuse) catch if (absent.errno != @backingInt(linux.E.NOENT)) return failure.fail(absent.step, @fromBackingInt(absent.errno));
        for (links) |link| _ = try failure.check(.device, os.symlinkat(link[1], dev, link[0]));
        for (&device_mounts) |*wanted| {
            launch.trace("mounting", wanted.destination);
            try rootfs.mountNew(failure, root, wanted);
        }
    }

    /// The machine's own devices. What is changed in devtmpfs is changed for the host, so
    /// folders that it lacks stay missing, and its ptmx is covered, not replaced.
    fn shareDevices(launch: *Launch, root: fd_t) error{Failed}!void {
        const failure = &launch.failure;
        launch.trace("mounting", "/dev");
        try rootfs.mountNew(failure, root, &.{ .destination = "/dev", .type = "devtmpfs", .source = "devtmpfs" });
        for (&device_mounts) |*wanted| {
            launch.trace("mounting", wanted.destination);
            const folder = openOwn(root, wanted.destination) orelse continue;
            file.close(folder);
            try rootfs.mountNew(failure, root, wanted);
        }
        launch.trace("covering", "/dev/ptmx");
        const ptmx = openOwn(root, "/dev/ptmx") orelse return;
        defer file.close(ptmx);
        const own = openOwn(root, "/dev/pts/ptmx") orelse return;
        defer file.close(own);
        const copy = try mount.cloneTree(failure, own, "", false);
        defer file.close(copy);
        try mount.attach(failure, copy, ptmx);
    }

    fn fork(launch: *Launch) error{Failed}!u8 {
        const failure = &launch.failure;
        launch.subject = std.mem.span(launch.options.command[0].?);
        // Closed by the command's exec, and by nothing else without a byte.
        var pipe: [2]fd_t = undefined;
        _ = try failure.check(.open, os.pipe2(&pipe, .{ .CLOEXEC = true }));
        const args: linux.process.CloneArgs = .{ .exit_signal = @backingInt(os.SIG.CHLD) };
        const pid = try failure.check(.clone, linux.process.clone3(&args));
        if (pid == 0) {
            launch.becomeCommand() catch {};
            const status = launch.report();
            _ = os.write(pipe[1], "!", 1);
            linux.process.exit(status);
        }
        file.close(pipe[1]);
        if (launch.options.detach) {
            var word: [1]u8 = undefined;
            const said = try file.readAll(failure, pipe[0], &word);
            return if (said.len == 0) 0 else failed_status;
        }
        return linux.process.exitStatus(try linux.process.wait(failure, @intCast(pid)));
    }

    /// In the child, which is the first process of a new pid namespace: only now is
    /// /proc what belongs to it.
    fn becomeCommand(launch: *Launch) error{Failed} {
        const failure = &launch.failure;
        const options = &launch.options;
        if (options.new.contains(.mount)) {
            const root = launch.root orelse try file.open(failure, "/", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
            for (&kernel_mounts) |*wanted| {
                launch.trace("mounting", wanted.destination);
                try rootfs.mountNew(failure, root, wanted);
            }
        }
        if (options.chroot) try launch.pivot(launch.root.?);
        try launch.becomeUser();
        linux.process.umask(launch.umask);
        launch.trace("running", std.mem.span(options.command[0].?));
        return stage3.spawn.exec(failure, stage3.spawn.default_path, options.command, options.env);
    }

    fn pivot(launch: *Launch, root: fd_t) error{Failed}!void {
        const failure = &launch.failure;
        launch.trace("pivoting to", launch.options.container_directory.?);
        if (!launch.options.host_privileged) return rootfs.pivot(failure, root);
        // A folder of the image itself, not what a link of that name leads to.
        const host = try rootfs.openFolder(failure, root, "/host");
        file.close(host);
        _ = try failure.check(.pivot, os.fchdir(root));
        _ = try failure.check(.pivot, os.pivot_root(".", "host"));
        _ = try failure.check(.pivot, os.chdir("/"));
    }

    /// Looked up in the tree that is the root by now. Nobody keeps root's groups.
    fn becomeUser(launch: *Launch) error{Failed}!void {
        const failure = &launch.failure;
        const user = launch.options.user;
        const group = launch.options.group;
        if (user == null and group == null) return;
        launch.trace("becoming", user orelse group.?);
        var space: [512]u8 = undefined;
        const spec = linux.text.print(&space, "{s}:{s}", .{ user orelse "", group orelse "" }) catch return failure.fail(.user, .NAMETOOLONG);
        var identity = try stage3.users.lookup(failure, spec);
        if (user == null) identity.uid = os.getuid();
        return stage3.spawn.become(failure, identity);
    }
};

fn flag(namespace: Namespace) u32 {
    const Clone = linux.process.Clone;
    return switch (namespace) {
        .user => Clone.newuser,
        .ipc => Clone.newipc,
        .uts => Clone.newuts,
        .network => Clone.newnet,
        .pid => Clone.newpid,
        .mount => Clone.newns,
    };
}

/// What `path` below `root` is, without links on the way; null if there is none.
fn openOwn(root: fd_t, path: [*:0]const u8) ?fd_t {
    const resolve = file.Resolve.in_root | file.Resolve.no_magiclinks | file.Resolve.no_symlinks;
    const opened = file.openat2(root, path, .{ .PATH = true, .CLOEXEC = true }, 0, resolve);
    return if (os.errno(opened) == .SUCCESS) @intCast(opened) else null;
}

const links = [_][2][:0]const u8{
    .{ "ptmx", "pts/ptmx" },
    .{ "core", "/proc/kcore" },
    .{ "fd", "/proc/self/fd" },
    .{ "kmsg", "console" },
    .{ "stdin", "fd/0" },
    .{ "stdout", "fd/1" },
    .{ "stderr", "fd/2" },
};

const device_mounts = [_]Plan.Mount{
    .{ .destination = "/dev/mqueue", .type = "mqueue", .source = "mqueue", .options = &.{ "noexec", "nosuid", "nodev" } },
    .{ .destination = "/dev/pts", .type = "devpts", .source = "devpts", .options = &.{ "noexec", "nosuid", "newinstance", "ptmxmode=0666" } },
    .{ .destination = "/dev/shm", .type = "tmpfs", .source = "shm", .options = &.{ "noexec", "nosuid", "nodev", "mode=1777", "size=65536k" } },
};

const kernel_mounts = [_]Plan.Mount{
    .{ .destination = "/proc", .type = "proc", .source = "proc", .options = &.{ "nosuid", "noexec", "nodev" } },
    .{ .destination = "/sys", .type = "sysfs", .source = "sysfs", .options = &.{ "nosuid", "noexec", "nodev", "ro" } },
};
