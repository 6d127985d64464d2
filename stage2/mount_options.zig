//! The options of one OCI mount, told apart: attributes of the mount, its
//! propagation, and what only the file system understands.
//!
//! Source: OCI runtime-spec 1.3, config.md "Linux mount options"; mount(8).

const std = @import("std");
const mount = @import("linux").mount;

pub const Options = struct {
    bind: enum { none, bind, rbind } = .none,
    /// Attributes to set and to clear, on this mount and on it with all below.
    set: u64 = 0,
    clear: u64 = 0,
    whole_set: u64 = 0,
    whole_clear: u64 = 0,
    propagation: ?Propagation = null,
    /// Whether its owners are mapped, on this mount or on it with all below.
    idmap: enum { none, idmap, ridmap } = .none,

    /// What `name` means, or null if only the file system can know: `mode=755`, `newinstance`.
    fn apply(options: *Options, name: []const u8) bool {
        for (attributes) |attribute| {
            if (!std.mem.eql(u8, name, attribute.name)) continue;
            // The access time mode is a field of three bits: setting one value clears the others.
            const clear = attribute.clear | (if (attribute.set & access_time != 0) access_time else 0);
            if (attribute.whole) {
                options.whole_set = (options.whole_set & ~clear) | attribute.set;
                options.whole_clear = (options.whole_clear & ~attribute.set) | clear;
            } else {
                options.set = (options.set & ~clear) | attribute.set;
                options.clear = (options.clear & ~attribute.set) | clear;
            }
            return true;
        }
        if (propagationOf(name)) |propagation| {
            options.propagation = propagation;
        } else if (std.mem.eql(u8, name, "bind")) {
            options.bind = .bind;
        } else if (std.mem.eql(u8, name, "rbind")) {
            options.bind = .rbind;
        } else if (std.mem.eql(u8, name, "idmap")) {
            options.idmap = .idmap;
        } else if (std.mem.eql(u8, name, "ridmap")) {
            options.idmap = .ridmap;
        } else return std.mem.eql(u8, name, "defaults");
        return true;
    }
};

/// What a mount shares with its copies: `kind` as mount_setattr(2) takes it.
pub const Propagation = struct { kind: u64, whole: bool };

const access_time = mount.Attributes.access_time_mask;

const Attribute = struct { name: []const u8, set: u64 = 0, clear: u64 = 0, whole: bool = false };

fn bits(value: mount.Attributes) u64 {
    return @bitCast(value);
}

const attributes = plain ++ recursive: {
    var whole: [plain.len]Attribute = undefined;
    for (plain, &whole) |attribute, *slot| slot.* = .{ .name = "r" ++ attribute.name, .set = attribute.set, .clear = attribute.clear, .whole = true };
    break :recursive whole;
};

const plain = [_]Attribute{
    .{ .name = "ro", .set = bits(.{ .readonly = true }) },
    .{ .name = "rw", .clear = bits(.{ .readonly = true }) },
    .{ .name = "nosuid", .set = bits(.{ .nosuid = true }) },
    .{ .name = "suid", .clear = bits(.{ .nosuid = true }) },
    .{ .name = "nodev", .set = bits(.{ .nodev = true }) },
    .{ .name = "dev", .clear = bits(.{ .nodev = true }) },
    .{ .name = "noexec", .set = bits(.{ .noexec = true }) },
    .{ .name = "exec", .clear = bits(.{ .noexec = true }) },
    .{ .name = "noatime", .set = bits(.{ .noatime = true }) },
    .{ .name = "atime", .clear = access_time },
    .{ .name = "relatime", .clear = access_time },
    .{ .name = "norelatime", .clear = access_time },
    .{ .name = "strictatime", .set = bits(.{ .strictatime = true }) },
    .{ .name = "nostrictatime", .clear = access_time },
    .{ .name = "nodiratime", .set = bits(.{ .nodiratime = true }) },
    .{ .name = "diratime", .clear = bits(.{ .nodiratime = true }) },
    .{ .name = "nosymfollow", .set = bits(.{ .nosymfollow = true }) },
    .{ .name = "symfollow", .clear = bits(.{ .nosymfollow = true }) },
};

const propagations = [_]struct { name: []const u8, kind: u64, whole: bool }{
    .{ .name = "private", .kind = mount.Propagation.private, .whole = false },
    .{ .name = "rprivate", .kind = mount.Propagation.private, .whole = true },
    .{ .name = "slave", .kind = mount.Propagation.slave, .whole = false },
    .{ .name = "rslave", .kind = mount.Propagation.slave, .whole = true },
    .{ .name = "shared", .kind = mount.Propagation.shared, .whole = false },
    .{ .name = "rshared", .kind = mount.Propagation.shared, .whole = true },
    .{ .name = "unbindable", .kind = mount.Propagation.unbindable, .whole = false },
    .{ .name = "runbindable", .kind = mount.Propagation.unbindable, .whole = true },
};

/// What a propagation's name means, or null if it is none.
pub fn propagationOf(name: []const u8) ?Propagation {
    for (propagations) |known| {
        if (std.mem.eql(u8, name, known.name)) return .{ .kind = known.kind, .whole = known.whole };
    }
    return null;
}

/// Whether `name` is an option of other runtimes that is not carried out here.
pub fn isRefused(name: []const u8) bool {
    for ([_][]const u8{ "remount", "tmpcopyup", "copy-symlink", "src-nofollow", "dest-nofollow" }) |known| {
        if (std.mem.eql(u8, name, known)) return true;
    }
    return false;
}

/// Splits `list`: what a mount knows goes into the result, the rest stays for `forFileSystem`.
pub fn parse(list: []const [:0]const u8) Options {
    var options: Options = .{};
    for (list) |name| _ = options.apply(name);
    return options;
}

/// Whether `name` is the file system's own to understand.
pub fn forFileSystem(name: []const u8) bool {
    var options: Options = .{};
    return !options.apply(name);
}

test "the last of two that contradict wins" {
    const options = parse(&.{ "ro", "nosuid", "rw", "noatime", "strictatime", "mode=755" });
    try std.testing.expectEqual(bits(.{ .nosuid = true, .strictatime = true }), options.set);
    try std.testing.expect(options.clear & bits(.{ .readonly = true }) != 0);
    try std.testing.expect(forFileSystem("mode=755"));
    try std.testing.expect(!forFileSystem("ro"));
}

test "rbind and recursive attributes" {
    const options = parse(&.{ "rbind", "rro", "rslave" });
    try std.testing.expectEqual(.rbind, options.bind);
    try std.testing.expectEqual(bits(.{ .readonly = true }), options.whole_set);
    try std.testing.expect(options.propagation.?.whole);
}
