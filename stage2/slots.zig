//! What a server knows of its containers, in the file `containers`: the place in the table
//! is the place in the file. One that was killed has left it to the next, which adopts what
//! still runs and finds out how the rest ended.
//!
//! Nothing here waits for the disk: after a power cut there is nothing to adopt.

const std = @import("std");
const assert = std.debug.assert;
const linux = @import("linux");
const stage3 = @import("stage3");
const table = @import("table.zig");
const wire = @import("wire.zig");
const Entry = table.Entry;
const Failure = linux.Failure;
const os = linux.os;
const fd_t = linux.fd_t;

const Slot = extern struct {
    /// CRC-32 of all that follows.
    crc: u32 = 0,
    state: enum(u32) { free, alive, ended, _ } = .free,
    pid: i32 = 0,
    first_id: u32 = 0,
    /// Of its init, in clock ticks since the machine started: with the pid, it is that of no
    /// other process.
    start_ticks: u64 = 0,
    user_namespace: bool = false,
    cgroup: bool = false,
    oom: bool = false,
    _: u8 = 0,
    exit_status: u32 = 0,
    ended_ns: i64 = 0,
    record: u64 = 0,
    /// Which run of the machine all this is about.
    boot: [boot_size]u8 = @splat(0),
    id: [wire.id_size]u8 = @splat(0),
    reserved: [36]u8 = @splat(0),

    comptime {
        assert(@sizeOf(Slot) == 256); // None crosses a page: a write is whole or was not.
    }

    fn checksum(slot: *const Slot) u32 {
        return std.hash.Crc32.hash(std.mem.asBytes(slot)[@sizeOf(u32)..]);
    }
};

/// A UUID as text.
const boot_size = 36;

