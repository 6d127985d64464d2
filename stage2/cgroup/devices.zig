//! Which devices a container may open and make: `linux.resources.devices` of the OCI
//! runtime-spec, applied in order on top of nothing allowed. Of the rules that match a
//! device, the last that speaks of an access decides it.
//!
//! Version 1 has files for it. Version 2 asks a BPF program, which is attached before
//! the container's first process and can be replaced while it runs.
//!
//! Source: cgroup-v1/devices.rst; bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const bpf = @import("bpf.zig");
const files = @import("files.zig");
const Cgroup = @import("cgroup.zig").Cgroup;
const limits = @import("limits.zig");
const Device = limits.Limits.Device;
const Place = limits.Place;

/// What one entry says.
pub const Rule = struct {
    allow: bool,
    type: Type = .all,
    /// Null for every number.
    major: ?u32 = null,
    minor: ?u32 = null,
    access: Access = .all,

    pub const Type = enum { all, char, block };

    /// BPF_DEVCG_ACC_*
    pub const Access = packed struct(u3) {
        mknod: bool = false,
        read: bool = false,
        write: bool = false,

        pub const all: Access = .{ .mknod = true, .read = true, .write = true };
    };

    /// Null for an entry with an unknown access, or a number that no device has.
    pub fn of(device: Device) ?Rule {
        var access: Access = .{};
        for (device.access) |letter| switch (letter) {
            'm' => access.mknod = true,
            'r' => access.read = true,
            'w' => access.write = true,
            else => return null,
        };
        if (device.access.len == 0) return null;
        return .{
            .allow = device.allow,
            .type = switch (device.type) {
                .a => .all,
                .c => .char,
                .b => .block,
            },
            .major = number(device.major) catch return null,
            .minor = number(device.minor) catch return null,
            .access = access,
        };
    }

    fn number(given: ?i64) error{Invalid}!?u32 {
        const value = given orelse return null;
        if (value == -1) return null;
        if (value < 0 or value > std.math.maxInt(i32)) return error.Invalid;
        return @intCast(value);
    }

    fn access_bits(rule: Rule) u3 {
        return @bitCast(rule.access);
    }

    fn isEverything(rule: Rule) bool {
        return rule.type == .all and rule.major == null and rule.minor == null and rule.access == Access.all;
    }
};

/// More than any container has; the program of this many stays below the 4,096
/// instructions that every kernel takes.
pub const max_rules = 256;

const nothing: Rule = .{ .allow = false };

/// The devices that every container is given, whatever its configuration takes away, as
/// the runtime-spec has it ("Default Devices"). No terminal of the host, no block device,
/// and no node of one either: mknod(2) is allowed for what may be opened only.
/// /dev/net/tun and /dev/fuse are given by asking for them.
const defaults = [_]Rule{
    .{ .allow = true, .type = .char, .major = 1, .minor = 3 }, // null
    .{ .allow = true, .type = .char, .major = 1, .minor = 5 }, // zero
    .{ .allow = true, .type = .char, .major = 1, .minor = 7 }, // full
    .{ .allow = true, .type = .char, .major = 1, .minor = 8 }, // random
    .{ .allow = true, .type = .char, .major = 1, .minor = 9 }, // urandom
    .{ .allow = true, .type = .char, .major = 5, .minor = 0 }, // tty: whichever is its own
    .{ .allow = true, .type = .char, .major = 5, .minor = 1 }, // console: a pty is bound there
    .{ .allow = true, .type = .char, .major = 5, .minor = 2 }, // ptmx
    .{ .allow = true, .type = .char, .major = 136 }, // pts: of its own devpts
};

/// Lets the cgroup have the default devices and what `list` gives; may be called again
/// with another. `step` of a failure is `limit`, `index` a `Place`: EOPNOTSUPP for an entry
/// that version 1 cannot express, or where nothing can filter; EINVAL for a bad one.
pub fn filter(cgroup: *const Cgroup, failure: *Failure, list: []const Device) error{Failed}!void {
    var buffer: [max_rules]Rule = undefined;
    const rules = try rulesOf(failure, list, &buffer);
    if (cgroup.root.having(.devices)) |part| {
        const exceptions: List = try .of(failure, rules);
        return exceptions.write(failure, part.dir, cgroup.relativePath());
    }
    const part = cgroup.root.unified() orelse return fail(failure, 0, .OPNOTSUPP);
    const directory = switch (files.open(part.dir, cgroup.relativePath(), ".", .{ .DIRECTORY = true, .CLOEXEC = true })) {
        .fd => |fd| fd,
        .errno => |errno| return fail(failure, 0, errno),
    };
    defer linux.file.close(directory);
    const program: Program = .of(rules);
    const errno = bpf.replaceDeviceFilter(directory, program.slice());
    if (errno != .SUCCESS) return fail(failure, 0, errno);
}

