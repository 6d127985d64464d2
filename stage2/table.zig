//! The containers of a server, and the processes started in them: a fixed table, so
//! that the server needs no memory after its start that it did not have.

const std = @import("std");
const linux = @import("linux");
const wire = @import("wire.zig");
const fd_t = linux.fd_t;
const pid_t = linux.pid_t;

/// More processes than one machine's server is asked for.
pub const capacity = 8192;

/// No descriptor: 0 is a stream, and a table of zeros takes no room in the executable
/// nor in memory until it is used.
pub const none: fd_t = 0;

pub const Entry = struct {
    /// A task is no process: a worker does something for a container.
    kind: enum { free, container, exec, task } = .free,
    state: wire.Reply.State = .none,
    id: [wire.id_size]u8 = @splat(0),
    pid: pid_t = 0,
    /// What `pid` was when the process ended.
    last_pid: pid_t = 0,
    pidfd: fd_t = none,
    /// What makes it, until it is made.
    worker: pid_t = 0,
    /// It goes on to run as soon as it is made.
    runs: bool = false,
    /// Socket to the worker and the process, until the process runs.
    status: fd_t = none,
    /// The master of an exec's terminal; that of a container is its init's to keep.
    terminal: fd_t = none,
    /// Its plan, if that has hooks for later.
    plan: fd_t = none,
    /// The hooks that are still to run. Those after its end are due once others have begun.
    hooks: packed struct { poststart: bool = false, poststop: bool = false } = .{},
    /// The request that waits for an answer; 0 if none does. An exec keeps its own.
    sequence: u64 = 0,
    /// Whether its user namespace is its own.
    user_namespace: bool = false,
    /// The first id of the host that it has, as its request says.
    first_id: u32 = 0,
    /// Whether a cgroup of its own waits to be removed.
    cgroup: bool = false,
    /// The request that waits for it to be gone; 0 if none does.
    deleting: u64 = 0,
    /// A client has asked to forget it: if that fails, it is as it was before.
    deleted: bool = false,
    /// A server before this one made it: it is not our child, and its end is seen by `pidfd`.
    adopted: bool = false,
    /// Its end is not on disk yet, and nobody was told.
    untold: bool = false,
    /// The number of its end on disk.
    record: u64 = 0,
    /// Whether its process has ended, and was reaped.
    has_ended: bool = false,
    exit_status: u32 = 0,
    oom: bool = false,
    ended_ns: i64 = 0,

    /// Ends its process, if it has one that runs.
    pub fn kill(entry: *const Entry) void {
        var ignored: linux.Failure = .{};
        if (entry.pidfd != none) linux.process.signalPidfd(&ignored, entry.pidfd, @backingInt(linux.os.SIG.KILL)) catch {};
    }

    /// The pidfd of its process, or ESRCH when that has ended.
    pub fn alive(entry: *const Entry, failure: *linux.Failure) error{Failed}!fd_t {
        return if (entry.pidfd == none) failure.fail(.signal, .SRCH) else entry.pidfd;
    }

    pub fn isFree(entry: *const Entry) bool {
        return entry.kind == .free;
    }
};

pub const Table = struct {
    entries: [capacity]Entry = @splat(.{}),
    /// Entries at and after this one were never used: their memory was never touched.
    used: usize = 0,

    /// The container of that name.
    pub fn find(table: *Table, id: *const [wire.id_size]u8) ?*Entry {
        for (table.entries[0..table.used]) |*entry| {
            if (entry.kind == .container and std.mem.eql(u8, &entry.id, id)) return entry;
        }
        return null;
    }

    /// The process `pid` that was started in the container of that name.
    pub fn findExec(table: *Table, id: *const [wire.id_size]u8, pid: pid_t) ?*Entry {
        for (table.entries[0..table.used]) |*entry| {
            if (entry.kind == .exec and entry.pid == pid and std.mem.eql(u8, &entry.id, id)) return entry;
        }
        return null;
    }

    /// The entry whose process or worker has this pid.
    pub fn findPid(table: *Table, pid: pid_t) ?*Entry {
        for (table.entries[0..table.used]) |*entry| {
            if (!entry.isFree() and (entry.pid == pid or entry.worker == pid)) return entry;
        }
        return null;
    }

    /// An empty entry, or null when all are taken.
    pub fn add(table: *Table) ?*Entry {
        for (table.entries[0..table.used]) |*entry| if (entry.isFree()) return entry;
        if (table.used == capacity) return null;
        table.used += 1;
        return &table.entries[table.used - 1];
    }

    /// Closes what the entry holds and frees it.
    pub fn remove(table: *Table, entry: *Entry) void {
        if (entry.pidfd != none) linux.file.close(entry.pidfd);
        if (entry.status != none) linux.file.close(entry.status);
        if (entry.terminal != none) linux.file.close(entry.terminal);
        if (entry.plan != none) linux.file.close(entry.plan);
        entry.* = .{};
        while (table.used > 0 and table.entries[table.used - 1].isFree()) table.used -= 1;
    }
};

test "names and pids find their entry, freed ones are used again" {
    var table: Table = .{};
    var id: [wire.id_size]u8 = @splat(0);
    id[0] = 'a';
    const entry = table.add().?;
    entry.* = .{ .kind = .container, .id = id, .pid = 7, .worker = 8 };
    try std.testing.expectEqual(entry, table.find(&id).?);
    try std.testing.expectEqual(entry, table.findPid(8).?);
    id[0] = 'b';
    try std.testing.expectEqual(null, table.find(&id));
    table.remove(entry);
    try std.testing.expectEqual(0, table.used);
    try std.testing.expectEqual(null, table.findPid(0));
}
