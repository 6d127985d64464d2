//! stage2, the launcher: carries a plan out with raw system calls.

const std = @import("std");

pub const by_hand = @import("by_hand.zig");
pub const client = @import("client.zig");
pub const early = @import("early.zig");
pub const cpus = @import("cpus.zig");
pub const exits = @import("exits.zig");
pub const json = @import("json.zig");
pub const launch = @import("launch.zig");
pub const mount_options = @import("mount_options.zig");
pub const ledger = @import("ledger.zig");
pub const once = @import("once.zig");
pub const namespaces = @import("namespaces.zig");
pub const options = @import("options.zig");
pub const outbox = @import("outbox.zig");
pub const placement = @import("placement.zig");
pub const plan = @import("plan.zig");
pub const plan_check = @import("plan_check.zig");
pub const wire = @import("wire.zig");
pub const refusals = @import("refusals.zig");
pub const report = @import("report.zig");
pub const server = @import("server.zig");
pub const slots = @import("slots.zig");
pub const sysctl = @import("sysctl.zig");
pub const table = @import("table.zig");
pub const tasks = @import("tasks.zig");
pub const userns = @import("userns.zig");
pub const rootfs = @import("rootfs.zig");

test {
    std.testing.refAllDecls(@This());
    _ = @import("resources_test.zig");
}
