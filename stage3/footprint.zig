//! Keeps little of our own program in memory. A page fault maps the 16 pages around
//! it as well, as far as the mapping reaches (fault-around): one container would be
//! charged for all of stage2's code. Split into small mappings, only what runs counts.

const std = @import("std");
const linux = @import("linux");
const Watch = @import("watch.zig").Watch;
const os = linux.os;
const elf = std.elf;

/// Small enough to leave out what does not run, large enough to keep mappings few.
const chunk = 8 * 1024;

/// Splits the program's read-only mappings. It may fail: then there is more in memory, and
/// nothing else is different.
fn split() void {
    var mappings: Mappings = .init();
    while (mappings.next()) |mapping| {
        var at: usize = 0;
        while (at < mapping.len) : (at += 2 * chunk) {
            // Mappings with different advice are not merged.
            _ = os.madvise(mapping[at..].ptr, @min(chunk, mapping.len - at), os.MADV.RANDOM);
        }
    }
}

/// Not at the start, which somebody waits for.
var is_split = false;

/// Lets go of what was needed and may not be needed again soon: the program's pages
/// that were read, which come back by a page fault, and the stack below the caller.
///
/// Never inlined: what lies below a frame of its own is nobody's.
pub noinline fn rest() void {
    if (!is_split) split();
    is_split = true;
    var mappings: Mappings = .init();
    while (mappings.next()) |mapping| _ = os.madvise(mapping.ptr, mapping.len, os.MADV.DONTNEED);
    const page = std.heap.page_size_min;
    const own = std.mem.alignBackward(usize, @frameAddress(), page) - page;
    _ = os.madvise(@ptrFromInt(own - max_stack), max_stack, os.MADV.DONTNEED);
}

/// More than any path through stage3 takes; what of it is not mapped stays so.
const max_stack = 128 * 1024;

/// The loaded, read-only parts of the program.
const Mappings = struct {
    headers: []const elf.Elf64.Phdr,

    fn init() Mappings {
        const first: [*]const elf.Elf64.Phdr = @ptrFromInt(os.getauxval(elf.AT.PHDR));
        return .{ .headers = first[0..os.getauxval(elf.AT.PHNUM)] };
    }

    fn next(mappings: *Mappings) ?[]u8 {
        while (mappings.headers.len > 0) {
            const header = mappings.headers[0];
            mappings.headers = mappings.headers[1..];
            if (header.type != .LOAD or header.flags.W) continue;
            const start = std.mem.alignBackward(usize, header.vaddr, std.heap.page_size_min);
            const end = std.mem.alignForward(usize, header.vaddr + header.memsz, std.heap.page_size_min);
            return @as([*]u8, @ptrFromInt(start))[0 .. end - start];
        }
        return null;
    }
};

/// Decides when to rest: after a second in which nothing happened.
pub const Rhythm = struct {
    awake: bool = true,

    const patience_ms = 1000;

    pub fn prepare(rhythm: *const Rhythm, watch: *Watch) void {
        if (rhythm.awake) watch.within(patience_ms);
    }

    /// True if this turn is the one to rest after.
    pub fn isOver(rhythm: *Rhythm, watch: *const Watch) bool {
        const tired = rhythm.awake and watch.timed_out;
        rhythm.awake = !watch.timed_out;
        return tired;
    }
};
