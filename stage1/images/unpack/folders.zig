//! The folders of an archive with their times, which can only be set once all that
//! is in them has been written.

const std = @import("std");
const linux = @import("linux");
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Time = @import("header.zig").Time;

pub const Folder = struct { path: [*:0]const u8, time: Time };

pub const Folders = struct {
    space: []u8,
    len: usize = 0,

    const head = 8 + 4 + 2; // Seconds, nanoseconds, length of the path.

    /// As many as an archive with the most entries could have at an ordinary length
    /// of name; memory is only taken as it is used.
    const reserve = 256 << 20;

    pub fn init(refusal: *Refusal) Error!Folders {
        const mapped = try refusal.check(linux.os.mmap(null, reserve, .{ .READ = true, .WRITE = true }, .{ .TYPE = .PRIVATE, .ANONYMOUS = true, .NORESERVE = true }, -1, 0));
        return .{ .space = @as([*]u8, @ptrFromInt(mapped))[0..reserve] };
    }

    pub fn add(folders: *Folders, path: []const u8, time: Time, refusal: *Refusal) Error!void {
        const end = folders.len + head + path.len + 1;
        if (end > folders.space.len) return refusal.refuse(.entries);
        const record = folders.space[folders.len..end];
        std.mem.writeInt(i64, record[0..8], time.seconds, .little);
        std.mem.writeInt(u32, record[8..12], time.nanoseconds, .little);
        std.mem.writeInt(u16, record[12..14], @intCast(path.len), .little);
        @memcpy(record[head..][0..path.len], path);
        record[head + path.len] = 0;
        folders.len = end;
    }

    pub fn iterate(folders: *const Folders) Iterator {
        return .{ .rest = folders.space[0..folders.len] };
    }

    pub const Iterator = struct {
        rest: []const u8,

        pub fn next(iterator: *Iterator) ?Folder {
            if (iterator.rest.len == 0) return null;
            const record = iterator.rest;
            const path_len = std.mem.readInt(u16, record[12..14], .little);
            iterator.rest = record[head + path_len + 1 ..];
            return .{
                .path = record[head..][0..path_len :0].ptr,
                .time = .{ .seconds = std.mem.readInt(i64, record[0..8], .little), .nanoseconds = std.mem.readInt(u32, record[8..12], .little) },
            };
        }
    };
};
