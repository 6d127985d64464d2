//! The container's file tree. `prepare` runs on the host's side and leaves nothing
//! but descriptors; `enter` runs in the cloned child, attaches them below the new
//! root through that root's own descriptor, and leaves the host's tree behind.
//!
//! Source: OCI runtime-spec 1.3, config.md "Mounts", config-linux.md "Default
//! Filesystems", "Default Devices", "Masked Paths".

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const cgroup_mounts = @import("cgroup_mounts.zig");
const device_nodes = @import("device_nodes.zig");
const mount_options = @import("mount_options.zig");
const overlay = @import("overlay.zig");
const plan_module = @import("plan.zig");
const userns = @import("userns.zig");
const Failure = linux.Failure;
const Plan = plan_module.Plan;
const Status = stage3.settings.Status;
const mount = linux.mount;
const file = linux.file;
const os = linux.os;
const fd_t = linux.fd_t;

/// More than any plan has; one that has more is refused.
pub const max_mounts = 256;

/// A pseudo-terminal in the container's own devpts.
pub const Terminal = struct {
    master: fd_t,
    slave: fd_t,

    /// Sends the master out over the status socket and makes the slave our 0 to 2. The
    /// master stays open until exec.
    pub fn use(terminal: Terminal, failure: *Failure, status: fd_t) error{Failed}!void {
        const message: Status = .of(.terminal);
        try linux.socket.sendPacket(failure, status, std.mem.asBytes(&message), terminal.master);
        for (0..3) |stream| _ = try failure.check(.terminal, os.dup3(terminal.slave, @intCast(stream), 0));
        file.close(terminal.slave);
    }
};

