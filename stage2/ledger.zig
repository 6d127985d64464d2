//! What the server keeps in its state folder, if it has one: how containers ended
//! (exits.zig), and what the server after it has to know (slots.zig).

const std = @import("std");
const linux = @import("linux");
const exits = @import("exits.zig");
const placement = @import("placement.zig");
const wire = @import("wire.zig");
const Slots = @import("slots.zig").Slots;
const table_module = @import("table.zig");
const Entry = table_module.Entry;
const Failure = linux.Failure;
const fd_t = linux.fd_t;

/// The most ends that are noted at once.
pub const batch_size = 64;

pub const Ledger = struct {
    record: ?exits.Log = null,
    slots: ?Slots = null,

    /// Opens what is kept in the folder `path`. The record comes first: it is locked, and so
    /// nobody else has the rest.
    pub fn open(ledger: *Ledger, failure: *Failure, path: [:0]const u8) error{Failed}!void {
        // It stays open with the record.
        const folder = try linux.file.open(failure, path, .{ .DIRECTORY = true, .CLOEXEC = true }, 0);
        ledger.record = try .open(failure, folder, "exits");
        ledger.slots = try .open(failure, folder);
    }

    /// The folder in which inits leave how they ended.
    pub fn ends(ledger: *const Ledger) ?fd_t {
        return if (ledger.slots) |*slots| slots.ends else null;
    }

    /// Fills the table with what a server before this one has left; how many of those have
    /// ended without anybody having noted it.
    pub fn adopt(ledger: *const Ledger, failure: *Failure, table: *table_module.Table) error{Failed}!u32 {
        const slots = if (ledger.slots) |*slots| slots else return 0;
        var recorded: Recorded = .{ .table = table, .untold = slots.adopt(table) };
        if (recorded.untold > 0) try ledger.record.?.replay(failure, 0, &recorded);
        return recorded.untold;
    }

    /// Finds ends that were recorded before the server that did it was killed.
    const Recorded = struct {
        table: *table_module.Table,
        untold: u32,

        pub fn exit(recorded: *Recorded, record: *const exits.Record) error{Failed}!void {
            for (recorded.table.entries[0..recorded.table.used]) |*entry| {
                if (!entry.untold or entry.last_pid != record.pid or !std.mem.eql(u8, wire.name(&entry.id).?, record.id())) continue;
                entry.untold = false;
                recorded.untold -= 1;
                entry.exit_status = if (record.signal != 0) record.signal else record.status << 8;
                entry.ended_ns = record.time_ns;
                entry.oom = record.oom == 1;
                entry.record = record.sequence;
            }
        }
    };

    /// Fills in how an adopted container ended.
    pub fn findEnd(ledger: *const Ledger, index: usize, entry: *Entry) void {
        ledger.slots.?.findEnd(index, entry);
    }

    /// Leaves what is known of a container to the server after this one.
    pub fn remember(ledger: *const Ledger, failure: *Failure, index: usize, entry: *const Entry) error{Failed}!void {
        if (ledger.slots) |*slots| try slots.write(failure, index, entry);
    }

    pub fn forget(ledger: *const Ledger, index: usize) void {
        var failure: Failure = .{};
        // What stays of it names a process that is gone: nobody takes it for alive.
        if (ledger.slots) |*slots| slots.clear(&failure, index) catch {};
    }

    /// Puts ends on disk, with one wait for all, and numbers them.
    pub fn note(ledger: *Ledger, failure: *Failure, batch: []const *Entry) error{Failed}!void {
        var noted: [batch_size]exits.Exit = undefined;
        placement.seeKills(batch);
        for (batch, noted[0..batch.len]) |entry, *end| {
            end.* = .{ .id = wire.name(&entry.id).?, .pid = entry.last_pid, .status = entry.exit_status, .oom = entry.oom, .time_ns = entry.ended_ns };
        }
        const record = if (ledger.record) |*record| record else return;
        const last = try record.append(failure, noted[0..batch.len]);
        for (batch, 1..) |entry, place| entry.record = last - batch.len + place;
    }

    /// Ends up to that number are known elsewhere for good.
    pub fn acknowledge(ledger: *Ledger, failure: *Failure, number: u64) error{Failed}!void {
        if (ledger.record) |*record| try record.acknowledge(failure, number);
    }
};
