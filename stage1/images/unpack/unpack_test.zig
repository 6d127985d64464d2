//! Archives, good and hostile, against a folder of the test's own. A canary beside the
//! root says whether anything got out. Needs root, as the unpacker does: skipped without.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Archive = @import("archive.zig").Archive;
const Digest = @import("digest.zig").Digest;
const Folders = @import("folders.zig").Folders;
const Limits = @import("limits.zig").Limits;
const Reason = @import("refusal.zig").Reason;
const Refusal = @import("refusal.zig").Refusal;
const Stream = @import("stream.zig").Stream;
const Target = @import("target.zig").Target;
const header = @import("header.zig");
const unpack = @import("unpack.zig");

/// An archive in the making.
const Tar = struct {
    space: [64 * 1024]u8 = undefined,
    len: usize = 0,

    const Options = struct { mode: u32 = 0o644, link: []const u8 = "", data: []const u8 = "" };

    fn add(tar: *Tar, kind: u8, name: []const u8, options: Options) void {
        const block = tar.take(header.block_size);
        @memcpy(block[0..name.len], name);
        _ = std.fmt.bufPrint(block[100..107], "{o:0>7}", .{options.mode}) catch unreachable;
        _ = std.fmt.bufPrint(block[124..135], "{o:0>11}", .{options.data.len}) catch unreachable;
        block[156] = kind;
        @memcpy(block[157..][0..options.link.len], options.link);
        @memcpy(block[257..265], "ustar\x0000");
        seal(block[0..header.block_size]);
        @memcpy(tar.take(std.mem.alignForward(usize, options.data.len, header.block_size))[0..options.data.len], options.data);
    }

    fn pax(tar: *Tar, records: []const u8) void {
        tar.add('x', "pax", .{ .data = records });
    }

    fn end(tar: *Tar) []const u8 {
        _ = tar.take(2 * header.block_size);
        return tar.space[0..tar.len];
    }

    fn take(tar: *Tar, count: usize) []u8 {
        const taken = tar.space[tar.len..][0..count];
        @memset(taken, 0);
        tar.len += count;
        return taken;
    }

    fn seal(block: *header.Block) void {
        @memset(block[148..156], ' ');
        var sum: u32 = 0;
        for (block) |byte| sum += byte;
        _ = std.fmt.bufPrint(block[148..155], "{o:0>6}\x00", .{sum}) catch unreachable;
    }
};

