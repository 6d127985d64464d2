//! The server holds a descriptor for each process that it looks after, so it may have as
//! many as the hard limit allows. What it makes gets the limit that we were started with:
//! programs that use select(2) rely on a low one.

const linux = @import("linux");
const os = linux.os;

/// The limit before `raise`. Forked processes have a copy of it.
var before: ?os.rlimit = null;

/// Raises our own limit. Where that fails, it is as it was.
pub fn raise() void {
    var limit: os.rlimit = undefined;
    if (os.errno(os.getrlimit(.NOFILE, &limit)) != .SUCCESS) return;
    before = limit;
    _ = os.setrlimit(.NOFILE, &.{ .cur = limit.max, .max = limit.max });
}

/// In a process that is about to become another's: what `raise` did is undone. What is
/// open stays open.
pub fn restore() void {
    if (before) |*limit| _ = os.setrlimit(.NOFILE, limit);
}