pub const Slots = struct {
    file: fd_t,
    /// The folder in which inits leave how they ended, each in the file of its slot's number.
    ends: fd_t,
    boot: [boot_size]u8,

    /// Opens or makes both in the state folder `dir`.
    pub fn open(failure: *Failure, dir: fd_t) error{Failed}!Slots {
        const flags: os.O = .{ .ACCMODE = .RDWR, .CREAT = true, .NOFOLLOW = true, .CLOEXEC = true };
        const file = try linux.file.openAt(failure, dir, "containers", flags, 0o600);
        errdefer linux.file.close(file);
        switch (os.errno(os.mkdirat(dir, "ends", 0o700))) {
            .SUCCESS, .EXIST => {},
            else => |errno| return failure.fail(.mkdir, errno),
        }
        const ends = try linux.file.openAt(failure, dir, "ends", .{ .PATH = true, .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true }, 0);
        errdefer linux.file.close(ends);
        var slots: Slots = .{ .file = file, .ends = ends, .boot = undefined };
        const boot = try linux.file.open(failure, "/proc/sys/kernel/random/boot_id", .{ .CLOEXEC = true }, 0);
        defer linux.file.close(boot);
        if ((try linux.file.readAll(failure, boot, &slots.boot)).len < boot_size) return failure.fail(.read, .IO);
        return slots;
    }

    /// Notes what is known of `entry`.
    pub fn write(slots: *const Slots, failure: *Failure, index: usize, entry: *const Entry) error{Failed}!void {
        var slot: Slot = .{
            .state = if (entry.has_ended) .ended else .alive,
            .pid = if (entry.has_ended) entry.last_pid else entry.pid,
            .first_id = entry.first_id,
            .start_ticks = if (entry.has_ended) 0 else startTicks(entry.pid) orelse 0,
            .user_namespace = entry.user_namespace,
            .cgroup = entry.cgroup,
            .oom = entry.oom,
            .exit_status = entry.exit_status,
            .ended_ns = entry.ended_ns,
            .record = entry.record,
            .boot = slots.boot,
            .id = entry.id,
        };
        try slots.put(failure, index, &slot);
    }

    pub fn clear(slots: *const Slots, failure: *Failure, index: usize) error{Failed}!void {
        var slot: Slot = .{};
        try slots.put(failure, index, &slot);
    }

    fn put(slots: *const Slots, failure: *Failure, index: usize, slot: *Slot) error{Failed}!void {
        slot.crc = slot.checksum();
        const written = os.pwrite(slots.file, std.mem.asBytes(slot).ptr, @sizeOf(Slot), @intCast(index * @sizeOf(Slot)));
        if (try failure.check(.record, written) != @sizeOf(Slot)) return failure.fail(.record, .NOSPC);
    }

    /// Fills a table with what the server before this one had. Those that still run have
    /// `pid` and `pidfd`, and are `adopted`; those that do not have ended, and are `untold`
    /// if nobody has noted how. Returns how many those are.
    pub fn adopt(slots: *const Slots, containers: *table.Table) u32 {
        var untold: u32 = 0;
        for (0..table.capacity) |index| {
            var slot: Slot = undefined;
            const len = os.pread(slots.file, std.mem.asBytes(&slot).ptr, @sizeOf(Slot), @intCast(index * @sizeOf(Slot)));
            if (len != @sizeOf(Slot)) break; // The end of the file.
            if (slot.crc != slot.checksum() or slot.state == .free or !std.mem.eql(u8, &slot.boot, &slots.boot)) continue;
            const entry = &containers.entries[index];
            containers.used = index + 1;
            entry.* = .{
                .kind = .container,
                .state = .stopped,
                .id = slot.id,
                .first_id = slot.first_id,
                .user_namespace = slot.user_namespace,
                .cgroup = slot.cgroup,
                .last_pid = slot.pid,
                .oom = slot.oom,
                .has_ended = true,
                .exit_status = slot.exit_status,
                .ended_ns = slot.ended_ns,
                .record = slot.record,
            };
            if (slot.state == .ended) continue;
            if (openProcess(slot.pid, slot.start_ticks)) |pidfd| {
                entry.state = .running;
                entry.has_ended = false;
                entry.adopted = true;
                entry.pid = slot.pid;
                entry.pidfd = pidfd;
            } else {
                slots.findEnd(index, entry);
                entry.untold = true;
                untold += 1;
            }
        }
        return untold;
    }

    /// The file for the end of the container in that slot, empty.
    pub fn makeEnd(ends: fd_t, failure: *Failure, index: usize) error{Failed}!fd_t {
        var buffer: [16]u8 = undefined;
        const flags: os.O = .{ .ACCMODE = .WRONLY, .CREAT = true, .TRUNC = true, .NOFOLLOW = true, .CLOEXEC = true };
        return linux.file.openAt(failure, ends, endName(&buffer, index), flags, 0o600);
    }

    /// Fills in how a container ended that was not our child. One that left no word was
    /// killed: nothing else ends an init without it.
    pub fn findEnd(slots: *const Slots, index: usize, entry: *Entry) void {
        entry.exit_status = @backingInt(os.SIG.KILL);
        entry.ended_ns = linux.clock.wallNs();
        var buffer: [16]u8 = undefined;
        const opened = os.openat(slots.ends, endName(&buffer, index), .{ .NOFOLLOW = true, .CLOEXEC = true }, 0);
        if (os.errno(opened) != .SUCCESS) return;
        defer linux.file.close(@intCast(opened));
        const ended = stage3.ended.read(@intCast(opened)) orelse return;
        entry.exit_status = ended.status;
        entry.ended_ns = ended.time_ns;
    }
};

fn endName(buffer: *[16]u8, index: usize) [*:0]const u8 {
    return linux.text.printZ(buffer, "{d}", .{index}) catch unreachable; // Smaller than the table.
}

/// The process of that number and start, or null if it has gone, whoever has the number now.
fn openProcess(pid: linux.pid_t, start_ticks: u64) ?fd_t {
    if (pid <= 0 or start_ticks == 0) return null;
    var failure: Failure = .{};
    const pidfd = linux.process.pidfdOpen(&failure, pid) catch return null;
    // After the descriptor: what is read now is of the process that it stands for.
    if (startTicks(pid) == start_ticks) return pidfd;
    linux.file.close(pidfd);
    return null;
}

/// When a process started, in clock ticks since the machine did; null if it has gone.
/// proc_pid_stat(5), field 22
fn startTicks(pid: linux.pid_t) ?u64 {
    var path: [32]u8 = undefined;
    const name = linux.text.printZ(&path, "/proc/{d}/stat", .{pid}) catch return null;
    const opened = os.open(name, .{ .CLOEXEC = true }, 0);
    if (os.errno(opened) != .SUCCESS) return null;
    defer linux.file.close(@intCast(opened));
    var buffer: [512]u8 = undefined;
    const len = os.read(@intCast(opened), &buffer, buffer.len);
    if (os.errno(len) != .SUCCESS) return null;
    return parseStart(buffer[0..len]);
}

