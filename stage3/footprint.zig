//! Keeps little of our own program in memory. A page fault maps the 16 pages around
//! it as well, as far as the mapping reaches (fault-around): one container would be
//! charged for all of stage2's code. Split into small mappings, only what runs counts.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const elf = std.elf;

/// Small enough to leave out what does not run, large enough to keep mappings few.
const chunk = 8 * 1024;

/// Splits the program's read-only mappings and lets go of what was read so far. Any of
/// it may fail: then there is more in memory, and nothing else is different.
pub fn reduce() void {
    const headers: [*]const elf.Elf64.Phdr = @ptrFromInt(os.getauxval(elf.AT.PHDR));
    for (headers[0..os.getauxval(elf.AT.PHNUM)]) |header| {
        if (header.type != .LOAD or header.flags.W) continue;
        const start = std.mem.alignBackward(usize, header.vaddr, std.heap.page_size_min);
        const end = std.mem.alignForward(usize, header.vaddr + header.memsz, std.heap.page_size_min);
        var at = start;
        while (at < end) : (at += 2 * chunk) {
            // Mappings with different advice are not merged.
            _ = os.madvise(@ptrFromInt(at), @min(chunk, end - at), os.MADV.RANDOM);
        }
        _ = os.madvise(@ptrFromInt(start), end - start, os.MADV.DONTNEED);
    }
}