pub const Prepared = struct {
    /// Detached mount of the root.
    root: fd_t,
    /// By position in the plan: what is attached there, detached, or -1 if it is made inside.
    binds: [max_mounts]fd_t,
    bind_count: usize,
    /// The devices of the plan.
    devices: ?fd_t = null,

    pub const DescriptorList = [1 + max_mounts]*fd_t;

    /// Where its descriptors are, for who passes them on; without `devices`.
    pub fn descriptors(prepared: *Prepared, space: *DescriptorList) []*fd_t {
        space[0] = &prepared.root;
        var count: usize = 1;
        for (prepared.binds[0..prepared.bind_count]) |*fd| if (fd.* >= 0) {
            space[count] = fd;
            count += 1;
        };
        return space[0..count];
    }

    /// Adds what `makeFileSystems` made.
    pub fn add(prepared: *Prepared, made: *const FileSystems) void {
        for (prepared.binds[0..prepared.bind_count], made[0..prepared.bind_count]) |*slot, fd| if (slot.* < 0) {
            slot.* = fd;
        };
    }

    /// Makes those of the kernel's file systems that show a namespace which is not the
    /// container's own: its root may not, nor can it see more in them than is its to see.
    /// The worker calls it when it has joined what is joined.
    pub fn makeForeign(prepared: *Prepared, failure: *Failure, plan: *const Plan, subject: *[]const u8) error{Failed}!void {
        for (plan.config.mounts, prepared.binds[0..prepared.bind_count]) |*wanted, *slot| {
            const kind = wanted.type orelse continue;
            const foreign = for ([_]struct { []const u8, plan_module.Namespace.Kind }{ .{ "sysfs", .network }, .{ "mqueue", .ipc }, .{ "proc", .pid } }) |shown| {
                // Only a process of a pid namespace can make its procfs.
                if (std.mem.eql(u8, kind, shown[0])) break !plan.makes(shown[1]) and !(shown[1] == .pid and plan.joins(.pid));
            } else false;
            if (!foreign or slot.* >= 0) continue;
            subject.* = wanted.destination;
            slot.* = try makeFileSystem(failure, wanted, mount_options.parse(wanted.options));
        }
    }

    /// Attaches the prepared tree, and all that belongs on it, on top of the root of the
    /// calling process, which is alone in a new mount namespace. Returns the terminal if
    /// the plan wants one. `pivot` comes next.
    pub fn attach(prepared: *Prepared, failure: *Failure, plan: *const Plan, subject: *[]const u8) error{Failed}!?Terminal {
        subject.* = "/";
        // First of all: from here on nothing that we mount is seen by the host.
        try mount.makePrivate(failure);
        subject.* = "/dev/null";
        const null_device = if (linux.weakness.has(.null_device))
            try file.openAt(failure, prepared.root, "dev/null", .{ .PATH = true, .CLOEXEC = true }, 0)
        else
            try openDevice(failure, "/dev/null", 1, 3);
        defer file.close(null_device);
        subject.* = "/";
        // pivot_root(2) wants the new root to be a mount in this namespace. On top of the
        // old root it needs no path; both are ours alone now.
        const top = try file.open(failure, "/", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
        try mount.attach(failure, prepared.root, top);
        file.close(top);

        for (plan.config.mounts, 0..) |*wanted, index| {
            subject.* = wanted.destination;
            try prepared.attachOne(failure, wanted, index);
        }
        subject.* = "/dev";
        try makeDevices(failure, prepared.root, plan.has(.user));
        const terminal = if (plan.config.process.terminal) try openTerminal(failure, prepared.root, plan.config.process.consoleSize) else null;
        if (terminal) |pty| try bindConsole(failure, prepared.root, pty);
        if (prepared.devices) |nodes| try device_nodes.attach(failure, plan, nodes, prepared.root, subject);
        subject.* = plan.config.process.cwd;
        file.close(try file.makeInRoot(failure, prepared.root, plan.config.process.cwd, .directory, 0o755));

        for (plan.config.linux.readonlyPaths) |path| {
            if (linux.weakness.has(.readonly_paths)) break;
            subject.* = path;
            try makeReadonly(failure, prepared.root, path);
        }
        var covers: Covers = .{ .file = null_device };
        defer covers.close();
        for (plan.config.linux.maskedPaths) |path| {
            if (linux.weakness.has(.masked_paths)) break;
            subject.* = path;
            try mask(failure, prepared.root, &covers, path);
        }
        subject.* = "/";
        if (plan.config.root.readonly) {
            const readonly: mount.Attributes = .{ .readonly = true };
            _ = try failure.check(.readonly, mount.change(prepared.root, .{ .set = @bitCast(readonly) }, false));
        }
        return terminal;
    }

    /// Makes the attached tree the root, and lets go of the one below.
    pub fn enter(prepared: *Prepared, failure: *Failure, plan: *const Plan) error{Failed}!void {
        try pivot(failure, prepared.root);
        // Not earlier: a shared mount is no root to pivot to, an unbindable one has no parts
        // to protect.
        const name = plan.config.linux.rootfsPropagation orelse return;
        const wanted = mount_options.propagationOf(name).?; // plan_check.zig
        _ = try failure.check(.mount, mount.change(prepared.root, .{ .propagation = wanted.kind }, wanted.whole));
    }

    fn attachOne(prepared: *Prepared, failure: *Failure, wanted: *const plan_module.Mount, index: usize) error{Failed}!void {
        const made = prepared.binds[index];
        if (made < 0) {
            if (cgroup_mounts.are(wanted)) return cgroup_mounts.attach(failure, prepared.root, wanted);
            return mountNew(failure, prepared.root, wanted);
        }
        const options = mount_options.parse(wanted.options);
        if (options.bind == .none) return attachNew(failure, prepared.root, wanted, options, made);
        const target = try makeTarget(failure, prepared.root, wanted, try isDirectory(failure, made));
        defer file.close(target);
        return mount.attach(failure, made, target);
    }
};

/// Makes the attached mount `root` the root and lets go of the old tree. With both
/// arguments ".", the old root ends up below the new one and needs no folder in the image.
pub fn pivot(failure: *Failure, root: fd_t) error{Failed}!void {
    _ = try failure.check(.pivot, os.fchdir(root));
    _ = try failure.check(.pivot, os.pivot_root(".", "."));
    _ = try failure.check(.pivot, os.umount2(".", os.MNT.DETACH));
    _ = try failure.check(.pivot, os.chdir("/"));
}

/// Opens all that the host gives: layers and what is bound. With a user `namespace`, the
/// owners of the layers' files are what it maps them to.
pub fn prepare(failure: *Failure, arena: std.mem.Allocator, plan: *const Plan, namespace: ?fd_t, subject: *[]const u8) error{Failed}!*Prepared {
    if (plan.config.mounts.len > max_mounts) return failure.fail(.plan, .@"2BIG");
    const prepared = arena.create(Prepared) catch return failure.fail(.plan, .NOMEM);
    prepared.* = .{ .root = -1, .binds = undefined, .bind_count = 0 };
    errdefer for (prepared.binds[0..prepared.bind_count]) |fd| if (fd >= 0) file.close(fd);
    for (plan.config.mounts) |*wanted| {
        subject.* = wanted.source orelse wanted.destination;
        prepared.binds[prepared.bind_count] = try openBind(failure, wanted, namespace);
        prepared.bind_count += 1;
    }
    prepared.devices = try device_nodes.make(failure, plan, subject);
    prepared.root = try openRoot(failure, arena, plan, namespace, subject);
    return prepared;
}

/// A device of the tree we came with. A file or another device that took its name is
/// refused: it would mask nothing, or give what nobody asked for.
fn openDevice(failure: *Failure, path: [:0]const u8, major: u32, minor: u32) error{Failed}!fd_t {
    const fd = try file.open(failure, path, .{ .PATH = true, .NOFOLLOW = true, .CLOEXEC = true }, 0);
    errdefer file.close(fd);
    const stat = try file.stat(failure, fd);
    const found = stat.mode & os.S.IFMT == os.S.IFCHR and stat.rdev_major == major and stat.rdev_minor == minor;
    if (!found) return failure.fail(.device, .NODEV);
    return fd;
}

fn openBind(failure: *Failure, wanted: *const plan_module.Mount, namespace: ?fd_t) error{Failed}!fd_t {
    const options = mount_options.parse(wanted.options);
    if (options.bind == .none) return -1;
    for (wanted.options) |name| if (mount_options.forFileSystem(name)) return failure.fail(.plan, .INVAL);
    const source = wanted.source orelse return failure.fail(.plan, .INVAL);
    const tree = try cloneSource(failure, source, wanted.subPath, options.bind == .rbind);
    errdefer file.close(tree);
    // A copy starts with the propagation of its source: shared mounts would carry what
    // the container mounts back to the host.
    const propagation = options.propagation orelse mount_options.Propagation{ .kind = mount.Propagation.private, .whole = true };
    _ = try failure.check(.mount, mount.change(tree, .{ .propagation = propagation.kind }, propagation.whole));
    _ = try failure.check(.mount, mount.change(tree, .{ .set = options.set, .clear = options.clear }, false));
    if (options.whole_set | options.whole_clear != 0) {
        _ = try failure.check(.mount, mount.change(tree, .{ .set = options.whole_set, .clear = options.whole_clear }, true));
    }
    if (wanted.uidMappings.len > 0 or options.idmap != .none) try mapOwners(failure, tree, wanted, options.idmap == .ridmap, namespace);
    return tree;
}

/// A copy of what is at `source`, or at `sub_path` below it. What lies there was written by
/// containers, so no link is followed: one that is put in place while we look leads nowhere
/// (CVE-2021-25741).
fn cloneSource(failure: *Failure, source: [:0]const u8, sub_path: ?[:0]const u8, whole: bool) error{Failed}!fd_t {
    const below = sub_path orelse return mount.cloneTree(failure, os.AT.FDCWD, source, whole);
    const top = try file.open(failure, source, .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
    defer file.close(top);
    const resolve = file.Resolve.beneath | file.Resolve.no_symlinks | file.Resolve.no_magiclinks;
    const found: fd_t = @intCast(try failure.check(.open, file.openat2(top, below, .{ .PATH = true, .CLOEXEC = true }, 0, resolve)));
    defer file.close(found);
    return mount.cloneTree(failure, found, "", whole);
}

/// Shows the files of `tree` as of other owners: by the mount's own mappings, or as the
/// container's `namespace` has it. The mount keeps the user namespace that holds them.
fn mapOwners(failure: *Failure, tree: fd_t, wanted: *const plan_module.Mount, whole: bool, namespace: ?fd_t) error{Failed}!void {
    const idmap: mount.Attributes = .{ .idmap = true };
    const own = if (wanted.uidMappings.len > 0) try userns.create(failure, wanted.uidMappings, wanted.gidMappings) else null;
    defer if (own) |fd| file.close(fd);
    const mapping = own orelse namespace.?; // plan_check.zig: one of both is there.
    _ = try failure.check(.idmap, mount.change(tree, .{ .set = @bitCast(idmap), .userns_fd = @intCast(mapping) }, whole));
}

/// The root as a detached mount: the image's layers under a writable one, or a folder.
fn openRoot(failure: *Failure, arena: std.mem.Allocator, plan: *const Plan, namespace: ?fd_t, subject: *[]const u8) error{Failed}!fd_t {
    if (plan.kurma.layers.len == 0) {
        const path = plan.config.root.path orelse return failure.fail(.plan, .INVAL);
        subject.* = path;
        const tree = try mount.cloneTree(failure, os.AT.FDCWD, path, true);
        errdefer file.close(tree);
        // A copy starts as a peer of its source. Only who is to see what is mounted there later
        // stays a slave of it.
        const wanted = if (plan.config.linux.rootfsPropagation) |name| mount_options.propagationOf(name).?.kind else 0;
        const kind: u64 = if (wanted == mount.Propagation.slave) wanted else mount.Propagation.private;
        _ = try failure.check(.mount, mount.change(tree, .{ .propagation = kind }, true));
        return tree;
    }

    const layers = arena.alloc(fd_t, plan.kurma.layers.len) catch return failure.fail(.plan, .NOMEM);
    var opened: usize = 0;
    defer for (layers[0..opened]) |fd| file.close(fd);
    for (plan.kurma.layers) |path| {
        subject.* = path;
        layers[opened] = try openMapped(failure, path, namespace);
        opened += 1;
    }
    subject.* = plan.kurma.scratch;
    const writable: overlay.Writable = try .open(failure, plan.kurma.scratch);
    defer writable.close();
    // What the container writes has the ids that it has on the host: the folder above
    // all is its root's. The kernel would make `work` as an unmapped user if it were mapped.
    if (namespace != null) {
        const uid = userns.hostRoot(plan.config.linux.uidMappings);
        const gid = userns.hostRoot(plan.config.linux.gidMappings);
        _ = try failure.check(.idmap, os.fchownat(writable.upper, "", uid, gid, os.AT.EMPTY_PATH));
    }
    const assembled: overlay.Layers = .{ .paths = plan.kurma.layers, .fds = layers, .mapped = namespace != null, .scratch = plan.kurma.scratch, .ephemeral = plan.kurma.ephemeral };
    return assembled.assemble(failure, &writable, subject);
}

/// The folder `path`; with a user namespace as a mount of its own through which the ids
/// of that namespace's root, 0 and up, are what the disk has.
fn openMapped(failure: *Failure, path: [:0]const u8, namespace: ?fd_t) error{Failed}!fd_t {
    const user = namespace orelse return file.open(failure, path, .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0);
    const tree = try mount.cloneTree(failure, os.AT.FDCWD, path, false);
    errdefer file.close(tree);
    const idmap: mount.Attributes = .{ .idmap = true };
    _ = try failure.check(.idmap, mount.change(tree, .{ .set = @bitCast(idmap), .userns_fd = @intCast(user) }, false));
    return tree;
}

/// Makes the file system that `wanted` describes and attaches it below `root`.
pub fn mountNew(failure: *Failure, root: fd_t, wanted: *const plan_module.Mount) error{Failed}!void {
    const options = mount_options.parse(wanted.options);
    const made = try makeFileSystem(failure, wanted, options);
    defer file.close(made);
    return attachNew(failure, root, wanted, options, made);
}

fn attachNew(failure: *Failure, root: fd_t, wanted: *const plan_module.Mount, options: mount_options.Options, made: fd_t) error{Failed}!void {
    const target = try makeTarget(failure, root, wanted, true);
    defer file.close(target);
    try mount.attach(failure, made, target);
    if (options.propagation) |propagation| {
        _ = try failure.check(.mount, mount.change(made, .{ .propagation = propagation.kind }, propagation.whole));
    }
}

/// By position in the plan: a file system that is not attached yet, or -1.
pub const FileSystems = [max_mounts]fd_t;

/// Makes those that `attach` would make when it comes to them.
pub fn makeFileSystems(failure: *Failure, plan: *const Plan, made: *FileSystems, subject: *[]const u8) error{Failed}!void {
    @memset(made, -1);
    if (plan.config.mounts.len > max_mounts) return; // `prepare` refuses it.
    for (plan.config.mounts, made[0..plan.config.mounts.len]) |*wanted, *slot| {
        const options = mount_options.parse(wanted.options);
        if (options.bind != .none or cgroup_mounts.are(wanted)) continue;
        subject.* = wanted.destination;
        slot.* = try makeFileSystem(failure, wanted, options);
    }
}

/// A new file system of the type that `wanted` names, detached.
fn makeFileSystem(failure: *Failure, wanted: *const plan_module.Mount, options: mount_options.Options) error{Failed}!fd_t {
    const kind = wanted.type orelse return failure.fail(.plan, .INVAL);
    const fs: mount.FileSystem = try .open(failure, kind);
    defer fs.close();
    if (wanted.source) |source| _ = fs.setString("source", source); // Only a label here.
    for (wanted.options) |name| {
        if (!mount_options.forFileSystem(name)) continue;
        const equals = std.mem.findScalar(u8, name, '=') orelse {
            _ = try failure.check(.mount, fs.setFlag(name));
            continue;
        };
        var key: [64]u8 = undefined;
        if (equals >= key.len) return failure.fail(.mount, .INVAL);
        @memcpy(key[0..equals], name[0..equals]);
        key[equals] = 0;
        _ = try failure.check(.mount, fs.setString(key[0..equals :0], name[equals + 1 ..]));
    }
    const made = try fs.mount(failure, @bitCast(options.set));
    errdefer file.close(made);
    if (options.whole_set | options.whole_clear != 0) {
        _ = try failure.check(.mount, mount.change(made, .{ .set = options.whole_set, .clear = options.whole_clear }, true));
    }
    return made;
}

/// The place where `wanted` is attached, made if it is missing. The kernel's own file
/// systems go only to a real folder of that name: behind a symlink of the image, what
/// is written to /proc later would go elsewhere.
pub fn makeTarget(failure: *Failure, root: fd_t, wanted: *const plan_module.Mount, directory: bool) error{Failed}!fd_t {
    const kernel_types = [_][]const u8{ "proc", "sysfs", "cgroup", "cgroup2" };
    const kernels = for (kernel_types) |name| {
        if (wanted.type != null and std.mem.eql(u8, wanted.type.?, name)) break true;
    } else false;
    if (kernels and !linux.weakness.has(.kernel_folders)) return openFolder(failure, root, wanted.destination);
    return file.makeInRoot(failure, root, wanted.destination, if (directory) .directory else .file, 0o755);
}

/// The folder `path` itself, made if it is missing: behind no symlink of the image.
pub fn openFolder(failure: *Failure, root: fd_t, path: [:0]const u8) error{Failed}!fd_t {
    const resolve = file.Resolve.in_root | file.Resolve.no_magiclinks | file.Resolve.no_symlinks;
    const opened = file.openat2(root, path, .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0, resolve);
    switch (os.errno(opened)) {
        .SUCCESS => return @intCast(opened),
        .NOENT => return file.makeInRoot(failure, root, path, .directory, 0o755),
        else => |errno| return failure.fail(.mount, errno),
    }
}

fn isDirectory(failure: *Failure, fd: fd_t) error{Failed}!bool {
    const stat = try file.stat(failure, fd);
    return stat.mode & os.S.IFMT == os.S.IFDIR;
}

/// What masks: the null device, and an empty read-only folder, made when it is first wanted.
const Covers = struct {
    file: fd_t,
    folder: ?fd_t = null,

    /// A detached mount. Copies of the first folder share its file system.
    fn take(covers: *Covers, failure: *Failure, directory: bool) error{Failed}!fd_t {
        if (!directory) return mount.cloneTree(failure, covers.file, "", false);
        if (covers.folder) |folder| return mount.cloneTree(failure, folder, "", false);
        covers.folder = try emptyFolder(failure);
        return covers.folder.?;
    }

    fn close(covers: *Covers) void {
        if (covers.folder) |folder| file.close(folder);
    }
};

fn emptyFolder(failure: *Failure) error{Failed}!fd_t {
    const fs: mount.FileSystem = try .open(failure, "tmpfs");
    defer fs.close();
    _ = fs.setString("nr_inodes", "2");
    _ = fs.setString("mode", "0555");
    return fs.mount(failure, .{ .readonly = true, .nosuid = true, .nodev = true, .noexec = true });
}

/// Hides `path`: a file behind the null device, a folder behind an empty read-only
/// one. What does not exist needs no hiding.
fn mask(failure: *Failure, root: fd_t, covers: *Covers, path: [:0]const u8) error{Failed}!void {
    const opened = file.openat2(root, path, .{ .PATH = true, .CLOEXEC = true }, 0, file.Resolve.in_root | file.Resolve.no_magiclinks);
    switch (os.errno(opened)) {
        .SUCCESS => {},
        .NOENT, .NOTDIR => return,
        else => |errno| return failure.fail(.mask, errno),
    }
    const target: fd_t = @intCast(opened);
    defer file.close(target);
    const cover = try covers.take(failure, try isDirectory(failure, target));
    defer if (cover != covers.folder) file.close(cover);
    try mount.attach(failure, cover, target);
}

/// Binds `path` on itself, read-only. What does not exist needs no protection.
fn makeReadonly(failure: *Failure, root: fd_t, path: [:0]const u8) error{Failed}!void {
    const opened = file.openat2(root, path, .{ .PATH = true, .CLOEXEC = true }, 0, file.Resolve.in_root | file.Resolve.no_magiclinks);
    switch (os.errno(opened)) {
        .SUCCESS => {},
        .NOENT, .NOTDIR => return,
        else => |errno| return failure.fail(.readonly, errno),
    }
    const target: fd_t = @intCast(opened);
    defer file.close(target);
    const copy = try mount.cloneTree(failure, target, "", true);
    defer file.close(copy);
    const readonly: mount.Attributes = .{ .readonly = true };
    _ = try failure.check(.readonly, mount.change(copy, .{ .set = @bitCast(readonly) }, true));
    try mount.attach(failure, copy, target);
}

pub const Device = struct { name: [:0]const u8, major: u32, minor: u32 };

pub const devices = [_]Device{
    .{ .name = "null", .major = 1, .minor = 3 },
    .{ .name = "zero", .major = 1, .minor = 5 },
    .{ .name = "full", .major = 1, .minor = 7 },
    .{ .name = "random", .major = 1, .minor = 8 },
    .{ .name = "urandom", .major = 1, .minor = 9 },
    .{ .name = "tty", .major = 5, .minor = 0 },
};

const links = [_][2][:0]const u8{
    .{ "ptmx", "pts/ptmx" },
    .{ "fd", "/proc/self/fd" },
    .{ "stdin", "/proc/self/fd/0" },
    .{ "stdout", "/proc/self/fd/1" },
    .{ "stderr", "/proc/self/fd/2" },
};

/// The devices and links that every container has. Made on /dev's own descriptor, which
/// is a file system of this container: a name that the image put there is replaced by none.
///
/// In a user namespace no device can be made, but one of the host's can be bound.
fn makeDevices(failure: *Failure, root: fd_t, bind: bool) error{Failed}!void {
    const resolve = file.Resolve.in_root | file.Resolve.no_magiclinks | file.Resolve.no_symlinks;
    const dev: fd_t = @intCast(try failure.check(.device, file.openat2(root, "/dev", .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0, resolve)));
    defer file.close(dev);
    for (devices) |device| {
        if (bind) {
            try bindDevice(failure, dev, device);
            continue;
        }
        const made = os.mknodat(dev, device.name, os.S.IFCHR | 0o666, file.deviceNumber(device.major, device.minor));
        if (os.errno(made) != .EXIST) _ = try failure.check(.device, made);
    }
    for (links) |link| {
        const made = os.symlinkat(link[1], dev, link[0]);
        if (os.errno(made) != .EXIST) _ = try failure.check(.device, made);
    }
}

/// Binds a device of the tree we came with into `dev`.
pub fn bindDevice(failure: *Failure, dev: fd_t, device: Device) error{Failed}!void {
    var path: [32]u8 = undefined;
    const host = linux.text.printZ(&path, "/dev/{s}", .{device.name}) catch unreachable; // Names of ours.
    const source = try openDevice(failure, host, device.major, device.minor);
    defer file.close(source);
    const copy = try mount.cloneTree(failure, source, "", false);
    defer file.close(copy);
    const made = os.mknodat(dev, device.name, os.S.IFREG | 0o666, 0);
    if (os.errno(made) != .EXIST) _ = try failure.check(.device, made);
    try mount.attachAt(failure, copy, dev, device.name);
}

/// A terminal from the container's devpts, by descriptors all along: the name /dev/pts/0
/// could be anything by the time somebody opens it.
///
/// Source: devpts in Documentation/filesystems; ioctl_tty(2), TIOCGPTPEER.
pub fn openTerminal(failure: *Failure, root: fd_t, size: ?plan_module.ConsoleSize) error{Failed}!Terminal {
    const resolve = file.Resolve.in_root | file.Resolve.no_magiclinks | file.Resolve.no_symlinks;
    const master: fd_t = @intCast(try failure.check(.terminal, file.openat2(root, "/dev/pts/ptmx", .{ .ACCMODE = .RDWR, .NOCTTY = true, .CLOEXEC = true }, 0, resolve)));
    errdefer file.close(master);
    const unlock: u32 = 0;
    const set_lock = 0x40045431; // TIOCSPTLCK
    const get_peer = 0x5441; // TIOCGPTPEER
    _ = try failure.check(.terminal, os.ioctl(master, set_lock, @intFromPtr(&unlock)));
    const flags: os.O = .{ .ACCMODE = .RDWR, .NOCTTY = true, .CLOEXEC = true };
    const slave: fd_t = @intCast(try failure.check(.terminal, os.ioctl(master, get_peer, @as(u32, @bitCast(flags)))));
    errdefer file.close(slave);
    // Before the command can ask for it.
    if (size) |given| {
        const window: std.posix.winsize = .{ .row = given.height, .col = given.width, .xpixel = 0, .ypixel = 0 };
        const set_size = 0x5414; // TIOCSWINSZ
        _ = try failure.check(.terminal, os.ioctl(master, set_size, @intFromPtr(&window)));
    }
    return .{ .master = master, .slave = slave };
}

/// Binds the terminal to /dev/console, where programs that are the only one look for it.
fn bindConsole(failure: *Failure, root: fd_t, terminal: Terminal) error{Failed}!void {
    const console = try file.makeInRoot(failure, root, "/dev/console", .file, 0o620);
    defer file.close(console);
    const bound = try mount.cloneTree(failure, terminal.slave, "", false);
    defer file.close(bound);
    try mount.attach(failure, bound, console);
}
