//! How a launch ended, left for stage1 in a memory file both have: stage1 reads it
//! when the stage2 process is gone, so no protocol can be half done.

const std = @import("std");
const assert = std.debug.assert;
const linux = @import("linux");
const Failure = linux.Failure;

pub const Report = extern struct {
    outcome: Outcome = .none,
    /// Exit status of the main process, 128 + n after signal n.
    status: u32 = 0,
    failure: Failure = .{},
    subject_len: u32 = 0,
    /// What the failure was of: a path, a name; for an invalid plan, what is wrong with it.
    subject: [236]u8 = @splat(0),

    pub const Outcome = enum(u32) {
        /// stage2 did not get to the end.
        none,
        /// The main process ran and ended with `status`.
        exited,
        /// It was never started: `failure` and `subject` say why.
        failed,
        /// The plan asks for what does not exist: `subject` is the whole message.
        invalid,
    };

    comptime {
        assert(@sizeOf(Report) == 256);
    }

    pub fn setSubject(report: *Report, subject: []const u8) void {
        report.subject_len = @min(subject.len, report.subject.len);
        @memcpy(report.subject[0..report.subject_len], subject[0..report.subject_len]);
    }
};
