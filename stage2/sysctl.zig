//! Kernel settings of a container: those that its own namespaces have, and no other.
//!
//! They are written by a process inside, through a procfs that only it has ever seen: an
//! image's /proc may be anything. What belongs to a namespace that is not new is somebody
//! else's, and is refused as what belongs to the machine is.
//!
//! Source: sysctl(8), Documentation/admin-guide/sysctl.

const std = @import("std");
const linux = @import("linux");
const plan_module = @import("plan.zig");
const Failure = linux.Failure;
const Kind = plan_module.Namespace.Kind;
const fd_t = linux.fd_t;

/// Below these, or these themselves where no dot ends them.
const namespaced = [_]struct { prefix: []const u8, kind: Kind }{
    .{ .prefix = "kernel.msgmax", .kind = .ipc },
    .{ .prefix = "kernel.msgmnb", .kind = .ipc },
    .{ .prefix = "kernel.msgmni", .kind = .ipc },
    .{ .prefix = "kernel.sem", .kind = .ipc },
    .{ .prefix = "kernel.shmall", .kind = .ipc },
    .{ .prefix = "kernel.shmmax", .kind = .ipc },
    .{ .prefix = "kernel.shmmni", .kind = .ipc },
    .{ .prefix = "kernel.shm_rmid_forced", .kind = .ipc },
    .{ .prefix = "fs.mqueue.", .kind = .ipc },
    .{ .prefix = "net.", .kind = .network },
};

/// Longer than any that the kernel has.
const max_key = 160;

/// Why the plan may not set it; null if it may.
pub fn problem(plan: *const plan_module.Plan, key: []const u8, value: []const u8) ?[]const u8 {
    var space: [max_key]u8 = undefined;
    const dotted = normal(&space, key) orelse return "Not the name of a setting:";
    for (value) |byte| switch (byte) {
        'a'...'z', 'A'...'Z', '0'...'9', ' ', '\t', '.', ',', ':', '-', '_' => {},
        else => return "Not a value for a setting:",
    };
    if (std.mem.eql(u8, dotted, "kernel.hostname") or std.mem.eql(u8, dotted, "kernel.domainname")) return "Set by hostname and domainname:";
    for (namespaced) |known| {
        const matches = if (std.mem.endsWith(u8, known.prefix, ".")) std.mem.startsWith(u8, dotted, known.prefix) else std.mem.eql(u8, dotted, known.prefix);
        if (!matches) continue;
        if (plan.makes(known.kind)) return null;
        return if (known.kind == .ipc) "Needs a new ipc namespace:" else "Needs a new network namespace:";
    }
    return "The whole machine has it:";
}

/// The name with dots between its parts. It may be given with slashes, then dots belong to
/// the parts (`net/ipv4/conf/eth0.1/forwarding`), as the first of both decides: sysctl(8).
/// Dots inside of parts come out as slashes.
fn normal(space: *[max_key]u8, key: []const u8) ?[]const u8 {
    if (key.len == 0 or key.len > max_key) return null;
    const separator: u8 = key[std.mem.findAny(u8, key, "./") orelse return null];
    var after_dot = true;
    for (key, space[0..key.len]) |byte, *slot| {
        slot.* = switch (byte) {
            'a'...'z', 'A'...'Z', '0'...'9', '_', '-' => byte,
            '.', '/' => if (byte == separator) '.' else '/',
            else => return null,
        };
        // No part is empty, and none begins with a dot: `..` would lead elsewhere.
        if (after_dot and (slot.* == '.' or slot.* == '/')) return null;
        after_dot = slot.* == '.';
    }
    return if (after_dot) null else space[0..key.len];
}

/// Sets them all. The caller is root in the container's namespaces; `subject` is the one
/// at fault.
pub fn apply(failure: *Failure, settings: plan_module.Map, subject: *[]const u8) error{Failed}!void {
    if (settings.len == 0) return;
    const procfs = try linux.procfs.open(failure);
    defer linux.file.close(procfs);
    for (settings) |setting| {
        subject.* = setting.key;
        var space: [max_key]u8 = undefined;
        var path: [max_key + 8]u8 = undefined;
        const dotted = normal(&space, setting.key).?; // Refused otherwise, by `problem`.
        @memcpy(path[0..4], "sys/");
        for (dotted, path[4..][0..dotted.len]) |byte, *slot| slot.* = if (byte == '.') '/' else if (byte == '/') '.' else byte;
        path[4 + dotted.len] = 0;
        try linux.procfs.write(failure, .sysctl, procfs, path[0 .. 4 + dotted.len :0], setting.value);
    }
}

test "settings of namespaces are told from those of the machine" {
    const alone: plan_module.Plan = .{
        .kurma = .{ .id = "a", .scratch = "/s" },
        .config = .{ .ociVersion = "", .process = .{ .args = &.{} }, .linux = .{ .namespaces = &.{ .{ .type = .ipc }, .{ .type = .network } } } },
    };
    const shared: plan_module.Plan = .{
        .kurma = .{ .id = "a", .scratch = "/s", .join = &.{.{ .type = .network, .container = "b" }} },
        .config = .{ .ociVersion = "", .process = .{ .args = &.{} } },
    };
    for ([_][]const u8{ "net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/forwarding", "kernel.msgmax", "fs.mqueue.msg_max" }) |key| {
        try std.testing.expectEqual(null, problem(&alone, key, "1"));
    }
    const cases = [_]struct { *const plan_module.Plan, []const u8, []const u8, []const u8 }{
        .{ &shared, "net.ipv4.ip_forward", "1", "Needs a new network namespace:" },
        .{ &shared, "kernel.msgmax", "1", "Needs a new ipc namespace:" },
        .{ &alone, "kernel.core_pattern", "x", "The whole machine has it:" },
        .{ &alone, "kernel.msgmaxx", "1", "The whole machine has it:" },
        .{ &alone, "kernel.hostname", "x", "Set by hostname and domainname:" },
        .{ &alone, "net..ipv4", "1", "Not the name of a setting:" },
        .{ &alone, "net.ipv4.", "1", "Not the name of a setting:" },
        .{ &alone, "net/../kernel/core_pattern", "1", "Not the name of a setting:" },
        .{ &alone, "net", "1", "Not the name of a setting:" },
        .{ &alone, "net.ipv4.x=1", "1", "Not the name of a setting:" },
        .{ &alone, "net.ipv4.ip_forward", "1+kernel.core_pattern=x", "Not a value for a setting:" },
        .{ &alone, "net.ipv4.ip_forward", "1\n", "Not a value for a setting:" },
    };
    for (cases) |case| try std.testing.expectEqualStrings(case[3], problem(case[0], case[1], case[2]).?);
}
