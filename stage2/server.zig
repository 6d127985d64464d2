//! stage2 as the daemon's helper for life: makes containers and processes in them, is
//! their parent, and knows how each ended. One thread, no memory beyond its tables;
//! what may take long happens in workers. It outlives kurmad: a new one connects and
//! is told what there is.

const std = @import("std");
const linux = @import("linux");
const stage3 = @import("stage3");
const placement = @import("placement.zig");
const exits = @import("exits.zig");
const namespaces = @import("namespaces.zig");
const descriptor_limit = @import("descriptor_limit.zig");
const orders = @import("orders.zig");
const table_module = @import("table.zig");
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

const Early = struct { pid: linux.pid_t = 0, status: u32 = 0 };

const Server = struct {
    failure: Failure = .{},
    table: table_module.Table = .{},
    epoll: fd_t = none,
    signals: fd_t = none,
    client: fd_t = none,
    program: fd_t = none,
    workers: u32 = 0,
    record: ?exits.Log = null,
    namespaces: namespaces.Namespaces = .{},
    /// The request to end that waits until everything is cleared up.
    quitting: ?u64 = null,
    /// Children that ended before their worker could say whose they are.
    early: [2 * max_workers]Early = @splat(.{}),

    fn serve(self: *Server, state: ?[:0]const u8) error{Failed}!noreturn {
        const failure = &self.failure;
        linux.process.resetSignals();
        try releaseStreams(failure);
        descriptor_limit.raise();
        self.signals = try linux.process.catchSignals(failure);
        if (!linux.weakness.has(.dumpable)) _ = try failure.check(.supervise, linux.process.prctl(.SET_DUMPABLE, 0));
        if (linux.weakness.has(.descriptors)) _ = os.open("/", .{ .DIRECTORY = true }, 0);
        _ = try failure.check(.supervise, linux.process.prctl(.SET_CHILD_SUBREAPER, 1));
        self.program = try linux.file.open(failure, "/proc/self/exe", .{ .PATH = true, .CLOEXEC = true }, 0);
        if (state) |path| self.record = try openRecord(failure, path);
        self.epoll = @intCast(try failure.check(.supervise, os.epoll_create1(os.EPOLL.CLOEXEC)));
        try self.watch(listener, .listener);
        try self.watch(self.signals, .signals);
        while (true) {
            var events: [64]os.epoll_event = undefined;
            const count = os.epoll_wait(self.epoll, &events, events.len, -1);
            if (os.errno(count) == .INTR) continue;
            _ = try failure.check(.supervise, count);
            for (events[0..count]) |event| self.handle(@fromBackingInt(event.data.u64));
        }
    }

    /// Lets go of the streams of whoever started us, who may be waiting for their end.
    fn releaseStreams(failure: *Failure) error{Failed}!void {
        const null_device = try linux.file.open(failure, "/dev/null", .{ .ACCMODE = .RDWR, .CLOEXEC = true }, 0);
        defer linux.file.close(null_device);
        for (0..3) |stream| _ = try failure.check(.open, os.dup3(null_device, @intCast(stream), 0));
    }

    /// One event. What fails concerns one request or one container, never the server.
    fn handle(self: *Server, tag: Tag) void {
        self.failure = .{};
        (switch (tag) {
            .listener => self.accept(),
            .client => self.receive(),
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
        const client: fd_t = @intCast(try self.failure.check(.socket, accepted));
        self.disconnect();
        // Room for the state of every container at once; nobody waits for a slow reader.
        const room: u32 = 16 * 1024 * 1024;
        _ = os.setsockopt(client, os.SOL.SOCKET, os.SO.SNDBUFFORCE, std.mem.asBytes(&room), @sizeOf(u32));
        self.client = client;
        try self.watch(client, .client);
    }

    /// Cuts the client off, and forgets what it waits for: the numbers of the next one's
    /// requests are the same.
    fn disconnect(self: *Server) void {
        if (self.client == none) return;
        // Not only closed: a worker that hangs holds a copy.
        _ = os.shutdown(self.client, os.SHUT.RDWR);
        self.release(self.client);
        self.client = none;
        for (self.table.entries[0..self.table.used]) |*entry| {
            entry.sequence = 0;
            entry.deleting = 0;
        }
    }

    /// Closes a descriptor that we watch. Closing alone would not end the watching: a
    /// worker forked meanwhile holds a copy, and epoll goes by the file.
    fn release(self: *Server, fd: fd_t) void {
        _ = os.epoll_ctl(self.epoll, os.EPOLL.CTL_DEL, fd, null);
        linux.file.close(fd);
    }

    fn receive(self: *Server) error{Failed}!void {
        // One byte more, so that a longer packet is not cut to a valid one.
        var buffer: [@sizeOf(Request) + 1]u8 align(@alignOf(Request)) = undefined;
        var descriptors: linux.socket.Descriptors = .{};
        defer descriptors.close();
        const packet = linux.socket.receiveNow(&self.failure, self.client, &buffer, &descriptors) catch |err| {
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
        if (wire.name(&request.id) == null) return failure.fail(.plan, .INVAL);
        if (request.operation == .create) return self.create(request, descriptors);
        const entry = self.table.find(&request.id) orelse return failure.fail(.supervise, .NOENT);
        switch (request.operation) {
            .create, .list, .quit => unreachable, // Handled above.
            .exec => return self.exec(request, entry, descriptors),
            .start => {
                // With a number, it is being started.
                if (entry.state != .created or entry.sequence != 0) return failure.fail(.supervise, .BUSY);
                _ = try failure.check(.socket, os.sendto(entry.status, "s", 1, os.MSG.NOSIGNAL, null, 0));
                entry.sequence = request.sequence;
                return; // Answered when its exec is done.
            },
            .signal => {
                if (entry.pidfd == none) return failure.fail(.signal, .SRCH);
                try linux.process.signalPidfd(failure, entry.pidfd, request.argument);
            },
            // One whose making hangs ends with its worker.
            .kill => if (entry.state == .creating and entry.pid == 0 and entry.worker != 0) {
                _ = try failure.check(.signal, os.kill(entry.worker, .KILL));
            } else {
                if (entry.pidfd == none) return failure.fail(.signal, .SRCH);
                try linux.process.signalPidfd(failure, entry.pidfd, @backingInt(os.SIG.KILL));
            },
            .freeze, .thaw => return self.setFrozen(request, entry),
            .delete => {
                if (entry.state != .stopped) return failure.fail(.supervise, .BUSY);
                entry.deleting = request.sequence;
                entry.state = .none;
                return self.giveUp(entry); // Answered when nothing of it is left.
            },
            _ => return failure.fail(.plan, .NOSYS),
        }
        self.reply(&.{ .sequence = request.sequence, .kind = .done, .id = request.id }, null);
    }

    fn create(self: *Server, request: *const Request, descriptors: *linux.socket.Descriptors) error{Failed}!void {
        if (self.table.find(&request.id) != null) return self.failure.fail(.supervise, .EXIST);
        try self.begin(request, descriptors, .container, orders.Create{
            .program = self.program,
            .id = request.id,
            .descriptors = descriptors.*,
            .first_id = request.argument,
            .namespace = self.namespaces.find(request.argument),
        });
    }

    fn exec(self: *Server, request: *const Request, container: *Entry, descriptors: *linux.socket.Descriptors) error{Failed}!void {
        if (container.state != .running) return self.failure.fail(.supervise, .BUSY);
        try self.begin(request, descriptors, .exec, orders.Exec{
            .target = .{ .pidfd = container.pidfd, .user_namespace = container.user_namespace, .cgroup = container.cgroup },
            .id = request.id,
            .descriptors = descriptors.*,
        });
    }

    /// Gives an order to a new worker and notes who waits for it.
    fn begin(self: *Server, request: *const Request, descriptors: *linux.socket.Descriptors, kind: @FieldType(Entry, "kind"), order: anytype) error{Failed}!void {
        const failure = &self.failure;
        if (descriptors.count == 0) return failure.fail(.plan, .BADF);
        const entry = self.table.add() orelse return failure.fail(.supervise, .NFILE);
        entry.* = .{ .kind = kind, .state = .creating, .id = request.id, .sequence = request.sequence, .first_id = request.argument };
        errdefer self.table.remove(entry);
        try self.employ(entry, order);
    }

    fn position(self: *Server, entry: *const Entry) u64 {
        return (@intFromPtr(entry) - @intFromPtr(&self.table.entries)) / @sizeOf(Entry);
    }

    /// What a worker or a starting process says.
    fn hear(self: *Server, index: u64) error{Failed}!void {
        const failure = &self.failure;
        if (index >= self.table.used) return;
        const entry = &self.table.entries[index];
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
                if (self.takeEarly(status.pid)) |ended_with| return self.ended(entry, ended_with);
                entry.pidfd = try linux.process.pidfdOpen(failure, status.pid);
            },
            .held => {
                entry.state = .created;
                self.answer(entry);
            },
            .finished => {},
            .namespace => if (descriptors.take()) |fd| self.namespaces.keep(entry.first_id, fd),
            .terminal => self.reply(&.{ .sequence = entry.sequence, .kind = .state, .state = .creating, .id = entry.id }, if (descriptors.count > 0) descriptors.fds[0] else null),
            .failed => {
                failure.* = status.failure;
                const waits = if (entry.deleting != 0) entry.deleting else entry.sequence;
                var message: Reply = .{ .sequence = waits, .kind = .failed, .failure = status.failure, .id = entry.id };
                message.setSubject(status.subject[0..@min(status.subject_len, status.subject.len)]);
                self.reply(&message, null);
                entry.sequence = 0;
                entry.deleting = 0;
                entry.cgroup = entry.cgroup or status.cgroup;
                entry.state = .none; // What is left of it ends by itself; then it is forgotten.
            },
        }
    }

    /// The end of what a worker and its process have to say: the process runs, or is gone.
    fn silent(self: *Server, entry: *Entry) void {
        self.release(entry.status);
        entry.status = none;
        const came = entry.pid != 0 or entry.has_ended;
        // A worker that was killed may have made a cgroup, and not said so.
        if (entry.kind == .container and entry.state == .creating and !came) entry.cgroup = true;
        // A container has to have said that it waits: its init may have been killed before.
        const ran = came and (entry.kind == .exec or entry.state != .creating);
        if (entry.state == .none or !ran) return self.giveUp(entry);
        entry.state = .running;
        self.answer(entry);
        if (entry.has_ended) self.finish(entry);
    }

    /// Forgets what never ran or is to be deleted, once nothing of it is left; says so if
    /// somebody waits to hear it.
    fn giveUp(self: *Server, entry: *Entry) void {
        if (entry.state != .none) {
            self.failure = .{ .step = .clone, .errno = @backingInt(linux.E.CHILD) };
            self.refuse(entry.sequence, &entry.id);
            entry.state = .none;
        }
        if (entry.worker != 0 or entry.pid != 0) return;
        if (entry.cgroup) {
            // Killing what is left in it and waiting for it takes time; we go on. With all
            // workers busy, `reap` comes back to it when one has ended.
            self.employ(entry, orders.Remove{ .id = entry.id }) catch return;
            entry.cgroup = false;
            return;
        }
        if (entry.deleting != 0) self.reply(&.{ .sequence = entry.deleting, .kind = .done, .id = entry.id }, null);
        self.table.remove(entry);
        if (self.quitting) |sequence| self.quit(sequence) catch self.refuse(sequence, &@splat(0));
    }

    /// Freezes or thaws in a worker, as an entry of its own: it may take long.
    fn setFrozen(self: *Server, request: *const Request, container: *Entry) error{Failed}!void {
        if (!container.cgroup) return self.failure.fail(.freeze, .OPNOTSUPP);
        const entry = self.table.add() orelse return self.failure.fail(.supervise, .NFILE);
        entry.* = .{ .kind = .exec, .state = .none, .id = request.id, .deleting = request.sequence, .sequence = request.sequence };
        errdefer self.table.remove(entry);
        try self.employ(entry, orders.Freeze{ .id = request.id, .frozen = request.operation == .freeze });
    }

    /// Gives an order to a new worker on behalf of `entry`.
    fn employ(self: *Server, entry: *Entry, order: anytype) error{Failed}!void {
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
                self.keepEarly(pid, status);
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

    /// Notes the end of a child that no entry has. It may be one whose worker has cloned
    /// it and not yet said so; if no worker is at it, it is an orphan.
    fn keepEarly(self: *Server, pid: linux.pid_t, status: u32) void {
        if (self.workers == 0) {
            self.early = @splat(.{});
            return;
        }
        const last = self.early.len - 1;
        std.mem.copyForwards(Early, self.early[0..last], self.early[1..]);
        self.early[last] = .{ .pid = pid, .status = status };
    }

    fn takeEarly(self: *Server, pid: linux.pid_t) ?u32 {
        for (&self.early) |*early| {
            if (early.pid != pid) continue;
            early.pid = 0;
            return early.status;
        }
        return null;
    }

    fn ended(self: *Server, entry: *Entry, status: u32) void {
        entry.last_pid = entry.pid;
        entry.pid = 0;
        entry.has_ended = true;
        entry.exit_status = status;
        entry.ended_ns = linux.process.wallClock();
        if (entry.status == none) return self.finish(entry);
        // What it said last is still in the socket: why it never ran, perhaps. Its worker
        // may be about to end as well; then `silent` goes on from here.
        while (entry.status != none) self.hear(self.position(entry)) catch return;
    }

    /// Opens the record of exits in the folder `path`, which stays open with it.
    fn openRecord(failure: *Failure, path: [:0]const u8) error{Failed}!exits.Log {
        const folder = try linux.file.open(failure, path, .{ .DIRECTORY = true, .CLOEXEC = true }, 0);
        return .open(failure, folder, "exits");
    }

    /// Puts the end of a container on disk, where it is found when nobody is left to ask.
    fn note(self: *Server, failure: *Failure, entry: *Entry) error{Failed}!void {
        const id = wire.name(&entry.id).?;
        if (entry.cgroup) entry.oom = placement.ranOutOfMemory(failure, id) catch false;
        if (self.record) |*record| {
            _ = try record.append(failure, &.{.{ .id = id, .pid = entry.last_pid, .status = entry.exit_status, .oom = entry.oom }});
        }
    }

    /// Tells of an end, after all that came before it was told, and after it is on disk.
    fn finish(self: *Server, entry: *Entry) void {
        if (entry.state == .none) return self.giveUp(entry);
        entry.state = .stopped;
        var failure: Failure = .{};
        // An end that could not be recorded is told as one: the message has the reason.
        if (entry.kind == .container) self.note(&failure, entry) catch {};
        var message = describe(entry);
        message.kind = .exited;
        message.failure = failure;
        message.sequence = if (entry.kind == .exec) entry.sequence else 0;
        // Who asked for an exec may be gone; nobody else knows of it.
        if (entry.kind == .container or entry.sequence != 0) self.reply(&message, null);
        if (entry.pidfd != none) linux.file.close(entry.pidfd);
        entry.pidfd = none;
        if (entry.kind == .container) return;
        entry.state = .none;
        self.giveUp(entry); // Its worker has ended too, or will.
    }

    fn list(self: *Server, sequence: u64) void {
        for (self.table.entries[0..self.table.used]) |*entry| {
            if (entry.kind != .container or entry.state == .none) continue;
            var message = describe(entry);
            message.sequence = sequence;
            self.reply(&message, null);
        }
        self.reply(&.{ .sequence = sequence, .kind = .done }, null);
    }

    /// Ends the server, unless a container has not ended; what is only being cleared up is
    /// waited for.
    fn quit(self: *Server, sequence: u64) error{Failed}!void {
        var clearing = false;
        for (self.table.entries[0..self.table.used]) |*entry| switch (entry.state) {
            .none => clearing = clearing or !entry.isFree(),
            .stopped => {},
            .creating, .created, .running => return self.failure.fail(.supervise, .BUSY),
        };
        self.quitting = if (clearing) sequence else null;
        if (clearing) return;
        placement.removeRoot();
        self.reply(&.{ .sequence = sequence, .kind = .done }, null);
        linux.process.exit(0);
    }

    fn describe(entry: *const Entry) Reply {
        return .{ .kind = .state, .state = entry.state, .pid = entry.pid, .status = entry.exit_status, .ended_ns = entry.ended_ns, .oom = @intFromBool(entry.oom), .id = entry.id };
    }

    /// Answers the request that waits for the entry to get this far.
    fn answer(self: *Server, entry: *Entry) void {
        if (entry.sequence == 0) return;
        self.reply(&.{ .sequence = entry.sequence, .kind = .done, .state = entry.state, .pid = entry.pid, .id = entry.id }, null);
        if (entry.kind == .container) entry.sequence = 0;
    }

    fn refuse(self: *Server, sequence: u64, id: *const [wire.id_size]u8) void {
        var message: Reply = .{ .sequence = sequence, .kind = .failed, .failure = self.failure, .id = id.* };
        message.setSubject(wire.name(id) orelse "");
        self.reply(&message, null);
    }

    /// Sends to whoever is connected. Who does not read is cut off: it connects again and
    /// asks for the list.
    fn reply(self: *Server, message: *const Reply, descriptor: ?fd_t) void {
        if (self.client == none) return;
        var failure: Failure = .{};
        linux.socket.sendPacket(&failure, self.client, std.mem.asBytes(message), descriptor) catch self.disconnect();
    }
};