/// Nothing, then `list` in its order, then the defaults.
pub fn rulesOf(failure: *Failure, list: []const Device, buffer: *[max_rules]Rule) error{Failed}![]const Rule {
    if (list.len > max_rules - defaults.len - 1) return fail(failure, 0, .@"2BIG");
    buffer[0] = nothing;
    for (list, buffer[1..][0..list.len], 0..) |device, *rule, entry| {
        rule.* = Rule.of(device) orelse return fail(failure, entry, .INVAL);
    }
    @memcpy(buffer[1 + list.len ..][0..defaults.len], &defaults);
    return buffer[0 .. 1 + list.len + defaults.len];
}

fn fail(failure: *Failure, entry: usize, errno: linux.E) error{Failed} {
    return (Place{ .key = .devices, .entry = @truncate(entry) }).fail(failure, errno);
}

/// The rules as version 1 has them: one answer for all devices, and exceptions to it.
pub const List = struct {
    allows: bool = false,
    exceptions: [2 * max_rules]Exception = undefined,
    len: usize = 0,

    const Exception = struct {
        type: enum { char, block },
        major: ?u32,
        minor: ?u32,
        access: u3,

        /// Whether every device of `inner` is one of `outer`.
        fn isWithin(inner: Exception, outer: Exception) bool {
            return inner.type == outer.type and
                (outer.major == null or inner.major == outer.major) and
                (outer.minor == null or inner.minor == outer.minor);
        }

        /// Whether a device is in both.
        fn meets(one: Exception, other: Exception) bool {
            return one.type == other.type and
                (one.major == null or other.major == null or one.major == other.major) and
                (one.minor == null or other.minor == null or one.minor == other.minor);
        }
    };

    /// A rule that takes one device out of a group of exceptions has no form in version 1:
    /// the kernel would pass over it and leave the device open. The first rule is no entry
    /// of the configuration.
    pub fn of(failure: *Failure, rules: []const Rule) error{Failed}!List {
        var list: List = .{};
        for (rules, 0..) |rule, index| {
            const entry = index -| 1;
            if (rule.isEverything()) {
                list = .{ .allows = rule.allow };
                continue;
            }
            if (rule.type != .block) try list.take(failure, rule, .{ .type = .char, .major = rule.major, .minor = rule.minor, .access = rule.access_bits() }, entry);
            if (rule.type != .char) try list.take(failure, rule, .{ .type = .block, .major = rule.major, .minor = rule.minor, .access = rule.access_bits() }, entry);
        }
        return list;
    }

    fn take(list: *List, failure: *Failure, rule: Rule, wanted: Exception, entry: usize) error{Failed}!void {
        if (rule.allow != list.allows) return list.add(failure, wanted, entry);
        var kept: usize = 0;
        for (list.exceptions[0..list.len]) |exception| {
            var rest = exception;
            if (exception.access & wanted.access != 0 and exception.meets(wanted)) {
                if (!exception.isWithin(wanted)) return fail(failure, entry, .OPNOTSUPP);
                rest.access &= ~wanted.access;
            }
            if (rest.access == 0) continue;
            list.exceptions[kept] = rest;
            kept += 1;
        }
        list.len = kept;
    }

    /// The kernel wants one exception that covers all that is asked for at once: what a
    /// device may by two of them, the narrower one has to say whole.
    fn add(list: *List, failure: *Failure, wanted: Exception, entry: usize) error{Failed}!void {
        var added = wanted;
        var is_there = false;
        const len = list.len;
        for (list.exceptions[0..len]) |*exception| {
            if (wanted.isWithin(exception.*)) added.access |= exception.access;
            if (exception.isWithin(wanted)) {
                exception.access |= wanted.access;
                is_there = is_there or wanted.isWithin(exception.*);
            }
        }
        if (is_there) return;
        if (list.len == list.exceptions.len) return fail(failure, entry, .@"2BIG");
        list.exceptions[list.len] = added;
        list.len += 1;
        for (0..len) |index| {
            const other = list.exceptions[index];
            if (!other.meets(wanted) or other.isWithin(wanted) or wanted.isWithin(other)) continue;
            try list.add(failure, .{
                .type = wanted.type,
                .major = wanted.major orelse other.major,
                .minor = wanted.minor orelse other.minor,
                .access = wanted.access | other.access,
            }, entry);
        }
    }

    fn write(list: *const List, failure: *Failure, dir: fd_t, path: []const u8) error{Failed}!void {
        const for_all, const for_exceptions = if (list.allows) .{ "devices.allow", "devices.deny" } else .{ "devices.deny", "devices.allow" };
        const all = files.write(dir, path, for_all, "a");
        if (all != .SUCCESS) return fail(failure, 0, all);
        for (list.exceptions[0..list.len]) |exception| {
            var buffer: [64]u8 = undefined;
            const errno = files.write(dir, path, for_exceptions, line(exception, &buffer));
            if (errno != .SUCCESS) return fail(failure, 0, errno);
        }
    }

    /// `c 136:* rwm`
    fn line(exception: Exception, buffer: *[64]u8) []const u8 {
        var major: [12]u8 = undefined;
        var minor: [12]u8 = undefined;
        return linux.text.printCut(buffer, "{s} {s}:{s} {s}{s}{s}", .{
            if (exception.type == .char) "c" else "b",
            if (exception.major) |number| linux.text.printCut(&major, "{d}", .{number}) else "*",
            if (exception.minor) |number| linux.text.printCut(&minor, "{d}", .{number}) else "*",
            if (exception.access & 1 != 0) "m" else "",
            if (exception.access & 2 != 0) "r" else "",
            if (exception.access & 4 != 0) "w" else "",
        });
    }
};

