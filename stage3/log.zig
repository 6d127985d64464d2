//! The log of a container: what its main process prints, with a time and the name of
//! the stream before each line, in files that are rotated by size.
//!
//! The format is the one that Kubernetes defines for container runtimes (CRI):
//! `2026-01-02T03:04:05.000000006Z stdout F text`, or P in place of F for a piece of a
//! line whose rest is in the next record of that stream. Joined again, a P ends in
//! nothing and an F in a line feed: that is every byte the process wrote.

const std = @import("std");
const linux = @import("linux");
const Outlets = @import("outlets.zig").Outlets;
const Watch = @import("watch.zig").Watch;
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const os = linux.os;

/// Longer lines are written in pieces, as other runtimes do it.
const max_piece = 16 * 1024;

/// What one read(2) takes: all of a full pipe.
const read_size = 64 * 1024;

/// `TIME STREAM TAG ` in bytes.
const header_size = "2026-01-02T03:04:05.000000006Z stdout F ".len;

/// Both streams and the files they go to. It is large and mostly untouched, so
/// `create` maps it; while nothing is printed, it takes next to no memory.
pub const Log = struct {
    options: Options,
    /// The current file; -1 if it could not be opened.
    file: fd_t,
    /// Whole records in the current file, in bytes.
    size: u64,
    streams: [2]Stream,
    /// Who gets a copy, if anybody may.
    outlets: ?*Outlets,
    /// At the end of the file: a stream's last record was a P.
    split: bool,
    /// Lines and pieces that could not be written since the last that could, and why.
    lost: u64,
    lost_errno: linux.E,
    out_len: usize,
    out: [read_size]u8 align(std.heap.page_size_min),

    pub const Options = struct {
        /// The folder of the files: `log`, and `log.1`, `log.2`, … with what is older.
        directory: fd_t,
        /// A file is rotated before it would become larger, in bytes.
        max_size: u64 = 10 * 1024 * 1024,
        /// How many files are kept, the current one included.
        max_files: u32 = 3,
    };

    const Stream = struct {
        pipe: fd_t,
        name: *const [6]u8,
        watched: u32,
        is_watched: bool,
        /// The record before was a piece of a line that goes on.
        within_line: bool,
        len: usize,
        buffer: [max_piece + read_size]u8 align(std.heap.page_size_min),
    };

    /// Opens the log in its folder and goes on behind what is there.
    ///
    /// Errors: `open`, if the file cannot be opened; then nothing is left behind.
    pub fn create(failure: *Failure, options: Options) error{Failed}!*Log {
        const memory = try linux.file.mapPrivate(failure, -1, @sizeOf(Log));
        const log: *Log = @ptrCast(memory.ptr); // All else is as the kernel gave it: zero.
        errdefer _ = os.munmap(memory.ptr, memory.len);
        log.options = options;
        log.streams[0].name = "stdout";
        log.streams[1].name = "stderr";
        for (&log.streams) |*stream| stream.pipe = -1;
        log.file = try openFile(failure, options.directory);
        try log.resumeFile(failure);
        return log;
    }

    /// Makes a pipe for each stream; returns the ends that the process writes to.
    pub fn openPipes(log: *Log, failure: *Failure) error{Failed}![2]fd_t {
        var writers: [2]fd_t = undefined;
        for (&log.streams, &writers) |*stream, *writer| {
            var ends: [2]fd_t = undefined;
            _ = try failure.check(.init, os.pipe2(&ends, .{ .CLOEXEC = true }));
            stream.pipe, writer.* = ends;
            // Ours only: what a program finds when its pipe is full is no business of this log.
            try makeNonblocking(failure, stream.pipe);
        }
        return writers;
    }

    /// Reads what comes out of the terminal behind `master` as stdout; it is this log's from
    /// now on.
    pub fn readTerminal(log: *Log, failure: *Failure, master: fd_t) error{Failed}!void {
        try makeNonblocking(failure, master);
        log.streams[0].pipe = master;
    }

    fn makeNonblocking(failure: *Failure, fd: fd_t) error{Failed}!void {
        const nonblock: u32 = @bitCast(os.O{ .NONBLOCK = true });
        _ = try failure.check(.init, os.fcntl(fd, os.F.SETFL, nonblock));
    }

    /// Says what this turn is to wait for.
    pub fn prepare(log: *Log, watch: *Watch) void {
        for (&log.streams, 0..) |*stream, index| if (stream.pipe >= 0) {
            // A hang-up would be told all the time that somebody else is waited for.
            stream.is_watched = !log.mustWait(index);
            if (stream.is_watched) stream.watched = watch.add(stream.pipe, os.POLL.IN);
        };
    }

    /// Copies what this turn found in the pipes.
    pub fn act(log: *Log, watch: *const Watch) void {
        for (&log.streams, 0..) |*stream, index| {
            if (stream.pipe < 0 or !stream.is_watched or watch.ready(stream.watched) == 0) continue;
            log.pump(stream, index);
        }
    }

    /// True once all who could print are gone.
    pub fn ended(log: *const Log) bool {
        for (&log.streams) |*stream| if (stream.pipe >= 0) return false;
        return true;
    }

    fn mustWait(log: *const Log, index: usize) bool {
        return if (log.outlets) |outlets| outlets.isFull(index) else false;
    }

    fn pump(log: *Log, stream: *Stream, index: usize) void {
        // Not for ever: others want their turn.
        for (0..16) |_| {
            if (log.mustWait(index)) break;
            const result = os.read(stream.pipe, stream.buffer[stream.len..].ptr, read_size);
            switch (os.errno(result)) {
                .SUCCESS => {},
                .INTR => continue,
                .IO => {}, // A terminal that nobody has open any more.
                else => break, // EAGAIN: the pipe is empty.
            }
            if (result == 0 or os.errno(result) == .IO) {
                log.finish(stream);
                break;
            }
            if (log.outlets) |outlets| outlets.copy(index, stream.buffer[stream.len..][0..result]);
            stream.len += result;
            log.splitLines(stream);
        }
        log.flush();
    }

    /// Turns what is in the buffer into records, but for the beginning of a line.
    fn splitLines(log: *Log, stream: *Stream) void {
        const time = timestamp();
        var rest: []const u8 = stream.buffer[0..stream.len];
        while (rest.len > 0) {
            const window = rest[0..@min(rest.len, max_piece)];
            if (std.mem.findScalar(u8, window, '\n')) |end| {
                log.record(stream, &time, 'F', rest[0..end]);
                rest = rest[end + 1 ..];
            } else if (window.len == max_piece) {
                log.record(stream, &time, 'P', window);
                rest = rest[max_piece..];
            } else break;
        }
        std.mem.copyForwards(u8, stream.buffer[0..rest.len], rest);
        stream.len = rest.len;
    }

    /// Writes the beginning of a line that has no end, and closes the pipe.
    fn finish(log: *Log, stream: *Stream) void {
        if (stream.len > 0) log.record(stream, &timestamp(), 'P', stream.buffer[0..stream.len]);
        stream.len = 0;
        stream.within_line = false;
        linux.file.close(stream.pipe);
        stream.pipe = -1;
    }

    fn record(log: *Log, stream: *Stream, time: *const [30]u8, tag: u8, text: []const u8) void {
        if (header_size + text.len + 1 > log.out.len - log.out_len) log.flush();
        const out = log.out[log.out_len..];
        out[0..30].* = time.*;
        out[30] = ' ';
        out[31..37].* = stream.name.*;
        out[37] = ' ';
        out[38] = tag;
        out[39] = ' ';
        @memcpy(out[header_size..][0..text.len], text);
        out[header_size + text.len] = '\n';
        log.out_len += header_size + text.len + 1;
        stream.within_line = tag == 'P';
    }

    /// Writes the records so far; what the disk does not take is counted, not waited for.
    fn flush(log: *Log) void {
        const records = log.out[0..log.out_len];
        log.out_len = 0;
        if (records.len == 0) return;
        log.rotateIfFull(records.len);
        if (log.lost > 0 and !log.confessLoss()) return log.lose(records);
        const written = log.append(records);
        if (written < records.len) log.lose(records[written..]);
        log.split = log.streams[0].within_line or log.streams[1].within_line;
    }

    /// Appends whole records; returns how many bytes of them are in the file.
    fn append(log: *Log, records: []const u8) usize {
        if (log.file < 0) return 0;
        var done: usize = 0;
        while (done < records.len) {
            const result = os.write(log.file, records[done..].ptr, records.len - done);
            switch (os.errno(result)) {
                .SUCCESS => done += result,
                .INTR => {},
                else => |errno| {
                    log.lost_errno = errno;
                    // A record that is there in part would be a torn line.
                    done = if (std.mem.findScalarLast(u8, records[0..done], '\n')) |last| last + 1 else 0;
                    _ = os.ftruncate(log.file, @intCast(log.size + done));
                    break;
                },
            }
        }
        log.size += done;
        return done;
    }

    fn lose(log: *Log, records: []const u8) void {
        log.lost += std.mem.countScalar(u8, records, '\n');
    }

    /// Leaves a record of how much was lost, in its place; false if even that fails.
    fn confessLoss(log: *Log) bool {
        var space: [160]u8 = undefined;
        const text = linux.text.print(&space, "{s} stderr F kurma: {d} lines of output lost here: E{t}\n", .{ &timestamp(), log.lost, log.lost_errno }) catch unreachable; // It fits.
        if (log.append(text) == 0) return false;
        log.lost = 0;
        return true;
    }

    /// Never within a line, unless that line alone is as large as a file may be.
    fn rotateIfFull(log: *Log, more: usize) void {
        const limit = if (log.split) 2 * log.options.max_size else log.options.max_size;
        if (log.file >= 0 and log.size > 0 and log.size + more > limit) {
            linux.file.close(log.file);
            log.file = -1;
            log.shiftFiles();
        }
        if (log.file >= 0) return;
        var failure: Failure = .{};
        log.file = openFile(&failure, log.options.directory) catch {
            log.lost_errno = @fromBackingInt(failure.errno);
            return;
        };
        log.size = 0;
    }

    /// log becomes log.1, log.1 becomes log.2; the oldest goes. A name that is not there
    /// is a rotation that was cut short, or the first ones.
    fn shiftFiles(log: *Log) void {
        const directory = log.options.directory;
        var number = log.options.max_files -| 1;
        if (number == 0) _ = os.unlinkat(directory, "log", 0);
        while (number > 0) : (number -= 1) {
            var from_space: [24]u8 = undefined;
            var to_space: [24]u8 = undefined;
            _ = os.renameat(directory, fileName(&from_space, number - 1), directory, fileName(&to_space, number));
        }
    }

    /// Finds where the current file ends, and ends the line that a power cut left open.
    fn resumeFile(log: *Log, failure: *Failure) error{Failed}!void {
        log.size = try failure.check(.open, os.lseek(log.file, 0, os.SEEK.END));
        if (log.size == 0) return;
        var last: [1]u8 = undefined;
        const result = os.pread(log.file, &last, 1, @intCast(log.size - 1));
        if (os.errno(result) == .SUCCESS and result == 1 and last[0] != '\n') {
            if (os.errno(os.write(log.file, "\n", 1)) == .SUCCESS) log.size += 1;
        }
    }

    /// Gives memory back that a burst of output took.
    pub fn shrink(log: *Log) void {
        for (&log.streams) |*stream| forget(stream.buffer[std.mem.alignForward(usize, stream.len, std.heap.page_size_min)..]);
        forget(&log.out);
    }
};

