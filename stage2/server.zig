//! stage2 as the daemon's helper for life: makes containers and processes in them, is
//! their parent, and knows how each ended. One thread, no memory beyond its tables;
//! what may take long happens in workers. It outlives kurmad: a new one connects and
//! is told what there is.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const placement = @import("placement.zig");
const client_module = @import("client.zig");
const Early = @import("early.zig").Early;
const exits = @import("exits.zig");
const ledger_module = @import("ledger.zig");
const making = @import("making.zig");
const messages = @import("messages.zig");
const namespaces = @import("namespaces.zig");
const descriptor_limit = @import("descriptor_limit.zig");
const orders = @import("orders.zig");
const table_module = @import("table.zig");
const Refusals = @import("refusals.zig").Refusals;
const tasks = @import("tasks.zig");
const wire = @import("wire.zig");
const worker_module = @import("worker.zig");
const Entry = table_module.Entry;
const none = table_module.none;
const Failure = linux.Failure;
const Reply = wire.Reply;
const Request = wire.Request;
const os = linux.os;
const fd_t = linux.fd_t;

/// The listening socket, made by stage1: the only descriptor we are given beside 0 to 2.
const listener: fd_t = 3;

/// Workers at once; a request beyond them is refused with EAGAIN.
const max_workers = 64;

/// What an epoll event is about: these, or 16 + the position of an entry.
const Tag = enum(u64) { listener, client, signals, first_entry = 16, _ };

/// Serves until the machine ends. The exit status says only that it could not start.
///
/// `state` is a folder for the record of how containers ended (exits.zig), if one is to be
/// kept.
pub fn run(state: ?[:0]const u8) u8 {
    server.serve(state) catch return 125;
    return 0;
}

/// In static memory: untouched pages cost nothing.
var server: Server = .{};

