//! What a process sees of the world it was put in, as one JSON object. What cannot
//! be read is the errno's name in place of the value: not seeing is an answer too.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Json = std.json.Stringify;

/// /proc/self/status: the fields that tell rights and ids.
const status_fields = [_][]const u8{
    "Uid",               "Gid",             "Groups", "CapInh",     "CapPrm",
    "CapEff",            "CapBnd",          "CapAmb", "NoNewPrivs", "Seccomp",
    "Cpus_allowed_list", "Seccomp_filters", "NSpid",  "Threads",    "SigBlk",
    "SigIgn",
};

const namespaces = [_][:0]const u8{ "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };

/// Read as files, trimmed.
const sysctls = [_][:0]const u8{
    "fs/mqueue/msg_max",
    "kernel/domainname",
    "kernel/hostname",
    "kernel/msgmax",
    "kernel/sem",
    "kernel/shmmax",
    "kernel/core_pattern",
    "net/core/somaxconn",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range",
};

/// Longest file of procfs that is reported whole.
var file_buffer: [256 * 1024]u8 = undefined;

/// Writes the report to `out`.
pub fn write(out: *std.Io.Writer, args: []const [*:0]const u8, environ: []const ?[*:0]const u8) !void {
    var json: Json = .{ .writer = out, .options = .{ .whitespace = .indent_1 } };
    try json.beginObject();
    try ids(&json);
    try field(&json, "args", Strings{ .pointers = @ptrCast(args) });
    try field(&json, "env", Strings{ .pointers = environ });
    try cwd(&json);
    try host(&json);
    try status(&json);
    try limits(&json);
    try scalar(&json, "oom_score_adj", "/proc/self/oom_score_adj");
    try scalar(&json, "personality", "/proc/self/personality");
    try scalar(&json, "apparmor", "/proc/self/attr/current");
    try lines(&json, "cgroup", "/proc/self/cgroup");
    try lines(&json, "uid_map", "/proc/self/uid_map");
    try lines(&json, "gid_map", "/proc/self/gid_map");
    try lines(&json, "mounts", "/proc/self/mountinfo");
    try lines(&json, "links", "/proc/self/net/dev");
    try links(&json);
    try descriptors(&json, "fds", "/proc/self/fd");
    try init(&json);
    try clocks(&json);
    try keyring(&json);
    try settings(&json);
    try devices(&json);
    try json.endObject();
    try out.writeByte('\n');
}

fn ids(json: *Json) !void {
    try field(json, "pid", os.getpid());
    try field(json, "ppid", os.getppid());
    try field(json, "pgid", os.getpgid(0));
    try field(json, "sid", os.getsid(0));
    // umask(2) has no way to look without setting.
    const mask = os.syscall1(.umask, 0o022);
    _ = os.syscall1(.umask, mask);
    try field(json, "umask", mask);
    try field(json, "nice", 20 - @as(i64, @intCast(os.syscall2(.getpriority, 0, 0))));
    try field(json, "scheduler", os.syscall1(.sched_getscheduler, 0));
    try field(json, "io_priority", os.syscall2(.ioprio_get, 1, 0));
    try field(json, "dumpable", linux.process.prctl(.GET_DUMPABLE, 0));
}

fn cwd(json: *Json) !void {
    var buffer: [4096]u8 = undefined;
    const len = os.getcwd(&buffer, buffer.len);
    try json.objectField("cwd");
    // The kernel counts the NUL.
    if (os.errno(len) == .SUCCESS) try json.write(buffer[0 .. len - 1]) else try failed(json, len);
}

fn host(json: *Json) !void {
    var names: os.utsname = undefined;
    _ = os.uname(&names);
    try field(json, "hostname", @as([]const u8, std.mem.sliceTo(&names.nodename, 0)));
    try field(json, "domainname", @as([]const u8, std.mem.sliceTo(&names.domainname, 0)));
    try field(json, "kernel", @as([]const u8, std.mem.sliceTo(&names.release, 0)));
}

fn status(json: *Json) !void {
    try json.objectField("status");
    const text = read("/proc/self/status") catch |err| return json.write(@errorName(err));
    try json.beginObject();
    var all = std.mem.splitScalar(u8, text, '\n');
    while (all.next()) |line| {
        const colon = std.mem.findScalar(u8, line, ':') orelse continue;
        for (status_fields) |name| {
            if (std.mem.eql(u8, name, line[0..colon])) try field(json, name, std.mem.trim(u8, line[colon + 1 ..], " \t"));
        }
    }
    try json.endObject();
}

/// Soft and hard, as numbers that keep their 64 bits in text.
fn limits(json: *Json) !void {
    try json.objectField("rlimits");
    try json.beginObject();
    inline for (comptime std.meta.fieldNames(os.rlimit_resource)) |name| {
        var limit: os.rlimit = undefined;
        _ = os.getrlimit(@field(os.rlimit_resource, name), &limit);
        try json.objectField(name);
        try json.beginArray();
        for ([_]u64{ limit.cur, limit.max }) |value| {
            if (value == os.RLIM.INFINITY) try json.write("unlimited") else try json.print("\"{d}\"", .{value});
        }
        try json.endArray();
    }
    try json.endObject();
}

/// The namespaces' identities: `net:[4026531840]`.
fn links(json: *Json) !void {
    try json.objectField("namespaces");
    try json.beginObject();
    inline for (namespaces) |name| {
        try json.objectField(name);
        try link(json, "/proc/self/ns/" ++ name);
    }
    try json.endObject();
}

/// What of pid 1 can be seen from here.
fn init(json: *Json) !void {
    try json.objectField("init");
    try json.beginObject();
    try scalar(json, "comm", "/proc/1/comm");
    try json.objectField("exe");
    try link(json, "/proc/1/exe");
    try json.objectField("root");
    try link(json, "/proc/1/root");
    try json.objectField("exe_read");
    var failure: linux.Failure = .{};
    if (linux.file.open(&failure, "/proc/1/exe", .{ .CLOEXEC = true }, 0)) |fd| {
        linux.file.close(fd);
        try json.write(true);
    } else |_| try json.write(errnoName(failure.errno));
    try lines(json, "environ", "/proc/1/environ");
    try scalar(json, "cmdline", "/proc/1/cmdline");
    try descriptors(json, "fds", "/proc/1/fd");
    try json.endObject();
}

/// Seconds that a clock of this time namespace is ahead of the host's.
fn clocks(json: *Json) !void {
    try lines(json, "time_offsets", "/proc/self/timens_offsets");
    var now: os.timespec = undefined;
    _ = os.clock_gettime(.BOOTTIME, &now);
    try field(json, "boottime", now.sec);
}

/// The serial number of the session keyring, and what it is called; keyctl(2).
fn keyring(json: *Json) !void {
    const session: isize = -3;
    const get_id = 0;
    const describe = 6;
    const serial = os.syscall3(.keyctl, get_id, @bitCast(session), 0);
    try json.objectField("keyring");
    if (os.errno(serial) != .SUCCESS) return failed(json, serial);
    var buffer: [256]u8 = undefined;
    const len = os.syscall4(.keyctl, describe, serial, @intFromPtr(&buffer), buffer.len);
    if (os.errno(len) != .SUCCESS) return failed(json, len);
    const text = buffer[0 .. len - 1];
    const name = text[(std.mem.findScalarLast(u8, text, ';') orelse return json.write(text)) + 1 ..];
    try json.print("\"{d} {s}\"", .{ serial, name });
}

fn settings(json: *Json) !void {
    try json.objectField("sysctls");
    try json.beginObject();
    inline for (sysctls) |name| try scalar(json, name, "/proc/sys/" ++ name);
    try json.endObject();
}

/// An open folder's entries; getdents64(2).
const Folder = struct {
    fd: linux.fd_t,
    buffer: [16 * 1024]u8 align(8) = undefined,
    at: usize = 0,
    len: usize = 0,

    const Entry = extern struct { ino: u64, off: i64, len: u16 align(1), kind: u8 };
    const name_offset = 19;

    fn open(path: [*:0]const u8) usize {
        return os.openat(os.AT.FDCWD, path, .{ .DIRECTORY = true, .CLOEXEC = true }, 0);
    }

    fn next(folder: *Folder) ?[:0]const u8 {
        while (true) {
            if (folder.at == folder.len) {
                folder.len = os.getdents64(folder.fd, &folder.buffer, folder.buffer.len);
                folder.at = 0;
                if (os.errno(folder.len) != .SUCCESS or folder.len == 0) return null;
            }
            const entry: *align(1) const Entry = @ptrCast(&folder.buffer[folder.at]);
            const name: [*:0]const u8 = @ptrCast(&folder.buffer[folder.at + name_offset]);
            folder.at += entry.len;
            const text = std.mem.span(name);
            if (!std.mem.eql(u8, text, ".") and !std.mem.eql(u8, text, "..")) return text;
        }
    }
};

/// Where each descriptor leads, but for the one that reads the folder.
fn descriptors(json: *Json, name: []const u8, comptime path: [:0]const u8) !void {
    try json.objectField(name);
    const fd = Folder.open(path);
    if (os.errno(fd) != .SUCCESS) return failed(json, fd);
    var folder: Folder = .{ .fd = @intCast(fd) };
    defer linux.file.close(folder.fd);
    try json.beginObject();
    while (folder.next()) |entry| {
        if (comptime std.mem.eql(u8, path, "/proc/self/fd")) {
            if (std.fmt.parseInt(usize, entry, 10) catch 0 == fd) continue;
        }
        var target: [4096]u8 = undefined;
        const len = os.readlinkat(folder.fd, entry, &target, target.len);
        try json.objectField(entry);
        if (os.errno(len) == .SUCCESS) try json.write(target[0..len]) else try failed(json, len);
    }
    try json.endObject();
}

/// The entries of /dev: what each is, with its numbers and mode.
fn devices(json: *Json) !void {
    try json.objectField("devices");
    const fd = Folder.open("/dev");
    if (os.errno(fd) != .SUCCESS) return failed(json, fd);
    var folder: Folder = .{ .fd = @intCast(fd) };
    defer linux.file.close(folder.fd);
    try json.beginObject();
    while (folder.next()) |entry| {
        var about: os.Statx = undefined;
        const result = os.statx(folder.fd, entry, os.AT.SYMLINK_NOFOLLOW, os.STATX.BASIC_STATS, &about);
        try json.objectField(entry);
        if (os.errno(result) != .SUCCESS) {
            try failed(json, result);
            continue;
        }
        const kind: u8 = switch (about.mode & os.S.IFMT) {
            os.S.IFCHR => 'c',
            os.S.IFBLK => 'b',
            os.S.IFDIR => 'd',
            os.S.IFLNK => 'l',
            os.S.IFREG => 'f',
            os.S.IFIFO => 'p',
            else => '?',
        };
        try json.print("\"{c} {d}:{d} {o} {d}:{d}\"", .{ kind, about.rdev_major, about.rdev_minor, about.mode & 0o7777, about.uid, about.gid });
    }
    try json.endObject();
}

fn scalar(json: *Json, name: []const u8, path: [*:0]const u8) !void {
    try json.objectField(name);
    const text = read(path) catch |err| return json.write(@errorName(err));
    try json.write(std.mem.trim(u8, text, "\n\x00"));
}

fn lines(json: *Json, name: []const u8, path: [*:0]const u8) !void {
    try json.objectField(name);
    const text = read(path) catch |err| return json.write(@errorName(err));
    try json.beginArray();
    var all = std.mem.tokenizeAny(u8, text, "\n\x00");
    while (all.next()) |line| try json.write(line);
    try json.endArray();
}

fn link(json: *Json, path: [*:0]const u8) !void {
    var target: [4096]u8 = undefined;
    const len = os.readlink(path, &target, target.len);
    if (os.errno(len) == .SUCCESS) try json.write(target[0..len]) else try failed(json, len);
}

const ReadError = error{ ENOENT, EACCES, EPERM, EINVAL, ENOTDIR, unreadable };

/// A whole file of procfs, good until the next call.
fn read(path: [*:0]const u8) ReadError![]const u8 {
    var failure: linux.Failure = .{};
    return readInto(&failure, path) catch switch (@as(os.E, @fromBackingInt(failure.errno))) {
        .NOENT => error.ENOENT,
        .ACCES => error.EACCES,
        .PERM => error.EPERM,
        .INVAL => error.EINVAL,
        .NOTDIR => error.ENOTDIR,
        else => error.unreadable,
    };
}

fn readInto(failure: *linux.Failure, path: [*:0]const u8) error{Failed}![]const u8 {
    const fd = try linux.file.open(failure, path, .{ .CLOEXEC = true }, 0);
    defer linux.file.close(fd);
    return linux.file.readAll(failure, fd, &file_buffer);
}

/// Strings of the kernel's making, as an array.
const Strings = struct {
    pointers: []const ?[*:0]const u8,

    pub fn jsonStringify(strings: Strings, json: *Json) !void {
        try json.beginArray();
        for (strings.pointers) |string| try json.write(std.mem.span(string.?));
        try json.endArray();
    }
};

fn field(json: *Json, name: []const u8, value: anytype) !void {
    try json.objectField(name);
    try json.write(value);
}

fn failed(json: *Json, result: usize) !void {
    try json.write(errnoName(@backingInt(os.errno(result))));
}

/// `EPERM` for 1, and so on.
pub fn errnoName(errno: u16) []const u8 {
    inline for (comptime std.meta.fieldNames(os.E)) |name| {
        if (@backingInt(@field(os.E, name)) == errno) return "E" ++ name;
    }
    return "unknown errno";
}
