//! Protections that a build for tests leaves out, one at a time, to show that an attack
//! is refused by them and by nothing else (tests/attacks). The shipped program has none
//! of this: there `has` is false when it is compiled.

const std = @import("std");
const os = std.os.linux;
const enabled = @import("build").weakened;

/// What can be left out; docs/decisions/031-attacks.md says which attack each stops.
pub const Weakness = enum {
    /// Paths of a container are resolved inside its root.
    resolve,
    /// procfs and sysfs go to real folders only.
    kernel_folders,
    /// What covers a masked file is a descriptor of the host's null device.
    null_device,
    masked_paths,
    readonly_paths,
    /// No descriptor is inherited by chance.
    descriptors,
    /// The working directory is inside.
    working_directory,
    /// A command has the environment of its plan.
    environment,
    /// Ids are decimal and do not wrap.
    ids,
    /// Supplementary groups are set, also to none.
    groups,
    /// The inheritable set is what the plan says.
    inheritable,
    capabilities,
    /// System calls are filtered.
    filter,
    /// A filter looks at the architecture first.
    architecture,
    /// All conditions of a rule have to hold.
    conditions,
    /// What enters a container cannot be looked into.
    dumpable,
    /// No key of the host is in the session's keyring.
    keyring,
    /// A command has a session of its own.
    session,
    /// The name of a cgroup leads nowhere else.
    cgroup_names,
    limits,
    devices,
    /// A hook has the environment that its entry says.
    hook_environment,
    /// What is set is of the container's own namespaces.
    settings,
};

const variable = "KURMA_WEAKEN=";

var left_out: std.EnumSet(Weakness) = .empty;
var text: ?[*:0]const u8 = null;
var all_variables: []const [:0]const u8 = &.{};
var space: [64][:0]const u8 = undefined;

/// Learns from the environment what is left out: names, with commas between them. A name
/// that is none ends the process, since a test of it would show nothing.
pub fn read(environ: [:null]const ?[*:0]const u8) void {
    if (!enabled) return;
    for (environ, 0..) |entry, index| {
        const value = std.mem.span(entry.?);
        if (index < space.len) {
            space[index] = value;
            all_variables = space[0 .. index + 1];
        }
        if (!std.mem.startsWith(u8, value, variable)) continue;
        text = entry;
        var names = std.mem.tokenizeScalar(u8, value[variable.len..], ',');
        while (names.next()) |name| {
            left_out.insert(std.meta.stringToEnum(Weakness, name) orelse os.exit_group(64));
        }
    }
}

/// Whether this protection is left out.
pub inline fn has(comptime weakness: Weakness) bool {
    return enabled and !@inComptime() and left_out.contains(weakness);
}

/// The variable, for the environment of the programs that we execute; null in what is
/// shipped.
pub inline fn inherited() ?[*:0]const u8 {
    return if (enabled) text else null;
}

/// The environment of a plan, or, left out, our own.
pub inline fn environment(planned: []const [:0]const u8) []const [:0]const u8 {
    return if (has(.environment)) all_variables else planned;
}

var image: []const [:0]const u8 = &.{};

/// Keeps what an image says for the hooks of its container.
pub inline fn noteImage(variables: []const [:0]const u8) void {
    if (has(.hook_environment)) image = variables;
}

/// The environment of a hook, or, left out, that of the image.
pub inline fn hookEnvironment(planned: []const [:0]const u8) []const [:0]const u8 {
    return if (has(.hook_environment)) image else planned;
}

/// The host's root, which some programs had open when they started a container
/// (CVE-2024-21626): low enough for a container's limit, and beyond what we have open.
pub const leaked = 50;

pub fn openLeak() void {
    const root: os.fd_t = @intCast(os.open("/", .{ .DIRECTORY = true, .CLOEXEC = true }, 0));
    _ = os.dup3(root, leaked, 0);
    _ = os.close(root);
}

/// Lets what is executed next inherit it.
pub fn leak() void {
    _ = os.fcntl(leaked, os.F.SETFD, 0);
}

/// openat(2) of what the host makes of the path.
pub fn openAsHost(dir: os.fd_t, path: [*:0]const u8, flags: os.O, mode: u32) usize {
    const relative = std.mem.trimStart(u8, std.mem.span(path), "/");
    return os.openat(dir, if (relative.len == 0) "." else @ptrCast(relative.ptr), flags, mode);
}

/// A number as strtoul(3) and a cast to 32 bits take it.
pub fn wrappedId(digits: []const u8) u32 {
    var id: u32 = 0;
    const negative = digits.len > 0 and digits[0] == '-';
    for (std.mem.trimStart(u8, digits, "+- ")) |digit| {
        if (digit < '0' or digit > '9') break;
        id = id *% 10 +% (digit - '0');
    }
    return if (negative) 0 -% id else id;
}
