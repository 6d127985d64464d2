//! Users and groups by name, from the /etc/passwd and /etc/group of the container
//! itself: an image's files, so data and nothing more.
//!
//! Source: passwd(5), group(5); `user[:group]` as OCI image-spec config.User has it.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;

pub const max_groups = 64;

/// Who a process is to be.
pub const Identity = struct {
    uid: u32,
    gid: u32,
    /// Supplementary groups: the own one first, then those of the container's group file.
    /// Without the own one, a set-group-id program could shed it and with it a file
    /// mode that denies the group (CVE-2022-36109).
    groups: [max_groups]u32 = undefined,
    group_count: usize = 0,
    /// The home folder of passwd(5), pointing into `passwd`.
    home: ?[]const u8 = null,

    /// Adds further groups to those that the files name.
    pub fn join(identity: *Identity, failure: *Failure, further: []const u32) error{Failed}!void {
        for (further) |gid| {
            if (identity.isIn(gid)) continue;
            if (identity.group_count == max_groups) return failure.fail(.user, .INVAL);
            identity.groups[identity.group_count] = gid;
            identity.group_count += 1;
        }
    }

    fn isIn(identity: *const Identity, gid: u32) bool {
        return for (identity.groups[0..identity.group_count]) |each| {
            if (each == gid) break true;
        } else false;
    }
};

/// Files larger than this are refused: no machine has so many users.
const max_file = 1024 * 1024;

/// Looks `spec` up in the files of the current root.
///
/// Errors: `user`, ENOENT for a name that no file has, EINVAL for a number that is
/// no uid, EFBIG for a file past the limit.
pub fn lookup(failure: *Failure, spec: []const u8) error{Failed}!Identity {
    const passwd = try readFile(failure, "/etc/passwd");
    const group = try readFile(failure, "/etc/group");
    return resolve(spec, passwd, group) catch |err| failure.fail(.user, switch (err) {
        error.Unknown => .NOENT,
        error.NotANumber => .INVAL,
    });
}

fn readFile(failure: *Failure, path: [*:0]const u8) error{Failed}![]const u8 {
    const opened = linux.os.open(path, .{ .CLOEXEC = true, .NONBLOCK = true }, 0);
    switch (linux.os.errno(opened)) {
        .SUCCESS => {},
        .NOENT, .NOTDIR => return "", // An image without users still has numbers.
        else => |errno| return failure.fail(.user, errno),
    }
    const fd: linux.fd_t = @intCast(opened);
    defer linux.file.close(fd);
    const memory = try linux.file.mapPrivate(failure, -1, max_file + 1);
    const text = try linux.file.readAll(failure, fd, memory);
    if (text.len > max_file) return failure.fail(.user, .FBIG);
    return text;
}

/// The identity that `spec` names in these two files: `user`, `user:group`, each a name
/// or a number. Without a group it is the user's own, and 0 for a number without an entry.
pub fn resolve(spec: []const u8, passwd: []const u8, group: []const u8) error{ Unknown, NotANumber }!Identity {
    const colon = std.mem.findScalar(u8, spec, ':');
    const user = spec[0 .. colon orelse spec.len];
    const wanted_group = if (colon) |at| spec[at + 1 ..] else "";
    var identity: Identity = .{ .uid = 0, .gid = 0 };

    const entry = find(passwd, user);
    if (entry) |line| {
        identity.uid = parseId(field(line, 2)) catch return error.NotANumber;
        identity.gid = parseId(field(line, 3)) catch return error.NotANumber;
        identity.home = field(line, 5);
    } else if (user.len > 0) {
        identity.uid = parseId(user) catch |err| return if (looksNumeric(user)) err else error.Unknown;
        if (findId(passwd, 2, identity.uid)) |line| {
            identity.gid = parseId(field(line, 3)) catch return error.NotANumber;
            identity.home = field(line, 5);
        }
    } else if (findId(passwd, 2, 0)) |line| {
        identity.home = field(line, 5);
    }
    if (wanted_group.len > 0) {
        identity.gid = if (find(group, wanted_group)) |line|
            parseId(field(line, 2)) catch return error.NotANumber
        else
            parseId(wanted_group) catch |err| return if (looksNumeric(wanted_group)) err else error.Unknown;
    }
    identity.groups[0] = identity.gid;
    identity.group_count = 1;
    if (wanted_group.len > 0) return identity; // A group that was asked for is the only one.
    const name = if (entry) |line| field(line, 0) else if (findId(passwd, 2, identity.uid)) |line| field(line, 0) else return identity;
    var lines = std.mem.splitScalar(u8, group, '\n');
    while (lines.next()) |line| {
        if (identity.group_count == max_groups) break;
        const gid = parseId(field(line, 2)) catch continue;
        if (gid == identity.gid) continue;
        var members = std.mem.splitScalar(u8, field(line, 3), ',');
        while (members.next()) |member| {
            if (!std.mem.eql(u8, member, name)) continue;
            identity.groups[identity.group_count] = gid;
            identity.group_count += 1;
            break;
        }
    }
    return identity;
}

