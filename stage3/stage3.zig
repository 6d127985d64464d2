//! stage3, the init of a container, and what stage2 shares with it.

const std = @import("std");

pub const init = @import("init.zig");
pub const process = @import("process.zig");
pub const settings = @import("settings.zig");
pub const users = @import("users.zig");

test {
    std.testing.refAllDecls(@This());
}
