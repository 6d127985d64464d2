//! Turns a forked child into the process that was asked for: who it is, what it may
//! do, where it starts. Runs inside the container, for its main process and for exec.

const std = @import("std");
const capabilities = @import("capabilities");
const hooks = @import("hooks");
const landlock = @import("landlock");
const linux = @import("linux");
const rlimits = @import("rlimits");
const seccomp = @import("seccomp");
const settings_block = @import("settings.zig");
const stage1 = @import("stage1.zig");
const users = @import("users.zig");
const Failure = linux.Failure;
const Settings = settings_block.Settings;
const os = linux.os;

/// Where a command without a slash is looked for when its environment has no PATH.
const default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the process. Returns only on failure; `subject` then says what of.
///
/// The order is the kernel's: limits want capabilities, groups go before uid, and
/// capabilities are given up around it (capabilities.zig says how).
pub fn become(failure: *Failure, settings: Settings, subject: *[]const u8) error{Failed}!noreturn {
    const header = settings.header;
    // Their actions are the default ones already: nobody between stage2's start and here
    // has set any.
    linux.process.unblockSignals();
    linux.process.umask(header.umask);

    try rlimits.apply(failure, settings.rlimits);

    const command = std.mem.span(settings.argv[0].?);
    subject.* = if (settings.user) |user| std.mem.span(user) else command;
    var identity: users.Identity = .{ .uid = header.uid, .gid = header.gid };
    if (settings.user) |user| identity = try users.lookup(failure, std.mem.span(user));
    try identity.join(failure, settings.groups);

    if (header.flags.terminal) {
        _ = os.setsid();
        const set_controlling = 0x540E; // TIOCSCTTY
        _ = try failure.check(.terminal, os.ioctl(0, set_controlling, 0));
    } else if (!linux.weakness.has(.session)) {
        _ = os.setsid(); // Or TIOCSTI could type into the terminal of whoever called us.
    }

    subject.* = command;
    giveStreams(identity.uid, identity.gid);
    // Landlock and a filter without no_new_privs want CAP_SYS_ADMIN, so they come before
    // that may go; otherwise they come last, and need not allow what we do until then.
    if (!header.flags.no_new_privs) {
        try restrict(failure, settings, subject);
        try installFilter(failure, settings);
    }
    try capabilities.prepare(failure, header.capabilities);
    // Always, also with an empty list: inherited groups would be the host's.
    if (!linux.weakness.has(.groups)) _ = try failure.check(.user, os.setgroups(identity.group_count, &identity.groups));
    _ = try failure.check(.user, os.setresgid(identity.gid, identity.gid, identity.gid));
    _ = try failure.check(.user, os.setresuid(identity.uid, identity.uid, identity.uid));
    try capabilities.apply(failure, header.capabilities);
    subject.* = std.mem.span(settings.cwd);
    try changeFolder(failure, settings.cwd);
    subject.* = command;
    if (header.flags.no_new_privs) {
        _ = try failure.check(.no_new_privs, linux.process.prctl(.SET_NO_NEW_PRIVS, 1));
        try restrict(failure, settings, subject);
    }

    try linux.process.closeOnExecFrom(failure, if (header.stage1_fd < 0) 3 else stage1.target + 1);
    var last = settings;
    // With the filter in place already, which has to allow this.
    if (header.rest_fd >= 0) {
        if (header.flags.no_new_privs) try installFilter(failure, settings);
        last = try awaitRest(failure, header.rest_fd);
        subject.* = std.mem.span(last.argv[0].?);
    }
    const envp = try withHome(failure, settings, last.envp, identity);
    if (last.header.flags.ready != .unsaid) try awaitStart(failure, last.header);
    if (settings.hooks.len > 0) try hooks.Packed.run(failure, settings.hooks, os.getpid(), subject);
    if (header.rest_fd >= 0) return replace(failure, settings, last.argv, envp);
    if (header.flags.no_new_privs) try installFilter(failure, settings);
    return exec(failure, last.argv, envp);
}

