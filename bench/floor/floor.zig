//! What the kernel alone takes to start a container: clone3(2) with the namespaces
//! that `kurma run` makes, an overlay root, /proc, /dev, pivot_root(2), execve(2) of a
//! static program, and its exit. No parsing, no checks, no heap: whatever Kurma takes
//! beyond this is Kurma's.
//!
//!   floor LOWER SCRATCH PROGRAM [ARG...]
//!
//! LOWER is the image's folder, with proc/ and dev/ in it. SCRATCH holds the empty
//! folders upper/, work/ and merged/. PROGRAM is a path inside the image. On stdout:
//! `{"exec_us":N,"exit_us":N}`, from just before the clone until the program was
//! exec'ed, and until it had ended.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Failure = linux.Failure;
const Clone = linux.process.Clone;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

const Device = struct { name: [*:0]const u8, major: u32, minor: u32 };

const devices = [_]Device{
    .{ .name = "null", .major = 1, .minor = 3 },
    .{ .name = "zero", .major = 1, .minor = 5 },
    .{ .name = "full", .major = 1, .minor = 7 },
    .{ .name = "random", .major = 1, .minor = 8 },
    .{ .name = "urandom", .major = 1, .minor = 9 },
    .{ .name = "tty", .major = 5, .minor = 0 },
};

const namespaces = Clone.newns | Clone.newpid | Clone.newipc | Clone.newuts | Clone.newcgroup | Clone.newnet;

pub fn main(start: std.process.Init.Minimal) u8 {
    const args = start.args.vector;
    if (args.len < 4) return 64;
    var failure: Failure = .{};
    return measure(&failure, args) catch complain(failure);
}

fn complain(failure: Failure) u8 {
    var buffer: [128]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, "floor: cannot {s}: errno {d}\n", .{ @tagName(failure.step), failure.errno }) catch return 1;
    var ignored: Failure = .{}; // Without a stderr there is nobody to tell.
    linux.file.writeAll(&ignored, 2, text) catch return 1;
    return 1;
}

fn measure(failure: *Failure, args: []const [*:0]const u8) error{Failed}!u8 {
    // With CLONE_VFORK we sleep until the child's exec: waking up is the measure. The
    // memory is not shared, so the child may use its stack as it likes.
    const before = now();
    const child = try failure.check(.clone, linux.process.clone3(&.{
        .flags = namespaces | Clone.vfork,
        .exit_signal = @backingInt(os.SIG.CHLD),
    }));
    if (child == 0) run(failure, args) catch linux.process.exit(complain(failure.*));
    const exec_us = now() - before;
    const status = linux.process.exitStatus(try linux.process.wait(failure, @intCast(child)));
    const exit_us = now() - before;
    if (status != 0) return status;

    var buffer: [96]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, "{{\"exec_us\":{d},\"exit_us\":{d}}}\n", .{ exec_us, exit_us }) catch return 1;
    try linux.file.writeAll(failure, 1, text);
    return 0;
}

/// The child: becomes the program inside its own root.
fn run(failure: *Failure, args: []const [*:0]const u8) error{Failed}!noreturn {
    try linux.mount.makePrivate(failure);
    try linux.net.loopbackUp(failure);

    _ = try failure.check(.chdir, os.chdir(args[2]));
    const overlay: linux.mount.FileSystem = try .open(failure, "overlay");
    _ = try failure.check(.mount, overlay.setString("lowerdir", args[1]));
    _ = try failure.check(.mount, overlay.setString("upperdir", "upper"));
    _ = try failure.check(.mount, overlay.setString("workdir", "work"));
    const root = try overlay.mount(failure, .{});
    const directory: os.O = .{ .PATH = true, .DIRECTORY = true };
    try linux.mount.attach(failure, root, try linux.file.open(failure, "merged", directory, 0));
    _ = try failure.check(.chdir, os.fchdir(root));

    const proc: linux.mount.FileSystem = try .open(failure, "proc");
    const proc_mount = try proc.mount(failure, .{ .nosuid = true, .nodev = true, .noexec = true });
    try linux.mount.attach(failure, proc_mount, try linux.file.openAt(failure, root, "proc", directory, 0));

    const tmpfs: linux.mount.FileSystem = try .open(failure, "tmpfs");
    _ = try failure.check(.mount, tmpfs.setString("mode", "755"));
    const dev = try tmpfs.mount(failure, .{ .nosuid = true, .noexec = true });
    for (devices) |device| {
        _ = try failure.check(.device, os.mknodat(dev, device.name, os.S.IFCHR | 0o666, device.major << 8 | device.minor));
    }
    try linux.mount.attach(failure, dev, try linux.file.openAt(failure, root, "dev", directory, 0));

    // The old root ends up on top of the new one, and is then let go.
    _ = try failure.check(.pivot, os.pivot_root(".", "."));
    _ = try failure.check(.umount, os.umount2(".", os.MNT.DETACH));
    _ = try failure.check(.chdir, os.chdir("/"));

    try linux.process.closeOnExecFrom(failure, 3);
    // argv ends with the kernel's own NULL, and so does what is left of it.
    const argv: [*:null]const ?[*:0]const u8 = @ptrCast(args.ptr + 3);
    const envp = [_:null]?[*:0]const u8{"PATH=/bin"};
    return failure.fail(.exec, os.errno(os.execve(args[3], argv, &envp)));
}

fn now() i64 {
    var time: os.timespec = undefined;
    _ = os.clock_gettime(.MONOTONIC, &time);
    return time.sec * std.time.us_per_s + @divTrunc(time.nsec, std.time.ns_per_us);
}
