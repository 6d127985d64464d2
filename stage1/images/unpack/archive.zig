//! A tar archive as a sequence of entries: names, numbers and extended attributes
//! put together from the one to four headers that each may have.

const std = @import("std");
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Limits = @import("limits.zig").Limits;
const Stream = @import("stream.zig").Stream;
const header = @import("header.zig");
const pax = @import("pax.zig");
const sparse = @import("sparse.zig");

/// The longest extended header: room for the 64 KiB of attributes that Linux keeps a
/// file, many times over.
const max_header = 1 << 20;

pub const Kind = enum { file, directory, symlink, hard_link, fifo, device };

/// One entry. Its slices are valid until the next one is read.
pub const Entry = struct {
    kind: Kind,
    /// As the archive has it: may be absolute, empty, or lead anywhere.
    path: []const u8,
    link: []const u8,
    /// Permission bits with set-id and sticky.
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: header.Time,
    /// Length of the file once it is written.
    size: u64,
    /// Where the data goes; null for all of it in one piece.
    pieces: ?[]const sparse.Piece,
    /// The extended header, for its attributes.
    records: []const u8,

    pub fn xattrs(entry: *const Entry, refusal: *Refusal) Xattrs {
        return .{ .records = .{ .rest = entry.records, .refusal = refusal } };
    }
};

/// The extended attributes of an entry.
pub const Xattrs = struct {
    records: pax.Records,

    pub fn next(xattrs: *Xattrs) Error!?pax.Record {
        while (try xattrs.records.next()) |record| {
            if (!std.mem.startsWith(u8, record.key, pax.xattr_prefix)) continue;
            return .{ .key = record.key[pax.xattr_prefix.len..], .value = record.value };
        }
        return null;
    }
};

