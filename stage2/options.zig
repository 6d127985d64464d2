//! The options of a launch by hand, as the original has them, read into plain values.
//! What makes no sense is refused with one line that says why.

const std = @import("std");
const linux = @import("linux");
const Mapping = @import("userns.zig").Mapping;

/// In the order in which namespaces are joined: user first, since the others may belong
/// to it; mount last, since the paths of the others may not exist in it.
pub const Namespace = enum { user, ipc, uts, network, pid, mount };

pub const Options = struct {
    /// The whole environment of the command: `NAME=value` each.
    env: [*:null]const ?[*:0]const u8,
    /// Files that take the launcher's pid: `tasks` or `cgroup.procs` of a cgroup.
    taskfiles: []const [:0]const u8,
    /// Descriptors that become 0 to 2; null keeps what is there.
    streams: [3]?linux.fd_t = @splat(null),
    join: std.EnumArray(Namespace, ?[:0]const u8) = .initFill(null),
    new: std.EnumSet(Namespace) = .empty,
    uid_map: []const Mapping = &.{},
    gid_map: []const Mapping = &.{},
    container_directory: ?[:0]const u8 = null,
    bind_directory: [:0]const u8 = "/tmp/container",
    chroot: bool = false,
    host_privileged: bool = false,
    /// A name or a number, as the container's files have it.
    user: ?[:0]const u8 = null,
    group: ?[:0]const u8 = null,
    /// 0 leaves the limit as it is.
    max_open_files: u32 = 0,
    max_processes: u32 = 0,
    detach: bool = false,
    /// The command and its arguments; at least one.
    command: [*:null]const ?[*:0]const u8,
};

const Name = enum {
    env,
    taskfile,
    stdinfd,
    stdoutfd,
    stderrfd,
    @"user-namespace",
    @"ipc-namespace",
    @"uts-namespace",
    @"network-namespace",
    @"pid-namespace",
    @"mount-namespace",
    @"new-user-namespace",
    @"new-ipc-namespace",
    @"new-uts-namespace",
    @"new-network-namespace",
    @"new-pid-namespace",
    @"new-mount-namespace",
    uidmap,
    gidmap,
    @"container-directory",
    @"bind-directory",
    chroot,
    @"host-privileged",
    user,
    group,
    @"max-open-files",
    @"max-processes",
    detach,

    fn find(text: []const u8) ?Name {
        for (std.meta.fieldNames(Name), 0..) |name, number| if (std.mem.eql(u8, name, text)) return @fromBackingInt(@intCast(number));
        return null;
    }

    fn isSwitch(name: Name) bool {
        return switch (name) {
            .chroot, .@"host-privileged", .detach => true,
            else => @backingInt(name) >= @backingInt(Name.@"new-user-namespace") and @backingInt(name) <= @backingInt(Name.@"new-mount-namespace"),
        };
    }

    /// Which namespace an option of the group that starts with `first` is about.
    fn namespace(name: Name, first: Name) Namespace {
        return @fromBackingInt(@intCast(@backingInt(name) - @backingInt(first)));
    }
};

/// Why a command line is refused, in one line.
pub const Problem = struct {
    buffer: [256]u8 = undefined,
    len: usize = 0,

    pub fn text(problem: *const Problem) []const u8 {
        return problem.buffer[0..problem.len];
    }

    /// `before`, the word that it is about, `after`.
    noinline fn set(problem: *Problem, before: []const u8, word: []const u8, after: []const u8) error{Invalid} {
        const shown = word[0..@min(word.len, 128)];
        const made = linux.text.print(&problem.buffer, "{s}{s}{s}", .{ before, shown, after }) catch unreachable; // It fits.
        problem.len = made.len;
        for (made) |*byte| if (byte.* < ' ' or byte.* == 0x7f) {
            byte.* = '?';
        };
        return error.Invalid;
    }
};

