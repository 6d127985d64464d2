//! Unpacks one archive: reads an uncompressed tar stream on descriptor 0, writes it
//! below a folder, and says on descriptor 1 what came of it, as one line of JSON.
//!
//!   unpack oci|aci sha256|sha512 DIR [LIMIT=NUMBER...]
//!
//! DIR exists and is empty. The root file system goes to DIR/rootfs; an ACI's
//! manifest to DIR/manifest. Limits are those of limits.zig, by name.
//!
//! Success: {"digest":"sha256:…","bytes":N,"entries":N,"complete":true,
//! "devices":N,"xattrs":N}: the digest and length of the stream, entries met, whether
//! the end marker was there, and what was left out. Everything is on disk by then.
//! Failure: {"refused":"REASON","entry":"NAME","errno":N}; what was written stays
//! for the caller to remove. The exit status is 0 either way; any other is a crash.

const std = @import("std");
const linux = @import("linux");
const os = linux.os;
const Archive = @import("archive.zig").Archive;
const Digest = @import("digest.zig").Digest;
const Algorithm = @import("digest.zig").Algorithm;
const Folders = @import("folders.zig").Folders;
const Limits = @import("limits.zig").Limits;
const Path = @import("name.zig").Path;
const Refusal = @import("refusal.zig").Refusal;
const Error = @import("refusal.zig").Error;
const Stream = @import("stream.zig").Stream;
const Target = @import("target.zig").Target;
const Writeback = @import("writeback.zig").Writeback;
const isolation = @import("isolation.zig");
const Report = @import("report.zig").Report;

pub const Format = enum {
    /// A layer: names are the container's, whiteouts hide what is below.
    oci,
    /// An App Container Image: `manifest` and `rootfs`.
    aci,
};

/// A pipe holds at most this much, and so do the reads from it.
const buffer_size = 1 << 20;

// Too large for a stack; zero pages until they are used.
var buffer: [buffer_size]u8 = undefined;
var archive: Archive = undefined;

const Request = struct {
    format: Format,
    algorithm: Algorithm,
    dir: [*:0]const u8,
    limits: Limits = .{},
};

/// The role of the process; `args` are those after the program's name.
pub fn main(args: []const [*:0]const u8) u8 {
    const request = parse(args) orelse return 2;
    var refusal: Refusal = .{};
    var report: Report = .{};
    run(request, &refusal, &report) catch report.failure(&refusal);
    var failure: linux.Failure = .{};
    linux.file.writeAll(&failure, 1, report.text()) catch return 1;
    return 0;
}

fn parse(args: []const [*:0]const u8) ?Request {
    if (args.len < 3) return null;
    var request: Request = .{
        .format = std.meta.stringToEnum(Format, std.mem.span(args[0])) orelse return null,
        .algorithm = std.meta.stringToEnum(Algorithm, std.mem.span(args[1])) orelse return null,
        .dir = args[2],
    };
    for (args[3..]) |arg| if (!setLimit(&request.limits, std.mem.span(arg))) return null;
    return request;
}

fn setLimit(limits: *Limits, text: []const u8) bool {
    const equals = std.mem.findScalar(u8, text, '=') orelse return false;
    inline for (comptime std.meta.fieldNames(Limits)) |name| {
        if (std.mem.eql(u8, text[0..equals], name)) {
            @field(limits, name) = std.fmt.parseInt(u64, text[equals + 1 ..], 10) catch return false;
            return true;
        }
    }
    return false;
}

