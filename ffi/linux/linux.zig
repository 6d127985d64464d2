//! Linux as Kurma uses it: one function a system call, no policy, no heap, no
//! locks, so that each may run between clone3(2) and execve(2).
//!
//! A call that fails records where and why in a `Failure` and answers
//! `error.Failed`: the error steers, the failure informs.

const std = @import("std");

pub const os = std.os.linux;
pub const E = os.E;
pub const fd_t = os.fd_t;
pub const pid_t = os.pid_t;

pub const Failure = @import("failure.zig").Failure;
pub const clock = @import("clock.zig");
pub const code = @import("code.zig");
pub const feature = @import("feature.zig");
pub const file = @import("file.zig");
pub const folder = @import("folder.zig");
pub const memfd = @import("memfd.zig");
pub const mount = @import("mount.zig");
pub const net = @import("net.zig");
pub const process = @import("process.zig");
pub const procfs = @import("procfs.zig");
pub const quota = @import("quota.zig");
pub const socket = @import("socket.zig");
pub const terminal = @import("terminal.zig");
pub const text = @import("text.zig");
pub const tree = @import("tree.zig");
pub const weakness = @import("weakness.zig");

test {
    std.testing.refAllDecls(@This());
}