pub const Server = struct {
    failure: Failure = .{},
    table: table_module.Table = .{},
    epoll: fd_t = none,
    signals: fd_t = none,
    client: client_module.Client = .{},
    program: fd_t = none,
    workers: u32 = 0,
    ledger: ledger_module.Ledger = .{},
    refusals: Refusals = .{},
    /// Workers that wait for a plan.
    prepared: u32 = 0,
    namespaces: namespaces.Namespaces = .{},
    /// The request to end that waits until everything is cleared up.
    quitting: ?u64 = null,
    early: Early = .{},
    /// Containers whose end is not on disk yet.
    untold: u32 = 0,

    fn serve(self: *Server, state: ?[:0]const u8) error{Failed}!noreturn {
        const failure = &self.failure;
        linux.process.resetSignals();
        // Whoever started us may be waiting for their end.
        try linux.process.releaseStreams(failure);
        descriptor_limit.raise();
        self.signals = try linux.process.catchSignals(failure);
        if (!linux.weakness.has(.dumpable)) _ = try failure.check(.supervise, linux.process.prctl(.SET_DUMPABLE, 0));
        if (linux.weakness.has(.descriptors)) linux.weakness.openLeak();
        _ = try failure.check(.supervise, linux.process.prctl(.SET_CHILD_SUBREAPER, 1));
        self.program = try linux.file.open(failure, "/proc/self/exe", .{ .PATH = true, .CLOEXEC = true }, 0);
        if (state) |path| try self.ledger.open(failure, path);
        self.epoll = @intCast(try failure.check(.supervise, os.epoll_create1(os.EPOLL.CLOEXEC)));
        self.client.epoll = self.epoll;
        self.client.tag = @backingInt(Tag.client);
        worker_module.listener = listener;
        try self.watch(listener, .listener);
        try self.watch(self.signals, .signals);
        try self.adopt();
        while (true) {
            var events: [64]os.epoll_event = undefined;
            const count = os.epoll_wait(self.epoll, &events, events.len, -1);
            if (os.errno(count) == .INTR) continue;
            _ = try failure.check(.supervise, count);
            for (events[0..count]) |event| self.handle(@fromBackingInt(event.data.u64), event.events);
            self.settle();
        }
    }

    /// One event. What fails concerns one request or one container, never the server.
    fn handle(self: *Server, tag: Tag, events: u32) void {
        self.failure = .{};
        (switch (tag) {
            .listener => self.accept(),
            .client => self.converse(events),
            .signals => self.reap(),
            else => self.hear(@backingInt(tag) - @backingInt(Tag.first_entry)),
        }) catch {};
    }

    fn watch(self: *Server, fd: fd_t, tag: Tag) error{Failed}!void {
        var event: os.epoll_event = .{ .events = os.EPOLL.IN, .data = .{ .u64 = @backingInt(tag) } };
        _ = try self.failure.check(.supervise, os.epoll_ctl(self.epoll, os.EPOLL.CTL_ADD, fd, &event));
    }

    /// A new kurmad takes the place of an old one, which is dead or about to be.
    fn accept(self: *Server) error{Failed}!void {
        const accepted = os.accept4(listener, null, null, os.SOCK.CLOEXEC | os.SOCK.NONBLOCK);
        const socket: fd_t = @intCast(try self.failure.check(.socket, accepted));
        self.forgetWaiting();
        try self.client.replace(&self.failure, socket);
    }

    /// Forgets what a client waits for: the numbers of the next one's requests are the same.
    fn forgetWaiting(self: *Server) void {
        self.refusals.clear();
        for (self.table.entries[0..self.table.used]) |*entry| {
            entry.sequence = 0;
            entry.deleting = 0;
            if (entry.state == .prepared) making.discard(self, entry);
        }
    }

    fn disconnect(self: *Server) void {
        self.client.disconnect();
        self.forgetWaiting();
    }

    /// Closes a socket that we watch. Closing alone would end neither the watching, since
    /// epoll goes by the file, nor the connection: a worker forked meanwhile holds a copy.
    pub fn release(self: *Server, fd: fd_t) void {
        _ = os.epoll_ctl(self.epoll, os.EPOLL.CTL_DEL, fd, null);
        _ = os.shutdown(fd, os.SHUT.RDWR);
        linux.file.close(fd);
    }

    /// Room in the client's socket, a request of it, or its end.
    fn converse(self: *Server, events: u32) error{Failed}!void {
        if (events & os.EPOLL.OUT != 0) self.client.flush();
        if (events != os.EPOLL.OUT and self.client.socket != none) try self.receive();
    }

    fn receive(self: *Server) error{Failed}!void {
        // One byte more, so that a longer packet is not cut to a valid one.
        var buffer: [@sizeOf(Request) + 1]u8 align(@alignOf(Request)) = undefined;
        var descriptors: linux.socket.Descriptors = .{};
        defer descriptors.close();
        const packet = linux.socket.receiveNow(&self.failure, self.client.socket, &buffer, &descriptors) catch |err| {
            // The event was about a client that this one has just taken the place of.
            if (self.failure.errno == @backingInt(linux.E.AGAIN)) return err;
            return self.disconnect();
        };
        if (packet.len == 0) return self.disconnect();
        if (packet.len != @sizeOf(Request)) return;
        const request: *const Request = @ptrCast(&buffer);
        self.carryOut(request, &descriptors) catch self.refuse(request.sequence, &request.id);
    }

    fn carryOut(self: *Server, request: *const Request, descriptors: *linux.socket.Descriptors) error{Failed}!void {
        const failure = &self.failure;
        if (request.operation == .list) return self.list(request.sequence);
        if (request.operation == .quit) return self.quit(request.sequence);
        if (request.operation == .acknowledge) return self.acknowledge(request);
        if (wire.name(&request.id) == null) return failure.fail(.plan, .INVAL);
        if (request.operation == .create or request.operation == .run) return making.create(self, request, descriptors);
        if (request.operation == .prepare) return making.prepare(self, request, descriptors);
        if (request.operation == .delete) return making.delete(self, request);
        const entry = try self.named(request);
        switch (request.operation) {
            .create, .run, .prepare, .delete, .list, .quit, .acknowledge => unreachable, // Handled above.
            .exec => return making.exec(self, request, entry, descriptors),
            .start => {
                // With a number, it is being started.
                if (entry.state != .created or entry.sequence != 0) return failure.fail(.supervise, .BUSY);
                _ = try failure.check(.socket, os.sendto(entry.status, "s", 1, os.MSG.NOSIGNAL, null, 0));
                entry.sequence = request.sequence;
                return; // Answered when its exec is done.
            },
            .signal => {
                try linux.process.signalPidfd(failure, try entry.alive(failure), std.math.cast(u32, request.argument) orelse return failure.fail(.signal, .INVAL));
            },
            // One whose making hangs ends with its worker.
            .kill => if (entry.state == .creating and entry.pid == 0 and entry.worker != 0) {
                _ = try failure.check(.signal, os.kill(entry.worker, .KILL));
            } else {
                try linux.process.signalPidfd(failure, try entry.alive(failure), @backingInt(os.SIG.KILL));
                // Hooks after its start, which would go on without it.
                if (entry.state == .running and entry.worker != 0) _ = os.kill(entry.worker, .KILL);
            },
            .freeze, .thaw => {
                if (!entry.cgroup) return failure.fail(.freeze, .OPNOTSUPP);
                return self.task(request, tasks.Freeze{ .id = request.id, .frozen = request.operation == .freeze });
            },
            .stats => {
                if (!entry.cgroup) return failure.fail(.cgroup, .OPNOTSUPP);
                return self.task(request, tasks.Stats{ .id = request.id });
            },
            .update => {
                if (!entry.cgroup) return failure.fail(.cgroup, .OPNOTSUPP);
                return self.task(request, tasks.Limit{ .id = request.id, .descriptors = descriptors.* });
            },
            .resize => {
                const size = tasks.Size.of(request.argument) orelse return failure.fail(.terminal, .INVAL);
                if (entry.kind == .container) return self.task(request, tasks.Resize{ .pidfd = try entry.alive(failure), .size = size });
                if (entry.terminal == none) return failure.fail(.terminal, .NOTTY);
                try size.set(failure, entry.terminal);
            },
            .attach => {
                if (entry.kind == .container) return self.task(request, tasks.Attach{ .pidfd = try entry.alive(failure), .descriptors = descriptors.* });
                if (entry.terminal == none) return failure.fail(.attach, .OPNOTSUPP);
                self.reply(&.{ .sequence = request.sequence, .kind = .state, .id = request.id }, entry.terminal);
            },
            .close_input => return self.task(request, tasks.CloseInput{ .pidfd = try entry.alive(failure) }),
            _ => return failure.fail(.plan, .NOSYS),
        }
        self.reply(&.{ .sequence = request.sequence, .kind = .done, .id = request.id }, null);
    }

    /// What the request is about.
    pub fn named(self: *Server, request: *const Request) error{Failed}!*Entry {
        const container = self.table.find(&request.id) orelse return self.failure.fail(.supervise, .NOENT);
        if (request.process == 0) return container;
        switch (request.operation) {
            .signal, .kill, .resize, .attach => {},
            else => return self.failure.fail(.plan, .INVAL), // Of a container as a whole.
        }
        return self.table.findExec(&request.id, request.process) orelse self.failure.fail(.supervise, .SRCH);
    }

    pub fn position(self: *Server, entry: *const Entry) u64 {
        return (@intFromPtr(entry) - @intFromPtr(&self.table.entries)) / @sizeOf(Entry);
    }

    /// What a worker or a starting process says.
    fn hear(self: *Server, index: u64) error{Failed}!void {
        const failure = &self.failure;
        if (index >= self.table.used) return;
        const entry = &self.table.entries[index];
        if (entry.adopted) return self.adoptedEnded(entry);
        if (entry.status == none) return;
        var status: stage3.settings.Status = undefined;
        var descriptors: linux.socket.Descriptors = .{};
        defer descriptors.close();
        // Never wait: the event may have been about an entry that had this place before.
        var reading: Failure = .{};
        const packet = linux.socket.receiveNow(&reading, entry.status, std.mem.asBytes(&status), &descriptors) catch |err| {
            return if (reading.errno == @backingInt(linux.E.AGAIN)) err else self.silent(entry);
        };
        if (packet.len < @sizeOf(stage3.settings.Status)) return self.silent(entry);
        switch (status.kind) {
            .started => {
                entry.pid = status.pid;
                entry.user_namespace = status.user_namespace;
                entry.cgroup = status.cgroup;
                if (self.early.take(status.pid)) |ended_with| return self.ended(entry, ended_with);
                entry.pidfd = try linux.process.pidfdOpen(failure, status.pid);
                if (entry.kind == .container) self.remember(entry);
                self.answerCreated(entry);
            },
            .held => {
                entry.state = .created;
                self.answerCreated(entry);
            },
            .finished => if (entry.kind == .task) {
                var message: Reply = .{ .sequence = entry.sequence, .kind = .done, .id = entry.id };
                message.setSubject(status.subject[0..@min(status.subject_len, status.subject.len)]);
                self.reply(&message, null);
                entry.state = .none;
            },
            .prepared => {
                entry.cgroup = true;
                entry.state = .prepared;
                self.prepared += 1;
                // Whoever wanted it has gone.
                if (entry.sequence == 0) return making.discard(self, entry);
                self.answer(entry);
            },
            .namespace => if (descriptors.take()) |fd| self.namespaces.keep(entry.first_id, fd),
            .hooks => if (descriptors.take()) |fd| {
                entry.plan = fd;
                entry.hooks = .{ .poststart = true, .poststop = true };
            },
            .terminal => if (descriptors.take()) |fd| {
                self.reply(&.{ .sequence = entry.sequence, .kind = .state, .state = .creating, .id = entry.id }, fd);
                if (entry.kind == .exec) entry.terminal = fd else linux.file.close(fd);
            },
            .failed => self.takeFailure(entry, &status),
        }
    }

    /// What was asked for has failed; what is left of it ends, and is forgotten then.
    fn takeFailure(self: *Server, entry: *Entry, status: *const stage3.settings.Status) void {
        const waits = if (entry.deleting != 0) entry.deleting else entry.sequence;
        // Nothing is left to go back to when the last hooks fail: it is a warning.
        const last = entry.state == .none and entry.plan != none and !entry.hooks.poststop;
        var message: Reply = .{ .sequence = waits, .kind = if (last) .done else .failed, .failure = status.failure, .id = entry.id };
        message.setSubject(status.subject[0..@min(status.subject_len, status.subject.len)]);
        // Of what is only cleared up, nobody waits to hear.
        if (last) self.reply(&message, null) else if (waits != 0) self.fail(entry, &message);
        entry.sequence = 0;
        entry.deleting = 0;
        if (last) return;
        if (entry.state == .running) entry.kill(); // Hooks after its start have failed.
        entry.cgroup = entry.cgroup or status.cgroup or entry.deleted;
        entry.state = if (entry.deleted) .stopped else .none;
        entry.deleted = false;
    }

    /// The end of what a worker and its process have to say: the process runs, or is gone.
    fn silent(self: *Server, entry: *Entry) void {
        self.release(entry.status);
        entry.status = none;
        if (entry.state == .stopped) return; // It could not be deleted.
        if (entry.state == .prepared) {
            self.prepared -= 1;
            entry.state = .none;
        }
        const came = entry.pid != 0 or entry.has_ended;
        // A worker that was killed may have made a cgroup, and not said so; its container may have spoken.
        if (entry.kind == .container and !came and (entry.state == .creating or entry.state == .created)) entry.cgroup = true;
        // A container has to have said that it waits: its init may have been killed before.
        const ran = came and (entry.kind == .exec or entry.state != .creating);
        if (entry.state == .none or !ran) return self.giveUp(entry);
        entry.state = .running;
        if (entry.hooks.poststart and !entry.has_ended) {
            entry.hooks.poststart = false;
            // Answered when they are done: then we are here again.
            self.employ(entry, orders.Hooks{ .plan = entry.plan, .point = .poststart, .pid = entry.pid }) catch self.takeFailure(entry, &.failed(self.failure, "poststart"));
            return;
        }
        self.answer(entry);
        if (entry.has_ended) self.finish(entry);
    }

    /// Says that a request failed: of the making of a container when nothing of it is left.
    fn fail(self: *Server, entry: *const Entry, message: *const Reply) void {
        const later = entry.kind == .container and !entry.deleted and self.refusals.keep(message);
        if (!later) self.reply(message, null);
    }

    /// Forgets what never ran or is to be deleted, once nothing of it is left; says so if
    /// somebody waits to hear it.
    pub fn giveUp(self: *Server, entry: *Entry) void {
        if (entry.state != .none) {
            const failure: Failure = .{ .step = .clone, .errno = @backingInt(linux.E.CHILD) };
            if (entry.sequence != 0) self.fail(entry, &messages.refusal(entry.sequence, failure, &entry.id));
            entry.state = .none;
        }
        if (entry.worker != 0 or entry.pid != 0) return;
        if (entry.cgroup) {
            // Killing what is left in it and waiting for it takes time; we go on. With all
            // workers busy, `reap` comes back to it when one has ended.
            self.employ(entry, orders.Remove{ .id = entry.id, .ending = .kill }) catch return;
            entry.cgroup = false;
            return;
        }
        if (entry.hooks.poststop) {
            self.employ(entry, orders.Hooks{ .plan = entry.plan, .point = .poststop, .pid = 0 }) catch return;
            entry.hooks.poststop = false;
            return;
        }
        if (entry.kind == .container) self.ledger.forget(self.position(entry));
        const done: Reply = .{ .sequence = entry.deleting, .kind = .done, .id = entry.id };
        const failed = if (entry.kind == .container) self.refusals.take(&entry.id) else null;
        self.table.remove(entry);
        if (failed) |message| self.reply(&message, null);
        if (done.sequence != 0) self.reply(&done, null);
        if (self.quitting) |sequence| self.quit(sequence) catch self.refuse(sequence, &@splat(0));
    }

    /// Has a worker do something for a container, as an entry of its own.
    pub fn task(self: *Server, request: *const Request, order: anytype) error{Failed}!void {
        const entry = self.table.add() orelse return self.failure.fail(.supervise, .NFILE);
        entry.* = .{ .kind = .task, .state = .creating, .id = request.id, .sequence = request.sequence };
        errdefer self.table.remove(entry);
        try self.employ(entry, order);
    }

    /// Gives an order to a new worker on behalf of `entry`.
    pub fn employ(self: *Server, entry: *Entry, order: anytype) error{Failed}!void {
        if (self.workers == max_workers) return self.failure.fail(.supervise, .AGAIN);
        const worker = try worker_module.spawn(&self.failure, order, @TypeOf(order).work);
        self.workers += 1;
        entry.worker = worker.pid;
        entry.status = worker.status;
        try self.watch(worker.status, @fromBackingInt(self.position(entry) + @backingInt(Tag.first_entry)));
    }

    /// Reaps all that have ended: workers, containers, processes in them, and orphans of
    /// theirs, which are nobody's.
    fn reap(self: *Server) error{Failed}!void {
        var info: os.signalfd_siginfo = undefined;
        _ = try linux.file.readAll(&self.failure, self.signals, std.mem.asBytes(&info));
        // Asked to end: only with nothing left to look after.
        if (info.signo == @backingInt(os.SIG.TERM)) try self.quit(0);
        while (true) {
            var status: u32 = 0;
            const result = os.wait4(-1, @ptrCast(&status), os.W.NOHANG, null);
            if (os.errno(result) != .SUCCESS or result == 0) return;
            const pid: linux.pid_t = @intCast(result);
            const entry = self.table.findPid(pid) orelse {
                // One whose worker has not said so yet, or an orphan.
                if (self.workers > 0) self.early.keep(pid, status) else self.early.clear();
                continue;
            };
            if (entry.worker == pid) {
                // First all that it said: the next child to reap may be what it made.
                while (entry.status != none) self.hear(self.position(entry)) catch break;
                entry.worker = 0;
                self.workers -= 1;
                // It was killed between the clone and the word of it: without a connection,
                // what it made does not go on.
                if (entry.status != none and entry.pid == 0 and !entry.has_ended) self.silent(entry);
                self.resumeGivingUp();
            } else self.ended(entry, status);
        }
    }

    /// A worker has ended: what waited for its end, or for a worker to be free, goes on.
    fn resumeGivingUp(self: *Server) void {
        var index: usize = 0;
        while (index < self.table.used) : (index += 1) {
            const entry = &self.table.entries[index];
            if (!entry.isFree() and entry.state == .none and entry.status == none) self.giveUp(entry);
        }
    }

    fn ended(self: *Server, entry: *Entry, status: u32) void {
        entry.last_pid = entry.pid;
        entry.pid = 0;
        entry.has_ended = true;
        entry.exit_status = status;
        entry.ended_ns = linux.clock.wallNs();
        if (entry.status == none) return self.finish(entry);
        // What it said last is still in the socket: why it never ran, perhaps. Its worker
        // may be about to end as well; then `silent` goes on from here.
        while (entry.status != none) self.hear(self.position(entry)) catch return;
    }

    /// Takes over what a server before this one has left.
    fn adopt(self: *Server) error{Failed}!void {
        self.untold = try self.ledger.adopt(&self.failure, &self.table);
        for (self.table.entries[0..self.table.used], 0..) |*entry, index| {
            if (entry.adopted) try self.watch(entry.pidfd, @fromBackingInt(index + @backingInt(Tag.first_entry)));
        }
        self.settle();
    }

    /// One that is not our child has ended: how, its init has left in a file.
    fn adoptedEnded(self: *Server, entry: *Entry) void {
        var polls = [_]os.pollfd{.{ .fd = entry.pidfd, .events = os.POLL.IN, .revents = 0 }};
        if (os.poll(&polls, polls.len, 0) != 1) return; // It was about who had this place before.
        self.release(entry.pidfd);
        entry.pidfd = none;
        entry.adopted = false;
        entry.last_pid = entry.pid;
        entry.pid = 0;
        entry.has_ended = true;
        self.ledger.findEnd(self.position(entry), entry);
        self.finish(entry);
    }

    /// Leaves what is known of a container to the server after this one.
    fn remember(self: *Server, entry: *const Entry) void {
        var failure: Failure = .{};
        self.ledger.remember(&failure, self.position(entry), entry) catch {
            var notice: Reply = .{ .kind = .notice, .failure = failure, .id = entry.id };
            notice.setSubject("The next stage2 will not know the container: no record can be written");
            self.reply(&notice, null);
        };
    }

    /// Tells of an end, after all that came before it was told. That of a container goes to
    /// disk first, together with all others of this turn.
    fn finish(self: *Server, entry: *Entry) void {
        if (entry.state == .none) return self.giveUp(entry);
        entry.state = .stopped;
        if (entry.kind == .container) {
            entry.untold = true;
            self.untold += 1;
            return;
        }
        self.tellEnd(entry, .{});
        entry.state = .none;
        self.giveUp(entry); // Its worker has ended too, or will.
    }

    /// Puts the ends that nobody was told of on disk, with one wait for it, and tells them.
    pub fn settle(self: *Server) void {
        var index: usize = 0;
        while (self.untold > 0) {
            var batch: [ledger_module.batch_size]*Entry = undefined;
            var count: usize = 0;
            while (count < @min(self.untold, batch.len)) : (index += 1) {
                const entry = &self.table.entries[index];
                if (!entry.untold) continue;
                batch[count] = entry;
                count += 1;
            }
            var failure: Failure = .{};
            // Ends that could not be recorded are told as such: the message has the reason.
            self.ledger.note(&failure, batch[0..count]) catch {};
            for (batch[0..count]) |entry| {
                entry.untold = false;
                self.remember(entry);
                self.tellEnd(entry, failure);
            }
            self.untold -= @intCast(count);
        }
    }

    fn tellEnd(self: *Server, entry: *Entry, failure: Failure) void {
        var message = messages.describe(entry);
        message.kind = .exited;
        message.failure = failure;
        if (entry.kind == .exec) message.sequence = entry.sequence;
        self.reply(&message, null);
        if (entry.pidfd != none) linux.file.close(entry.pidfd);
        entry.pidfd = none;
    }

    fn acknowledge(self: *Server, request: *const Request) error{Failed}!void {
        try self.ledger.acknowledge(&self.failure, request.argument);
        self.reply(&.{ .sequence = request.sequence, .kind = .done }, null);
    }

    fn list(self: *Server, sequence: u64) void {
        self.settle(); // What is told is on disk.
        // Containers first: what is told of a process is about one that is known.
        for ([_]@FieldType(Entry, "kind"){ .container, .exec }) |kind| {
            for (self.table.entries[0..self.table.used]) |*entry| {
                if (entry.kind != kind or entry.state == .none) continue;
                if (kind == .exec and entry.pid == 0) continue;
                var message = messages.describe(entry);
                message.sequence = sequence;
                self.reply(&message, null);
            }
        }
        self.reply(&.{ .sequence = sequence, .kind = .done }, null);
    }

    /// Ends the server, unless a container has not ended; what is only being cleared up is
    /// waited for.
    fn quit(self: *Server, sequence: u64) error{Failed}!void {
        var clearing = false;
        for (self.table.entries[0..self.table.used]) |*entry| switch (if (entry.kind == .task) .none else entry.state) {
            .none => clearing = clearing or !entry.isFree(),
            .stopped => {},
            .prepared => {
                making.discard(self, entry);
                clearing = clearing or !entry.isFree();
            },
            .creating, .created, .running => return self.failure.fail(.supervise, .BUSY),
        };
        self.quitting = if (clearing) sequence else null;
        if (clearing) return;
        placement.removeRoot();
        self.reply(&.{ .sequence = sequence, .kind = .done }, null);
        linux.process.exit(0);
    }

    /// That a container waits for `start`: both its worker and its process have said so, in
    /// either order.
    fn answerCreated(self: *Server, entry: *Entry) void {
        if (entry.state == .created and entry.pid != 0 and !entry.runs) self.answer(entry);
    }

    /// Answers the request that waits for the entry to get this far.
    fn answer(self: *Server, entry: *Entry) void {
        if (entry.sequence == 0) return;
        self.reply(&.{ .sequence = entry.sequence, .kind = .done, .state = entry.state, .pid = entry.pid, .id = entry.id }, null);
        if (entry.kind == .container) entry.sequence = 0;
    }

    fn refuse(self: *Server, sequence: u64, id: *const [wire.id_size]u8) void {
        self.reply(&messages.refusal(sequence, self.failure, id), null);
    }

    /// Tells whoever is connected.
    fn reply(self: *Server, message: *const Reply, descriptor: ?fd_t) void {
        self.client.reply(message, descriptor);
    }
};