fn forget(buffer: []u8) void {
    _ = os.madvise(buffer.ptr, std.mem.alignBackward(usize, buffer.len, std.heap.page_size_min), os.MADV.DONTNEED);
}

/// Never through a symlink, whoever else may write to the folder.
fn openFile(failure: *Failure, directory: fd_t) error{Failed}!fd_t {
    const flags: os.O = .{ .ACCMODE = .RDWR, .CREAT = true, .APPEND = true, .NOFOLLOW = true, .CLOEXEC = true };
    return linux.file.openAt(failure, directory, "log", flags, 0o640);
}

fn fileName(space: *[24]u8, number: u32) [*:0]const u8 {
    if (number == 0) return "log";
    return linux.text.printZ(space, "log.{d}", .{number}) catch unreachable; // It fits.
}

/// Now, as RFC 3339 has it: in UTC, with nanoseconds.
fn timestamp() [30]u8 {
    const now = linux.clock.now(.REALTIME);
    return format(@intCast(@max(now.sec, 0)), @intCast(now.nsec));
}

fn format(seconds: u64, nanoseconds: u32) [30]u8 {
    const epoch: std.time.epoch.EpochSeconds = .{ .secs = seconds };
    const date = epoch.getEpochDay().calculateYearDay();
    const month = date.calculateMonthDay();
    const time = epoch.getDaySeconds();
    var text: [30]u8 = undefined;
    _ = linux.text.print(&text, "{d:0>4}-{d:0>2}-{d:0>2}T{d:0>2}:{d:0>2}:{d:0>2}.{d:0>9}Z", .{
        @min(date.year, 9999),  month.month.numeric(),     month.day_index + 1,
        time.getHoursIntoDay(), time.getMinutesIntoHour(), time.getSecondsIntoMinute(),
        nanoseconds,
    }) catch unreachable; // It fits, to the byte.
    return text;
}

test {
    _ = @import("log_test.zig");
}

test "times are those of date(1)" {
    try std.testing.expectEqualStrings("1970-01-01T00:00:00.000000000Z", &format(0, 0));
    try std.testing.expectEqualStrings("2024-02-29T23:59:59.999999999Z", &format(1709251199, 999999999));
    try std.testing.expectEqualStrings("2026-11-23T15:48:55.000000007Z", &format(1795448935, 7));
}
