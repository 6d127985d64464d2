//! The record of how containers ended: on disk before anyone is told, so that it can
//! be told again after kurmad, stage2 or the machine went down.
//!
//! An append-only file of 128-byte records, each with a checksum and the next number.
//! What a power cut left of a write that was never confirmed is cut off when the file
//! is opened; a confirmed record is never before such a cut.

const std = @import("std");
const assert = std.debug.assert;
const linux = @import("linux");
const os = linux.os;
const Failure = linux.Failure;
const fd_t = linux.fd_t;

/// The longest container id that a record holds.
pub const max_id = 96;

/// One record. TypeScript reads the same bytes (little endian).
pub const Record = extern struct {
    /// CRC-32 of all that follows.
    crc: u32 = 0,
    kind: Kind,
    id_len: u8 = 0,
    /// The signal that ended the main process, or 0.
    signal: u8 = 0,
    /// 1 if the kernel killed a process of it for want of memory.
    oom: u8 = 0,
    /// Counts up from 1, over the whole life of the file and of those it replaced.
    sequence: u64,
    /// Nanoseconds since 1970.
    time_ns: i64 = 0,
    /// The main process as the host numbered it.
    pid: i32 = 0,
    /// Its exit status, or 128 + the signal.
    status: u32 = 0,
    id_bytes: [max_id]u8 = @splat(0),

    pub const Kind = enum(u8) {
        /// No record: a hole that a file system left.
        none,
        exit,
        /// First in a file: what came up to this number was acknowledged and dropped.
        base,
        _,
    };

    comptime {
        assert(@sizeOf(Record) == 128);
        assert(@sizeOf(Record) == @offsetOf(Record, "id_bytes") + max_id); // No padding in between.
    }

    pub fn id(record: *const Record) []const u8 {
        return record.id_bytes[0..record.id_len];
    }

    fn seal(record: *Record) void {
        record.crc = record.checksum();
    }

    fn checksum(record: *const Record) u32 {
        return std.hash.Crc32.hash(std.mem.asBytes(record)[@sizeOf(u32)..]);
    }

    /// Whether this is the record that comes after number `last` (null: the first one).
    fn follows(record: *const Record, last: ?u64) bool {
        if (record.crc != record.checksum() or record.id_len > max_id) return false;
        const number = last orelse return record.kind == .base or (record.kind == .exit and record.sequence > 0);
        return record.kind == .exit and record.sequence == number + 1;
    }
};

/// How a container ended, to be recorded.
pub const Exit = struct {
    /// 1 to `max_id` bytes.
    id: []const u8,
    pid: linux.pid_t,
    /// As wait4(2) gives it.
    status: u32,
    oom: bool,
    /// Nanoseconds since 1970; 0 for now.
    time_ns: i64 = 0,
};

