//! Lists of CPUs as cpuset(7) writes them: `0-2,7`.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;

/// As many as the kernel can be built for.
const max = 8192;

pub const Set = std.StaticBitSet(max);

/// Whether `list` is one; `set` is what it names.
pub fn parse(list: []const u8, set: *Set) bool {
    @memset(std.mem.asBytes(set), 0);
    var parts = std.mem.splitScalar(u8, list, ',');
    while (parts.next()) |part| {
        const dash = std.mem.findScalar(u8, part, '-');
        const first = number(part[0 .. dash orelse part.len]) orelse return false;
        const last = if (dash) |at| number(part[at + 1 ..]) orelse return false else first;
        if (last < first) return false;
        for (first..last + 1) |cpu| set.set(cpu);
    }
    return true;
}

fn number(digits: []const u8) ?usize {
    if (digits.len == 0 or digits.len > 4) return null;
    var value: usize = 0;
    for (digits) |digit| {
        if (digit < '0' or digit > '9') return null;
        value = value * 10 + (digit - '0');
    }
    return if (value < max) value else null;
}

/// Lets the calling process run on these only. sched_setaffinity(2)
pub fn pin(failure: *linux.Failure, list: []const u8) error{Failed}!void {
    var set: Set = undefined;
    if (!parse(list, &set)) return failure.fail(.scheduler, .INVAL);
    _ = try failure.check(.scheduler, os.syscall3(.sched_setaffinity, 0, @sizeOf(Set), @intFromPtr(&set)));
}

test "lists of CPUs are read as cpuset(7) means them" {
    var set: Set = undefined;
    try std.testing.expect(parse("0-2,7", &set));
    try std.testing.expectEqual(4, set.count());
    try std.testing.expect(set.isSet(7) and !set.isSet(3));
    for ([_][]const u8{ "", "a", "1-", "-1", "3-1", "1,,2", "8192", "99999", "1 2", "+1" }) |bad| try std.testing.expect(!parse(bad, &set));
}
