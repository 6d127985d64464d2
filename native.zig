//! The static program: what a process of ours is once V8 has left it. As main.ts
//! does, it looks at the intercepts first.

const std = @import("std");
const linux = @import("linux");
const stage2 = @import("stage2");
const stage3 = @import("stage3");

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

pub fn main(init: std.process.Init.Minimal) u8 {
    @setRuntimeSafety(true); // build.zig, smallProgram
    const environ = init.environ.block.slice;
    linux.weakness.read(environ);
    if (variable(environ, stage3.init.settings_variable)) |text| {
        const fd = std.fmt.parseInt(i32, text, 10) catch return usage;
        return stage3.init.run(fd);
    }
    if (variable(environ, "INITD_INTERCEPT") != null) return stage3.by_hand.run(init);
    const intercept = variable(environ, "SPAWNER_INTERCEPT") orelse return usage;
    if (std.mem.eql(u8, intercept, "run")) return stage2.once.run(variable(environ, "SPAWNER_PARENT") orelse return usage);
    if (std.mem.eql(u8, intercept, "serve")) return stage2.server.run(variable(environ, "SPAWNER_STATE"));
    return stage2.by_hand.run(init.args.vector, variable(environ, "SPAWNER_DEBUG") != null);
}

/// Called in a way that no caller of ours would.
const usage = 2;

fn variable(environ: [:null]const ?[*:0]const u8, name: []const u8) ?[:0]const u8 {
    @setRuntimeSafety(true);
    for (environ) |entry| {
        const text = std.mem.span(entry.?);
        if (text.len > name.len and text[name.len] == '=' and std.mem.startsWith(u8, text, name)) return text[name.len + 1 ..];
    }
    return null;
}