fn run(request: Request, refusal: *Refusal, report: *Report) Error!void {
    var digest: Digest = .init(request.algorithm);
    var stream: Stream = .{ .source = .{ .fd = 0 }, .buffer = &buffer, .refusal = refusal, .digest = &digest, .limit = request.limits.bytes };
    var folders: Folders = try .init(refusal);

    // Modes are the archive's, not the caller's to narrow.
    _ = os.syscall1(.umask, 0);
    _ = os.fcntl(0, set_pipe_size, buffer_size);
    const dir: linux.fd_t = @intCast(try refusal.check(os.openat(os.AT.FDCWD, request.dir, .{ .DIRECTORY = true, .CLOEXEC = true }, 0)));
    _ = try refusal.check(os.mkdirat(dir, "rootfs", 0o755));
    const root: linux.fd_t = @intCast(try refusal.check(os.openat(dir, "rootfs", .{ .DIRECTORY = true, .NOFOLLOW = true, .CLOEXEC = true }, 0)));
    // Held until this process ends: nobody clears the folder up while it is still written,
    // also when who started us was killed. flock(2)
    _ = try refusal.check(os.syscall2(.flock, linux.file.fdArg(root), lock_shared));
    const manifest: linux.fd_t = if (request.format == .aci)
        @intCast(try refusal.check(os.openat(dir, "manifest", .{ .ACCMODE = .WRONLY, .CREAT = true, .EXCL = true, .CLOEXEC = true }, 0o600)))
    else
        -1;
    // A folder outside the new root would be a way out of it.
    linux.file.close(dir);
    var writeback: Writeback = try .start(root, refusal);
    errdefer writeback.stop();
    try isolation.confine(root, refusal);

    archive.init(&stream, request.limits);
    var target: Target = .{ .root = root, .refusal = refusal, .folders = &folders, .writeback = &writeback };
    try unpack(request.format, &target, manifest);
    try target.finish();
    try writeback.finish(refusal);
    // One call for all that is left, on the descriptor that was open while it was written:
    // an error of any write-back since then is reported here, or was to the one above.
    _ = try refusal.check(os.syncfs(root));
    report.success(&digest, &stream, &archive, target.skipped);
}

const set_pipe_size = 1031; // F_SETPIPE_SZ
const lock_shared = 1; // LOCK_SH

fn unpack(format: Format, target: *Target, manifest: linux.fd_t) Error!void {
    var path: Path = .{};
    var link: Path = .{};
    while (try archive.next()) |entry| {
        try path.set(entry.path, archive.limits, target.refusal);
        if (entry.kind == .hard_link) try link.set(entry.link, archive.limits, target.refusal);
        switch (format) {
            .oci => if (try whiteout(target, &path)) continue,
            .aci => {
                if (path.len == 0) continue; // The archive's own folder.
                if (std.mem.eql(u8, path.whole(), "manifest")) {
                    try copyManifest(entry, manifest, target.refusal);
                    continue;
                }
                if (!path.strip("rootfs")) return target.refusal.refuse(.unexpected);
                if (entry.kind == .hard_link and !link.strip("rootfs")) return target.refusal.refuse(.escape);
            },
        }
        try target.write(&archive, &entry, &path, &link);
    }
}

/// Carries out a whiteout, if `path` is one.
///
/// Source: OCI image-spec, layer.md "Whiteouts".
fn whiteout(target: *Target, path: *const Path) Error!bool {
    const prefix = ".wh.";
    const name = path.base();
    if (!std.mem.startsWith(u8, name, prefix)) return false;
    const hidden = name[prefix.len..];
    if (std.mem.eql(u8, name, ".wh..wh..opq")) {
        try target.hideAll(path.parent());
    } else if (!std.mem.startsWith(u8, hidden, prefix)) { // Else aufs's own bookkeeping.
        const nothing = hidden.len == 0 or std.mem.eql(u8, hidden, ".") or std.mem.eql(u8, hidden, "..");
        if (nothing) return target.refusal.refuse(.whiteout);
        try target.hide(path.parent(), hidden);
    }
    return true;
}

fn copyManifest(entry: @import("archive.zig").Entry, manifest: linux.fd_t, refusal: *Refusal) Error!void {
    if (entry.kind != .file or entry.pieces != null) return refusal.refuse(.unexpected);
    if (entry.size > archive.limits.manifest) return refusal.refuse(.long_header);
    // A second one replaces the first, as a second entry of any name does.
    _ = try refusal.check(os.ftruncate(manifest, 0));
    _ = try refusal.check(os.lseek(manifest, 0, os.SEEK.SET));
    while (try archive.data(std.math.maxInt(u64))) |piece| {
        var rest = piece;
        while (rest.len > 0) rest = rest[try refusal.check(os.write(manifest, rest.ptr, rest.len))..];
    }
}

test {
    std.testing.refAllDecls(@This());
}
