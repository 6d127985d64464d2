//! Tries stage2's cgroups on the kernel it runs on: one scenario after the other, each
//! in cgroups of its own below this process's, all removed afterwards.
//!
//! cgroup-driver [--v1] [SCENARIO...]: `--v1` does without version 2, as on a legacy
//! host. Prints a line for each scenario (`ok NAME`, `skip NAME REASON` or
//! `not ok NAME REASON`) and ends with 1 if one failed. Root only. `cost` measures, and
//! only if it is named.

const std = @import("std");
const linux = @import("linux");
const cgroup = @import("cgroup");
const scenarios = @import("scenarios.zig");

pub const panic = std.debug.FullPanic(panicked);
pub const std_options: std.Options = .{ .enable_segfault_handler = false, .signal_stack_size = null };

fn panicked(message: []const u8, _: ?usize) noreturn {
    print("not ok: panic: {s}\n", .{message});
    linux.process.exit(3);
}

pub fn print(comptime format: []const u8, args: anytype) void {
    var buffer: [1024]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, format, args) catch buffer[0..];
    var failure: linux.Failure = .{};
    linux.file.writeAll(&failure, 1, text) catch {};
}

pub fn main(init: std.process.Init.Minimal) u8 {
    var wanted: [16][]const u8 = undefined;
    var wanted_len: usize = 0;
    var v1_only = false;
    var args = init.args.iterate();
    _ = args.skip();
    while (args.next()) |arg| {
        if (std.mem.eql(u8, arg, "--v1")) {
            v1_only = true;
        } else if (wanted_len < wanted.len) {
            wanted[wanted_len] = arg;
            wanted_len += 1;
        }
    }

    var failure: linux.Failure = .{};
    var found = cgroup.Hierarchies.detect(&failure) catch return report("detect", &failure);
    if (v1_only) withoutV2(&found);
    cgroup.stepAside(&failure, &found, &.{linux.os.getpid()}) catch return report("stepAside", &failure);
    print("mode {t}\n", .{found.mode()});
    for (found.slice()) |*hierarchy| {
        print("hierarchy {t} {s} own {s}", .{ hierarchy.version, hierarchy.mountPoint(), if (hierarchy.own().len == 0) "/" else hierarchy.own() });
        var controllers = hierarchy.controllers.iterator();
        while (controllers.next()) |controller| print(" {t}", .{controller});
        print("\n", .{});
    }

    var failed: u8 = 0;
    inline for (comptime std.meta.declarations(scenarios.table)) |name| {
        if (wanted_len == 0 or contains(wanted[0..wanted_len], name)) failed |= run(scenarios.table, name, &found);
    }
    inline for (comptime std.meta.declarations(scenarios.measurements)) |name| {
        if (contains(wanted[0..wanted_len], name)) failed |= run(scenarios.measurements, name, &found);
    }
    return failed;
}

fn run(comptime table: type, comptime name: []const u8, found: *cgroup.Hierarchies) u8 {
    var failure: linux.Failure = .{};
    var root = cgroup.Root.open(&failure, found) catch return report(name, &failure);
    defer cgroup.Root.remove(found);
    defer root.close();
    var attempt: scenarios.Attempt = .{ .root = &root };
    @field(table, name)(&attempt) catch |outcome| switch (outcome) {
        error.Skipped => {
            print("skip {s} {s}\n", .{ name, attempt.reason });
            return 0;
        },
        error.Unexpected => {
            print("not ok {s} {s}\n", .{ name, attempt.reason });
            return 1;
        },
        error.Failed => return report(name, &attempt.failure),
    };
    print("ok {s} {s}\n", .{ name, attempt.reason });
    return 0;
}

fn report(name: []const u8, failure: *const linux.Failure) u8 {
    const errno: linux.E = @fromBackingInt(failure.errno);
    print("not ok {s} cannot {t} {d}: {t}\n", .{ name, failure.step, failure.index, errno });
    return 1;
}

fn contains(names: []const []const u8, name: []const u8) bool {
    for (names) |each| if (std.mem.eql(u8, each, name)) return true;
    return false;
}

fn withoutV2(found: *cgroup.Hierarchies) void {
    var kept: usize = 0;
    for (0..found.len) |index| {
        if (found.items[index].version == .v2) continue;
        found.items[kept] = found.items[index];
        kept += 1;
    }
    found.len = kept;
}
