//! PID 1 of a container: starts its main process, passes signals on to it, reaps
//! whatever dies, copies its output to the log, answers the text RPC, and ends with the
//! main process's status, which ends the container.

const std = @import("std");
const linux = @import("linux");
const capabilities = @import("capabilities");
const end_record = @import("ended.zig");
const footprint = @import("footprint.zig");
const handles = @import("handles.zig");
const handover = @import("handover.zig");
const input_module = @import("input.zig");
const process = @import("process.zig");
const settings_block = @import("settings.zig");
const stage1 = @import("stage1.zig");
const Log = @import("log.zig").Log;
const Outlets = @import("outlets.zig").Outlets;
const Server = @import("server.zig").Server;
const Watch = @import("watch.zig").Watch;
const Failure = linux.Failure;
const Settings = settings_block.Settings;
const os = linux.os;

/// The descriptor of the settings block, in the environment of this program.
pub const settings_variable = "INITD_SETTINGS";

/// Asks for a graceful end: the main process gets its stop signal, and when its time is
/// over, everything is killed. All other signals are passed on as they are.
pub const stop_request: os.SIG = .PWR;

/// The kernel's word that our parent is gone, at last stage2: nobody waits for us then. One of
/// the signals that are not passed on.
const orphaned: os.SIG = .TTOU;

/// How long output may still arrive after everything was killed, in milliseconds.
const drain_limit_ms = 1000;

/// Runs the container and returns its exit status.
pub fn run(settings_fd: linux.fd_t) u8 {
    var failure: Failure = .{};
    handover.await(&failure, settings_fd) catch return 125;
    const settings = settings_block.map(&failure, settings_fd) catch return 125;
    const status = settings.header.status_fd;
    var init: Init = undefined;
    init.begin(&failure, settings) catch {
        settings_block.Status.failed(failure, "init").tell(status);
        return 125;
    };
    return init.serve();
}