/// A folder with a root to unpack into and a canary beside it.
const Scene = struct {
    path: [:0]const u8,
    space: [64]u8 = undefined,
    outside: linux.fd_t,
    root: linux.fd_t,
    refusal: Refusal = .{},

    fn init(scene: *Scene) !void {
        if (os.geteuid() != 0) return error.SkipZigTest;
        scene.* = .{ .path = undefined, .outside = undefined, .root = undefined };
        scene.path = try std.fmt.bufPrintSentinel(&scene.space, "/tmp/kurma-unpack-{d}", .{os.getpid()}, 0);
        try expectOk(os.mkdir(scene.path, 0o700));
        scene.outside = @intCast(os.open(scene.path, .{ .DIRECTORY = true }, 0));
        try expectOk(os.mkdirat(scene.outside, "root", 0o755));
        scene.root = @intCast(os.openat(scene.outside, "root", .{ .DIRECTORY = true }, 0));
        const canary = os.openat(scene.outside, "canary", .{ .ACCMODE = .WRONLY, .CREAT = true }, 0o600);
        try expectOk(os.write(@intCast(canary), "alive", 5));
        try expectOk(os.futimens(@intCast(canary), &.{ .{ .sec = 1, .nsec = 0 }, .{ .sec = 1, .nsec = 0 } }));
        linux.file.close(@intCast(canary));
    }

    fn deinit(scene: *Scene) void {
        linux.file.close(scene.root);
        linux.file.close(scene.outside);
        var failure: linux.Failure = .{};
        linux.tree.remove(&failure, os.AT.FDCWD, scene.path) catch @panic("the scene stays");
    }

    fn unpackAll(scene: *Scene, format: unpack.Format, bytes: []const u8, limits: Limits) !void {
        scene.refusal = .{};
        var digest: Digest = .init(.sha256);
        var stream: Stream = .{ .source = .{ .bytes = bytes }, .buffer = &.{}, .refusal = &scene.refusal, .digest = &digest, .limit = limits.bytes };
        var folders: Folders = try .init(&scene.refusal);
        defer _ = os.munmap(folders.space.ptr, folders.space.len);
        unpack.archive.init(&stream, limits);
        var target: Target = .{ .root = scene.root, .refusal = &scene.refusal, .folders = &folders };
        defer target.leave();
        try unpack.unpack(format, &target, -1);
        try target.finish();
    }

    fn expectRefused(scene: *Scene, bytes: []const u8, limits: Limits, reason: Reason) !void {
        try std.testing.expectError(error.Refused, scene.unpackAll(.oci, bytes, limits));
        try std.testing.expectEqual(reason, scene.refusal.reason);
        try scene.expectCanary();
    }

    /// Nothing beside the root came, went or changed.
    fn expectCanary(scene: *Scene) !void {
        const canary = scene.stat(scene.outside, "canary").?;
        try std.testing.expectEqual(@as(u64, 5), canary.size);
        try std.testing.expectEqual(@as(u32, 1), canary.nlink);
        try std.testing.expectEqual(@as(u32, 0o600), canary.mode & 0o7777);
        try std.testing.expectEqual(@as(i64, 1), canary.mtime.sec);
        for ([_][*:0]const u8{ "x", "etc", "f" }) |name| try std.testing.expectEqual(null, scene.stat(scene.outside, name));
    }

    fn stat(_: *Scene, dir: linux.fd_t, name: [*:0]const u8) ?os.Statx {
        var found: os.Statx = undefined;
        return if (os.errno(os.statx(dir, name, os.AT.SYMLINK_NOFOLLOW, os.STATX.BASIC_STATS, &found)) == .SUCCESS) found else null;
    }

    fn isWhiteout(scene: *Scene, name: [*:0]const u8) bool {
        const found = scene.stat(scene.root, name) orelse return false;
        return os.S.ISCHR(found.mode) and found.rdev_major == 0 and found.rdev_minor == 0;
    }

    fn isOpaque(scene: *Scene, name: [*:0]const u8) bool {
        const fd: linux.fd_t = @intCast(os.openat(scene.root, name, .{ .DIRECTORY = true }, 0));
        defer linux.file.close(fd);
        var value: [4]u8 = undefined;
        const len = os.syscall4(.fgetxattr, @intCast(fd), @intFromPtr("trusted.overlay.opaque"), @intFromPtr(&value), value.len);
        return len == 1 and value[0] == 'y';
    }
};

fn expectOk(result: usize) !void {
    try std.testing.expectEqual(os.E.SUCCESS, os.errno(result));
}

test "files, folders, links and modes come out as they went in" {
    var scene: Scene = undefined;
    try scene.init();
    defer scene.deinit();
    var tar: Tar = .{};
    tar.add('5', "./", .{ .mode = 0o755 });
    tar.add('5', "bin/", .{ .mode = 0o1777 });
    tar.add('0', "bin/su", .{ .mode = 0o4755, .data = "program" });
    tar.add('1', "bin/sudo", .{ .link = "bin/su" });
    tar.add('2', "bin/link", .{ .link = "/bin/su" });
    tar.add('6', "pipe", .{ .mode = 0o622 });
    tar.add('3', "null", .{});
    tar.pax("22 path=deep/er/file\n\n");
    tar.add('0', "short", .{ .data = "x" });
    try scene.unpackAll(.oci, tar.end(), .{});
    try std.testing.expectEqual(@as(u32, 0o104755), scene.stat(scene.root, "bin/su").?.mode);
    try std.testing.expectEqual(@as(u32, 2), scene.stat(scene.root, "bin/sudo").?.nlink);
    try std.testing.expectEqual(@as(u32, 0o41777), scene.stat(scene.root, "bin").?.mode);
    try std.testing.expectEqual(@as(i64, 0), scene.stat(scene.root, "bin").?.mtime.sec);
    try std.testing.expectEqual(@as(u32, 0o010622), scene.stat(scene.root, "pipe").?.mode);
    try std.testing.expectEqual(null, scene.stat(scene.root, "null"));
    try std.testing.expect(scene.stat(scene.root, "deep/er/file\n") != null);
}

