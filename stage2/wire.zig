//! What stage1 and the stage2 server say to each other: fixed packets over a
//! sequenced-packet unix socket, with descriptors where a request needs them.

const std = @import("std");
const assert = std.debug.assert;
const linux = @import("linux");
const Failure = linux.Failure;

/// Names of containers: what stage1 lets through, and a NUL.
pub const id_size = 136;

pub const Request = extern struct {
    /// The caller's own number for it; its reply has the same. Not 0.
    sequence: u64,
    operation: Operation,
    /// The pid of a process that `exec` started, as its reply has it; 0 is the container.
    process: i32 = 0,
    /// For `create` the first id of the host that the container has, if it has a range of
    /// ids of its own: its user namespace may then serve again. For `signal` its number. For
    /// `acknowledge` the number of a record.
    argument: u64 = 0,
    id: [id_size]u8 = @splat(0),

    pub const Operation = enum(u32) {
        /// Descriptors: the plan, then 0 to 2 of the command. Answered when all is set up
        /// and the command waits; with the terminal's master if the plan wants one.
        create,
        /// As `create` and `start` in one: answered when the command's exec succeeded.
        run,
        /// Lets the command run. Answered when its exec succeeded.
        start,
        /// Descriptors as for `create`; the plan is a process plan. Answered with its pid
        /// when it runs; its end is an event of the same sequence.
        exec,
        /// To the main process, or to `process`.
        signal,
        /// Every process of the container ends, also one that hangs while it is made; with
        /// `process`, that one.
        kill,
        /// Stops all processes of the container, and lets them go on; it needs a cgroup.
        freeze,
        thaw,
        /// Forgets a container that has ended, when its cgroup is gone.
        delete,
        /// One `state` reply for each container, then `done`.
        list,
        /// The server ends, unless a container has not.
        quit,
        /// The ends up to this record are known for good, and may go from the disk.
        acknowledge,
        /// The terminal of the main process or of `process` gets the size in `argument`: rows
        /// above 16 bits of columns.
        resize,
        /// Descriptors: where copies of what the main process prints are to go, if anywhere.
        /// Answered with where its input comes from, if that is open, or else with its
        /// terminal; for `process`, with its terminal.
        attach,
        /// The init does not keep the main process's input open any more.
        close_input,
        /// Answered with what the container uses, as `cgroup.Stats`, in place of a subject.
        stats,
        /// Descriptor: `{"kurma":{"id":ID},"resources":{...}}`. Limits change.
        update,
        /// Makes the cgroup and the namespaces of a container that is about to be created,
        /// with the range of ids that begins with `argument`. Its `create` is then faster; it
        /// may want something else. With a plan as descriptor, its file tree is made as well:
        /// a `create` of another tree is refused with ESTALE. Undone by `delete`, and when the
        /// connection ends.
        prepare,
        /// Of a client that is newer than we are: refused with ENOSYS.
        _,
    };

    comptime {
        assert(@sizeOf(Request) == 24 + id_size);
    }
};

pub const Reply = extern struct {
    /// Of the request; 0 for the end of a container, which nobody asked for.
    sequence: u64 = 0,
    kind: Kind,
    state: State = .none,
    pid: i32 = 0,
    /// As wait4(2) gives it; with state `stopped` and kind `exited`.
    status: u32 = 0,
    /// When it ended: nanoseconds since 1970.
    ended_ns: i64 = 0,
    failure: Failure = .{},
    /// Of an end: its number in the record on disk, for `acknowledge`; 0 if it is in none.
    record: u64 = 0,
    id: [id_size]u8 = @splat(0),
    /// 1 if the kernel killed a process of it for want of memory; with a cgroup of its own.
    oom: u32 = 0,
    /// The pid of a process that `exec` started, of which this is told; 0 is the container.
    process: i32 = 0,
    /// Text or data.
    subject_len: u32 = 0,
    _: u32 = 0,
    subject: [subject_size]u8 = @splat(0),

    pub const subject_size = 368;

    pub const Kind = enum(u32) {
        done,
        failed,
        state,
        exited,
        /// Nobody asked: `subject` is for the daemon's log.
        notice,
    };

    pub const State = enum(u32) { none, creating, created, running, stopped, prepared };

    comptime {
        assert(@sizeOf(Reply) == 48 + id_size + 16 + subject_size);
    }

    pub fn setSubject(reply: *Reply, subject: []const u8) void {
        reply.subject_len = @min(subject.len, reply.subject.len);
        @memcpy(reply.subject[0..reply.subject_len], subject[0..reply.subject_len]);
    }
};

/// The name in an id field, or null if it is empty or has no end.
pub fn name(id: *const [id_size]u8) ?[]const u8 {
    const end = std.mem.findScalar(u8, id, 0) orelse return null;
    return if (end == 0) null else id[0..end];
}
