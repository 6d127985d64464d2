//! The kernel's command line, where an administrator says what no file can say yet.
//!
//! Source: Documentation/admin-guide/kernel-parameters.rst

const std = @import("std");

/// The value of `name=VALUE` in `text`; the last one counts. Null if it is not there.
pub fn value(text: []const u8, name: []const u8) ?[]const u8 {
    var found: ?[]const u8 = null;
    var words = std.mem.tokenizeAny(u8, text, " \t\n");
    while (words.next()) |word| {
        if (std.mem.eql(u8, word, "--")) break; // The rest is for the first process as arguments.
        if (word.len > name.len and std.mem.startsWith(u8, word, name) and word[name.len] == '=') found = word[name.len + 1 ..];
    }
    return found;
}

test "a value is that of the whole name, and the last one counts" {
    const text = "quiet kurma.state=/dev/a xkurma.state=/dev/b kurma.state kurma.state=/dev/c\n -- kurma.state=/dev/d";
    try std.testing.expectEqualStrings("/dev/c", value(text, "kurma.state").?);
    try std.testing.expectEqual(null, value(text, "kurma.stat"));
    try std.testing.expectEqual(null, value("", "kurma.state"));
    try std.testing.expectEqualStrings("", value("kurma.state=", "kurma.state").?);
}
