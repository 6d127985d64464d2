//! The state of a container as JSON, for its hooks and for who answers its system calls.
//!
//! Source: OCI runtime-spec 1.3, runtime.md "State"

const std = @import("std");
const linux = @import("linux");

pub const State = struct {
    ociVersion: []const u8,
    id: []const u8,
    bundle: []const u8,
    annotations: []const Annotation = &.{},

    pub const Annotation = struct { key: [:0]const u8, value: [:0]const u8 };

    /// What stays the same for its life, as JSON without the end: `finish` adds that.
    pub fn begin(state: *const State, buffer: []u8) error{NoSpaceLeft}![]u8 {
        var line: Line = .{ .buffer = buffer };
        line.raw("{\"ociVersion\":");
        line.string(state.ociVersion);
        line.raw(",\"id\":");
        line.string(state.id);
        line.raw(",\"bundle\":");
        line.string(state.bundle);
        line.raw(",\"annotations\":{");
        for (state.annotations, 0..) |annotation, index| {
            if (index > 0) line.raw(",");
            line.string(annotation.key);
            line.raw(":");
            line.string(annotation.value);
        }
        line.raw("}");
        return line.done();
    }
};

pub const Status = enum { creating, created, running, stopped };

/// `begun` with the rest, in `buffer`. `pid` as numbered where the reader is; null once the
/// container has stopped.
pub fn finish(buffer: []u8, begun: []const u8, status: Status, pid: ?linux.pid_t) error{NoSpaceLeft}![]u8 {
    if (pid) |number| return linux.text.print(buffer, "{s},\"status\":\"{t}\",\"pid\":{d}}", .{ begun, status, number });
    return linux.text.print(buffer, "{s},\"status\":\"{t}\"}", .{ begun, status });
}

/// Longer than `finish` makes what it is given.
pub const finish_room = 64;

/// JSON that is written piece by piece.
pub const Line = struct {
    buffer: []u8,
    len: usize = 0,
    overflow: bool = false,

    pub noinline fn raw(line: *Line, bytes: []const u8) void {
        const len = @min(bytes.len, line.buffer.len - line.len);
        if (len < bytes.len) line.overflow = true;
        @memcpy(line.buffer[line.len..][0..len], bytes[0..len]);
        line.len += len;
    }

    /// A text in quotes. What is no control character stays as it is: names and
    /// annotations come from JSON and are valid UTF-8.
    pub noinline fn string(line: *Line, text: []const u8) void {
        line.raw("\"");
        for (text) |byte| {
            const hex = "0123456789abcdef";
            if (byte < ' ') {
                line.raw(&.{ '\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15] });
            } else {
                if (byte == '"' or byte == '\\') line.raw("\\");
                line.raw(&.{byte});
            }
        }
        line.raw("\"");
    }

    pub fn done(line: *const Line) error{NoSpaceLeft}![]u8 {
        return if (line.overflow) error.NoSpaceLeft else line.buffer[0..line.len];
    }
};

test "a state is JSON, whatever is in it" {
    const state: State = .{
        .ociVersion = "1.3.0",
        .id = "we\"b",
        .bundle = "/run/web",
        .annotations = &.{ .{ .key = "a.b", .value = "c\n\\\u{e9}" }, .{ .key = "d", .value = "" } },
    };
    var space: [1024]u8 = undefined;
    var whole: [1024]u8 = undefined;
    const begun = try state.begin(&space);
    try std.testing.expectEqualStrings(
        \\{"ociVersion":"1.3.0","id":"we\"b","bundle":"/run/web","annotations":{"a.b":"c\u000a\\é","d":""},"status":"created","pid":42}
    , try finish(&whole, begun, .created, 42));
    try std.testing.expect(std.mem.endsWith(u8, try finish(&whole, begun, .stopped, null), "\"status\":\"stopped\"}"));
    try std.testing.expectError(error.NoSpaceLeft, state.begin(space[0..20]));
    try std.testing.expectError(error.NoSpaceLeft, finish(whole[0..begun.len], begun, .stopped, null));
    const parsed = try std.json.parseFromSlice(std.json.Value, std.testing.allocator, try finish(&whole, begun, .running, 7), .{});
    defer parsed.deinit();
    try std.testing.expectEqualStrings("we\"b", parsed.value.object.get("id").?.string);
}