/// Reads what follows the program's name. An option's value is the next argument or
/// follows `=`; the last of two of a kind wins, but for --env and --taskfile, which add up.
pub fn parse(arena: std.mem.Allocator, args: [:null]const ?[*:0]const u8, problem: *Problem) error{ Invalid, OutOfMemory }!Options {
    const env = try arena.allocSentinel(?[*:0]const u8, args.len, null);
    const taskfiles = try arena.alloc([:0]const u8, args.len);
    var env_count: usize = 0;
    var taskfile_count: usize = 0;
    var options: Options = .{ .env = env, .taskfiles = &.{}, .command = args[args.len..] };
    var at: usize = 0;
    while (at < args.len) : (at += 1) {
        const word = std.mem.span(args[at].?);
        if (std.mem.eql(u8, word, "--")) {
            options.command = args[at + 1 ..];
            break;
        }
        if (!std.mem.startsWith(u8, word, "--")) return problem.set("Unexpected \"", word, "\": the command follows --");
        const equals = std.mem.findScalar(u8, word, '=');
        const spelled = word[0 .. equals orelse word.len];
        const name = Name.find(spelled[2..]) orelse return problem.set("Unknown option \"", spelled, "\"");
        if (name.isSwitch()) {
            if (equals != null) return problem.set("Option ", spelled, " takes no value");
            turnOn(&options, name);
            continue;
        }
        const value: [:0]const u8 = if (equals) |end| word[end + 1 ..] else value: {
            at += 1;
            if (at >= args.len) break :value "";
            break :value std.mem.span(args[at].?);
        };
        if (value.len == 0) return problem.set("Option ", spelled, " needs a value");
        switch (name) {
            .env => {
                env[env_count] = value;
                env_count += 1;
            },
            .taskfile => {
                taskfiles[taskfile_count] = value;
                taskfile_count += 1;
            },
            .uidmap => options.uid_map = try parseMap(arena, value) orelse return problem.set("Option --uidmap needs lines of \"inside outside length\"", "", ""),
            .gidmap => options.gid_map = try parseMap(arena, value) orelse return problem.set("Option --gidmap needs lines of \"inside outside length\"", "", ""),
            else => if (!setText(&options, name, value)) try setNumber(&options, name, value, problem),
        }
    }
    env[env_count] = null;
    options.taskfiles = taskfiles[0..taskfile_count];
    try check(&options, problem);
    return options;
}

fn turnOn(options: *Options, name: Name) void {
    switch (name) {
        .chroot => options.chroot = true,
        .@"host-privileged" => options.host_privileged = true,
        .detach => options.detach = true,
        else => options.new.insert(name.namespace(.@"new-user-namespace")),
    }
}

/// False for an option whose value is no text.
fn setText(options: *Options, name: Name, value: [:0]const u8) bool {
    switch (name) {
        .@"container-directory" => options.container_directory = value,
        .@"bind-directory" => options.bind_directory = value,
        .user => options.user = value,
        .group => options.group = value,
        .@"user-namespace", .@"ipc-namespace", .@"uts-namespace", .@"network-namespace", .@"pid-namespace", .@"mount-namespace" => options.join.set(name.namespace(.@"user-namespace"), value),
        else => return false,
    }
    return true;
}

fn setNumber(options: *Options, name: Name, value: []const u8, problem: *Problem) error{Invalid}!void {
    const number = digits(value) orelse return problem.set("Option --", @tagName(name), " needs a number");
    switch (name) {
        .stdinfd, .stdoutfd, .stderrfd => {
            if (number > std.math.maxInt(linux.fd_t)) return problem.set("Option --", @tagName(name), " needs a descriptor");
            options.streams[@backingInt(name) - @backingInt(Name.stdinfd)] = @intCast(number);
        },
        .@"max-open-files" => options.max_open_files = number,
        .@"max-processes" => options.max_processes = number,
        else => unreachable, // The others have no numbers.
    }
}

