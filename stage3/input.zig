//! What is typed into a container's terminal by others than who holds it: bytes from a pipe
//! that anybody may be given, carried to the terminal's master.

const linux = @import("linux");
const handles = @import("handles.zig");
const Watch = @import("watch.zig").Watch;
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const os = linux.os;

/// A pipe for the main process's input, which stays open as long as the init keeps the
/// writing end; the end to read from.
pub fn openPipe(failure: *Failure) error{Failed}!fd_t {
    var ends: [2]fd_t = undefined;
    _ = try failure.check(.init, os.pipe2(&ends, .{ .CLOEXEC = true }));
    try handles.keep(failure, ends[1], .input);
    return ends[0];
}

pub const Typist = struct {
    pipe: fd_t,
    /// Non-blocking.
    master: fd_t,
    pipe_watched: ?u32 = null,
    master_watched: ?u32 = null,
    start: usize = 0,
    end: usize = 0,
    buffer: [512]u8 = undefined,

    pub fn prepare(typist: *Typist, watch: *Watch) void {
        typist.pipe_watched = null;
        typist.master_watched = null;
        if (typist.start < typist.end) {
            typist.master_watched = watch.add(typist.master, os.POLL.OUT);
        } else if (typist.pipe >= 0) {
            typist.pipe_watched = watch.add(typist.pipe, os.POLL.IN);
        }
    }

    pub fn act(typist: *Typist, watch: *const Watch) void {
        if (typist.pipe_watched) |watched| if (watch.ready(watched) != 0) {
            const len = os.read(typist.pipe, &typist.buffer, typist.buffer.len);
            if (os.errno(len) == .INTR) return;
            if (os.errno(len) != .SUCCESS or len == 0) {
                linux.file.close(typist.pipe);
                typist.pipe = -1;
                return;
            }
            typist.start = 0;
            typist.end = len;
            typist.write();
        };
        if (typist.master_watched) |watched| if (watch.ready(watched) != 0) typist.write();
    }

    fn write(typist: *Typist) void {
        const result = os.write(typist.master, typist.buffer[typist.start..].ptr, typist.end - typist.start);
        switch (os.errno(result)) {
            .SUCCESS => typist.start += result,
            .AGAIN, .INTR => {},
            else => typist.start = typist.end, // The terminal is gone, and so is who would read it.
        }
    }
};