test "whiteouts become overlayfs's, whatever their order" {
    var scene: Scene = undefined;
    try scene.init();
    defer scene.deinit();
    var tar: Tar = .{};
    tar.add('0', "a/.wh.gone", .{});
    tar.add('0', "b/.wh..wh..opq", .{});
    tar.add('0', ".wh.c", .{}); // Hidden, then there again: nothing old may show through.
    tar.add('5', "c/", .{ .mode = 0o755 });
    tar.add('0', ".wh.d", .{});
    tar.add('0', "d/new", .{});
    tar.add('5', "e/", .{ .mode = 0o755 });
    tar.add('0', ".wh.e", .{});
    tar.add('0', ".wh..wh.plnk", .{});
    try scene.unpackAll(.oci, tar.end(), .{});
    try std.testing.expect(scene.isWhiteout("a/gone"));
    for ([_][*:0]const u8{ "b", "c", "d", "e" }) |name| try std.testing.expect(scene.isOpaque(name));
    try std.testing.expect(!scene.isOpaque("a"));
    try std.testing.expect(scene.stat(scene.root, "d/new") != null);
}

test "no name and no link leads out" {
    const Case = struct { kind: u8 = '0', name: []const u8, link: []const u8 = "", reason: Reason = .escape };
    const cases = [_]Case{
        .{ .name = "../x" },                                                     .{ .name = "/etc/x" },
        .{ .name = "a/../../x" },                                                .{ .name = "./..//x" },
        .{ .name = ".." },                                                       .{ .name = "a/.." },
        .{ .kind = '1', .name = "f", .link = "../canary" },                      .{ .kind = '1', .name = "f", .link = "/etc/passwd" },
        .{ .kind = '1', .name = "f", .link = "absent", .reason = .link_target }, .{ .kind = '1', .name = "f", .link = "a/b", .reason = .link_target },
        .{ .name = ".wh...", .reason = .whiteout },                              .{ .name = ".wh..", .reason = .whiteout },
        .{ .name = ".wh.", .reason = .whiteout },                                .{ .name = "", .reason = .damaged },
    };
    for (cases) |case| {
        var scene: Scene = undefined;
        try scene.init();
        defer scene.deinit();
        var tar: Tar = .{};
        tar.add(case.kind, case.name, .{ .link = case.link });
        try scene.expectRefused(tar.end(), .{}, case.reason);
    }
}

test "symlinks on the way stay inside the root" {
    var scene: Scene = undefined;
    try scene.init();
    defer scene.deinit();
    var tar: Tar = .{};
    tar.add('5', "etc/", .{ .mode = 0o755 });
    tar.add('2', "up", .{ .link = "../../../../" });
    tar.add('2', "abs", .{ .link = "/" });
    tar.add('2', "proc", .{ .link = "/proc/self/root" });
    tar.add('2', "escape", .{ .link = "../canary" });
    tar.add('0', "up/etc/one", .{ .data = "1" });
    tar.add('0', "abs/etc/two", .{ .data = "2" });
    tar.add('0', "escape", .{ .mode = 0o777, .data = "dead" }); // Replaces the link, does not follow it.
    tar.add('1', "link", .{ .link = "up" });
    tar.add('0', "abs/.wh.three", .{});
    try scene.unpackAll(.oci, tar.end(), .{});
    try scene.expectCanary();
    try std.testing.expect(scene.stat(scene.root, "etc/one") != null);
    try std.testing.expect(scene.stat(scene.root, "etc/two") != null);
    try std.testing.expect(os.S.ISREG(scene.stat(scene.root, "escape").?.mode));
    try std.testing.expect(os.S.ISLNK(scene.stat(scene.root, "link").?.mode));
    try std.testing.expect(scene.isWhiteout("three"));

    var through: Tar = .{};
    through.add('2', "out", .{ .link = "/proc/self/root/tmp" });
    through.add('0', "out/x", .{});
    try scene.expectRefused(through.end(), .{}, .not_a_folder);
}

test "a later entry replaces an earlier one of any kind" {
    var scene: Scene = undefined;
    try scene.init();
    defer scene.deinit();
    var tar: Tar = .{};
    tar.add('0', "a/b/c", .{ .data = "1" });
    tar.add('0', "a", .{ .data = "file" });
    tar.add('5', "a/", .{ .mode = 0o755 });
    tar.add('0', "x", .{ .data = "1" });
    tar.add('1', "y", .{ .link = "x" });
    tar.add('0', "x", .{ .data = "22" }); // Not through the other name.
    tar.add('1', "y", .{ .link = "y" });
    try scene.unpackAll(.oci, tar.end(), .{});
    try std.testing.expect(os.S.ISDIR(scene.stat(scene.root, "a").?.mode));
    try std.testing.expectEqual(null, scene.stat(scene.root, "a/b"));
    try std.testing.expectEqual(@as(u64, 1), scene.stat(scene.root, "y").?.size);
    try std.testing.expectEqual(@as(u64, 2), scene.stat(scene.root, "x").?.size);
}