/// Gives up: who reads `socket` is told what failed, and of what; the exit status says it as well.
pub fn fail(socket: linux.fd_t, failure: Failure, subject: []const u8) noreturn {
    settings_block.Status.failed(failure, subject).tell(socket);
    linux.process.exit(switch (@as(linux.E, @fromBackingInt(failure.errno))) {
        .NOENT, .NOTDIR => 127,
        else => 126,
    });
}

/// Has a new process execute the program in the place of this one, which ends: what the kernel
/// tells of its age is true, however long we have waited.
fn replace(failure: *Failure, settings: Settings, argv: [*:null]const ?[*:0]const u8, envp: [*:null]const ?[*:0]const u8) error{Failed}!noreturn {
    // In our memory, which is its own as soon as we are gone.
    var successor: Successor = .{ .main = settings.main.?, .status = settings.header.status_fd, .argv = argv, .envp = envp };
    var stack: [16 * 1024]u8 align(16) = undefined;
    const flags = linux.process.Clone.vm | linux.process.Clone.parent | @backingInt(os.SIG.CHLD);
    const pid = try failure.check(.clone, os.clone(Successor.run, @intFromPtr(&stack) + stack.len, flags, @intFromPtr(&successor), null, 0, null));
    // Both of us say so: we end after it is known, and so does the other.
    @atomicStore(linux.pid_t, successor.main, @intCast(pid), .release);
    linux.process.exit(0);
}

const Successor = struct {
    main: *linux.pid_t,
    status: linux.fd_t,
    argv: [*:null]const ?[*:0]const u8,
    envp: [*:null]const ?[*:0]const u8,

    fn run(address: usize) callconv(.c) u8 {
        const successor: *Successor = @ptrFromInt(address);
        @atomicStore(linux.pid_t, successor.main, os.getpid(), .release);
        if (!linux.weakness.has(.session)) _ = os.setsid();
        var failure: Failure = .{};
        exec(&failure, successor.argv, successor.envp) catch {};
        fail(successor.status, failure, std.mem.span(successor.argv[0].?));
    }
};

/// Says that all is set up, and waits for the block of what to execute.
fn awaitRest(failure: *Failure, socket: linux.fd_t) error{Failed}!Settings {
    var word: [1]u8 = .{0};
    var descriptors: linux.socket.Descriptors = .{};
    try linux.socket.sendPacket(failure, socket, &word, null);
    _ = try linux.socket.receiveAll(failure, socket, &word, &descriptors);
    // Without one, nobody wants us any more.
    return settings_block.map(failure, descriptors.take() orelse linux.process.exit(0));
}

/// Before the filter, which may refuse these calls.
fn restrict(failure: *Failure, settings: Settings, subject: *[]const u8) error{Failed}!void {
    if (settings.landlock.len > 0) try landlock.plan.apply(failure, settings.landlock, subject);
}

fn installFilter(failure: *Failure, settings: Settings) error{Failed}!void {
    if (settings.filter.len == 0) return;
    const listener = try seccomp.install(failure, settings.filter, @bitCast(settings.header.filter_flags)) orelse return;
    defer linux.file.close(listener);
    try linux.socket.sendPacket(failure, settings.header.notify_fd, "", listener);
}

/// Says that all is set up and, if so wanted, waits for the word to go on; without one,
/// whoever would give it is gone, and so are we.
fn awaitStart(failure: *Failure, header: *const settings_block.Header) error{Failed}!void {
    const socket = header.status_fd;
    const ready: settings_block.Status = .of(.held);
    _ = try failure.check(.socket, os.sendto(socket, std.mem.asBytes(&ready).ptr, @sizeOf(settings_block.Status), os.MSG.NOSIGNAL, null, 0));
    if (header.flags.ready == .said) return;
    var word: [1]u8 = undefined;
    if ((try failure.check(.socket, os.recvfrom(socket, &word, word.len, 0, null, null))) == 0) linux.process.exit(125);
}