const Init = struct {
    settings: Settings,
    signals: linux.fd_t,
    log: ?*Log,
    outlets: ?*Outlets,
    typist: ?input_module.Typist,
    /// The terminal, held open as long as its output is read here: it would seem to have
    /// ended whenever no process has it open. -1 if there is none.
    terminal: linux.fd_t,
    server: ?*Server,
    watch: *Watch,
    /// When everything is to be killed, on the monotonic clock; null unless stopping.
    deadline_ms: ?u64,
    /// How many must end until nobody waits for us: stage2, and before it the worker that has
    /// made us ahead. With none left, how we end is found in a file only.
    parents: u8,

    fn begin(init: *Init, failure: *Failure, settings: Settings) error{Failed}!void {
        const header = settings.header;
        // What root in the container may not read: /proc/1/fd, /proc/1/exe, /proc/1/environ.
        if (!linux.weakness.has(.dumpable)) _ = try failure.check(.init, linux.process.prctl(.SET_DUMPABLE, 0));
        try linux.process.closeOnExecFrom(failure, 3);
        init.* = .{
            .settings = settings,
            // Blocked before the fork, so that no signal is lost; the child lets them in again.
            .signals = try linux.process.catchSignals(failure),
            .log = null,
            .outlets = null,
            .typist = null,
            .terminal = -1,
            .server = null,
            .watch = @ptrCast(try linux.file.mapPrivate(failure, -1, @sizeOf(Watch))),
            .deadline_ms = null,
            .parents = if (header.rest_fd >= 0) 2 else 1,
        };
        var streams: Streams = @splat(-1);
        try init.openStreams(failure, &streams);
        if (header.listener_fd >= 0) init.server = try Server.create(failure, .{ .listener = header.listener_fd, .confinement = &init.settings });
        // While what fails can still be told: the main process may say at any moment now that
        // it waits.
        const null_fd = try linux.file.open(failure, "/dev/null", .{ .ACCMODE = .RDWR, .CLOEXEC = true }, 0);
        init.settings.main = @ptrCast(try linux.file.mapFresh(failure, @sizeOf(linux.pid_t), header.rest_fd >= 0));
        const pid = try start(failure, init.settings, streams);
        // Unless another has taken its place already.
        _ = @cmpxchgStrong(linux.pid_t, init.settings.main.?, 0, pid, .acq_rel, .acquire);
        // On a busy machine both of us have one processor, and it is the one who waits for that.
        _ = os.sched_yield();
        // Theirs alone from now on, so that the log ends when they do.
        for (streams) |fd| if (fd >= 0) linux.file.close(fd);
        if (header.stage1_fd >= 0) linux.file.close(header.stage1_fd);
        if (header.notify_fd >= 0) linux.file.close(header.notify_fd);
        if (header.rest_fd >= 0) linux.file.close(header.rest_fd);
        // START and CHROOT want more; without them, signals to any user are all it sends.
        if (init.server == null) {
            const kept = try capabilities.permitted(failure) & capabilities.of("KILL");
            try capabilities.apply(failure, .{ .effective = kept, .permitted = kept });
        }
        // A stage2 that is gone already has not let the main process start. After the change
        // of capabilities, which may clear it. PR_SET_PDEATHSIG(2const)
        if (header.ended_fd >= 0) _ = try failure.check(.init, linux.process.prctl(.SET_PDEATHSIG, @backingInt(orphaned)));
        // Last, since what fails after it cannot be told any more.
        try releaseStreams(failure, null_fd, header.status_fd);
    }

    fn mainPid(init: *const Init) linux.pid_t {
        return @atomicLoad(linux.pid_t, init.settings.main.?, .acquire);
    }

    /// Makes the pipes between the main process and us, and all that hangs on them.
    fn openStreams(init: *Init, failure: *Failure, streams: *Streams) error{Failed}!void {
        const header = init.settings.header;
        const master: linux.fd_t = @backingInt(handles.Number.terminal);
        const has_terminal = header.terminal_fd >= 0;
        if (has_terminal) try handles.keep(failure, header.terminal_fd, .terminal);
        if (header.log_fd >= 0 or header.flags.input) init.outlets = try Outlets.create(failure);
        if (header.log_fd >= 0) {
            const log = try Log.create(failure, .{ .directory = header.log_fd, .max_size = header.log_max_size, .max_files = header.log_max_files });
            log.outlets = init.outlets;
            init.log = log;
            if (has_terminal) {
                init.terminal = try linux.file.duplicateAbove(failure, 0, 2);
                try log.readTerminal(failure, master);
            } else streams[1..3].* = try log.openPipes(failure);
        }
        if (!header.flags.input) return;
        const pipe = try input_module.openPipe(failure);
        if (!has_terminal) {
            streams[0] = pipe;
            return;
        }
        const nonblock: u32 = @bitCast(os.O{ .NONBLOCK = true });
        _ = try failure.check(.terminal, os.fcntl(master, os.F.SETFL, nonblock));
        init.typist = .{ .pipe = pipe, .master = master };
    }

    fn serve(init: *Init) u8 {
        const watch = init.watch;
        var rhythm: footprint.Rhythm = .{};
        while (true) {
            watch.reset();
            const signalled = watch.add(init.signals, os.POLL.IN);
            if (init.log) |log| log.prepare(watch);
            if (init.outlets) |outlets| outlets.prepare(watch);
            if (init.typist) |*typist| typist.prepare(watch);
            if (init.server) |server| server.prepare(watch);
            if (init.deadline_ms) |deadline| watch.within(@intCast(deadline -| linux.clock.monotonicMs()));
            rhythm.prepare(watch);
            watch.wait();
            if (watch.ready(signalled) != 0) init.takeSignals();
            // Before the clients: STATUS is to know what has ended.
            if (init.reap()) |status| {
                init.finish();
                // After the log, which is complete once somebody learns of the end.
                if (init.settings.header.ended_fd >= 0) end_record.write(init.settings.header.ended_fd, status, init.parents == 0);
                return linux.process.exitStatus(status);
            }
            // Before the log: who attaches ahead of the start is to see all.
            if (init.outlets) |outlets| outlets.act(watch);
            if (init.log) |log| log.act(watch);
            if (init.typist) |*typist| typist.act(watch);
            if (init.server) |server| server.act(watch);
            if (init.deadline_ms) |deadline| if (linux.clock.monotonicMs() >= deadline) {
                init.deadline_ms = null;
                killAll();
                _ = os.kill(init.mainPid(), .KILL);
            };
            if (rhythm.isOver(watch)) {
                if (init.log) |log| log.shrink();
                footprint.rest();
            }
        }
    }

    /// Passes signals on. SIGCHLD is for us; so is what the kernel says of a terminal
    /// that no foreground group of ours has.
    fn takeSignals(init: *Init) void {
        var infos: [8]os.signalfd_siginfo = undefined;
        const result = os.read(init.signals, @ptrCast(&infos), @sizeOf(@TypeOf(infos)));
        if (os.errno(result) != .SUCCESS) return;
        for (infos[0 .. result / @sizeOf(os.signalfd_siginfo)]) |info| {
            const signal: os.SIG = @fromBackingInt(@intCast(info.signo));
            switch (signal) {
                orphaned => init.parents -|= 1,
                .CHLD, .PIPE, .TTIN => {},
                stop_request => init.stop(),
                else => _ = os.kill(init.mainPid(), signal),
            }
        }
    }

    fn stop(init: *Init) void {
        const header = init.settings.header;
        _ = os.kill(init.mainPid(), @fromBackingInt(@intCast(header.stop_signal)));
        if (init.deadline_ms == null) init.deadline_ms = linux.clock.monotonicMs() + header.stop_limit_ms;
    }

    /// Reaps all that have ended; the main process's status if it was among them.
    fn reap(init: *Init) ?u32 {
        var ended: ?u32 = null;
        while (true) {
            var status: u32 = 0;
            const result = os.wait4(-1, @ptrCast(&status), os.W.NOHANG, null);
            switch (os.errno(result)) {
                .SUCCESS => {},
                .INTR => continue,
                else => return ended, // ECHILD: there are no children.
            }
            if (result == 0) return ended;
            const pid: linux.pid_t = @intCast(result);
            if (pid == init.mainPid()) ended = status;
            if (init.server) |server| server.ended(pid, status);
        }
    }

    /// The main process is gone, and so is the container: nobody may write to the log
    /// any more, but what is written already belongs in it.
    fn finish(init: *Init) void {
        killAll();
        const log = init.log orelse return;
        const outlets = init.outlets.?; // There with every log.
        if (init.terminal >= 0) linux.file.close(init.terminal);
        const deadline = linux.clock.monotonicMs() + drain_limit_ms;
        while (!log.ended() or !outlets.areDone()) {
            const now = linux.clock.monotonicMs();
            if (now >= deadline) break;
            init.watch.reset();
            log.prepare(init.watch);
            outlets.prepare(init.watch);
            init.watch.within(@intCast(deadline - now));
            init.watch.wait();
            outlets.act(init.watch);
            log.act(init.watch);
        }
    }
};