test "each limit has an error of its own" {
    const Case = struct { limits: Limits, name: []const u8 = "a/b/c", reason: Reason };
    const cases = [_]Case{
        .{ .limits = .{ .bytes = 1024 }, .reason = .bytes }, .{ .limits = .{ .entries = 1 }, .reason = .entries },
        .{ .limits = .{ .depth = 2 }, .reason = .deep },     .{ .limits = .{ .name = 3 }, .name = "long", .reason = .long_name },
        .{ .limits = .{ .path = 4 }, .reason = .long_path },
    };
    for (cases) |case| {
        var scene: Scene = undefined;
        try scene.init();
        defer scene.deinit();
        var tar: Tar = .{};
        tar.add('0', "one", .{});
        tar.add('0', case.name, .{});
        try scene.expectRefused(tar.end(), case.limits, case.reason);
    }
}

test "an ACI has a manifest and a rootfs, and links inside it" {
    var scene: Scene = undefined;
    try scene.init();
    defer scene.deinit();
    var good: Tar = .{};
    good.add('0', "rootfs/bin/busybox", .{ .mode = 0o755 });
    good.add('1', "rootfs/bin/sh", .{ .link = "rootfs/bin/busybox" });
    good.add('0', "rootfs/.wh.kept", .{});
    try scene.unpackAll(.aci, good.end(), .{});
    try std.testing.expectEqual(@as(u32, 2), scene.stat(scene.root, "bin/sh").?.nlink);
    try std.testing.expect(os.S.ISREG(scene.stat(scene.root, ".wh.kept").?.mode));

    var other: Tar = .{};
    other.add('0', "else", .{});
    try std.testing.expectError(error.Refused, scene.unpackAll(.aci, other.end(), .{}));
    try std.testing.expectEqual(.unexpected, scene.refusal.reason);
    var link: Tar = .{};
    link.add('1', "rootfs/m", .{ .link = "manifest" });
    try std.testing.expectError(error.Refused, scene.unpackAll(.aci, link.end(), .{}));
    try std.testing.expectEqual(.escape, scene.refusal.reason);
}

test "archives that are cut off or changed anywhere never lead out" {
    var scene: Scene = undefined;
    try scene.init();
    defer scene.deinit();
    var tar: Tar = .{};
    tar.add('5', "d/", .{ .mode = 0o755 });
    tar.pax("14 path=d/a/b\n30 SCHILY.xattr.user.k=value0\n");
    tar.add('0', "f", .{ .data = "0123456789" });
    tar.add('2', "d/l", .{ .link = "../.." });
    tar.add('1', "h", .{ .link = "d/a/b" });
    tar.add('0', "d/l/canary", .{ .data = "in" });
    tar.add('0', "d/.wh.q", .{});
    const good = tar.end();
    var random: std.Random.DefaultPrng = .init(1);
    var changed: [64 * 1024]u8 = undefined;
    for (0..3000) |round| {
        @memcpy(changed[0..good.len], good);
        var len = good.len;
        for (0..1 + random.random().uintLessThan(usize, 4)) |_| {
            const block = random.random().uintLessThan(usize, good.len / header.block_size) * header.block_size;
            const one = changed[block..][0..header.block_size];
            one[random.random().uintLessThan(usize, 320)] = switch (random.random().uintLessThan(u8, 4)) {
                0 => '/',
                1 => '.',
                2 => 0,
                else => random.random().int(u8),
            };
            // Most changes keep a good checksum, or nothing behind the header would be tried.
            if (round % 4 != 0 and !header.isZero(one)) Tar.seal(one);
        }
        if (round % 8 == 7) len = random.random().uintLessThan(usize, good.len);
        scene.unpackAll(.oci, changed[0..len], .{ .bytes = 1 << 20 }) catch |err| try std.testing.expectEqual(error.Refused, err);
        try scene.expectCanary();
    }
}