/// Pipes among the streams become the user's: who opens /dev/stdout opens the pipe anew,
/// and has to own it. What is not ours to give (EPERM), files and terminals stay as they are.
pub fn giveStreams(uid: u32, gid: u32) void {
    for (0..3) |stream| {
        var ignored: Failure = .{};
        const stat = linux.file.stat(&ignored, @intCast(stream)) catch continue;
        if (stat.mode & os.S.IFMT == os.S.IFIFO) _ = os.fchown(@intCast(stream), uid, gid);
    }
}

/// Goes to the working directory with the rights of the process itself, and makes sure
/// that it is inside: /proc/self/fd/N can lead out to where a descriptor points.
fn changeFolder(failure: *Failure, cwd: [*:0]const u8) error{Failed}!void {
    _ = try failure.check(.chdir, os.chdir(cwd));
    if (linux.weakness.has(.working_directory)) return;
    var buffer: [std.posix.PATH_MAX]u8 = undefined;
    const len = try failure.check(.chdir, os.getcwd(&buffer, buffer.len));
    if (len == 0 or buffer[0] != '/') return failure.fail(.chdir, .XDEV);
}

/// The environment, with HOME from passwd(5) if it has none; a user that no file
/// knows has `/`.
fn withHome(failure: *Failure, settings: Settings, envp: [*:null]const ?[*:0]const u8, identity: users.Identity) error{Failed}![*:null]const ?[*:0]const u8 {
    var count: usize = 0;
    while (envp[count]) |variable| : (count += 1) {
        if (std.mem.startsWith(u8, std.mem.span(variable), "HOME=")) return envp;
    }
    const home = if (identity.home) |home| (if (home.len == 0) "/" else home) else if (settings.user == null) return envp else "/";
    const size = (count + 2) * @sizeOf(usize) + "HOME=".len + home.len + 1;
    const memory = try linux.file.mapPrivate(failure, -1, size);
    const array: [*]?[*:0]const u8 = @ptrCast(memory.ptr);
    const text = memory[(count + 2) * @sizeOf(usize) ..];
    @memcpy(text[0..5], "HOME=");
    @memcpy(text[5..][0..home.len], home);
    text[5 + home.len] = 0;
    for (0..count) |index| array[index] = envp[index];
    array[count] = text[0 .. 5 + home.len :0].ptr;
    array[count + 1] = null;
    return array[0 .. count + 1 :null].ptr;
}

/// execvp(3): a name with a slash as it is, another along PATH.
fn exec(failure: *Failure, argv: [*:null]const ?[*:0]const u8, envp: [*:null]const ?[*:0]const u8) error{Failed} {
    const name = std.mem.span(argv[0].?);
    if (name.len == 0) return failure.fail(.exec, .NOENT);
    if (std.mem.findScalar(u8, name, '/') != null) return failure.fail(.exec, os.errno(os.execve(name, argv, envp)));

    var seen: linux.E = .NOENT;
    var folders = std.mem.splitScalar(u8, pathVariable(envp), ':');
    while (folders.next()) |folder| {
        var buffer: [std.posix.PATH_MAX]u8 = undefined;
        const path = linux.text.printZ(&buffer, "{s}/{s}", .{ if (folder.len == 0) "." else folder, name }) catch continue;
        switch (os.errno(os.execve(path, argv, envp))) {
            .NOENT, .NOTDIR => {},
            .ACCES => seen = .ACCES, // Perhaps a later folder has one that may be run.
            else => |errno| return failure.fail(.exec, errno),
        }
    }
    return failure.fail(.exec, seen);
}

fn pathVariable(envp: [*:null]const ?[*:0]const u8) []const u8 {
    var index: usize = 0;
    while (envp[index]) |variable| : (index += 1) {
        const text = std.mem.span(variable);
        if (std.mem.startsWith(u8, text, "PATH=")) return text["PATH=".len..];
    }
    return default_path;
}
