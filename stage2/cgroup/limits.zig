//! What a container may use, as `linux.resources` of the OCI runtime-spec 1.3 says it,
//! and how each version of cgroups is told. Pure: nothing here touches a file.
//!
//! Every value leads to a write or to an error that names its key: `step` is `limit`,
//! `index` see `Place`. EOPNOTSUPP: not with this host's cgroups; EINVAL: nowhere.
//!
//! A limit of 0 is as good as absent where the kernel has no use for 0 (shares, quota,
//! period, memory): that is how the engines that write config.json mean it.

const std = @import("std");
const linux = @import("linux");
const Failure = linux.Failure;
const hierarchy = @import("hierarchy.zig");
const Controller = hierarchy.Controller;
const ControllerSet = hierarchy.ControllerSet;
const Version = hierarchy.Version;

/// `linux.resources`, field for field as JSON has it. Null and empty: the kernel's
/// default, or as it is. Lists and strings belong to the caller.
pub const Limits = struct {
    cpu: Cpu = .{},
    memory: Memory = .{},
    pids: Pids = .{},
    blockIO: BlockIo = .{},
    hugepageLimits: []const Hugepage = &.{},
    network: Network = .{},
    rdma: []const Rdma = &.{},
    /// Files of version 2 by name, written last and as they are.
    unified: []const Unified = &.{},
    /// See devices.zig; null leaves the filter as it is.
    devices: ?[]const Device = null,

    pub const Cpu = struct {
        /// 2 to 262,144; 1,024 is the share of a cgroup that says nothing.
        shares: ?u64 = null,
        /// Microseconds a period; -1 for no limit.
        quota: ?i64 = null,
        burst: ?u64 = null,
        period: ?u64 = null,
        realtimeRuntime: ?i64 = null,
        realtimePeriod: ?u64 = null,
        /// As in `0-2,7`.
        cpus: ?[:0]const u8 = null,
        mems: ?[:0]const u8 = null,
        /// 1: runs only when nobody else wants to.
        idle: ?i64 = null,
    };

    /// Bytes; -1 for no limit.
    pub const Memory = struct {
        limit: ?i64 = null,
        reservation: ?i64 = null,
        /// Memory and swap together.
        swap: ?i64 = null,
        kernel: ?i64 = null,
        kernelTCP: ?i64 = null,
        /// 0 to 100.
        swappiness: ?u64 = null,
        disableOOMKiller: ?bool = null,
        useHierarchy: ?bool = null,
        /// Refuse a limit below what is in use, where the kernel would kill instead.
        checkBeforeUpdate: bool = false,
    };

    pub const Pids = struct {
        /// The most processes and threads; -1 for any number.
        limit: ?i64 = null,
    };

    pub const BlockIo = struct {
        /// 10 to 1,000.
        weight: ?u16 = null,
        leafWeight: ?u16 = null,
        weightDevice: []const WeightDevice = &.{},
        throttleReadBpsDevice: []const Throttle = &.{},
        throttleWriteBpsDevice: []const Throttle = &.{},
        throttleReadIOPSDevice: []const Throttle = &.{},
        throttleWriteIOPSDevice: []const Throttle = &.{},
    };

    pub const WeightDevice = struct { major: u32, minor: u32, weight: ?u16 = null, leafWeight: ?u16 = null };

    /// Bytes or operations a second; 0 for no limit.
    pub const Throttle = struct { major: u32, minor: u32, rate: u64 };

    /// `pageSize` as in `2MB`; the limit in bytes.
    pub const Hugepage = struct { pageSize: [:0]const u8, limit: u64 };

    pub const Network = struct {
        classID: ?u32 = null,
        priorities: []const Priority = &.{},

        /// `name` is an interface's.
        pub const Priority = struct { name: [:0]const u8, priority: u32 };
    };

    /// What may be taken of the RDMA device `key`.
    pub const Rdma = struct {
        key: [:0]const u8,
        value: struct { hcaHandles: ?u32 = null, hcaObjects: ?u32 = null },

        pub const is_entry = true;
    };

    pub const Unified = struct {
        key: [:0]const u8,
        value: [:0]const u8,

        pub const is_entry = true;
    };

    pub const Device = struct {
        allow: bool,
        /// All, character or block devices.
        type: enum { a, c, b } = .a,
        /// Null and -1 for every number.
        major: ?i64 = null,
        minor: ?i64 = null,
        /// Of `r`, `w` and `m` (mknod).
        access: [:0]const u8 = "rwm",
    };
};

