//! Files with holes: where each piece of the stored data belongs.
//!
//! Source: GNU tar manual, "Storing Sparse Files": the old GNU format and the pax
//! versions 0.0, 0.1 and 1.0.

const std = @import("std");
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Archive = @import("archive.zig").Archive;
const header = @import("header.zig");
const pax = @import("pax.zig");

pub const Piece = struct { offset: u64, len: u64 };

pub const Map = struct {
    space: [16 * 1024]Piece,
    len: usize,

    pub fn pieces(map: *const Map) []const Piece {
        return map.space[0..map.len];
    }

    fn add(map: *Map, piece: Piece, refusal: *Refusal) Error!void {
        if (map.len == map.space.len) return refusal.refuse(.pieces);
        map.space[map.len] = piece;
        map.len += 1;
    }

    /// Pieces come in order, do not overlap, end inside the file, and are all the data.
    pub fn validate(map: *const Map, stored: u64, size: u64, refusal: *Refusal) Error!void {
        var end: u64 = 0;
        var sum: u64 = 0;
        for (map.pieces()) |piece| {
            if (piece.offset < end or piece.offset > size or piece.len > size - piece.offset) return refusal.refuse(.damaged);
            end = piece.offset + piece.len;
            sum += piece.len;
        }
        if (sum != stored) return refusal.refuse(.damaged);
    }
};

/// The old GNU format: four pieces in the header, 21 in each block that follows it.
/// Returns the file's size.
pub fn fromHeader(map: *Map, archive: *Archive) Error!u64 {
    const size = try header.unsigned(archive.block[483..495], archive.refusal);
    try fromFields(map, archive.block[386..482], archive.refusal);
    var more = archive.block[482] != 0;
    while (more) {
        if (!try archive.stream.exact(&archive.block)) return archive.refusal.refuse(.truncated);
        try fromFields(map, archive.block[0..504], archive.refusal);
        more = archive.block[504] != 0;
    }
    return size;
}

fn fromFields(map: *Map, fields: []const u8, refusal: *Refusal) Error!void {
    var rest = fields;
    while (rest.len >= 24 and rest[0] != 0) : (rest = rest[24..]) {
        const offset = try header.unsigned(rest[0..12], refusal);
        const len = try header.unsigned(rest[12..24], refusal);
        try map.add(.{ .offset = offset, .len = len }, refusal);
    }
}

/// The pax formats. Returns the file's size.
pub fn fromRecords(map: *Map, archive: *Archive, found: pax.Overrides.Sparse, records: []const u8) Error!u64 {
    const refusal = archive.refusal;
    const size = found.size orelse return refusal.refuse(.damaged);
    if (found.major > 0) {
        if (found.major != 1 or found.minor != 0) return refusal.refuse(.damaged);
        try fromData(map, archive);
    } else if (found.map) |text| {
        var numbers = std.mem.splitScalar(u8, text, ',');
        while (numbers.next()) |offset| {
            if (offset.len == 0 and numbers.peek() == null) break;
            const len = numbers.next() orelse return refusal.refuse(.damaged);
            try map.add(.{ .offset = try pax.count(offset, refusal), .len = try pax.count(len, refusal) }, refusal);
        }
    } else {
        var all: pax.Records = .{ .rest = records, .refusal = refusal };
        var offset: ?u64 = null;
        while (try all.next()) |record| {
            if (std.mem.eql(u8, record.key, pax.sparse_offset)) {
                offset = try pax.count(record.value, refusal);
            } else if (std.mem.eql(u8, record.key, pax.sparse_length)) {
                const start = offset orelse return refusal.refuse(.damaged);
                try map.add(.{ .offset = start, .len = try pax.count(record.value, refusal) }, refusal);
                offset = null;
            }
        }
    }
    return size;
}

/// Version 1.0: decimal numbers, a line each, fill the first blocks of the data.
fn fromData(map: *Map, archive: *Archive) Error!void {
    var lines: Lines = .{ .archive = archive };
    const count = try lines.next();
    for (0..@intCast(count)) |_| {
        const offset = try lines.next();
        try map.add(.{ .offset = offset, .len = try lines.next() }, archive.refusal);
    }
}

/// Numbers from the data, read by whole blocks, so that the file's own data follows.
const Lines = struct {
    archive: *Archive,
    rest: []const u8 = "",

    fn next(lines: *Lines) Error!u64 {
        var digits: [20]u8 = undefined;
        var len: usize = 0;
        while (true) {
            if (lines.rest.len == 0) try lines.refill();
            const byte = lines.rest[0];
            lines.rest = lines.rest[1..];
            if (byte == '\n') return pax.count(digits[0..len], lines.archive.refusal);
            if (len == digits.len) return lines.archive.refusal.refuse(.damaged);
            digits[len] = byte;
            len += 1;
        }
    }

    fn refill(lines: *Lines) Error!void {
        const archive = lines.archive;
        if (archive.left < archive.block.len) return archive.refusal.refuse(.damaged);
        if (!try archive.stream.exact(&archive.block)) return archive.refusal.refuse(.truncated);
        archive.left -= archive.block.len;
        lines.rest = &archive.block;
    }
};
