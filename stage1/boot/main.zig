//! kurma-init: the first process of a machine. A static program of its own, because it runs
//! before anything is mounted (V8 needs /proc to find itself), and because the kernel
//! panics when it ends, which no garbage collector is to decide.
//!
//! Its arguments, from behind the `--` of the kernel's command line: the path of kurma.

const std = @import("std");
const boot = @import("boot");

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

pub fn main(init: std.process.Init.Minimal) u8 {
    return boot.main(init.args.vector[1..]);
}
