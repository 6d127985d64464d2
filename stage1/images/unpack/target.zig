//! The folder that an archive is unpacked into. Every name is resolved from one
//! descriptor with openat2(2): `..` and symlinks, absolute ones too, stay inside it.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Archive = @import("archive.zig").Archive;
const Entry = @import("archive.zig").Entry;
const Path = @import("name.zig").Path;
const Time = @import("header.zig").Time;
const Folders = @import("folders.zig").Folders;
const Writeback = @import("writeback.zig").Writeback;
const xattr = @import("xattr.zig");
const fd_t = linux.fd_t;

const folder_flags: os.O = .{ .DIRECTORY = true, .CLOEXEC = true };
const inside = linux.file.Resolve.in_root | linux.file.Resolve.no_magiclinks | linux.file.Resolve.no_xdev;

/// What was left out: it would have no meaning, or a dangerous one, in an image.
pub const Skipped = struct {
    devices: u64 = 0,
    xattrs: u64 = 0,
};

pub const Target = struct {
    root: fd_t,
    refusal: *Refusal,
    folders: *Folders,
    writeback: *Writeback,
    skipped: Skipped = .{},
    /// The folder that the last entry was in: most entries are in the same one.
    parent_fd: fd_t = -1,
    parent_path: Path = .{},

    /// Writes one entry at `path`. The data comes from `archive`.
    pub fn write(target: *Target, archive: *Archive, entry: *const Entry, path: *const Path, link: *const Path) Error!void {
        if (path.len == 0) return target.writeRoot(entry);
        const parent = try target.enter(path.parent());
        const name = path.base();
        switch (entry.kind) {
            .file => try target.writeFile(archive, entry, parent, name),
            .directory => try target.writeFolder(entry, parent, path),
            .symlink => try target.writeSymlink(entry, parent, name),
            .hard_link => try target.writeHardLink(parent, name, link),
            .fifo => try target.writeFifo(entry, parent, name),
            // A container's devices come from its configuration, never from an image.
            .device => target.skipped.devices += 1,
        }
    }

    /// Hides what lower layers have at `path`, as overlayfs wants it said: a character
    /// device 0:0. What this layer itself has there stays.
    ///
    /// Source: OCI image-spec, layer.md "Whiteouts"; kernel overlayfs.rst "whiteouts
    /// and opaque directories".
    pub fn hide(target: *Target, parent_path: []const u8, name: [*:0]const u8) Error!void {
        const parent = try target.enter(parent_path);
        const result = os.mknodat(parent, name, os.S.IFCHR, 0);
        switch (os.errno(result)) {
            .SUCCESS => {},
            .EXIST => {
                const folder = os.openat(parent, name, opened(.{ .NOFOLLOW = true }), 0);
                if (os.errno(folder) != .SUCCESS) return;
                defer linux.file.close(@intCast(folder));
                try target.markOpaque(@intCast(folder));
            },
            else => |errno| return target.refusal.system(errno),
        }
    }

    /// Hides all that lower layers have in the folder `path`.
    pub fn hideAll(target: *Target, path: []const u8) Error!void {
        try target.markOpaque(try target.enter(path));
    }

    /// Gives every folder its time, now that nothing changes them any more.
    pub fn finish(target: *Target) Error!void {
        target.leave();
        var folders = target.folders.iterate();
        while (folders.next()) |folder| {
            const found = linux.file.openat2(target.root, folder.path, opened(.{ .NOFOLLOW = true }), 0, inside);
            switch (os.errno(found)) {
                .SUCCESS => {},
                .NOENT, .NOTDIR, .LOOP => continue, // A later entry took its place.
                else => |errno| return target.refusal.system(errno),
            }
            defer linux.file.close(@intCast(found));
            try target.setTime(@intCast(found), folder.time);
        }
    }

    fn writeRoot(target: *Target, entry: *const Entry) Error!void {
        if (entry.kind != .directory) return target.refusal.refuse(.root);
        try target.setOwnerAndMode(target.root, entry);
        try target.setXattrs(target.root, entry);
        try target.folders.add(".", entry.mtime, target.refusal);
    }

    fn writeFile(target: *Target, archive: *Archive, entry: *const Entry, parent: fd_t, name: [:0]const u8) Error!void {
        // Set-id bits come after the owner (chown(2) clears them), attributes after the
        // data (write(2) clears security.capability), the time last of all.
        const fd = try target.createFile(parent, name, entry.mode & 0o777);
        defer linux.file.close(fd);
        if (entry.pieces) |pieces| {
            for (pieces) |piece| {
                _ = try target.refusal.check(os.lseek(fd, @intCast(piece.offset), os.SEEK.SET));
                try target.copy(archive, fd, piece.len);
            }
            _ = try target.refusal.check(os.ftruncate(fd, @intCast(entry.size)));
        } else {
            try target.copy(archive, fd, entry.size);
        }
        try target.setOwner(fd, entry);
        if (entry.mode & 0o7000 != 0) _ = try target.refusal.check(os.fchmod(fd, entry.mode));
        try target.setXattrs(fd, entry);
        try target.setTime(fd, entry.mtime);
    }

    fn createFile(target: *Target, parent: fd_t, name: [:0]const u8, mode: u32) Error!fd_t {
        const flags: os.O = .{ .ACCMODE = .WRONLY, .CREAT = true, .EXCL = true, .NOFOLLOW = true, .CLOEXEC = true };
        const made = os.openat(parent, name, flags, mode);
        if (os.errno(made) != .EXIST) return @intCast(try target.refusal.check(made));
        try target.clear(parent, name);
        return @intCast(try target.refusal.check(os.openat(parent, name, flags, mode)));
    }

    fn copy(target: *Target, archive: *Archive, fd: fd_t, len: u64) Error!void {
        var left = len;
        while (left > 0) {
            const piece = try archive.data(left) orelse return target.refusal.refuse(.truncated);
            left -= piece.len;
            var rest = piece;
            while (rest.len > 0) rest = rest[try target.refusal.check(os.write(fd, rest.ptr, rest.len))..];
            target.writeback.wrote(piece.len);
        }
    }

    fn writeFolder(target: *Target, entry: *const Entry, parent: fd_t, path: *const Path) Error!void {
        const folder = try target.makeFolder(parent, path.base(), entry.mode & 0o777);
        // What follows is most likely inside: it becomes the current folder.
        target.leave();
        target.parent_fd = folder;
        target.parent_path = path.*;
        try target.setOwnerAndMode(folder, entry);
        try target.setXattrs(folder, entry);
        try target.folders.add(path.whole(), entry.mtime, target.refusal);
    }

    /// Makes the folder `name`, or opens the one that is there. In the place of a
    /// whiteout it becomes opaque: what was hidden stays hidden.
    fn makeFolder(target: *Target, parent: fd_t, name: [:0]const u8, mode: u32) Error!fd_t {
        const made = os.mkdirat(parent, name, mode);
        if (os.errno(made) != .EXIST) {
            _ = try target.refusal.check(made);
            return target.openFolder(parent, name);
        }
        const there = os.openat(parent, name, opened(.{ .NOFOLLOW = true }), 0);
        if (os.errno(there) == .SUCCESS) return @intCast(there);
        const hidden = try target.isWhiteout(parent, name);
        try target.clear(parent, name);
        _ = try target.refusal.check(os.mkdirat(parent, name, mode));
        const folder = try target.openFolder(parent, name);
        errdefer linux.file.close(folder);
        if (hidden) try target.markOpaque(folder);
        return folder;
    }

    fn openFolder(target: *Target, parent: fd_t, name: [:0]const u8) Error!fd_t {
        return @intCast(try target.refusal.check(os.openat(parent, name, opened(.{ .NOFOLLOW = true }), 0)));
    }

    fn isWhiteout(target: *Target, parent: fd_t, name: [:0]const u8) Error!bool {
        var stat: os.Statx = undefined;
        _ = try target.refusal.check(os.statx(parent, name, os.AT.SYMLINK_NOFOLLOW, os.STATX.BASIC_STATS, &stat));
        return os.S.ISCHR(stat.mode) and stat.rdev_major == 0 and stat.rdev_minor == 0;
    }

    fn writeSymlink(target: *Target, entry: *const Entry, parent: fd_t, name: [:0]const u8) Error!void {
        var space: [4096]u8 = undefined;
        if (entry.link.len >= space.len) return target.refusal.refuse(.long_path);
        if (entry.link.len == 0) return target.refusal.refuse(.damaged);
        const to = std.fmt.bufPrintSentinel(&space, "{s}", .{entry.link}, 0) catch unreachable;
        const made = os.symlinkat(to, parent, name);
        if (os.errno(made) == .EXIST) {
            try target.clear(parent, name);
            _ = try target.refusal.check(os.symlinkat(to, parent, name));
        } else _ = try target.refusal.check(made);
        try target.setByName(entry, parent, name);
    }

    /// Links to a file of the same archive. The last component is never followed, so
    /// a link to a symlink is that symlink.
    fn writeHardLink(target: *Target, parent: fd_t, name: [:0]const u8, link: *const Path) Error!void {
        var from_path: [4096]u8 = undefined;
        const from_folder = std.fmt.bufPrintSentinel(&from_path, "{s}", .{if (link.parent().len == 0) "." else link.parent()}, 0) catch unreachable;
        const from = linux.file.openat2(target.root, from_folder, .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0, inside);
        switch (os.errno(from)) {
            .SUCCESS => {},
            .NOENT, .NOTDIR, .LOOP => return target.refusal.refuse(.link_target),
            else => |errno| return target.refusal.system(errno),
        }
        defer linux.file.close(@intCast(from));
        var stat: os.Statx = undefined;
        switch (os.errno(os.statx(@intCast(from), link.base(), os.AT.SYMLINK_NOFOLLOW, os.STATX.BASIC_STATS, &stat))) {
            .SUCCESS => {},
            .NOENT => return target.refusal.refuse(.link_target),
            else => |errno| return target.refusal.system(errno),
        }
        // Neither a folder nor a whiteout is anything that a second name may have.
        if (!os.S.ISREG(stat.mode) and !os.S.ISLNK(stat.mode) and !os.S.ISFIFO(stat.mode)) return target.refusal.refuse(.link_target);
        const made = os.linkat(@intCast(from), link.base(), parent, name, 0);
        if (os.errno(made) != .EXIST) {
            _ = try target.refusal.check(made);
            return;
        }
        var there: os.Statx = undefined;
        _ = try target.refusal.check(os.statx(parent, name, os.AT.SYMLINK_NOFOLLOW, os.STATX.BASIC_STATS, &there));
        if (there.ino == stat.ino) return; // The same file already, or a link to itself.
        try target.clear(parent, name);
        _ = try target.refusal.check(os.linkat(@intCast(from), link.base(), parent, name, 0));
    }

    fn writeFifo(target: *Target, entry: *const Entry, parent: fd_t, name: [:0]const u8) Error!void {
        const mode = os.S.IFIFO | (entry.mode & 0o777);
        const made = os.mknodat(parent, name, mode, 0);
        if (os.errno(made) == .EXIST) {
            try target.clear(parent, name);
            _ = try target.refusal.check(os.mknodat(parent, name, mode, 0));
        } else _ = try target.refusal.check(made);
        try target.setByName(entry, parent, name);
    }

    /// Takes away what stands where an entry is to go.
    fn clear(target: *Target, parent: fd_t, name: [:0]const u8) Error!void {
        switch (os.errno(os.unlinkat(parent, name, 0))) {
            .SUCCESS, .NOENT => {},
            .ISDIR => {
                var failure: linux.Failure = .{};
                linux.tree.remove(&failure, parent, name) catch return target.refusal.system(@fromBackingInt(failure.errno));
            },
            else => |errno| return target.refusal.system(errno),
        }
    }

    /// The folder `path`, made with what leads to it if it is not there.
    fn enter(target: *Target, path: []const u8) Error!fd_t {
        if (target.parent_fd >= 0 and std.mem.eql(u8, path, target.parent_path.whole())) return target.parent_fd;
        target.leave();
        @memcpy(target.parent_path.space[0..path.len], path);
        target.parent_path.len = path.len;
        target.parent_path.space[path.len] = 0;
        target.parent_fd = try target.findOrMake();
        return target.parent_fd;
    }

    fn leave(target: *Target) void {
        if (target.parent_fd >= 0) linux.file.close(target.parent_fd);
        target.parent_fd = -1;
    }

    fn findOrMake(target: *Target) Error!fd_t {
        const path = &target.parent_path;
        if (path.len == 0) return target.openFolder(target.root, ".");
        const found = linux.file.openat2(target.root, path.whole(), folder_flags, 0, inside);
        switch (os.errno(found)) {
            .SUCCESS => return @intCast(found),
            .NOENT, .NOTDIR => {},
            .LOOP => return target.refusal.refuse(.not_a_folder),
            else => |errno| return target.refusal.system(errno),
        }
        var current = try target.openFolder(target.root, ".");
        errdefer linux.file.close(current);
        var start: usize = 0;
        while (start < path.len) {
            const end = std.mem.findScalarPos(u8, path.whole(), start, '/') orelse path.len;
            const next = try target.step(current, start, end);
            linux.file.close(current);
            current = next;
            start = end + 1;
        }
        return current;
    }

    /// One component on the way, [start, end) of the current path: the folder there,
    /// or the one that a symlink leads to inside the root, or a new one.
    fn step(target: *Target, current: fd_t, start: usize, end: usize) Error!fd_t {
        const space = &target.parent_path.space;
        const after = space[end];
        space[end] = 0;
        defer space[end] = after;
        const so_far = space[0..end :0];
        const found = linux.file.openat2(target.root, so_far, folder_flags, 0, inside);
        switch (os.errno(found)) {
            .SUCCESS => return @intCast(found),
            .NOENT => {},
            .NOTDIR => if (!try target.isWhiteout(current, so_far[start..])) return target.refusal.refuse(.not_a_folder),
            .LOOP => return target.refusal.refuse(.not_a_folder),
            else => |errno| return target.refusal.system(errno),
        }
        var stat: os.Statx = undefined;
        switch (os.errno(os.statx(current, so_far[start..], os.AT.SYMLINK_NOFOLLOW, os.STATX.BASIC_STATS, &stat))) {
            .NOENT => {},
            .SUCCESS => if (os.S.ISLNK(stat.mode)) return target.refusal.refuse(.not_a_folder),
            else => |errno| return target.refusal.system(errno),
        }
        return target.makeFolder(current, so_far[start..], 0o755);
    }

    fn setOwnerAndMode(target: *Target, fd: fd_t, entry: *const Entry) Error!void {
        try target.setOwner(fd, entry);
        _ = try target.refusal.check(os.fchmod(fd, entry.mode));
    }

    fn setOwner(target: *Target, fd: fd_t, entry: *const Entry) Error!void {
        _ = try target.refusal.check(os.fchown(fd, entry.uid, entry.gid));
    }

    fn setTime(target: *Target, fd: fd_t, time: Time) Error!void {
        _ = try target.refusal.check(os.futimens(fd, &times(time)));
    }

    /// Owner, mode, attributes and time of what cannot be opened: symlinks and fifos.
    fn setByName(target: *Target, entry: *const Entry, parent: fd_t, name: [:0]const u8) Error!void {
        _ = try target.refusal.check(os.fchownat(parent, name, entry.uid, entry.gid, os.AT.SYMLINK_NOFOLLOW));
        if (entry.kind == .fifo) _ = try target.refusal.check(os.fchmodat(parent, name, entry.mode));
        var attributes = entry.xattrs(target.refusal);
        while (try attributes.next()) |attribute| {
            // No call takes a folder and a name: the folder is the current one for a moment.
            _ = try target.refusal.check(os.fchdir(parent));
            try target.count(xattr.setByName(name, attribute, target.refusal));
        }
        _ = try target.refusal.check(os.utimensat(parent, name, &times(entry.mtime), os.AT.SYMLINK_NOFOLLOW));
    }

    fn setXattrs(target: *Target, fd: fd_t, entry: *const Entry) Error!void {
        if (entry.records.len == 0) return;
        var attributes = entry.xattrs(target.refusal);
        while (try attributes.next()) |attribute| try target.count(xattr.set(fd, attribute, target.refusal));
    }

    fn count(target: *Target, outcome: Error!xattr.Outcome) Error!void {
        if (try outcome == .skipped) target.skipped.xattrs += 1;
    }

    fn markOpaque(target: *Target, fd: fd_t) Error!void {
        _ = try target.refusal.check(os.fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0));
    }
};

fn opened(extra: os.O) os.O {
    var flags = extra;
    flags.DIRECTORY = true;
    flags.CLOEXEC = true;
    return flags;
}

/// Access time and modification time alike: archives have no other.
fn times(time: Time) [2]os.timespec {
    const both: os.timespec = .{ .sec = time.seconds, .nsec = time.nanoseconds };
    return .{ both, both };
}
