//! stage3, the init of a container, and what stage2 shares with it.

const std = @import("std");

pub const by_hand = @import("by_hand.zig");
pub const command = @import("command.zig");
pub const ended = @import("ended.zig");
pub const handles = @import("handles.zig");
pub const handover = @import("handover.zig");
pub const init = @import("init.zig");
pub const log = @import("log.zig");
pub const outlets = @import("outlets.zig");
pub const process = @import("process.zig");
pub const protocol = @import("protocol.zig");
pub const roster = @import("roster.zig");
pub const server = @import("server.zig");
pub const settings = @import("settings.zig");
pub const spawn = @import("spawn.zig");
pub const trace = @import("trace.zig");
pub const users = @import("users.zig");

test {
    std.testing.refAllDecls(@This());
}
