//! The named processes: what STATUS lists and WAIT waits for.

const std = @import("std");
const linux = @import("linux");
const max_name = @import("command.zig").max_name;
const os = linux.os;

/// A fixed table in order of start. An entry stays when its process has ended; only
/// where the table is full, the oldest ended one makes room.
pub const Roster = struct {
    entries: [capacity]Entry,
    len: usize,
    alive: usize,

    pub const capacity = 4096;

    /// The most bytes that `list` writes.
    pub const max_listing = capacity * (max_name + 1 + "signaled(127)\n".len);

    const Entry = struct {
        pid: linux.pid_t,
        /// As wait4(2) gives it; `running` until then.
        status: u32,
        name_len: u8,
        name: [max_name]u8,

        /// No status of an ended process: a stopped one's low byte is 0x7f.
        const running = 0x7f;
    };

    pub fn hasRoom(roster: *const Roster) bool {
        return roster.alive < capacity;
    }

    /// Adds a process that has just been started. There must be room.
    pub fn add(roster: *Roster, name: []const u8, pid: linux.pid_t) void {
        if (roster.len == capacity) roster.forgetOldest();
        const entry = &roster.entries[roster.len];
        entry.* = .{ .pid = pid, .status = Entry.running, .name_len = @intCast(name.len), .name = undefined };
        @memcpy(entry.name[0..name.len], name);
        roster.len += 1;
        roster.alive += 1;
    }

    /// Records how a process ended; false if it has no name here.
    pub fn ended(roster: *Roster, pid: linux.pid_t, status: u32) bool {
        for (roster.entries[0..roster.len]) |*entry| {
            if (entry.pid != pid or entry.status != Entry.running) continue;
            entry.status = status;
            roster.alive -= 1;
            return true;
        }
        return false;
    }

    /// Writes name and state of each, the newest first, a line each.
    pub fn list(roster: *const Roster, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        var index = roster.len;
        while (index > 0) {
            index -= 1;
            const entry = &roster.entries[index];
            try writer.writeAll(entry.name[0..entry.name_len]);
            try writer.writeByte('\n');
            var space: [16]u8 = undefined;
            const status = entry.status;
            if (status == Entry.running) {
                try writer.writeAll("running\n");
            } else if (os.W.IFEXITED(status)) {
                try writer.writeAll(linux.text.printCut(&space, "exited({d})\n", .{os.W.EXITSTATUS(status)}));
            } else if (os.W.IFSIGNALED(status)) {
                try writer.writeAll(linux.text.printCut(&space, "signaled({d})\n", .{status & 0x7f}));
            } else {
                try writer.writeAll("unknown\n");
            }
        }
    }

    fn forgetOldest(roster: *Roster) void {
        const oldest = for (roster.entries[0..roster.len], 0..) |entry, index| {
            if (entry.status != Entry.running) break index;
        } else unreachable; // The caller asked whether there is room.
        std.mem.copyForwards(Entry, roster.entries[oldest .. roster.len - 1], roster.entries[oldest + 1 .. roster.len]);
        roster.len -= 1;
    }
};

test "list() has the newest first, in the words of STATUS" {
    const roster = try std.testing.allocator.create(Roster);
    defer std.testing.allocator.destroy(roster);
    roster.len = 0;
    roster.alive = 0;
    for ([_][]const u8{ "one", "two", "three", "four" }, 10..) |name, pid| roster.add(name, @intCast(pid));
    try std.testing.expect(roster.ended(11, 3 << 8));
    try std.testing.expect(roster.ended(12, 9));
    try std.testing.expect(!roster.ended(12, 0)); // The number may already be another's.
    try std.testing.expect(!roster.ended(99, 0));
    var space: [256]u8 = undefined;
    var writer: std.Io.Writer = .fixed(&space);
    try roster.list(&writer);
    try std.testing.expectEqualStrings("four\nrunning\nthree\nsignaled(9)\ntwo\nexited(3)\none\nrunning\n", writer.buffered());
    try std.testing.expectEqual(2, roster.alive);
}

test "a full table forgets the oldest that has ended" {
    const roster = try std.testing.allocator.create(Roster);
    defer std.testing.allocator.destroy(roster);
    roster.len = 0;
    roster.alive = 0;
    for (0..Roster.capacity) |pid| roster.add(&@as([max_name]u8, @splat('n')), @intCast(pid + 1));
    try std.testing.expect(!roster.hasRoom());
    try std.testing.expect(roster.ended(2, 9));
    roster.add("new", 9000);
    try std.testing.expectEqual(Roster.capacity, roster.len);
    try std.testing.expectEqual(3, roster.entries[1].pid);
    const space = try std.testing.allocator.alloc(u8, Roster.max_listing);
    defer std.testing.allocator.free(space);
    var writer: std.Io.Writer = .fixed(space);
    try roster.list(&writer);
    try std.testing.expectStringStartsWith(writer.buffered(), "new\nrunning\n");
}