/// The keys below `linux.resources`, in the names of the runtime-spec. Numbers are
/// shared with TypeScript.
pub const Key = enum(u16) {
    @"cpu.shares",
    @"cpu.quota",
    @"cpu.burst",
    @"cpu.period",
    @"cpu.realtimeRuntime",
    @"cpu.realtimePeriod",
    @"cpu.cpus",
    @"cpu.mems",
    @"cpu.idle",
    @"memory.limit",
    @"memory.reservation",
    @"memory.swap",
    @"memory.kernel",
    @"memory.kernelTCP",
    @"memory.swappiness",
    @"memory.disableOOMKiller",
    @"memory.useHierarchy",
    @"memory.checkBeforeUpdate",
    @"pids.limit",
    @"blockIO.weight",
    @"blockIO.leafWeight",
    @"blockIO.weightDevice",
    @"blockIO.throttleReadBpsDevice",
    @"blockIO.throttleWriteBpsDevice",
    @"blockIO.throttleReadIOPSDevice",
    @"blockIO.throttleWriteIOPSDevice",
    hugepageLimits,
    @"network.classID",
    @"network.priorities",
    rdma,
    unified,
    devices,
};

/// Which value failed, as `Failure.index` carries it: the key, and in a list the entry.
pub const Place = packed struct(u32) {
    key: Key,
    entry: u16 = 0,

    pub fn fail(place: Place, failure: *Failure, errno: linux.E) error{Failed} {
        if (failure.step == .none) failure.index = @bitCast(place);
        return failure.fail(.limit, errno);
    }
};

/// The controllers that a cgroup has on this host, by version.
pub const Available = struct {
    v1: ControllerSet = .empty,
    v2: ControllerSet = .empty,
    /// Whether version 2 is there at all, with or without controllers.
    unified: bool = false,

    fn version(available: Available, v1: Controller, v2: Controller) ?Version {
        if (available.v2.contains(v2)) return .v2;
        return if (available.v1.contains(v1)) .v1 else null;
    }
};

/// One write. The texts are valid during the call that passes it on.
pub const Setting = struct {
    place: Place,
    version: Version,
    /// Null for a file that belongs to no controller (`cgroup.*`, or one unknown to us).
    controller: ?Controller,
    file: []const u8,
    value: []const u8,
    /// What to write where the kernel has no such file.
    otherwise: ?struct { file: []const u8, value: []const u8 } = null,
};

/// No value that the kernel takes is longer.
const max_value = 256;

/// Calls `sink.set(Setting) error{Failed}!void` for every write that `limits` asks for.
/// Devices are not among them: see devices.zig.
pub fn forEach(limits: *const Limits, available: Available, failure: *Failure, sink: anytype) error{Failed}!void {
    const writer: Writer(@TypeOf(sink)) = .{ .limits = limits, .available = available, .failure = failure, .sink = sink };
    try writer.cpu();
    try writer.cpuset();
    try writer.memory();
    try writer.pids();
    try writer.blockIo();
    try writer.hugepages();
    try writer.network();
    try writer.rdma();
    try writer.unified();
}

