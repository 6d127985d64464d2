//! What stage2 does last, alone: writes the settings of a container's init and executes
//! it, so that tests can see the init without the rest.
//!
//!   launcher PROGRAM [--listen PATH] [--log DIR] [--log-size N] [--log-files N]
//!            [--stop-signal N] [--stop-ms N] [--stage1 FD] [--confined] -- COMMAND...

const std = @import("std");
const linux = @import("linux");
const capabilities = @import("capabilities");
const settings = @import("stage3").settings;
const Failure = linux.Failure;
const os = linux.os;

pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

var block: [64 * 1024]u8 align(8) = undefined;

pub fn main(init: std.process.Init.Minimal) u8 {
    var failure: Failure = .{};
    launch(&failure, init.args.vector) catch {
        var space: [128]u8 = undefined;
        const errno: linux.E = @fromBackingInt(failure.errno);
        const text = std.fmt.bufPrint(&space, "launcher: {t}: E{t}\n", .{ failure.step, errno }) catch "launcher: failed\n";
        _ = os.write(2, text.ptr, text.len);
    };
    return 125;
}

fn launch(failure: *Failure, args: []const [*:0]const u8) error{Failed}!noreturn {
    var header: settings.Header = .{ .capabilities = try capabilities.current(failure) };
    var at: usize = 2;
    while (at < args.len) : (at += 1) {
        const name = std.mem.span(args[at]);
        if (std.mem.eql(u8, name, "--")) break;
        if (std.mem.eql(u8, name, "--confined")) {
            header.flags.no_new_privs = true;
            header.capabilities = .{
                .bounding = capabilities.default,
                .effective = capabilities.default,
                .permitted = capabilities.default,
            };
            continue;
        }
        at += 1;
        if (at == args.len) return failure.fail(.plan, .INVAL);
        const value = std.mem.span(args[at]);
        if (std.mem.eql(u8, name, "--listen")) {
            header.listener_fd = try listen(failure, value);
        } else if (std.mem.eql(u8, name, "--log")) {
            header.log_fd = try linux.file.open(failure, value, .{ .DIRECTORY = true }, 0);
        } else {
            const number = std.fmt.parseInt(u32, value, 10) catch return failure.fail(.plan, .INVAL);
            if (std.mem.eql(u8, name, "--log-size")) {
                header.log_max_size = number;
            } else if (std.mem.eql(u8, name, "--log-files")) {
                header.log_max_files = number;
            } else if (std.mem.eql(u8, name, "--stop-signal")) {
                header.stop_signal = number;
            } else if (std.mem.eql(u8, name, "--stop-ms")) {
                header.stop_limit_ms = number;
            } else if (std.mem.eql(u8, name, "--stage1")) {
                header.stage1_fd = @intCast(number);
            } else return failure.fail(.plan, .INVAL);
        }
    }
    var command: [64][:0]const u8 = undefined;
    var count: usize = 0;
    for (args[@min(at + 1, args.len)..]) |word| {
        if (count == command.len) return failure.fail(.plan, .@"2BIG");
        command[count] = std.mem.span(word);
        count += 1;
    }
    const env = [_][:0]const u8{"PATH=/usr/bin:/bin"};
    const written = settings.write(&block, header, &.{}, &.{}, &.{}, &.{}, &.{}, null, "/", command[0..count], &env) orelse return failure.fail(.plan, .@"2BIG");
    const memory = try linux.memfd.create(failure, "settings", written, .data);
    _ = try failure.check(.init, os.fcntl(memory, os.F.SETFD, 0));
    var variable: [32]u8 = undefined;
    const text = std.fmt.bufPrintSentinel(&variable, "INITD_SETTINGS={d}", .{memory}, 0) catch unreachable; // It fits.
    const argv = [_:null]?[*:0]const u8{"init"};
    const envp = [_:null]?[*:0]const u8{ "INITD_INTERCEPT=1", text };
    return failure.fail(.exec, os.errno(os.execve(args[1], &argv, &envp)));
}

fn listen(failure: *Failure, path: []const u8) error{Failed}!linux.fd_t {
    var address: os.sockaddr.un = .{ .path = @splat(0) };
    if (path.len >= address.path.len) return failure.fail(.socket, .NAMETOOLONG);
    @memcpy(address.path[0..path.len], path);
    const fd: linux.fd_t = @intCast(try failure.check(.socket, os.socket(os.AF.UNIX, os.SOCK.STREAM | os.SOCK.NONBLOCK, 0)));
    _ = try failure.check(.socket, os.bind(fd, @ptrCast(&address), @sizeOf(os.sockaddr.un)));
    _ = try failure.check(.socket, os.listen(fd, 10));
    return fd;
}
