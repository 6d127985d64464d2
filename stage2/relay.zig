//! Carries bytes between the caller's terminal and the container's.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const os = linux.os;
const fd_t = linux.fd_t;

const get_size = 0x5413; // TIOCGWINSZ
const set_size = 0x5414; // TIOCSWINSZ

pub const Relay = struct {
    master: fd_t,
    /// How the caller's terminal was, if 0 is one: it is raw as long as we run.
    before: ?linux.terminal.Settings,
    up: Direction = .{},
    down: Direction = .{},

    /// Takes `master` over, and with it the caller's terminal.
    pub fn open(failure: *Failure, master: fd_t) error{Failed}!Relay {
        // Never wait for a container that does not read: it may be waiting for us to.
        const nonblock: u32 = @bitCast(os.O{ .NONBLOCK = true });
        _ = try failure.check(.terminal, os.fcntl(master, 4, nonblock)); // F_SETFL
        var opened: Relay = .{ .master = master, .before = null };
        opened.resize();
        var no_terminal: Failure = .{};
        opened.before = linux.terminal.makeRaw(&no_terminal, 0) catch null;
        return opened;
    }

    /// Gives the caller's terminal back as it was.
    pub fn close(open_relay: *Relay) void {
        var ignored: Failure = .{};
        if (open_relay.before) |*before| linux.terminal.restore(&ignored, 0, before) catch {};
        linux.file.close(open_relay.master);
    }

    /// The container's terminal takes the size of the caller's, if that has one.
    pub fn resize(relay: *Relay) void {
        var window: std.posix.winsize = undefined;
        if (os.errno(os.ioctl(0, get_size, @intFromPtr(&window))) != .SUCCESS) return;
        if (window.row > 0) _ = os.ioctl(relay.master, set_size, @intFromPtr(&window));
    }

    /// What to wait for: input, the master, output.
    pub fn poll(relay: *Relay, polls: *[3]os.pollfd) void {
        var master: i16 = 0;
        if (relay.down.wantsInput()) master |= os.POLL.IN;
        if (relay.up.hasOutput()) master |= os.POLL.OUT;
        polls[0] = .{ .fd = if (relay.up.wantsInput()) 0 else -1, .events = os.POLL.IN, .revents = 0 };
        polls[1] = .{ .fd = if (master != 0) relay.master else -1, .events = master, .revents = 0 };
        polls[2] = .{ .fd = if (relay.down.hasOutput()) 1 else -1, .events = os.POLL.OUT, .revents = 0 };
    }

    /// Moves what can be moved without waiting.
    pub fn move(relay: *Relay, polls: *const [3]os.pollfd) void {
        if (polls[0].revents != 0) relay.up.fill(0);
        if (polls[1].revents & (os.POLL.IN | os.POLL.HUP | os.POLL.ERR) != 0) relay.down.fill(relay.master);
        if (polls[1].revents & os.POLL.OUT != 0) relay.up.empty(relay.master);
        if (polls[2].revents != 0) relay.down.empty(1);
    }

    /// Shows what the container wrote before it ended.
    pub fn drain(relay: *Relay) void {
        while (true) {
            while (relay.down.hasOutput()) relay.down.empty(1);
            if (relay.down.ended) return;
            relay.down.fill(relay.master);
            if (!relay.down.hasOutput()) return;
        }
    }
};

const Direction = struct {
    buffer: [4096]u8 = undefined,
    start: usize = 0,
    end: usize = 0,
    ended: bool = false,

    fn wantsInput(direction: *const Direction) bool {
        return !direction.ended and direction.start == direction.end;
    }

    fn hasOutput(direction: *const Direction) bool {
        return direction.start < direction.end;
    }

    fn fill(direction: *Direction, fd: fd_t) void {
        const result = os.read(fd, &direction.buffer, direction.buffer.len);
        switch (os.errno(result)) {
            .SUCCESS => {},
            .INTR, .AGAIN => return,
            else => { // EIO: the last slave is closed.
                direction.ended = true;
                return;
            },
        }
        if (result == 0) direction.ended = true;
        direction.start = 0;
        direction.end = result;
    }

    fn empty(direction: *Direction, fd: fd_t) void {
        const result = os.write(fd, direction.buffer[direction.start..].ptr, direction.end - direction.start);
        switch (os.errno(result)) {
            .SUCCESS => direction.start += result,
            .INTR, .AGAIN => {},
            else => { // Nobody reads any more.
                direction.start = direction.end;
                direction.ended = true;
            },
        }
    }
};