fn parseStart(stat: []const u8) ?u64 {
    // The second field is the program's name, in parentheses, with whatever it likes in it.
    const name_end = std.mem.findScalarLast(u8, stat, ')') orelse return null;
    var fields = std.mem.tokenizeScalar(u8, stat[name_end + 1 ..], ' ');
    for (3..22) |_| _ = fields.next() orelse return null;
    return std.fmt.parseUnsigned(u64, fields.next() orelse return null, 10) catch null;
}

test "a process's start is found behind any name" {
    const stat = "12 (a) (b 7) S 1 12 12 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 1 0 98765 1234 56 18446744073709551615\n";
    try std.testing.expectEqual(98765, parseStart(stat).?);
    for ([_][]const u8{ "", "12", "12 (a) S 1", "12 (a) S 1 12 12 0 -1 0 1 0 0 0 1 2 3 4 20 0 1 0 x" }) |broken| {
        try std.testing.expectEqual(null, parseStart(broken));
    }
    try std.testing.expect(startTicks(os.getpid()).? > 0);
}

test "a number that another process has by now is nobody's" {
    const own = os.getpid();
    const ticks = startTicks(own).?;
    linux.file.close(openProcess(own, ticks).?);
    try std.testing.expectEqual(null, openProcess(own, ticks + 1));
    try std.testing.expectEqual(null, openProcess(own, 0));
    try std.testing.expectEqual(null, openProcess(0, ticks));
}

/// As much of a table as the tests look at, where a stack has no room for it.
var tested: table.Table = .{};

test "what a server noted is what the next one finds" {
    var failure: Failure = .{};
    var folder = std.testing.tmpDir(.{});
    defer folder.cleanup();
    const slots: Slots = try .open(&failure, folder.dir.handle);
    var entry: Entry = .{ .kind = .container, .pid = os.getpid(), .cgroup = true, .first_id = 7 };
    @memcpy(entry.id[0..3], "web");
    try slots.write(&failure, 2, &entry);
    entry = .{ .kind = .container, .last_pid = 5, .has_ended = true, .exit_status = 256, .ended_ns = 9, .record = 3, .oom = true };
    entry.id[0] = 'b';
    try slots.write(&failure, 4, &entry);
    // One that is gone, and left word; one that is gone without.
    entry = .{ .kind = .container, .pid = std.math.maxInt(i32) };
    entry.id[0] = 'c';
    try slots.write(&failure, 5, &entry);
    const end = try Slots.makeEnd(slots.ends, &failure, 5);
    stage3.ended.write(end, 7 << 8, false);
    linux.file.close(end);
    try slots.write(&failure, 6, &entry);
    try slots.write(&failure, 7, &entry);
    try slots.clear(&failure, 7);

    try std.testing.expectEqual(2, slots.adopt(&tested));
    try std.testing.expectEqual(7, tested.used);
    try std.testing.expect(tested.entries[0].isFree() and tested.entries[3].isFree());
    const web = &tested.entries[2];
    try std.testing.expect(web.adopted and web.cgroup and web.state == .running and web.pid == os.getpid());
    linux.file.close(web.pidfd);
    const ended = &tested.entries[4];
    try std.testing.expect(ended.state == .stopped and !ended.untold and ended.oom);
    try std.testing.expectEqual(.{ 256, 9, 3 }, .{ ended.exit_status, ended.ended_ns, ended.record });
    try std.testing.expectEqual(.{ true, 7 << 8 }, .{ tested.entries[5].untold, tested.entries[5].exit_status });
    try std.testing.expectEqual(.{ true, 9 }, .{ tested.entries[6].untold, tested.entries[6].exit_status });

    // Of another run of the machine, nothing is left.
    tested = .{};
    var other = slots;
    other.boot[0] ^= 1;
    try std.testing.expectEqual(0, other.adopt(&tested));
    try std.testing.expectEqual(0, tested.used);
    for ([_]fd_t{ slots.file, slots.ends }) |fd| linux.file.close(fd);
}