/// The rules as a BPF program: from the last to the first, each takes what it allows
/// out of the accesses that are asked for, until none is left or one is denied.
pub const Program = struct {
    instructions: [max_instructions]bpf.Instruction = undefined,
    len: usize = 0,

    const max_instructions = head.len + max_rules * max_per_rule + tail.len;
    const max_per_rule = 8;

    const device_type: u4 = 2;
    const remaining: u4 = 3;
    const major: u4 = 4;
    const minor: u4 = 5;
    const answer: u4 = 0;
    const context: u4 = 1;

    /// bpf_cgroup_dev_ctx: the access in the upper half of the first word, the type below.
    const head = [_]bpf.Instruction{
        bpf.load32(device_type, context, 0),
        bpf.move(remaining, device_type),
        bpf.andConstant(device_type, 0xffff),
        bpf.shiftRight(remaining, 16),
        bpf.load32(major, context, 4),
        bpf.load32(minor, context, 8),
    };
    const tail = [_]bpf.Instruction{ bpf.set(answer, 0), bpf.exit };

    pub fn of(rules: []const Rule) Program {
        var program: Program = .{};
        program.add(&head);
        var index = rules.len;
        while (index > 0) {
            index -= 1;
            program.rule(rules[index]);
        }
        program.add(&tail);
        return program;
    }

    pub fn slice(program: *const Program) []const bpf.Instruction {
        return program.instructions[0..program.len];
    }

    fn rule(program: *Program, wanted: Rule) void {
        const first = program.len;
        // Each of these jumps to the next rule; how far is known at the end.
        switch (wanted.type) {
            .all => {},
            .block => program.add(&.{bpf.jumpUnless(device_type, 1)}),
            .char => program.add(&.{bpf.jumpUnless(device_type, 2)}),
        }
        if (wanted.major) |number| program.add(&.{bpf.jumpUnless(major, @intCast(number))});
        if (wanted.minor) |number| program.add(&.{bpf.jumpUnless(minor, @intCast(number))});
        const conditions = program.len;
        if (wanted.allow) {
            program.add(&.{
                bpf.andConstant(remaining, ~@as(i32, wanted.access_bits())),
                bpf.jumpUnless(remaining, 0),
                bpf.set(answer, 1),
                bpf.exit,
            });
        } else {
            program.add(&.{
                bpf.move(answer, remaining),
                bpf.andConstant(answer, wanted.access_bits()),
                bpf.jumpIf(answer, 0),
                bpf.set(answer, 0),
                bpf.exit,
            });
        }
        for (first..program.len) |at| {
            const is_condition = at < conditions or at == conditions + (if (wanted.allow) @as(usize, 1) else 2);
            if (is_condition) program.instructions[at].offset = @intCast(program.len - at - 1);
        }
    }

    fn add(program: *Program, instructions: []const bpf.Instruction) void {
        @memcpy(program.instructions[program.len..][0..instructions.len], instructions);
        program.len += instructions.len;
    }
};

test {
    _ = @import("devices_test.zig");
}
