//! The framing of stage3's requests, as protocol.md has it: bytes in, arrays of
//! strings out. Nothing here makes a system call.

const std = @import("std");
const assert = std.debug.assert;

/// What a request may take: its arena. Every count and every string is charged
/// against it when the number that announces it has arrived.
pub const budget = 1024 * 1024;

/// Where one request is kept: tables of pointers grow from the front, strings from
/// the back. It needs no particular content, and only the pages written are touched.
pub const Arena = [budget]u8;

/// Strings up to the first that is absent; the form execve(2) takes.
pub const Strings = [*:null]const ?[*:0]const u8;

/// A whole request. A string of length zero is absent, and so ends its array.
pub const Request = struct {
    arrays: [*:null]const ?Strings,

    pub fn count(request: Request) usize {
        return std.mem.len(request.arrays);
    }
};

pub const reply = struct {
    pub const ok = "REQUEST OK\n";
    pub const malformed = "PROTOCOL ERROR\n";
    pub const failed = "INTERNAL ERROR\n";
    pub const end = "END\n";
};

/// Reads one request, in pieces of any size.
pub const Parser = struct {
    arena: *align(@alignOf(usize)) Arena,
    expects: enum { version, arrays, strings, length, bytes } = .version,
    /// The digits so far. It wraps at 32 bits, as it always did.
    number: u32 = 0,
    arrays_left: u32 = 0,
    strings_left: u32 = 0,
    /// Offsets in the arena: the next pointer to an array, the next pointer to a
    /// string, the next byte of a string.
    array_at: u32 = 0,
    string_at: u32 = 0,
    byte_at: u32 = 0,
    bytes_left: u32 = 0,
    tables_end: u32 = 0,
    strings_start: u32 = budget,

    const pointer = @sizeOf(usize);

    /// Takes the next bytes; true once the request is whole. Bytes after its end are
    /// ignored. After an error or true, the parser is done with.
    pub fn feed(parser: *Parser, bytes: []const u8) error{Malformed}!bool {
        var rest = bytes;
        while (rest.len > 0) {
            if (parser.expects == .bytes) {
                const len: u32 = @intCast(@min(rest.len, parser.bytes_left));
                @memcpy(parser.arena[parser.byte_at..][0..len], rest[0..len]);
                rest = rest[len..];
                parser.byte_at += len;
                parser.bytes_left -= len;
                if (parser.bytes_left == 0 and parser.stringDone()) return true;
                continue;
            }
            const byte = rest[0];
            rest = rest[1..];
            if (byte == '\n') {
                if (try parser.numberDone()) return true;
                continue;
            }
            const digit = byte -% '0';
            if (digit > 9) return error.Malformed;
            parser.number = parser.number *% 10 +% digit;
        }
        return false;
    }

    /// What `feed` has read, once it has answered true.
    pub fn request(parser: *const Parser) Request {
        assert(parser.arrays_left == 0);
        return .{ .arrays = @ptrCast(parser.arena) };
    }

    fn numberDone(parser: *Parser) error{Malformed}!bool {
        const number = parser.number;
        parser.number = 0;
        switch (parser.expects) {
            .version => {
                if (number != 1) return error.Malformed;
                parser.expects = .arrays;
            },
            .arrays => {
                if (number == 0) return error.Malformed;
                parser.array_at = try parser.table(number);
                parser.arrays_left = number;
                parser.expects = .strings;
            },
            .strings => {
                parser.string_at = try parser.table(number);
                parser.put(parser.array_at, parser.string_at);
                parser.array_at += pointer;
                parser.strings_left = number;
                if (number == 0) return parser.arrayDone();
                parser.expects = .length;
            },
            .length => {
                if (number >= parser.free()) return error.Malformed;
                if (number == 0) {
                    parser.strings_start -= 1; // Charged like any other, with its end.
                    parser.slot(parser.string_at).* = 0;
                    return parser.stringDone();
                }
                parser.strings_start -= number + 1;
                parser.byte_at = parser.strings_start;
                parser.bytes_left = number;
                parser.arena[parser.byte_at + number] = 0;
                parser.put(parser.string_at, parser.byte_at);
                parser.expects = .bytes;
            },
            .bytes => unreachable,
        }
        return false;
    }

    fn stringDone(parser: *Parser) bool {
        parser.string_at += pointer;
        parser.strings_left -= 1;
        if (parser.strings_left == 0) return parser.arrayDone();
        parser.expects = .length;
        return false;
    }

    fn arrayDone(parser: *Parser) bool {
        parser.arrays_left -= 1;
        parser.expects = .strings;
        return parser.arrays_left == 0;
    }

    /// Space for `count` pointers and the null behind them; returns where it starts.
    fn table(parser: *Parser, count: u32) error{Malformed}!u32 {
        if (count >= parser.free() / pointer) return error.Malformed;
        const start = parser.tables_end;
        parser.tables_end += (count + 1) * pointer;
        parser.slot(parser.tables_end - pointer).* = 0;
        return start;
    }

    fn free(parser: *const Parser) u32 {
        return parser.strings_start - parser.tables_end;
    }

    fn put(parser: *Parser, at: u32, target: u32) void {
        parser.slot(at).* = @intFromPtr(parser.arena) + target;
    }

    fn slot(parser: *Parser, at: u32) *usize {
        return @ptrCast(@alignCast(parser.arena[at..][0..pointer]));
    }
};

test {
    _ = @import("protocol_test.zig");
}