fn Writer(comptime Sink: type) type {
    return struct {
        const Self = @This();

        limits: *const Limits,
        available: Available,
        failure: *Failure,
        sink: Sink,

        fn cpu(self: Self) error{Failed}!void {
            const wanted = &self.limits.cpu;
            // An idle cgroup takes no shares: leave idle first, become idle last.
            if (wanted.idle) |idle| {
                if (idle != 0 and idle != 1) return self.fail(.@"cpu.idle", .INVAL);
                if (idle == 0) try self.both(.@"cpu.idle", .cpu, "cpu.idle", "0");
            }
            if (given(wanted.shares)) |shares| {
                try self.either(.@"cpu.shares", .cpu, .{ "cpu.shares", "cpu.weight" }, .{ shares, weightOfShares(shares) });
            }
            try self.bandwidth();
            if (given(wanted.realtimePeriod)) |period| {
                try self.onlyV1(.@"cpu.realtimePeriod", .cpu, "cpu.rt_period_us", period);
            }
            if (given(wanted.realtimeRuntime)) |runtime| {
                try self.onlyV1(.@"cpu.realtimeRuntime", .cpu, "cpu.rt_runtime_us", runtime);
            }
            if (wanted.idle == 1) try self.both(.@"cpu.idle", .cpu, "cpu.idle", "1");
        }

        fn bandwidth(self: Self) error{Failed}!void {
            const wanted = &self.limits.cpu;
            const quota = given(wanted.quota);
            const period = given(wanted.period);
            if (quota) |value| {
                if (value < -1) return self.fail(.@"cpu.quota", .INVAL);
                if (value > 0 and wanted.burst orelse 0 > value) return self.fail(.@"cpu.burst", .INVAL);
            }
            if (quota != null or period != null) {
                const key: Key = if (quota != null) .@"cpu.quota" else .@"cpu.period";
                switch (try self.need(key, .cpu)) {
                    .v1 => {
                        if (period) |value| try self.figure(.@"cpu.period", .v1, .cpu, "cpu.cfs_period_us", value);
                        if (quota) |value| try self.figure(.@"cpu.quota", .v1, .cpu, "cpu.cfs_quota_us", value);
                    },
                    .v2 => {
                        var number: [24]u8 = undefined;
                        const first = if (quota) |value| maxOr(&number, value) else "max";
                        if (period) |value| {
                            try self.print(key, .v2, .cpu, "cpu.max", "{s} {d}", .{ first, value });
                        } else {
                            try self.word(key, .v2, .cpu, "cpu.max", first);
                        }
                    },
                }
            }
            if (wanted.burst) |burst| {
                try self.either(.@"cpu.burst", .cpu, .{ "cpu.cfs_burst_us", "cpu.max.burst" }, .{ burst, burst });
            }
        }

        fn cpuset(self: Self) error{Failed}!void {
            const wanted = &self.limits.cpu;
            if (wanted.cpus) |list| if (list.len > 0) try self.both(.@"cpu.cpus", .cpuset, "cpuset.cpus", list);
            if (wanted.mems) |list| if (list.len > 0) try self.both(.@"cpu.mems", .cpuset, "cpuset.mems", list);
        }

        fn memory(self: Self) error{Failed}!void {
            const wanted = &self.limits.memory;
            const limit = given(wanted.limit);
            try self.bytes(.@"memory.limit", limit, "memory.limit_in_bytes", "memory.max");
            try self.bytes(.@"memory.reservation", given(wanted.reservation), "memory.soft_limit_in_bytes", "memory.low");
            if (given(wanted.swap)) |swap| {
                if (swap < -1 or (swap >= 0 and (limit orelse 0) > swap)) return self.fail(.@"memory.swap", .INVAL);
                switch (try self.need(.@"memory.swap", .memory)) {
                    .v1 => try self.figure(.@"memory.swap", .v1, .memory, "memory.memsw.limit_in_bytes", swap),
                    // Version 2 counts swap alone, so the difference has to be known.
                    .v2 => {
                        if (swap > 0 and (limit orelse -1) < 0) return self.fail(.@"memory.swap", .INVAL);
                        const alone = if (swap < 0) swap else swap - limit.?;
                        var number: [24]u8 = undefined;
                        try self.word(.@"memory.swap", .v2, .memory, "memory.swap.max", maxOr(&number, alone));
                    },
                }
            }
            if (given(wanted.kernel)) |value| {
                try self.onlyV1(.@"memory.kernel", .memory, "memory.kmem.limit_in_bytes", value);
            }
            if (given(wanted.kernelTCP)) |value| {
                try self.onlyV1(.@"memory.kernelTCP", .memory, "memory.kmem.tcp.limit_in_bytes", value);
            }
            if (wanted.swappiness) |value| {
                if (value > 100) return self.fail(.@"memory.swappiness", .INVAL);
                try self.onlyV1(.@"memory.swappiness", .memory, "memory.swappiness", value);
            }
            // Version 2 always has the OOM killer, and always counts what lies below.
            try self.fixed(.@"memory.disableOOMKiller", wanted.disableOOMKiller, false, "memory.oom_control");
            try self.fixed(.@"memory.useHierarchy", wanted.useHierarchy, true, "memory.use_hierarchy");
        }

        /// What version 2 has set to `always`, and no file for.
        noinline fn fixed(self: Self, key: Key, wanted: ?bool, always: bool, v1_file: []const u8) error{Failed}!void {
            const value = wanted orelse return;
            if (value == always and try self.need(key, .memory) == .v2) return;
            try self.onlyV1(key, .memory, v1_file, @intFromBool(value));
        }

        fn bytes(self: Self, key: Key, amount: ?i64, v1_file: []const u8, v2_file: []const u8) error{Failed}!void {
            const value = amount orelse return;
            if (value < -1) return self.fail(key, .INVAL);
            var number: [24]u8 = undefined;
            switch (try self.need(key, .memory)) {
                .v1 => try self.figure(key, .v1, .memory, v1_file, value),
                .v2 => try self.word(key, .v2, .memory, v2_file, maxOr(&number, value)),
            }
        }

        fn pids(self: Self) error{Failed}!void {
            const limit = self.limits.pids.limit orelse return;
            if (limit < -1) return self.fail(.@"pids.limit", .INVAL);
            var number: [24]u8 = undefined;
            try self.both(.@"pids.limit", .pids, "pids.max", maxOr(&number, limit));
        }

        fn blockIo(self: Self) error{Failed}!void {
            const wanted = &self.limits.blockIO;
            if (given(wanted.weight)) |weight| try self.ioWeight(.{ .key = .@"blockIO.weight" }, "", weight);
            if (given(wanted.leafWeight)) |weight| {
                try self.onlyV1(.@"blockIO.leafWeight", .blkio, "blkio.leaf_weight", weight);
            }
            for (wanted.weightDevice, 0..) |device, entry| {
                const place: Place = .{ .key = .@"blockIO.weightDevice", .entry = @truncate(entry) };
                if (given(device.weight) == null and given(device.leafWeight) == null) return place.fail(self.failure, .INVAL);
                var buffer: [32]u8 = undefined;
                const number = text(&buffer, "{d}:{d} ", .{ device.major, device.minor });
                if (given(device.weight)) |weight| try self.ioWeight(place, number, weight);
                if (given(device.leafWeight)) |weight| {
                    if (try self.needAt(place, .blkio, .io) == .v2) return place.fail(self.failure, .OPNOTSUPP);
                    try self.printAt(place, .v1, .blkio, "blkio.leaf_weight_device", "{s}{d}", .{ number, weight });
                }
            }
            try self.throttle(.@"blockIO.throttleReadBpsDevice", wanted.throttleReadBpsDevice, "blkio.throttle.read_bps_device", "rbps");
            try self.throttle(.@"blockIO.throttleWriteBpsDevice", wanted.throttleWriteBpsDevice, "blkio.throttle.write_bps_device", "wbps");
            try self.throttle(.@"blockIO.throttleReadIOPSDevice", wanted.throttleReadIOPSDevice, "blkio.throttle.read_iops_device", "riops");
            try self.throttle(.@"blockIO.throttleWriteIOPSDevice", wanted.throttleWriteIOPSDevice, "blkio.throttle.write_iops_device", "wiops");
        }

        /// Which file there is depends on the I/O scheduler that the kernel was built with.
        noinline fn ioWeight(self: Self, place: Place, device: []const u8, weight: u16) error{Failed}!void {
            if (weight < 10 or weight > 1000) return place.fail(self.failure, .INVAL);
            var plain_buffer: [64]u8 = undefined;
            const plain = text(&plain_buffer, "{s}{d}", .{ device, weight });
            switch (try self.needAt(place, .blkio, .io)) {
                .v1 => {
                    const file = if (device.len == 0) "blkio.weight" else "blkio.weight_device";
                    const bfq = if (device.len == 0) "blkio.bfq.weight" else "blkio.bfq.weight_device";
                    try self.sink.set(.{ .place = place, .version = .v1, .controller = .blkio, .file = file, .value = plain, .otherwise = .{ .file = bfq, .value = plain } });
                },
                .v2 => {
                    var scaled_buffer: [64]u8 = undefined;
                    // 10 to 1,000 becomes 1 to 10,000.
                    const scaled = text(&scaled_buffer, "{s}{d}", .{ device, 1 + (@as(u32, weight) - 10) * 9999 / 990 });
                    try self.sink.set(.{ .place = place, .version = .v2, .controller = .io, .file = "io.bfq.weight", .value = plain, .otherwise = .{ .file = "io.weight", .value = scaled } });
                },
            }
        }

        noinline fn throttle(self: Self, key: Key, rules: []const Limits.Throttle, v1_file: []const u8, v2_name: []const u8) error{Failed}!void {
            for (rules, 0..) |rule, entry| {
                const place: Place = .{ .key = key, .entry = @truncate(entry) };
                switch (try self.needAt(place, .blkio, .io)) {
                    .v1 => try self.printAt(place, .v1, .blkio, v1_file, "{d}:{d} {d}", .{ rule.major, rule.minor, rule.rate }),
                    .v2 => if (rule.rate == 0) {
                        try self.printAt(place, .v2, .io, "io.max", "{d}:{d} {s}=max", .{ rule.major, rule.minor, v2_name });
                    } else {
                        try self.printAt(place, .v2, .io, "io.max", "{d}:{d} {s}={d}", .{ rule.major, rule.minor, v2_name, rule.rate });
                    },
                }
            }
        }

        /// A reservation fails where it is made; without that, a program dies of SIGBUS.
        fn hugepages(self: Self) error{Failed}!void {
            for (self.limits.hugepageLimits, 0..) |page, entry| {
                const place: Place = .{ .key = .hugepageLimits, .entry = @truncate(entry) };
                if (!isPageSize(page.pageSize)) return place.fail(self.failure, .INVAL);
                const version = try self.needAt(place, .hugetlb, .hugetlb);
                const end = if (version == .v1) "limit_in_bytes" else "max";
                var reserved: [64]u8 = undefined;
                var used: [64]u8 = undefined;
                var number: [24]u8 = undefined;
                const value = text(&number, "{d}", .{page.limit});
                try self.sink.set(.{
                    .place = place,
                    .version = version,
                    .controller = .hugetlb,
                    .file = text(&reserved, "hugetlb.{s}.rsvd.{s}", .{ page.pageSize, end }),
                    .value = value,
                    .otherwise = .{ .file = text(&used, "hugetlb.{s}.{s}", .{ page.pageSize, end }), .value = value },
                });
            }
        }

        fn network(self: Self) error{Failed}!void {
            if (self.limits.network.classID) |id| {
                try self.onlyV1(.@"network.classID", .net_cls, "net_cls.classid", id);
            }
            for (self.limits.network.priorities, 0..) |each, entry| {
                const place: Place = .{ .key = .@"network.priorities", .entry = @truncate(entry) };
                if (!isWord(each.name)) return place.fail(self.failure, .INVAL);
                if (try self.needAt(place, .net_prio, .net_prio) == .v2) return place.fail(self.failure, .OPNOTSUPP);
                try self.printAt(place, .v1, .net_prio, "net_prio.ifpriomap", "{s} {d}", .{ each.name, each.priority });
            }
        }

        fn rdma(self: Self) error{Failed}!void {
            for (self.limits.rdma, 0..) |each, entry| {
                const place: Place = .{ .key = .rdma, .entry = @truncate(entry) };
                if (!isWord(each.key) or (each.value.hcaHandles == null and each.value.hcaObjects == null)) return place.fail(self.failure, .INVAL);
                const version = try self.needAt(place, .rdma, .rdma);
                var handles_buffer: [32]u8 = undefined;
                var objects_buffer: [32]u8 = undefined;
                const handles = if (each.value.hcaHandles) |count| text(&handles_buffer, " hca_handle={d}", .{count}) else "";
                const objects = if (each.value.hcaObjects) |count| text(&objects_buffer, " hca_object={d}", .{count}) else "";
                try self.printAt(place, version, .rdma, "rdma.max", "{s}{s}{s}", .{ each.key, handles, objects });
            }
        }

        fn unified(self: Self) error{Failed}!void {
            for (self.limits.unified, 0..) |each, entry| {
                const place: Place = .{ .key = .unified, .entry = @truncate(entry) };
                if (!isLimitFile(each.key)) return place.fail(self.failure, .INVAL);
                if (!self.available.unified) return place.fail(self.failure, .OPNOTSUPP);
                const prefix, _ = std.mem.cutScalar(u8, each.key, '.').?;
                const controller = std.meta.stringToEnum(Controller, prefix);
                if (controller) |known| {
                    if (!self.available.v2.contains(known)) return place.fail(self.failure, .OPNOTSUPP);
                }
                try self.sink.set(.{ .place = place, .version = .v2, .controller = controller, .file = each.key, .value = each.value });
            }
        }

        /// The version that has `controller` here.
        fn need(self: Self, key: Key, controller: Controller) error{Failed}!Version {
            return self.needAt(.{ .key = key }, controller, controller);
        }

        noinline fn needAt(self: Self, place: Place, v1: Controller, v2: Controller) error{Failed}!Version {
            return self.available.version(v1, v2) orelse place.fail(self.failure, .OPNOTSUPP);
        }

        /// A number that each version has in a file of its own: of version 1, of version 2.
        noinline fn either(self: Self, key: Key, controller: Controller, files: [2][]const u8, values: [2]u64) error{Failed}!void {
            const version = try self.need(key, controller);
            const which: usize = if (version == .v1) 0 else 1;
            try self.unsigned(key, version, controller, files[which], values[which]);
        }

        /// A file that has the same name and form in both versions.
        noinline fn both(self: Self, key: Key, controller: Controller, file: []const u8, value: []const u8) error{Failed}!void {
            const version = try self.need(key, controller);
            try self.word(key, version, controller, file, value);
        }

        fn onlyV1(self: Self, key: Key, controller: Controller, file: []const u8, value: anytype) error{Failed}!void {
            if (!self.available.v1.contains(controller)) return self.fail(key, .OPNOTSUPP);
            try self.figure(key, .v1, controller, file, value);
        }

        /// One piece of code for all numbers with a sign, and one for all without.
        fn figure(self: Self, key: Key, version: Version, controller: Controller, file: []const u8, value: anytype) error{Failed}!void {
            return if (@typeInfo(@TypeOf(value)).int.signedness == .signed) self.signed(key, version, controller, file, value) else self.unsigned(key, version, controller, file, value);
        }

        noinline fn signed(self: Self, key: Key, version: Version, controller: Controller, file: []const u8, value: i64) error{Failed}!void {
            return self.print(key, version, controller, file, "{d}", .{value});
        }

        noinline fn unsigned(self: Self, key: Key, version: Version, controller: Controller, file: []const u8, value: u64) error{Failed}!void {
            return self.print(key, version, controller, file, "{d}", .{value});
        }

        noinline fn word(self: Self, key: Key, version: Version, controller: Controller, file: []const u8, value: []const u8) error{Failed}!void {
            return self.sink.set(.{ .place = .{ .key = key }, .version = version, .controller = controller, .file = file, .value = value });
        }

        fn print(self: Self, key: Key, version: Version, controller: Controller, file: []const u8, comptime format: []const u8, args: anytype) error{Failed}!void {
            try self.printAt(.{ .key = key }, version, controller, file, format, args);
        }

        fn printAt(self: Self, place: Place, version: Version, controller: Controller, file: []const u8, comptime format: []const u8, args: anytype) error{Failed}!void {
            var buffer: [max_value]u8 = undefined;
            const value = linux.text.print(&buffer, format, args) catch return place.fail(self.failure, .NAMETOOLONG);
            try self.sink.set(.{ .place = place, .version = version, .controller = controller, .file = file, .value = value });
        }

        noinline fn fail(self: Self, key: Key, errno: linux.E) error{Failed} {
            return (Place{ .key = key }).fail(self.failure, errno);
        }
    };
}

