//! Copies a static program without its section headers, which only linkers and debuggers
//! read: what is run is described by the program headers. elf(5)
//!
//!   bare FROM TO

const std = @import("std");
const elf = std.elf.Elf64;

pub fn main(init: std.process.Init) !void {
    const arena = init.arena.allocator();
    const args = try init.minimal.args.toSlice(arena);
    const dir = std.Io.Dir.cwd();
    const program = try dir.readFileAlloc(init.io, args[1], arena, .limited(64 * 1024 * 1024));
    const header: *align(1) elf.Ehdr = @ptrCast(program[0..@sizeOf(elf.Ehdr)]);
    // Nothing that is loaded lies behind the last segment.
    var end: usize = header.phoff + @as(usize, header.phnum) * header.phentsize;
    for (0..header.phnum) |index| {
        const at = header.phoff + index * header.phentsize;
        const segment: *align(1) const elf.Phdr = @ptrCast(program[at..][0..@sizeOf(elf.Phdr)]);
        end = @max(end, segment.offset + segment.filesz);
    }
    header.shoff = 0;
    header.shnum = 0;
    header.shstrndx = 0;
    try dir.writeFile(init.io, .{ .sub_path = args[2], .data = program[0..end], .flags = .{ .permissions = .executable_file } });
}