pub const Archive = struct {
    stream: *Stream,
    refusal: *Refusal,
    limits: Limits,
    /// Entries met so far.
    count: u64,
    /// Whether the end marker was there.
    complete: bool,
    /// Data of the current entry that nobody has read yet.
    left: u64,
    padding: u64,

    block: header.Block,
    name_space: [4096 + 256]u8,
    link_space: [4096 + 256]u8,
    records_space: [max_header]u8,
    sparse_map: sparse.Map,

    /// In place: an archive is too large for a stack.
    pub fn init(archive: *Archive, stream: *Stream, limits: Limits) void {
        archive.stream = stream;
        archive.refusal = stream.refusal;
        archive.limits = limits;
        archive.count = 0;
        archive.complete = false;
        archive.left = 0;
        archive.padding = 0;
    }

    pub fn next(archive: *Archive) Error!?Entry {
        try archive.stream.skip(archive.left);
        // umoci 0.4 stops right behind the last file's data, so the padding may be missing.
        _ = try archive.stream.skipPresent(archive.padding);
        archive.left = 0;
        archive.padding = 0;

        var records: []const u8 = "";
        var long_name: ?[]const u8 = null;
        var long_link: ?[]const u8 = null;
        // Each long name, link and extended header at most once an entry.
        for (0..5) |_| {
            const found = try archive.nextHeader() orelse {
                if (records.len > 0 or long_name != null or long_link != null) return archive.refusal.refuse(.truncated);
                return null;
            };
            switch (found.kind) {
                .pax => records = try archive.body(found.size, &archive.records_space),
                .pax_global => try archive.passOver(found.size),
                .long_name => long_name = header.text(try archive.longName(found.size, &archive.name_space)),
                .long_link => long_link = header.text(try archive.longName(found.size, &archive.link_space)),
                else => return try archive.entry(found, records, long_name, long_link),
            }
        }
        return archive.refusal.refuse(.damaged);
    }

    /// The next bytes of the current entry's data; null at its end.
    pub fn data(archive: *Archive, max: u64) Error!?[]const u8 {
        if (archive.left == 0) return null;
        const piece = try archive.stream.some(@min(max, archive.left)) orelse return archive.refusal.refuse(.truncated);
        archive.left -= piece.len;
        return piece;
    }

    fn nextHeader(archive: *Archive) Error!?header.Header {
        if (!try archive.stream.exact(&archive.block)) return null;
        if (!header.isZero(&archive.block)) return try header.parse(&archive.block, archive.refusal);
        // Two blocks of zeros end an archive; some writers stop after the first.
        if (try archive.stream.exact(&archive.block) and !header.isZero(&archive.block)) return archive.refusal.refuse(.damaged);
        archive.complete = true;
        try archive.stream.drain();
        return null;
    }

    fn entry(archive: *Archive, found: header.Header, records: []const u8, long_name: ?[]const u8, long_link: ?[]const u8) Error!Entry {
        const over = try pax.overrides(records, archive.refusal);
        const path = over.sparse.name orelse over.path orelse long_name orelse try archive.joined(found);
        archive.refusal.at(path);
        archive.count += 1;
        if (archive.count > archive.limits.entries) return archive.refusal.refuse(.entries);

        const kind: Kind = switch (found.kind) {
            // V7 has no type for folders: a slash at the end of the name is all there is.
            .file => if (std.mem.endsWith(u8, path, "/")) .directory else .file,
            .sparse => .file,
            .directory => .directory,
            .symlink => .symlink,
            .hard_link => .hard_link,
            .fifo => .fifo,
            .device => .device,
            .pax, .pax_global, .long_name, .long_link => unreachable,
        };
        const stored = if (found.kind == .file or found.kind == .sparse) over.size orelse found.size else 0;
        archive.left = stored;
        archive.padding = padded(stored);

        var size = stored;
        var pieces: ?[]const sparse.Piece = null;
        if (found.kind == .sparse or (kind == .file and over.sparse.present())) {
            const map = &archive.sparse_map;
            map.len = 0;
            size = if (found.kind == .sparse) try sparse.fromHeader(map, archive) else try sparse.fromRecords(map, archive, over.sparse, records);
            try map.validate(archive.left, size, archive.refusal);
            pieces = map.pieces();
        }
        return .{
            .kind = kind,
            .path = path,
            .link = over.link orelse long_link orelse try archive.copied(found.link),
            .mode = found.mode,
            .uid = try archive.owner(over.uid orelse found.uid),
            .gid = try archive.owner(over.gid orelse found.gid),
            .mtime = over.mtime orelse .{ .seconds = found.mtime },
            .size = size,
            .pieces = pieces,
            .records = records,
        };
    }

    /// The header's own name. It moves out of `block`, which sparse files read into.
    fn joined(archive: *Archive, found: header.Header) Error![]const u8 {
        if (found.prefix.len == 0) return std.fmt.bufPrint(&archive.name_space, "{s}", .{found.name}) catch unreachable;
        return std.fmt.bufPrint(&archive.name_space, "{s}/{s}", .{ found.prefix, found.name }) catch unreachable;
    }

    fn copied(archive: *Archive, link: []const u8) Error![]const u8 {
        @memcpy(archive.link_space[0..link.len], link);
        return archive.link_space[0..link.len];
    }

    fn longName(archive: *Archive, size: u64, space: []u8) Error![]const u8 {
        if (size > archive.limits.path + 1 or size > space.len) return archive.refusal.refuse(.long_path);
        return archive.body(size, space);
    }

    /// Reads an entry's data whole, with its padding.
    fn body(archive: *Archive, size: u64, space: []u8) Error![]const u8 {
        if (size > space.len) return archive.refusal.refuse(.long_header);
        const into = space[0..@intCast(size)];
        if (size > 0 and !try archive.stream.exact(into)) return archive.refusal.refuse(.truncated);
        try archive.stream.skip(padded(size));
        return into;
    }

    fn passOver(archive: *Archive, size: u64) Error!void {
        if (size > max_header) return archive.refusal.refuse(.long_header);
        try archive.stream.skip(size + padded(size));
    }

    /// (uid_t)-1 means "leave it" to chown(2), so nobody can own a file as that.
    fn owner(archive: *Archive, id: u64) Error!u32 {
        if (id >= std.math.maxInt(u32)) return archive.refusal.refuse(.owner);
        return @intCast(id);
    }
};

/// How far it is from `size` to the next block.
fn padded(size: u64) u64 {
    return (header.block_size - size % header.block_size) % header.block_size;
}
