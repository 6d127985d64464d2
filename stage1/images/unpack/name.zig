//! Names of entries: cleaned, checked against the limits, and never leading out.

const std = @import("std");
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Limits = @import("limits.zig").Limits;

/// A path below the root: components joined by one slash each, none of them empty,
/// `.` or `..`. The empty path is the root itself.
pub const Path = struct {
    space: [4096]u8 = undefined,
    len: usize = 0,

    /// Cleans `raw` as an archive spells it: `./a//b/` is `a/b`.
    pub fn set(path: *Path, raw: []const u8, limits: Limits, refusal: *Refusal) Error!void {
        path.len = 0;
        if (raw.len == 0) return refusal.refuse(.damaged);
        // "/" alone is how umoci spells the root itself; it leads nowhere else.
        if (raw[0] == '/' and std.mem.findNone(u8, raw, "/") != null) return refusal.refuse(.escape);
        var depth: u64 = 0;
        var components = std.mem.tokenizeScalar(u8, raw, '/');
        while (components.next()) |component| {
            if (std.mem.eql(u8, component, ".")) continue;
            if (std.mem.eql(u8, component, "..")) return refusal.refuse(.escape);
            if (component.len > limits.name) return refusal.refuse(.long_name);
            depth += 1;
            if (depth > limits.depth) return refusal.refuse(.deep);
            const slash = @intFromBool(path.len > 0);
            const end = path.len + slash + component.len;
            if (end > limits.path or end >= path.space.len) return refusal.refuse(.long_path);
            if (slash == 1) path.space[path.len] = '/';
            @memcpy(path.space[path.len + slash .. end], component);
            path.len = end;
        }
        path.space[path.len] = 0;
    }

    pub fn whole(path: *const Path) [:0]const u8 {
        return path.space[0..path.len :0];
    }

    /// What stands before the last slash; empty for something in the root.
    pub fn parent(path: *const Path) []const u8 {
        return path.whole()[0 .. std.mem.findScalarLast(u8, path.whole(), '/') orelse 0];
    }

    /// The last component.
    pub fn base(path: *const Path) [:0]const u8 {
        const slash = std.mem.findScalarLast(u8, path.whole(), '/');
        return path.whole()[if (slash) |at| at + 1 else 0..];
    }

    /// Takes `prefix` and its slash away; false if the path is not below it.
    pub fn strip(path: *Path, comptime prefix: []const u8) bool {
        const text = path.whole();
        if (std.mem.eql(u8, text, prefix)) {
            path.len = 0;
        } else if (std.mem.startsWith(u8, text, prefix ++ "/")) {
            path.len -= prefix.len + 1;
            @memmove(path.space[0..path.len], path.space[prefix.len + 1 ..][0..path.len]);
        } else return false;
        path.space[path.len] = 0;
        return true;
    }
};

test "names are cleaned" {
    var refusal: Refusal = .{};
    var path: Path = .{};
    for ([_][2][]const u8{ .{ "./a//b/", "a/b" }, .{ ".", "" }, .{ "a/./b", "a/b" }, .{ "...", "..." }, .{ "/", "" } }) |pair| {
        try path.set(pair[0], .{}, &refusal);
        try std.testing.expectEqualStrings(pair[1], path.whole());
    }
    try path.set("rootfs/bin/sh", .{}, &refusal);
    try std.testing.expect(path.strip("rootfs"));
    try std.testing.expectEqualStrings("bin", path.parent());
    try std.testing.expectEqualStrings("sh", path.base());
    try path.set("rootfs2", .{}, &refusal);
    try std.testing.expect(!path.strip("rootfs"));
}

test "names that lead out or are too much are refused" {
    const limits: Limits = .{ .name = 4, .path = 9, .depth = 3 };
    const cases = [_]struct { []const u8, @import("refusal.zig").Reason }{
        .{ "/etc/x", .escape }, .{ "../x", .escape },     .{ "a/../../x", .escape },      .{ "./..//x", .escape },
        .{ "a/..", .escape },   .{ "abcde", .long_name }, .{ "abcd/abcd/a", .long_path }, .{ "a/b/c/d", .deep },
        .{ "", .damaged },
    };
    for (cases) |case| {
        var refusal: Refusal = .{};
        var path: Path = .{};
        try std.testing.expectError(error.Refused, path.set(case[0], limits, &refusal));
        try std.testing.expectEqual(case[1], refusal.reason);
    }
}
