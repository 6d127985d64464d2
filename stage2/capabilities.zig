//! Capabilities: their names, the five sets of a process, and giving them up.
//!
//! The order around a change of user, in a process that still has CAP_SETPCAP:
//!
//! 1. `prepare`: the bounding set first, because dropping from it needs CAP_SETPCAP,
//!    which the later steps may take away; then "keep", because setuid(2) to another
//!    user than root would clear the permitted set.
//! 2. setgroups(2), setgid(2), setuid(2). The last clears the effective set.
//! 3. `apply`: effective, permitted and inheritable in one call, and the ambient set
//!    last, because the kernel lets only what is permitted *and* inheritable be ambient.
//!
//! Root regains by execve(2) what its bounding set allows, so a set that shall hold
//! for root must be the bounding set as well. "Keep" ends with execve(2).
//!
//! Source: capabilities(7), capset(2), PR_CAPBSET_DROP(2const), PR_CAP_AMBIENT(2const)

const std = @import("std");
const os = std.os.linux;
const linux = @import("linux");
const Failure = linux.Failure;

/// Capabilities as bits: bit 21 is CAP_SYS_ADMIN.
pub const Set = u64;

pub const Sets = extern struct {
    bounding: Set = 0,
    effective: Set = 0,
    permitted: Set = 0,
    inheritable: Set = 0,
    ambient: Set = 0,
};

/// In the order of linux/capability.h, without `CAP_`.
const names = [_][]const u8{
    "CHOWN",              "DAC_OVERRIDE",   "DAC_READ_SEARCH", "FOWNER",     "FSETID",
    "KILL",               "SETGID",         "SETUID",          "SETPCAP",    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",   "NET_BROADCAST",  "NET_ADMIN",       "NET_RAW",    "IPC_LOCK",
    "IPC_OWNER",          "SYS_MODULE",     "SYS_RAWIO",       "SYS_CHROOT", "SYS_PTRACE",
    "SYS_PACCT",          "SYS_ADMIN",      "SYS_BOOT",        "SYS_NICE",   "SYS_RESOURCE",
    "SYS_TIME",           "SYS_TTY_CONFIG", "MKNOD",           "LEASE",      "AUDIT_WRITE",
    "AUDIT_CONTROL",      "SETFCAP",        "MAC_OVERRIDE",    "MAC_ADMIN",  "SYSLOG",
    "WAKE_ALARM",         "BLOCK_SUSPEND",  "AUDIT_READ",      "PERFMON",    "BPF",
    "CHECKPOINT_RESTORE",
};

/// The bit's place for a name as OCI configurations spell it (`CAP_CHOWN`), or null
/// for what Linux does not have.
pub fn bit(name: []const u8) ?u6 {
    const prefix = "CAP_";
    if (!std.mem.startsWith(u8, name, prefix)) return null;
    for (names, 0..) |known, place| if (std.mem.eql(u8, known, name[prefix.len..])) return @intCast(place);
    return null;
}

/// The set of these names, which are written without `CAP_` and known when compiling.
pub fn of(comptime list: []const u8) Set {
    return comptime collected: {
        @setEvalBranchQuota(20_000);
        var set: Set = 0;
        var words = std.mem.tokenizeScalar(u8, list, ' ');
        while (words.next()) |word| {
            set |= 1 << (bit("CAP_" ++ word) orelse @compileError("no capability is named " ++ word));
        }
        break :collected set;
    };
}

/// What a container's root has unless told otherwise; docs/decisions says why.
pub const default = of("CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT");

/// Step 1 of the order above, before the user changes.
pub fn prepare(failure: *Failure, sets: Sets) error{Failed}!void {
    if (linux.weakness.has(.capabilities)) return;
    var place: u32 = 0;
    while (place < @bitSizeOf(Set)) : (place += 1) {
        if (sets.bounding >> @intCast(place) & 1 == 1) continue;
        failure.index = place;
        // What the kernel has beyond our names is dropped as well, up to its last one.
        const dropped = linux.process.prctl(.CAPBSET_DROP, place);
        if (os.errno(dropped) == .INVAL) break;
        // Without CAP_SETPCAP: what is not there need not be dropped.
        if (os.errno(dropped) == .PERM and try read(failure, place) == .dropped) continue;
        _ = try failure.check(.capability, dropped);
    }
    failure.index = 0;
    _ = try failure.check(.capability, linux.process.prctl(.SET_KEEPCAPS, 1));
}

/// Step 3 of the order above, after the user changed.
///
/// Errors: EPERM if a set asks for more than the process had, or is ambient without
/// being permitted and inheritable; `failure.index` is then the ambient capability.
pub fn apply(failure: *Failure, wanted: Sets) error{Failed}!void {
    if (linux.weakness.has(.capabilities)) return;
    var sets = wanted;
    if (linux.weakness.has(.inheritable)) sets.inheritable = sets.permitted;
    const header: Header = .{};
    const halves: [2]Half = .{ .of(sets, 0), .of(sets, 32) };
    _ = try failure.check(.capability, os.syscall2(.capset, @intFromPtr(&header), @intFromPtr(&halves)));

    _ = try failure.check(.capability, ambient(os.PR.CAP_AMBIENT_CLEAR_ALL, 0));
    var left = sets.ambient;
    while (left != 0) : (left &= left - 1) {
        failure.index = @ctz(left);
        _ = try failure.check(.capability, ambient(os.PR.CAP_AMBIENT_RAISE, @ctz(left)));
    }
    failure.index = 0;
}

/// The permitted set of the calling thread.
pub fn permitted(failure: *Failure) error{Failed}!Set {
    const halves = try get(failure);
    return join(halves[0].permitted, halves[1].permitted);
}

