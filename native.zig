//! The static program: what a process of ours is once V8 has left it. As main.ts
//! does, it looks at the intercepts first.

const std = @import("std");
const linux = @import("linux");

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

pub fn main(init: std.process.Init.Minimal) u8 {
    _ = init;
    return 0;
}
