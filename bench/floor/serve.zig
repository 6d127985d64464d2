//! Starts a stage2 server without a daemon, for measurements: makes its listening
//! socket and becomes the program, which finds it as descriptor 3.
//!
//!   serve SOCKET PROGRAM
//!
//! Its environment is passed on: SPAWNER_STATE is the folder for the record of exits.

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
    serve(&failure, std.mem.span(args[1]), args[2], start.environ.block.slice) catch return 1;
}

fn serve(failure: *linux.Failure, path: []const u8, program: [*:0]const u8, environ: []const ?[*:0]const u8) error{Failed}!noreturn {
    const made = try linux.socket.listen(failure, path);
    // Without close-on-exec; dup3(2) refuses to copy a descriptor onto itself.
    if (made != listener) {
        _ = try failure.check(.socket, os.dup3(made, listener, 0));
    } else {
        _ = try failure.check(.socket, os.fcntl(made, os.F.SETFD, 0));
    }
    try linux.process.closeOnExecFrom(failure, listener + 1);
    const argv = [_:null]?[*:0]const u8{"kurma-stage2"};
    var envp: [256:null]?[*:0]const u8 = @splat(null);
    if (environ.len >= envp.len) return failure.fail(.exec, .@"2BIG");
    envp[0] = "SPAWNER_INTERCEPT=serve";
    @memcpy(envp[1..][0..environ.len], environ);
    return failure.fail(.exec, os.errno(os.execve(program, &argv, &envp)));
}