/// Ends every other process of the container. Outside a pid namespace of our own, -1
/// would mean the machine; after EXEC, it would mean the program that is PID 1 now.
fn killAll() void {
    if (os.getpid() == 1) _ = os.kill(-1, .KILL);
}

/// What the main process has in place of our 0 to 2; -1 where it has the same.
const Streams = [3]linux.fd_t;

/// Forks the main process. An exec that fails is told to stage2 by the child itself;
/// one that succeeds closes the child's copy of the status socket.
fn start(failure: *Failure, settings: Settings, streams: Streams) error{Failed}!linux.pid_t {
    const pid = try failure.check(.init, os.fork());
    if (pid != 0) return @intCast(pid);

    var child_failure: Failure = .{};
    var subject: []const u8 = "";
    startMain(&child_failure, settings, streams, &subject) catch process.fail(settings.header.status_fd, child_failure, subject);
}

fn startMain(failure: *Failure, settings: Settings, streams: Streams, subject: *[]const u8) error{Failed}!noreturn {
    for (streams, 0..) |fd, stream| {
        if (fd >= 0) _ = try failure.check(.init, os.dup3(fd, @intCast(stream), 0));
    }
    if (settings.header.stage1_fd < 0) return process.become(failure, settings, subject);
    var own = settings;
    own.envp = try stage1.announce(failure, settings.envp);
    try stage1.move(failure, settings.header.stage1_fd);
    return process.become(failure, own, subject);
}

/// Lets go of what the main process was given: a pipe to it ends when it closes its
/// end, not when the container does.
fn releaseStreams(failure: *Failure, null_fd: linux.fd_t, status: linux.fd_t) error{Failed}!void {
    defer linux.file.close(null_fd);
    for (0..3) |stream| _ = try failure.check(.init, os.dup3(null_fd, @intCast(stream), 0));
    linux.file.close(status);
}
