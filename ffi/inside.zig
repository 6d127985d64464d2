//! Files inside a container, for stage1: every path is resolved from the container's own
//! root, and what is made goes by one name into a folder that is open already. Whatever a
//! container does to its tree meanwhile, nothing of the host is touched.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const os = linux.os;
const Resolve = linux.file.Resolve;

/// How `kurma_open_in` opens.
pub const Access = enum(u32) {
    /// Only what is there, to be looked at (O_PATH); a link at the end is followed, inside.
    place,
    /// The same, but the link itself.
    place_itself,
    /// A new file, to be written: nothing of that name is there.
    new_file,
};

pub const exports = .{
    .{ .name = "kurma_open_root", .call = &openRoot, .pool = false },
    .{ .name = "kurma_open_in", .call = &openIn, .pool = false },
    .{ .name = "kurma_make_folder", .call = &makeFolder, .pool = false },
    .{ .name = "kurma_make_link", .call = &makeLink, .pool = false },
    .{ .name = "kurma_link_file", .call = &linkFile, .pool = false },
    .{ .name = "kurma_remove_in", .call = &removeIn, .pool = false },
    .{ .name = "kurma_read_link", .call = &readLink, .pool = false },
};

/// The root of the process `pid` as a descriptor that leads there and nowhere else, or -1.
fn openRoot(pid: i32, failure: *Failure) callconv(.c) i32 {
    var buffer: [32]u8 = undefined;
    const path = linux.text.printZ(&buffer, "/proc/{d}/root", .{pid}) catch unreachable; // 11 digits fit.
    return linux.file.open(failure, path, .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }, 0) catch -1;
}

/// Opens `path` as seen from `root`; its descriptor (close-on-exec), or -1. A new file is
/// the owner's.
fn openIn(root: i32, path: [*:0]const u8, access: u32, mode: u32, uid: u32, gid: u32, failure: *Failure) callconv(.c) i32 {
    if (access > @backingInt(Access.new_file)) return invalid(failure, .open, .INVAL);
    const flags: os.O = switch (@as(Access, @fromBackingInt(access))) {
        .place => .{ .PATH = true, .CLOEXEC = true },
        .place_itself => .{ .PATH = true, .NOFOLLOW = true, .CLOEXEC = true },
        .new_file => .{ .ACCMODE = .WRONLY, .CREAT = true, .EXCL = true, .NOFOLLOW = true, .CLOEXEC = true },
    };
    const owner: Owner = .become(uid, gid);
    defer owner.leave();
    const opened = linux.file.openat2(root, path, flags, mode, Resolve.in_root | Resolve.no_magiclinks);
    return @intCast(failure.check(.open, opened) catch return -1);
}

/// Makes a folder `name` of that owner in the folder `dir`. 0, or -1.
fn makeFolder(dir: i32, name: [*:0]const u8, mode: u32, uid: u32, gid: u32, failure: *Failure) callconv(.c) i32 {
    if (!isName(name)) return invalid(failure, .mkdir, .INVAL);
    const owner: Owner = .become(uid, gid);
    defer owner.leave();
    _ = failure.check(.mkdir, os.mkdirat(dir, name, mode)) catch return -1;
    return 0;
}

/// Makes a symbolic link `name` of that owner in the folder `dir`. What it says is followed
/// by nobody here. 0, or -1.
fn makeLink(dir: i32, name: [*:0]const u8, target: [*:0]const u8, uid: u32, gid: u32, failure: *Failure) callconv(.c) i32 {
    if (!isName(name)) return invalid(failure, .write, .INVAL);
    const owner: Owner = .become(uid, gid);
    defer owner.leave();
    _ = failure.check(.write, os.symlinkat(target, dir, name)) catch return -1;
    return 0;
}

/// Gives the open `file` one more name in the folder `dir`. 0, or -1.
fn linkFile(dir: i32, name: [*:0]const u8, file: i32, failure: *Failure) callconv(.c) i32 {
    if (!isName(name)) return invalid(failure, .write, .INVAL);
    _ = failure.check(.write, os.linkat(file, "", dir, name, os.AT.EMPTY_PATH)) catch return -1;
    return 0;
}

/// Removes `name` from the folder `dir`, with all it holds. 0, or -1.
fn removeIn(dir: i32, name: [*:0]const u8, failure: *Failure) callconv(.c) i32 {
    if (!isName(name)) return invalid(failure, .remove, .INVAL);
    linux.tree.remove(failure, dir, name) catch return -1;
    return 0;
}

/// Where the symbolic link `file` leads, into `buffer`; its length, or -1.
fn readLink(file: i32, buffer: [*]u8, size: usize, failure: *Failure) callconv(.c) i32 {
    return @intCast(failure.check(.read, os.readlinkat(file, "", buffer, size)) catch return -1);
}

/// Who makes files is their owner. A mount with ids of its own takes nobody else's: a
/// later chown(2) would come too late.
const Owner = struct {
    securebits: usize,

    /// SECBIT_NO_SETUID_FIXUP: the change takes no capability away. It is this thread's alone.
    const keep_capabilities = 1 << 2;

    fn become(uid: u32, gid: u32) Owner {
        const securebits = linux.process.prctl(.GET_SECUREBITS, 0);
        _ = linux.process.prctl(.SET_SECUREBITS, securebits | keep_capabilities);
        _ = os.syscall1(.setfsgid, gid);
        _ = os.syscall1(.setfsuid, uid);
        return .{ .securebits = securebits };
    }

    fn leave(owner: Owner) void {
        _ = os.syscall1(.setfsuid, os.geteuid());
        _ = os.syscall1(.setfsgid, os.getegid());
        _ = linux.process.prctl(.SET_SECUREBITS, owner.securebits);
    }
};

/// One part of a path: neither empty nor a way out.
fn isName(name: [*:0]const u8) bool {
    const text = std.mem.span(name);
    if (text.len == 0 or std.mem.findScalar(u8, text, '/') != null) return false;
    return !std.mem.eql(u8, text, ".") and !std.mem.eql(u8, text, "..");
}

fn invalid(failure: *Failure, step: Failure.Step, errno: linux.E) i32 {
    failure.fail(step, errno) catch return -1;
}

test "names that lead elsewhere are none" {
    for ([_][*:0]const u8{ "", ".", "..", "a/b", "/", "/etc" }) |name| try std.testing.expect(!isName(name));
    for ([_][*:0]const u8{ "a", "...", ".a", "a b", "\xff" }) |name| try std.testing.expect(isName(name));
}
