//! From the kernel's hand-over to a machine that serves, and back to one that is off.
//!
//! ```
//!  kernel ──▶ phases, in order ──▶ kurmad ◀─── started again whenever it ends
//!                                    │
//!             SIGTERM, SIGINT ──▶ kurmad is asked to stop its containers and itself
//!                                    │
//!                     every process ends ──▶ every file system is unmounted ──▶ off
//! ```
//!
//! Source: Documentation/admin-guide/init.rst; reboot(2); signal(7), "PID 1"

const std = @import("std");
const linux = @import("linux");
const console = @import("console.zig");
const phases = @import("phases.zig");
const shutdown = @import("shutdown.zig");
const supervise = @import("supervise.zig");
const os = linux.os;

/// Where kurma is if the kernel's command line does not say.
const default_program = "/usr/bin/kurma";

/// Boots the machine; never returns in the first process.
pub fn main(args: []const [*:0]const u8) u8 {
    if (os.getpid() != 1) {
        console.line("Cannot boot: this is process {d}, and only the first process of a machine boots it. Name kurma-init as the kernel's init=", .{os.getpid()});
        return 2;
    }
    console.line("starts", .{});
    // Before anything can fail: from here on there is a way to turn the machine off.
    var failure: linux.Failure = .{};
    const signals = linux.process.catchSignals(&failure) catch {
        console.line("Cannot catch signals: E{t}", .{console.errno(&failure)});
        shutdown.power(.off);
    };
    if (phases.run()) {
        const wish = supervise.run(signals, program(args));
        shutdown.run(signals, wish);
    }
    console.line("Stopped here: Ctrl-Alt-Del restarts the machine", .{});
    shutdown.power(supervise.awaitWish(signals));
}

/// The kernel passes on what it does not understand itself, so only a path is meant.
fn program(args: []const [*:0]const u8) [*:0]const u8 {
    for (args) |arg| if (arg[0] == '/') return arg;
    return default_program;
}

test {
    std.testing.refAllDecls(@This());
    _ = @import("mounts.zig");
    _ = @import("command_line.zig");
}
