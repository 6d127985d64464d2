//! Starts a stage2 server without a daemon, for measurements: makes its listening
//! socket and becomes the program, which finds it as descriptor 3.
//!
//!   serve SOCKET PROGRAM
//!
//! SPAWNER_STATE in its environment, the folder for the record of exits, is passed on.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

const listener = 3;

pub fn main(start: std.process.Init.Minimal) u8 {
    const args = start.args.vector;
    if (args.len != 3) return 64;
    var failure: linux.Failure = .{};
    serve(&failure, std.mem.span(args[1]), args[2], state(start.environ.block.slice)) catch return 1;
}

fn state(environ: [:null]const ?[*:0]const u8) ?[*:0]const u8 {
    for (environ) |variable| {
        if (std.mem.startsWith(u8, std.mem.span(variable.?), "SPAWNER_STATE=")) return variable;
    }
    return null;
}

fn serve(failure: *linux.Failure, path: []const u8, program: [*:0]const u8, folder: ?[*:0]const u8) error{Failed}!noreturn {
    const made = try linux.socket.listen(failure, path);
    // Without close-on-exec; dup3(2) refuses to copy a descriptor onto itself.
    if (made != listener) {
        _ = try failure.check(.socket, os.dup3(made, listener, 0));
    } else {
        _ = try failure.check(.socket, os.fcntl(made, os.F.SETFD, 0));
    }
    try linux.process.closeOnExecFrom(failure, listener + 1);
    const argv = [_:null]?[*:0]const u8{"kurma-stage2"};
    const envp = [_:null]?[*:0]const u8{ "SPAWNER_INTERCEPT=serve", folder };
    return failure.fail(.exec, os.errno(os.execve(program, &argv, &envp)));
}
