//! Descriptors that the init of a container keeps, at numbers that stage2 knows: it takes
//! copies of them when somebody wants to attach. So they outlive every stage2, and there is
//! no name by which anybody else could come to them. pidfd_getfd(2)

const linux = @import("linux");
const Failure = linux.Failure;
const fd_t = linux.fd_t;
const os = linux.os;

/// Above what an init opens first, below where the kernel makes its table larger.
pub const Number = enum(fd_t) {
    /// The master of the terminal.
    terminal = 60,
    /// Where the main process's stdin, or its terminal's input, can be written to.
    input = 61,
    /// The other end of the socket that the init takes `Control` packets from.
    control = 62,
};

/// What stage2 asks an init for: one packet, not answered.
pub const Control = extern struct {
    kind: Kind,

    pub const Kind = enum(u32) {
        /// Descriptors: where copies of stdout and stderr are to go, or one for both.
        attach,
        /// The init lets go of `input`: once all others do, who reads sees the end.
        close_input,
        _,
    };
};

/// Moves `fd` to its number; nothing that is executed inherits it.
pub fn keep(failure: *Failure, fd: fd_t, number: Number) error{Failed}!void {
    const cloexec: u32 = @bitCast(os.O{ .CLOEXEC = true });
    _ = try failure.check(.init, os.dup3(fd, @backingInt(number), cloexec));
    linux.file.close(fd);
}

/// A copy of what the process behind `pidfd` has at `number`; null if that is nothing.
pub fn take(failure: *Failure, pidfd: fd_t, number: Number) error{Failed}!?fd_t {
    const taken = os.syscall3(.pidfd_getfd, linux.file.fdArg(pidfd), @intCast(@backingInt(number)), 0);
    if (os.errno(taken) == .BADF) return null;
    return @intCast(try failure.check(.attach, taken));
}