/// Formats what is known to fit.
fn text(buffer: []u8, comptime format: []const u8, args: anytype) []const u8 {
    return linux.text.print(buffer, format, args) catch unreachable;
}

/// Null for 0 as well.
fn given(value: anytype) @TypeOf(value) {
    return if (value == 0) null else value;
}

fn maxOr(buffer: *[24]u8, value: i64) []const u8 {
    return if (value < 0) "max" else text(buffer, "{d}", .{value});
}

/// cpu.weight of version 2 for the shares of version 1: both smallest, both largest and
/// both default values meet (2 → 1, 1,024 → 100, 262,144 → 10,000), on a curve that is
/// nearly a line between shares and weight on logarithmic scales.
///
/// Source: the formula that runc 1.3.2, crun 1.23 and Kubernetes agreed on in 2025. The
/// older line from (2, 1) to (262,144, 10,000) gave a container of 1,024 shares 39.
pub fn weightOfShares(shares: u64) u64 {
    if (shares <= 2) return 1;
    if (shares >= 262_144) return 10_000;
    const log: f64 = @log2(@as(f64, @floatFromInt(shares)));
    const exponent = (log * log + 125 * log) / 612 - 7.0 / 34.0;
    const rounding = 1e-6; // 99.9999999999 and 100.0000000001 are both 100.
    return @ceil(@exp(exponent * std.math.ln10) - rounding);
}

