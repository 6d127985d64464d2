//! Extended attributes of entries. Only kinds that mean something inside an image
//! are set: overlayfs reads its own, and security modules label files themselves.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Record = @import("pax.zig").Record;

pub const Outcome = enum { set, skipped };

/// Longest name that Linux takes. xattr(7)
const max_name = 255;

pub fn set(fd: linux.fd_t, attribute: Record, refusal: *Refusal) Error!Outcome {
    var space: [max_name + 1]u8 = undefined;
    const name = wanted(attribute.key, &space) orelse return .skipped;
    return outcome(os.fsetxattr(fd, name, attribute.value.ptr, attribute.value.len, 0), refusal);
}

/// For what cannot be opened: `file` is in the current folder and is not followed.
pub fn setByName(file: [*:0]const u8, attribute: Record, refusal: *Refusal) Error!Outcome {
    var space: [max_name + 1]u8 = undefined;
    const name = wanted(attribute.key, &space) orelse return .skipped;
    return outcome(os.lsetxattr(file, name, attribute.value.ptr, attribute.value.len, 0), refusal);
}

fn wanted(key: []const u8, space: *[max_name + 1]u8) ?[*:0]const u8 {
    if (!isWanted(key) or key.len > max_name or std.mem.findScalar(u8, key, 0) != null) return null;
    return (std.fmt.bufPrintSentinel(space, "{s}", .{key}, 0) catch unreachable).ptr;
}

fn isWanted(key: []const u8) bool {
    if (std.mem.startsWith(u8, key, "user.overlay.")) return false;
    if (std.mem.startsWith(u8, key, "user.")) return true;
    const others = [_][]const u8{ "security.capability", "system.posix_acl_access", "system.posix_acl_default" };
    for (others) |other| if (std.mem.eql(u8, key, other)) return true;
    return false;
}

/// A file system, or a kind of file, that takes no attributes does without them.
fn outcome(result: usize, refusal: *Refusal) Error!Outcome {
    return switch (os.errno(result)) {
        .SUCCESS => .set,
        .OPNOTSUPP, .PERM, .INVAL => .skipped,
        else => |errno| refusal.system(errno),
    };
}

test "overlay's and the host's attributes are not an image's to set" {
    for ([_][]const u8{ "user.note", "security.capability", "system.posix_acl_default" }) |key| try std.testing.expect(isWanted(key));
    for ([_][]const u8{ "trusted.overlay.opaque", "user.overlay.whiteout", "trusted.x", "security.selinux", "security.ima", "" }) |key| try std.testing.expect(!isWanted(key));
}
