//! Why an archive was not unpacked: the one thing that leaves this program besides
//! the report of a success. stage1/images/unpack.ts turns it into a sentence.

const std = @import("std");
const linux = @import("linux");

/// Names are API: they cross to TypeScript as text.
pub const Reason = enum {
    none,
    /// The stream ends inside an entry, or before the end marker.
    truncated,
    /// A header's checksum, number or record is wrong.
    damaged,
    /// A name or a hard link leads out of the archive, or is absolute.
    escape,
    /// One component of a name is longer than the limit.
    long_name,
    /// A whole name is longer than the limit.
    long_path,
    /// A name has more components than the limit.
    deep,
    /// The archive has more entries than the limit.
    entries,
    /// The stream is longer than the limit.
    bytes,
    /// An extended header, or the manifest in it, is longer than the limit.
    long_header,
    /// A sparse file has more pieces than the limit.
    pieces,
    /// An entry type that no image has.
    unknown_type,
    /// An owner that no file can have.
    owner,
    /// A whiteout that names nothing that can be hidden.
    whiteout,
    /// A hard link to something that is not in the archive.
    link_target,
    /// A name that leads through a file, or through a symlink to nothing.
    not_a_folder,
    /// The archive's own top is a file, or something else that nothing can be in.
    root,
    /// Beside `manifest` and `rootfs` an ACI has nothing.
    unexpected,
    /// The kernel refused; `errno` says why.
    system,
};

pub const Error = error{Refused};

/// The first cause, and the entry it was met at.
pub const Refusal = struct {
    reason: Reason = .none,
    errno: linux.E = .SUCCESS,
    /// The entry's name as the archive has it; cut where it does not fit.
    entry_space: [512]u8 = undefined,
    entry_len: usize = 0,

    pub fn refuse(refusal: *Refusal, reason: Reason) Error {
        if (refusal.reason == .none) refusal.reason = reason;
        return error.Refused;
    }

    pub fn system(refusal: *Refusal, errno: linux.E) Error {
        if (refusal.reason == .none) {
            refusal.reason = .system;
            refusal.errno = errno;
        }
        return error.Refused;
    }

    /// The result of a raw system call, or the refusal with its errno.
    pub fn check(refusal: *Refusal, result: usize) Error!usize {
        return switch (linux.os.errno(result)) {
            .SUCCESS => result,
            else => |errno| refusal.system(errno),
        };
    }

    /// Remembers what is being worked on, for the message.
    pub fn at(refusal: *Refusal, name: []const u8) void {
        refusal.entry_len = @min(name.len, refusal.entry_space.len);
        @memcpy(refusal.entry_space[0..refusal.entry_len], name[0..refusal.entry_len]);
    }

    pub fn entry(refusal: *const Refusal) []const u8 {
        return refusal.entry_space[0..refusal.entry_len];
    }
};