/// `64KB`, `2MB`, `1GB`: as the kernel names its files.
fn isPageSize(size: []const u8) bool {
    if (size.len < 3 or size.len > 16 or size[size.len - 1] != 'B') return false;
    if (std.mem.findScalar(u8, "KMG", size[size.len - 2]) == null) return false;
    return std.mem.findNone(u8, size[0 .. size.len - 2], "0123456789") == null;
}

fn isWord(name: []const u8) bool {
    if (name.len == 0 or name.len > 64) return false;
    for (name) |byte| if (byte <= ' ' or byte >= 0x7f) return false;
    return true;
}

/// A file that limits. Those of the cgroup itself move, freeze and kill processes, which
/// is not for a container's configuration to do, but for three.
fn isLimitFile(file: []const u8) bool {
    if (!isWord(file) or std.mem.findScalar(u8, file, '/') != null) return false;
    const prefix, const rest = std.mem.cutScalar(u8, file, '.') orelse return false;
    if (prefix.len == 0 or rest.len == 0) return false;
    if (!std.mem.eql(u8, prefix, "cgroup")) return true;
    for ([_][]const u8{ "max.depth", "max.descendants", "pressure" }) |harmless| {
        if (std.mem.eql(u8, rest, harmless)) return true;
    }
    return false;
}

test {
    _ = @import("limits_test.zig");
}
