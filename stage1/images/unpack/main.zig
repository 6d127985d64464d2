//! The unpacker as a program of its own, so that none of it is in the memory of the
//! processes that hold containers.

const std = @import("std");
const unpack = @import("unpack");

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

pub fn main(init: std.process.Init.Minimal) u8 {
    return unpack.main(init.args.vector[1..]);
}