/// What contradicts itself, or would change the host.
fn check(options: *const Options, problem: *Problem) error{Invalid}!void {
    if (options.command[0] == null) return problem.set("No command: it follows --", "", "");
    if (options.container_directory != null) {
        if (!options.new.contains(.mount)) return problem.set("--container-directory needs --new-mount-namespace: the host's mounts would change", "", "");
        if (options.bind_directory[0] != '/') return problem.set("--bind-directory needs an absolute path", "", "");
    } else if (options.chroot or options.host_privileged) {
        return problem.set("", if (options.chroot) "--chroot" else "--host-privileged", " needs --container-directory");
    }
    const mapped = options.uid_map.len > 0 and options.gid_map.len > 0;
    if (options.new.contains(.user)) {
        if (!mapped) return problem.set("--new-user-namespace needs --uidmap and --gidmap", "", "");
        if (options.join.get(.user) != null) return problem.set("--new-user-namespace and --user-namespace exclude each other", "", "");
    } else if (options.uid_map.len > 0 or options.gid_map.len > 0) {
        return problem.set("--uidmap and --gidmap need --new-user-namespace", "", "");
    }
    for ([_]?[:0]const u8{ options.user, options.group }) |name| {
        if (name != null and std.mem.findScalar(u8, name.?, ':') != null) return problem.set("No user or group is called \"", name.?, "\"");
    }
}

/// A map as uid_map(5) has it; null if it is none.
fn parseMap(arena: std.mem.Allocator, text: []const u8) error{OutOfMemory}!?[]const Mapping {
    const mappings = try arena.alloc(Mapping, 1 + std.mem.countScalar(u8, text, '\n'));
    var count: usize = 0;
    var lines = std.mem.tokenizeScalar(u8, text, '\n');
    while (lines.next()) |line| {
        var words = std.mem.tokenizeAny(u8, line, " \t");
        var numbers: [3]u32 = undefined;
        for (&numbers) |*number| number.* = digits(words.next() orelse return null) orelse return null;
        if (words.next() != null) return null;
        mappings[count] = .{ .containerID = numbers[0], .hostID = numbers[1], .size = numbers[2] };
        count += 1;
    }
    return if (count == 0) null else mappings[0..count];
}

/// Decimal digits only.
fn digits(text: []const u8) ?u32 {
    if (text.len == 0) return null;
    var number: u32 = 0;
    for (text) |digit| {
        if (digit < '0' or digit > '9') return null;
        number = std.math.mul(u32, number, 10) catch return null;
        number = std.math.add(u32, number, digit - '0') catch return null;
    }
    return number;
}

fn testParse(memory: []u8, args: [:null]const ?[*:0]const u8, problem: *Problem) !Options {
    var arena: std.heap.FixedBufferAllocator = .init(memory);
    return parse(arena.allocator(), args, problem);
}

test "every option arrives where it belongs" {
    var memory: [8192]u8 = undefined;
    var problem: Problem = .{};
    const args = [_:null]?[*:0]const u8{
        "--env",               "A=b",                   "--env=C==d",          "--taskfile",
        "/a",                  "--taskfile",            "/b",                  "--stdinfd",
        "7",                   "--stderrfd=9",          "--pid-namespace",     "/p",
        "--user-namespace=/u", "--new-mount-namespace", "--new-uts-namespace", "--container-directory",
        "/c",                  "--bind-directory",      "/tmp/here",           "--chroot",
        "--host-privileged",   "--user",                "web",                 "--group",
        "44",                  "--max-open-files",      "16",                  "--detach",
        "--",                  "/bin/sh",               "--env",               "--",
    };
    const options = try testParse(&memory, &args, &problem);
    try std.testing.expectEqualStrings("A=b", std.mem.span(options.env[0].?));
    try std.testing.expectEqualStrings("C==d", std.mem.span(options.env[1].?));
    try std.testing.expectEqual(null, options.env[2]);
    try std.testing.expectEqual(2, options.taskfiles.len);
    try std.testing.expectEqualStrings("/b", options.taskfiles[1]);
    try std.testing.expectEqual([3]?linux.fd_t{ 7, null, 9 }, options.streams);
    try std.testing.expectEqualStrings("/p", options.join.get(.pid).?);
    try std.testing.expectEqualStrings("/u", options.join.get(.user).?);
    try std.testing.expectEqual(null, options.join.get(.mount));
    try std.testing.expect(options.new.contains(.mount) and options.new.contains(.uts));
    try std.testing.expectEqual(2, options.new.count());
    try std.testing.expectEqualStrings("/c", options.container_directory.?);
    try std.testing.expectEqualStrings("/tmp/here", options.bind_directory);
    try std.testing.expect(options.chroot and options.host_privileged and options.detach);
    try std.testing.expectEqualStrings("web", options.user.?);
    try std.testing.expectEqualStrings("44", options.group.?);
    try std.testing.expectEqual(16, options.max_open_files);
    try std.testing.expectEqual(0, options.max_processes);
    try std.testing.expectEqualStrings("/bin/sh", std.mem.span(options.command[0].?));
    try std.testing.expectEqualStrings("--", std.mem.span(options.command[2].?));
    try std.testing.expectEqual(null, options.command[3]);
}