fn get(failure: *Failure) error{Failed}![2]Half {
    const header: Header = .{};
    var halves: [2]Half = undefined;
    _ = try failure.check(.capability, os.syscall2(.capget, @intFromPtr(&header), @intFromPtr(&halves)));
    return halves;
}

/// Of the calling thread.
pub fn current(failure: *Failure) error{Failed}!Sets {
    const halves = try get(failure);
    var sets: Sets = .{
        .effective = join(halves[0].effective, halves[1].effective),
        .permitted = join(halves[0].permitted, halves[1].permitted),
        .inheritable = join(halves[0].inheritable, halves[1].inheritable),
    };
    for (0..@bitSizeOf(Set)) |each| {
        const place: u32 = @intCast(each);
        const state = try read(failure, place);
        if (state == .unknown) break;
        if (state == .held) sets.bounding |= @as(Set, 1) << @intCast(place);
        if (try failure.check(.capability, ambient(os.PR.CAP_AMBIENT_IS_SET, place)) == 1) {
            sets.ambient |= @as(Set, 1) << @intCast(place);
        }
    }
    return sets;
}

/// Where a capability is with respect to the bounding set.
fn read(failure: *Failure, place: u32) error{Failed}!enum { held, dropped, unknown } {
    const result = linux.process.prctl(.CAPBSET_READ, place);
    return switch (os.errno(result)) {
        .SUCCESS => if (result == 1) .held else .dropped,
        .INVAL => .unknown,
        else => |errno| failure.fail(.capability, errno),
    };
}

fn ambient(operation: usize, place: u32) usize {
    return os.prctl(@backingInt(os.PR.CAP_AMBIENT), operation, place, 0, 0);
}

/// __user_cap_header_struct for the calling thread. Not std's: its pid has 64 bits.
const Header = extern struct {
    version: u32 = 0x20080522, // _LINUX_CAPABILITY_VERSION_3
    pid: i32 = 0,
};

/// __user_cap_data_struct: 32 of the bits.
const Half = extern struct {
    effective: u32,
    permitted: u32,
    inheritable: u32,

    fn of(sets: Sets, shift: u6) Half {
        return .{
            .effective = @truncate(sets.effective >> shift),
            .permitted = @truncate(sets.permitted >> shift),
            .inheritable = @truncate(sets.inheritable >> shift),
        };
    }
};

fn join(low: u32, high: u32) Set {
    return @as(Set, high) << 32 | low;
}

test "names have the kernel's numbers" {
    try std.testing.expectEqual(0, bit("CAP_CHOWN").?);
    try std.testing.expectEqual(os.CAP.SYS_ADMIN, bit("CAP_SYS_ADMIN").?);
    try std.testing.expectEqual(os.CAP.BPF, bit("CAP_BPF").?);
    try std.testing.expectEqual(os.CAP.LAST_CAP, bit("CAP_CHECKPOINT_RESTORE").?);
    for ([_][]const u8{ "", "CAP_", "CHOWN", "cap_chown", "CAP_ALL", "CAP_CHOWNED", " CAP_CHOWN" }) |name| {
        try std.testing.expectEqual(null, bit(name));
    }
    inline for (names, 0..) |name, place| {
        try std.testing.expectEqual(@field(os.CAP, name), place);
    }
}

test "the default set has nothing that reaches the host's network, devices or logs" {
    try std.testing.expectEqual(11, @popCount(default));
    try std.testing.expectEqual(0, default & of("NET_RAW NET_ADMIN MKNOD AUDIT_WRITE SYS_ADMIN SYS_PTRACE DAC_READ_SEARCH"));
}

/// Runs `body` in a process of its own, whose capabilities are its own, and returns
/// its exit status.
fn inChild(body: fn () u8) !u8 {
    var failure: Failure = .{};
    const args: linux.process.CloneArgs = .{ .exit_signal = @backingInt(os.SIG.CHLD) };
    const pid = linux.process.clone3(&args);
    if (pid == 0) linux.process.exit(body());
    return linux.process.exitStatus(try linux.process.wait(&failure, @intCast(pid)));
}

test "sets are given up for good, through a change of user" {
    if (os.geteuid() != 0) return error.SkipZigTest;
    try std.testing.expectEqual(0, try inChild(struct {
        fn body() u8 {
            var failure: Failure = .{};
            const kept = of("CHOWN NET_BIND_SERVICE");
            const sets: Sets = .{ .bounding = kept, .effective = kept, .permitted = kept, .inheritable = of("CHOWN"), .ambient = of("CHOWN") };
            prepare(&failure, sets) catch return 1;
            if (os.errno(os.setresgid(1000, 1000, 1000)) != .SUCCESS) return 2;
            if (os.errno(os.setresuid(1000, 1000, 1000)) != .SUCCESS) return 3;
            apply(&failure, sets) catch return 5;
            const now = current(&failure) catch return 6;
            if (!std.meta.eql(now, sets)) return 7;
            // What was dropped does not come back.
            const more: Sets = .{ .effective = kept, .permitted = kept | of("SYS_ADMIN") };
            if (apply(&failure, more)) |_| return 8 else |_| {}
            if (failure.step != .capability or failure.errno != @backingInt(os.E.PERM)) return 9;
            return 0;
        }
    }.body));
}

test "an ambient capability that is not inheritable is refused by its number" {
    if (os.geteuid() != 0) return error.SkipZigTest;
    try std.testing.expectEqual(0, try inChild(struct {
        fn body() u8 {
            var failure: Failure = .{};
            const sets: Sets = .{ .effective = of("KILL"), .permitted = of("KILL"), .ambient = of("KILL") };
            if (apply(&failure, sets)) |_| return 1 else |_| {}
            if (failure.index != os.CAP.KILL or failure.errno != @backingInt(os.E.PERM)) return 2;
            return 0;
        }
    }.body));
}