/// A uid or gid: decimal digits only, at most 2^31 - 1. What wraps, is signed or has a
/// prefix is no id; (uid_t)-1 means "unchanged" to the kernel.
pub fn parseId(text: []const u8) error{NotANumber}!u32 {
    if (linux.weakness.has(.ids)) return linux.weakness.wrappedId(text);
    if (text.len == 0) return error.NotANumber;
    var id: u32 = 0;
    for (text) |digit| {
        if (digit < '0' or digit > '9') return error.NotANumber;
        id = std.math.mul(u32, id, 10) catch return error.NotANumber;
        id = std.math.add(u32, id, digit - '0') catch return error.NotANumber;
    }
    return if (id > std.math.maxInt(i32)) error.NotANumber else id;
}

fn looksNumeric(text: []const u8) bool {
    return std.mem.findNone(u8, text, "0123456789+-x ") == null;
}

fn find(file: []const u8, name: []const u8) ?[]const u8 {
    if (name.len == 0) return null;
    var lines = std.mem.splitScalar(u8, file, '\n');
    while (lines.next()) |line| if (std.mem.eql(u8, field(line, 0), name)) return line;
    return null;
}

fn findId(file: []const u8, column: usize, id: u32) ?[]const u8 {
    var lines = std.mem.splitScalar(u8, file, '\n');
    while (lines.next()) |line| {
        const found = parseId(field(line, column)) catch continue;
        if (found == id) return line;
    }
    return null;
}

/// The field of a `:`-separated line; empty if it has fewer.
noinline fn field(line: []const u8, index: usize) []const u8 {
    var fields = std.mem.splitScalar(u8, line, ':');
    for (0..index) |_| _ = fields.next() orelse return "";
    return fields.next() orelse "";
}

const passwd_sample = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\n7:x:70:70::/seven:\n";
const group_sample = "root:x:0:\nweb:x:34:\nlog:x:44:web,root\ntty:x:5:web\n";

test "names, numbers and groups as the image has them" {
    const cases = [_]struct { []const u8, u32, u32, usize }{
        .{ "", 0, 0, 2 },
        .{ "root", 0, 0, 2 },
        .{ "web", 33, 34, 3 },
        .{ "33", 33, 34, 3 },
        .{ "web:log", 33, 44, 1 },
        .{ "web:9", 33, 9, 1 },
        .{ "1000", 1000, 0, 1 },
        .{ "1000:1001", 1000, 1001, 1 },
        .{ "7", 70, 70, 1 }, // A name of digits is a name first.
    };
    for (cases) |case| {
        const identity = try resolve(case[0], passwd_sample, group_sample);
        try std.testing.expectEqual(case[1], identity.uid);
        try std.testing.expectEqual(case[2], identity.gid);
        try std.testing.expectEqual(case[3], identity.group_count);
    }
}

test "what is no id never becomes root" {
    const refused = [_][]const u8{ "4294967295", "4294967296", "2147483648", "-1", " 0", "0x0", "+0", "nobody", "root ", "rooT", "1000:-1", "1000: 0", "web:nogroup" };
    for (refused) |spec| {
        if (resolve(spec, passwd_sample, group_sample)) |identity| {
            std.debug.print("{s} became {d}\n", .{ spec, identity.uid });
            return error.TestUnexpectedResult;
        } else |_| {}
    }
}

test "random text is root only if it says so" {
    var random: std.Random.DefaultPrng = .init(3);
    for (0..50_000) |_| {
        var text: [6]u8 = undefined;
        for (&text) |*byte| byte.* = "0123456789:+-x root"[random.random().uintLessThan(usize, 19)];
        const spec = text[0..random.random().intRangeAtMost(usize, 1, 6)];
        const identity = resolve(spec, passwd_sample, group_sample) catch continue;
        if (identity.uid != 0) continue;
        const user = spec[0 .. std.mem.findScalar(u8, spec, ':') orelse spec.len];
        const zeros = std.mem.findNone(u8, user, "0") == null;
        try std.testing.expect(zeros or std.mem.eql(u8, user, "root"));
    }
}

test "further groups come after those of the files, each once" {
    var failure: Failure = .{};
    var identity: Identity = .{ .uid = 1, .gid = 2 };
    try identity.join(&failure, &.{ 2, 7, 2, 9 });
    try std.testing.expectEqualSlices(u32, &.{ 2, 7, 9 }, identity.groups[0..identity.group_count]);
    var many: [max_groups]u32 = undefined;
    for (&many, 100..) |*gid, number| gid.* = @intCast(number);
    try std.testing.expectError(error.Failed, identity.join(&failure, &many));
}