/// The open file; one process at a time has it.
pub const Log = struct {
    dir: fd_t,
    name: [*:0]const u8,
    fd: fd_t,
    /// Bytes of whole records.
    size: u64 = 0,
    /// The number of the last record.
    last: u64 = 0,
    /// What came up to this number is not in the file any more.
    base: u64 = 0,
    /// What came up to this number may go.
    acknowledged: u64 = 0,
    /// Bytes that were cut off when it was opened; more than a record says that the disk
    /// lost what it had confirmed. If that was all, the numbers begin with 1 again.
    discarded: u64 = 0,

    /// Opens or makes `name` in `dir`, both of which stay the caller's, and cuts off what
    /// is no whole record. `step` of a failure is `record`: EAGAIN if another process has it.
    pub fn open(failure: *Failure, dir: fd_t, name: [*:0]const u8) error{Failed}!Log {
        const flags: os.O = .{ .ACCMODE = .RDWR, .APPEND = true, .CREAT = true, .NOFOLLOW = true, .CLOEXEC = true };
        var log: Log = .{ .dir = dir, .name = name, .fd = @intCast(try failure.check(.record, os.openat(dir, name, flags, 0o600))) };
        errdefer log.close();
        try lock(failure, log.fd);
        try log.recover(failure);
        try syncFolder(failure, dir); // The file may be new.
        return log;
    }

    pub fn close(log: *Log) void {
        linux.file.close(log.fd);
    }

    /// Writes one record for each of `exits` and waits until the disk has them; the last
    /// one's number. On failure none of them counts.
    pub fn append(log: *Log, failure: *Failure, exits: []const Exit) error{Failed}!u64 {
        errdefer _ = os.ftruncate(log.fd, @intCast(log.size));
        var last = log.last;
        for (exits) |exit| {
            if (exit.id.len == 0 or exit.id.len > max_id) return failure.fail(.record, .INVAL);
            last += 1;
            var record: Record = .{
                .kind = .exit,
                .id_len = @intCast(exit.id.len),
                .signal = if (os.W.IFSIGNALED(exit.status)) @intCast(exit.status & 0x7f) else 0,
                .oom = @intFromBool(exit.oom),
                .sequence = last,
                .time_ns = if (exit.time_ns == 0) linux.clock.wallNs() else exit.time_ns,
                .pid = exit.pid,
                .status = linux.process.exitStatus(exit.status),
            };
            @memcpy(record.id_bytes[0..exit.id.len], exit.id);
            record.seal();
            try writeRecord(failure, log.fd, &record);
        }
        _ = try failure.check(.record, os.fdatasync(log.fd));
        log.size += exits.len * @sizeOf(Record);
        log.last = last;
        return last;
    }

    /// Calls `sink.exit(*const Record) error{Failed}!void` for each record after number
    /// `after`, oldest first.
    pub fn replay(log: *const Log, failure: *Failure, after: u64, sink: anytype) error{Failed}!void {
        var at: u64 = 0;
        while (at < log.size) : (at += @sizeOf(Record)) {
            const record = try log.read(failure, at) orelse return failure.fail(.record, .IO);
            if (record.kind == .exit and record.sequence > after) try sink.exit(&record);
        }
    }

    /// Notes that the records up to `number` are known elsewhere for good. They go once they
    /// are many and most of the file: it is at most twice as long as what has to stay, and
    /// `slack` records.
    pub fn acknowledge(log: *Log, failure: *Failure, number: u64) error{Failed}!void {
        log.acknowledged = @max(log.acknowledged, @min(number, log.last));
        const known = log.acknowledged - log.base;
        if (known >= slack and 2 * known >= log.last - log.base) try log.compact(failure, log.acknowledged);
    }

    pub const slack = 512;

    /// Drops the records up to number `acknowledged`, by putting a new file in the place
    /// of this one; after a failure or a power cut it is one of the two.
    pub fn compact(log: *Log, failure: *Failure, acknowledged: u64) error{Failed}!void {
        var name_buffer: [os.NAME_MAX + 1]u8 = undefined;
        const name = linux.text.printZ(&name_buffer, "{s}.new", .{std.mem.span(log.name)}) catch return failure.fail(.record, .NAMETOOLONG);
        const flags: os.O = .{ .ACCMODE = .RDWR, .APPEND = true, .CREAT = true, .TRUNC = true, .NOFOLLOW = true, .CLOEXEC = true };
        const fd: fd_t = @intCast(try failure.check(.record, os.openat(log.dir, name, flags, 0o600)));
        log.writeAfter(failure, fd, name, acknowledged) catch |failed| {
            linux.file.close(fd);
            _ = os.unlinkat(log.dir, name, 0);
            return failed;
        };
        linux.file.close(log.fd);
        log.fd = fd;
        log.base = @min(acknowledged, log.last);
        log.acknowledged = @max(log.acknowledged, log.base);
        log.size = @intCast(try failure.check(.record, os.lseek(fd, 0, os.SEEK.END)));
        // Until then, a power cut may bring the old file back: what is appended must not go
        // into a file that has no name.
        try syncFolder(failure, log.dir);
    }

    /// Fills the new file `fd` and gives it the name of the old one.
    fn writeAfter(log: *const Log, failure: *Failure, fd: fd_t, name: [*:0]const u8, acknowledged: u64) error{Failed}!void {
        try lock(failure, fd);
        var base: Record = .{ .kind = .base, .sequence = @min(acknowledged, log.last) };
        base.seal();
        try writeRecord(failure, fd, &base);
        var copy: Copy = .{ .fd = fd, .failure = failure };
        try log.replay(failure, base.sequence, &copy);
        _ = try failure.check(.record, os.fdatasync(fd));
        _ = try failure.check(.record, os.renameat(log.dir, name, log.dir, log.name));
    }

    const Copy = struct {
        fd: fd_t,
        failure: *Failure,

        pub fn exit(copy: *Copy, record: *const Record) error{Failed}!void {
            try writeRecord(copy.failure, copy.fd, record);
        }
    };

    fn recover(log: *Log, failure: *Failure) error{Failed}!void {
        var last: ?u64 = null;
        while (try log.read(failure, log.size)) |record| {
            if (!record.follows(last)) break;
            if (last == null) log.base = if (record.kind == .base) record.sequence else record.sequence - 1;
            last = record.sequence;
            log.size += @sizeOf(Record);
        }
        log.last = last orelse 0;
        log.acknowledged = log.base;
        const end = try failure.check(.record, os.lseek(log.fd, 0, os.SEEK.END));
        log.discarded = end - log.size;
        if (log.discarded == 0) return;
        _ = try failure.check(.record, os.ftruncate(log.fd, @intCast(log.size)));
        _ = try failure.check(.record, os.fdatasync(log.fd));
    }

    /// The record at byte `at`; null if the file ends before it does.
    fn read(log: *const Log, failure: *Failure, at: u64) error{Failed}!?Record {
        var record: Record = undefined;
        const bytes = std.mem.asBytes(&record);
        var len: usize = 0;
        while (len < bytes.len) {
            const result = os.pread(log.fd, bytes.ptr + len, bytes.len - len, @intCast(at + len));
            switch (os.errno(result)) {
                .SUCCESS => {},
                .INTR => continue,
                else => |errno| return failure.fail(.record, errno),
            }
            if (result == 0) return null;
            len += result;
        }
        return record;
    }
};

fn writeRecord(failure: *Failure, fd: fd_t, record: *const Record) error{Failed}!void {
    var write: Failure = .{};
    linux.file.writeAll(&write, fd, std.mem.asBytes(record)) catch return failure.fail(.record, @fromBackingInt(write.errno));
}

/// fsync(2) of a folder whose descriptor may be one that only leads to it (O_PATH).
fn syncFolder(failure: *Failure, dir: fd_t) error{Failed}!void {
    const fd: fd_t = @intCast(try failure.check(.record, os.openat(dir, ".", .{ .DIRECTORY = true, .CLOEXEC = true }, 0)));
    defer linux.file.close(fd);
    _ = try failure.check(.record, os.fsync(fd));
}

/// Two writers would number alike. This kind of lock ends with the process itself: a
/// child that inherits the descriptor does not keep it.
fn lock(failure: *Failure, fd: fd_t) error{Failed}!void {
    const set_lock = 6; // F_SETLK
    const request: extern struct {
        type: i16 = 1, // F_WRLCK
        whence: i16 = 0,
        start: i64 = 0,
        len: i64 = 0,
        pid: i32 = 0,
    } = .{};
    _ = try failure.check(.record, os.fcntl(fd, set_lock, @intFromPtr(&request)));
}

test {
    _ = @import("exits_test.zig");
}
