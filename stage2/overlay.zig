//! The image's layers under a writable one, as a detached mount.
//!
//! Linux takes the layers by descriptor since 6.13, and since 6.15 also those that are in
//! no mount namespace, as a mount is that shows files with other ids. Before that they have
//! to be in the namespace of who mounts them. So the caller makes one for as long as that takes.
//!
//! Source: Documentation/filesystems/overlayfs.rst; clone_private_mount() in fs/namespace.c.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const file = linux.file;
const mount = linux.mount;
const os = linux.os;
const fd_t = linux.fd_t;

const folder: os.O = .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true };

pub const Layers = struct {
    /// The lowest first.
    paths: []const [:0]const u8,
    /// What is at the paths: with `mapped` a detached mount of its own.
    fds: []fd_t,
    mapped: bool,
    /// The folder for what is written.
    scratch: [:0]const u8,
    ephemeral: bool,

    /// Mounts them on top of each other and under `writable`. The caller keeps the descriptors,
    /// some of which may be others than before.
    ///
    /// What is `ephemeral` is never read again, so its writes need not reach the disk
    /// (`volatile`): neither an fsync(2) inside nor the end of the mount waits for it.
    pub fn assemble(layers: *const Layers, failure: *Failure, writable: *const Writable, subject: *[]const u8) error{Failed}!fd_t {
        if (try layers.byDescriptor(failure, writable)) |root| return root;
        const host: Host = try .leave(failure);
        const root = try layers.inOwnNamespace(failure, subject);
        try host.comeBack(failure);
        return root;
    }

    /// Null where the kernel does not take them like this.
    fn byDescriptor(layers: *const Layers, failure: *Failure, writable: *const Writable) error{Failed}!?fd_t {
        const fs: mount.FileSystem = try .open(failure, "overlay");
        defer fs.close();
        var index = layers.fds.len;
        while (index > 0) : (index -= 1) {
            const set = fs.setFd("lowerdir+", layers.fds[index - 1]);
            switch (os.errno(set)) {
                .INVAL, .OPNOTSUPP => return null,
                else => _ = try failure.check(.mount, set),
            }
        }
        // Writable it is anyway.
        const flag = if (layers.ephemeral) "volatile" else "rw";
        const rest = [_]usize{ fs.setFd("upperdir", writable.upper), fs.setFd("workdir", writable.work), fs.setFlag(flag) };
        for (rest) |set| _ = try failure.check(.mount, set);
        var trying: Failure = .{};
        return fs.mount(&trying, .{}) catch |err| {
            if (layers.mapped and trying.errno == @backingInt(os.E.INVAL)) return null;
            failure.* = trying;
            return err;
        };
    }

    /// All that is mounted here ends with the namespace; overlay has its own copies by then.
    fn inOwnNamespace(layers: *const Layers, failure: *Failure, subject: *[]const u8) error{Failed}!fd_t {
        for (layers.paths, layers.fds) |path, *layer| {
            subject.* = path;
            const here = try file.open(failure, path, folder, 0);
            const unused = if (layers.mapped) here else layer.*;
            if (layers.mapped) try mount.attach(failure, layer.*, here) else layer.* = here;
            file.close(unused);
        }
        subject.* = layers.scratch;
        const writable: Writable = try .open(failure, layers.scratch);
        defer writable.close();

        // fsconfig(2) takes 255 bytes, mount(2) a page. In this folder a layer is a number and
        // a colon, so that as many fit as overlay takes.
        _ = try failure.check(.mount, os.chdir("/proc/self/fd"));
        var text: [4096]u8 = undefined;
        const options = layers.describe(&text, &writable) catch return failure.fail(.mount, .@"2BIG");
        var number: [16]u8 = undefined;
        const target = linux.text.printZ(&number, "{d}", .{writable.upper}) catch unreachable; // It fits.
        const mounted = os.mount("none", target, "overlay", 0, @intFromPtr(options.ptr));
        // Before Linux 5.19 overlay takes nothing that is mapped.
        const refused = layers.mapped and os.errno(mounted) == .INVAL;
        _ = try failure.check(if (refused) .idmap else .mount, mounted);
        const top = try file.openAt(failure, writable.scratch, "upper", folder, 0);
        defer file.close(top);
        return mount.cloneTree(failure, top, "", false);
    }

    fn describe(layers: *const Layers, buffer: *[4096]u8, writable: *const Writable) error{NoSpaceLeft}![:0]const u8 {
        var len = (try linux.text.print(buffer, "volatile,upperdir={d},workdir={d},lowerdir", .{ writable.upper, writable.work })).len;
        var index = layers.fds.len;
        while (index > 0) : (index -= 1) {
            const first = index == layers.fds.len;
            len += (try linux.text.print(buffer[len..], "{s}{d}", .{ if (first) "=" else ":", layers.fds[index - 1] })).len;
        }
        if (len == buffer.len) return error.NoSpaceLeft;
        buffer[len] = 0;
        const start = if (layers.ephemeral) 0 else "volatile,".len;
        return buffer[start..len :0];
    }
};

/// What of the container is written to the disk.
pub const Writable = struct {
    scratch: fd_t,
    upper: fd_t,
    work: fd_t,

    /// `path` has the folders `upper` and `work`. Who fails ends, hence nothing is closed then.
    pub noinline fn open(failure: *Failure, path: [:0]const u8) error{Failed}!Writable {
        const scratch = try file.open(failure, path, folder, 0);
        return .{
            .scratch = scratch,
            .upper = try file.openAt(failure, scratch, "upper", folder, 0),
            .work = try file.openAt(failure, scratch, "work", folder, 0),
        };
    }

    pub noinline fn close(writable: *const Writable) void {
        for ([_]fd_t{ writable.scratch, writable.upper, writable.work }) |fd| file.close(fd);
    }
};

/// The mount namespace that the process was in, and its folders there.
const Host = struct {
    namespace: fd_t,
    root: fd_t,
    working: fd_t,

    /// Goes on in a new one, from which nothing gets back.
    fn leave(failure: *Failure) error{Failed}!Host {
        const host: Host = .{
            .namespace = try file.open(failure, "/proc/self/ns/mnt", .{ .CLOEXEC = true }, 0),
            .root = try file.open(failure, "/", folder, 0),
            .working = try file.open(failure, ".", folder, 0),
        };
        _ = try failure.check(.namespace, os.unshare(linux.process.Clone.newns));
        try mount.makePrivate(failure);
        return host;
    }

    fn comeBack(host: *const Host, failure: *Failure) error{Failed}!void {
        // setns(2) leads to the top of the namespace, where the process need not have been.
        const steps = [_]usize{
            os.setns(host.namespace, linux.process.Clone.newns),
            os.fchdir(host.root),
            os.chroot("."),
            os.fchdir(host.working),
        };
        for (steps) |step| _ = try failure.check(.namespace, step);
        for ([_]fd_t{ host.namespace, host.root, host.working }) |fd| file.close(fd);
    }
};