test "maps are lines of three numbers" {
    var memory: [8192]u8 = undefined;
    var problem: Problem = .{};
    const options = try testParse(&memory, &.{ "--new-user-namespace", "--uidmap", "0 100000 65536\n 65536\t1 1\n", "--gidmap=0 0 4294967295", "--", "x" }, &problem);
    try std.testing.expectEqualSlices(Mapping, &.{ .{ .containerID = 0, .hostID = 100000, .size = 65536 }, .{ .containerID = 65536, .hostID = 1, .size = 1 } }, options.uid_map);
    try std.testing.expectEqual(std.math.maxInt(u32), options.gid_map[0].size);
}

test "what makes no sense is refused, by name" {
    const cases = [_]struct { [:null]const ?[*:0]const u8, []const u8 }{
        .{ &.{}, "No command: it follows --" },
        .{ &.{"--"}, "No command: it follows --" },
        .{ &.{ "--frob", "--", "x" }, "Unknown option \"--frob\"" },
        .{ &.{ "--frob=1\n2", "--", "x" }, "Unknown option \"--frob\"" },
        .{ &.{ "--a\nb", "--", "x" }, "Unknown option \"--a?b\"" },
        .{ &.{ "--max-open", "1", "--", "x" }, "Unknown option \"--max-open\"" },
        .{ &.{"/bin/sh"}, "Unexpected \"/bin/sh\": the command follows --" },
        .{ &.{ "-d", "--", "x" }, "Unexpected \"-d\": the command follows --" },
        .{ &.{ "--detach=1", "--", "x" }, "Option --detach takes no value" },
        .{ &.{"--env"}, "Option --env needs a value" },
        .{ &.{ "--user=", "--", "x" }, "Option --user needs a value" },
        .{ &.{ "--stdinfd", "-1", "--", "x" }, "Option --stdinfd needs a number" },
        .{ &.{ "--stdinfd", "2147483648", "--", "x" }, "Option --stdinfd needs a descriptor" },
        .{ &.{ "--max-processes", "4294967296", "--", "x" }, "Option --max-processes needs a number" },
        .{ &.{ "--uidmap", "0 0", "--", "x" }, "Option --uidmap needs lines of \"inside outside length\"" },
        .{ &.{ "--uidmap", "0 0 1", "--", "x" }, "--uidmap and --gidmap need --new-user-namespace" },
        .{ &.{ "--new-user-namespace", "--uidmap", "0 0 1", "--", "x" }, "--new-user-namespace needs --uidmap and --gidmap" },
        .{ &.{ "--container-directory", "/c", "--", "x" }, "--container-directory needs --new-mount-namespace: the host's mounts would change" },
        .{ &.{ "--mount-namespace", "/m", "--container-directory", "/c", "--", "x" }, "--container-directory needs --new-mount-namespace: the host's mounts would change" },
        .{ &.{ "--new-mount-namespace", "--chroot", "--", "x" }, "--chroot needs --container-directory" },
        .{ &.{ "--user", "a:b", "--", "x" }, "No user or group is called \"a:b\"" },
    };
    for (cases) |case| {
        var memory: [4096]u8 = undefined;
        var problem: Problem = .{};
        try std.testing.expectError(error.Invalid, testParse(&memory, case[0], &problem));
        try std.testing.expectEqualStrings(case[1], problem.text());
    }
}

test "a word of any length is refused in one line" {
    var memory: [4096]u8 = undefined;
    var problem: Problem = .{};
    const long: [5000:0]u8 = @splat('-');
    try std.testing.expectError(error.Invalid, testParse(&memory, &.{ &long, "--", "x" }, &problem));
    try std.testing.expect(std.mem.startsWith(u8, problem.text(), "Unknown option \"-----"));
}
