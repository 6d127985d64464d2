//! One table: what is asked for, and what each kind of host is told.

const std = @import("std");
const linux = @import("linux");
const limits = @import("limits.zig");
const Limits = limits.Limits;
const Available = limits.Available;

const v1: Available = .{ .v1 = .initMany(&.{ .cpu, .cpuacct, .cpuset, .memory, .devices, .freezer, .blkio, .pids, .hugetlb, .net_cls, .net_prio, .rdma }) };
const v2: Available = .{ .v2 = .initMany(&.{ .cpu, .cpuset, .memory, .io, .pids, .hugetlb, .rdma }), .unified = true };
const nothing: Available = .{};

/// Each write as `file=value`, or `file=value|otherwise=value`; one a line.
const Recorder = struct {
    buffer: [2048]u8 = undefined,
    len: usize = 0,

    pub fn set(recorder: *Recorder, setting: limits.Setting) error{Failed}!void {
        recorder.add("{s}={s}", .{ setting.file, setting.value });
        if (setting.otherwise) |other| recorder.add("|{s}={s}", .{ other.file, other.value });
        recorder.add("\n", .{});
    }

    fn add(recorder: *Recorder, comptime format: []const u8, args: anytype) void {
        const text = std.fmt.bufPrint(recorder.buffer[recorder.len..], format, args) catch unreachable;
        recorder.len += text.len;
    }
};

const Row = struct { wanted: Limits, v1: []const u8, v2: []const u8 };

/// A result that begins with `!` is a refusal: `!KEY[ENTRY] ERRNO`.
fn expectResult(wanted: *const Limits, available: Available, expected: []const u8) !void {
    var recorder: Recorder = .{};
    var failure: linux.Failure = .{};
    limits.forEach(wanted, available, &failure, &recorder) catch {
        const place: limits.Place = @bitCast(failure.index);
        recorder.len = 0;
        recorder.add("!{t}", .{place.key});
        if (place.entry > 0) recorder.add("[{d}]", .{place.entry});
        const errno: linux.E = @fromBackingInt(failure.errno);
        recorder.add(" {t}\n", .{errno});
        try std.testing.expectEqual(linux.Failure.Step.limit, failure.step);
    };
    try std.testing.expectEqualStrings(expected, std.mem.trimEnd(u8, recorder.buffer[0..recorder.len], "\n"));
}

const table = [_]Row{
    .{ .wanted = .{}, .v1 = "", .v2 = "" },
    // cpu
    .{ .wanted = .{ .cpu = .{ .shares = 1024 } }, .v1 = "cpu.shares=1024", .v2 = "cpu.weight=100" },
    .{ .wanted = .{ .cpu = .{ .shares = 0 } }, .v1 = "", .v2 = "" },
    .{ .wanted = .{ .cpu = .{ .quota = 50_000 } }, .v1 = "cpu.cfs_quota_us=50000", .v2 = "cpu.max=50000" },
    .{
        .wanted = .{ .cpu = .{ .quota = 50_000, .period = 100_000, .burst = 10_000 } },
        .v1 = "cpu.cfs_period_us=100000\ncpu.cfs_quota_us=50000\ncpu.cfs_burst_us=10000",
        .v2 = "cpu.max=50000 100000\ncpu.max.burst=10000",
    },
    .{ .wanted = .{ .cpu = .{ .quota = -1 } }, .v1 = "cpu.cfs_quota_us=-1", .v2 = "cpu.max=max" },
    .{ .wanted = .{ .cpu = .{ .quota = -2 } }, .v1 = "!cpu.quota INVAL", .v2 = "!cpu.quota INVAL" },
    .{ .wanted = .{ .cpu = .{ .quota = 10, .burst = 11 } }, .v1 = "!cpu.burst INVAL", .v2 = "!cpu.burst INVAL" },
    .{ .wanted = .{ .cpu = .{ .period = 50_000 } }, .v1 = "cpu.cfs_period_us=50000", .v2 = "cpu.max=max 50000" },
    .{ .wanted = .{ .cpu = .{ .realtimePeriod = 7, .realtimeRuntime = 5 } }, .v1 = "cpu.rt_period_us=7\ncpu.rt_runtime_us=5", .v2 = "!cpu.realtimePeriod OPNOTSUPP" },
    .{ .wanted = .{ .cpu = .{ .cpus = "0-1", .mems = "0" } }, .v1 = "cpuset.cpus=0-1\ncpuset.mems=0", .v2 = "cpuset.cpus=0-1\ncpuset.mems=0" },
    .{ .wanted = .{ .cpu = .{ .idle = 1, .shares = 2 } }, .v1 = "cpu.shares=2\ncpu.idle=1", .v2 = "cpu.weight=1\ncpu.idle=1" },
    .{ .wanted = .{ .cpu = .{ .idle = 0, .shares = 2 } }, .v1 = "cpu.idle=0\ncpu.shares=2", .v2 = "cpu.idle=0\ncpu.weight=1" },
    .{ .wanted = .{ .cpu = .{ .idle = 2 } }, .v1 = "!cpu.idle INVAL", .v2 = "!cpu.idle INVAL" },
    // memory
    .{ .wanted = .{ .memory = .{ .limit = 4096 } }, .v1 = "memory.limit_in_bytes=4096", .v2 = "memory.max=4096" },
    .{ .wanted = .{ .memory = .{ .limit = -1, .swap = -1 } }, .v1 = "memory.limit_in_bytes=-1\nmemory.memsw.limit_in_bytes=-1", .v2 = "memory.max=max\nmemory.swap.max=max" },
    .{ .wanted = .{ .memory = .{ .reservation = 100 } }, .v1 = "memory.soft_limit_in_bytes=100", .v2 = "memory.low=100" },
    // Memory and swap together on version 1, swap alone on version 2.
    .{ .wanted = .{ .memory = .{ .limit = 100, .swap = 300 } }, .v1 = "memory.limit_in_bytes=100\nmemory.memsw.limit_in_bytes=300", .v2 = "memory.max=100\nmemory.swap.max=200" },
    .{ .wanted = .{ .memory = .{ .limit = 100, .swap = 100 } }, .v1 = "memory.limit_in_bytes=100\nmemory.memsw.limit_in_bytes=100", .v2 = "memory.max=100\nmemory.swap.max=0" },
    .{ .wanted = .{ .memory = .{ .swap = 300 } }, .v1 = "memory.memsw.limit_in_bytes=300", .v2 = "!memory.swap INVAL" },
    .{ .wanted = .{ .memory = .{ .limit = 100, .swap = 99 } }, .v1 = "!memory.swap INVAL", .v2 = "!memory.swap INVAL" },
    .{ .wanted = .{ .memory = .{ .kernel = 1 } }, .v1 = "memory.kmem.limit_in_bytes=1", .v2 = "!memory.kernel OPNOTSUPP" },
    .{ .wanted = .{ .memory = .{ .kernelTCP = 1 } }, .v1 = "memory.kmem.tcp.limit_in_bytes=1", .v2 = "!memory.kernelTCP OPNOTSUPP" },
    .{ .wanted = .{ .memory = .{ .swappiness = 0 } }, .v1 = "memory.swappiness=0", .v2 = "!memory.swappiness OPNOTSUPP" },
    .{ .wanted = .{ .memory = .{ .swappiness = 101 } }, .v1 = "!memory.swappiness INVAL", .v2 = "!memory.swappiness INVAL" },
    .{ .wanted = .{ .memory = .{ .disableOOMKiller = true } }, .v1 = "memory.oom_control=1", .v2 = "!memory.disableOOMKiller OPNOTSUPP" },
    .{ .wanted = .{ .memory = .{ .disableOOMKiller = false } }, .v1 = "memory.oom_control=0", .v2 = "" },
    .{ .wanted = .{ .memory = .{ .useHierarchy = true } }, .v1 = "memory.use_hierarchy=1", .v2 = "" },
    .{ .wanted = .{ .memory = .{ .useHierarchy = false } }, .v1 = "memory.use_hierarchy=0", .v2 = "!memory.useHierarchy OPNOTSUPP" },
    // pids
    .{ .wanted = .{ .pids = .{ .limit = 10 } }, .v1 = "pids.max=10", .v2 = "pids.max=10" },
    .{ .wanted = .{ .pids = .{ .limit = -1 } }, .v1 = "pids.max=max", .v2 = "pids.max=max" },
    .{ .wanted = .{ .pids = .{ .limit = 0 } }, .v1 = "pids.max=0", .v2 = "pids.max=0" },
    // block I/O
    .{ .wanted = .{ .blockIO = .{ .weight = 10 } }, .v1 = "blkio.weight=10|blkio.bfq.weight=10", .v2 = "io.bfq.weight=10|io.weight=1" },
    .{ .wanted = .{ .blockIO = .{ .weight = 1000 } }, .v1 = "blkio.weight=1000|blkio.bfq.weight=1000", .v2 = "io.bfq.weight=1000|io.weight=10000" },
    .{ .wanted = .{ .blockIO = .{ .weight = 9 } }, .v1 = "!blockIO.weight INVAL", .v2 = "!blockIO.weight INVAL" },
    .{ .wanted = .{ .blockIO = .{ .leafWeight = 10 } }, .v1 = "blkio.leaf_weight=10", .v2 = "!blockIO.leafWeight OPNOTSUPP" },
    .{
        .wanted = .{ .blockIO = .{ .weightDevice = &.{.{ .major = 8, .minor = 16, .weight = 505 }} } },
        .v1 = "blkio.weight_device=8:16 505|blkio.bfq.weight_device=8:16 505",
        .v2 = "io.bfq.weight=8:16 505|io.weight=8:16 5000",
    },
    .{ .wanted = .{ .blockIO = .{ .weightDevice = &.{.{ .major = 8, .minor = 0 }} } }, .v1 = "!blockIO.weightDevice INVAL", .v2 = "!blockIO.weightDevice INVAL" },
    .{
        .wanted = .{ .blockIO = .{ .throttleReadBpsDevice = &.{.{ .major = 8, .minor = 0, .rate = 600 }}, .throttleWriteBpsDevice = &.{.{ .major = 8, .minor = 0, .rate = 0 }} } },
        .v1 = "blkio.throttle.read_bps_device=8:0 600\nblkio.throttle.write_bps_device=8:0 0",
        .v2 = "io.max=8:0 rbps=600\nio.max=8:0 wbps=max",
    },
    .{
        .wanted = .{ .blockIO = .{ .throttleReadIOPSDevice = &.{.{ .major = 8, .minor = 0, .rate = 5 }}, .throttleWriteIOPSDevice = &.{.{ .major = 8, .minor = 1, .rate = 6 }} } },
        .v1 = "blkio.throttle.read_iops_device=8:0 5\nblkio.throttle.write_iops_device=8:1 6",
        .v2 = "io.max=8:0 riops=5\nio.max=8:1 wiops=6",
    },
    // the others
    .{
        .wanted = .{ .hugepageLimits = &.{.{ .pageSize = "2MB", .limit = 4194304 }} },
        .v1 = "hugetlb.2MB.rsvd.limit_in_bytes=4194304|hugetlb.2MB.limit_in_bytes=4194304",
        .v2 = "hugetlb.2MB.rsvd.max=4194304|hugetlb.2MB.max=4194304",
    },
    .{ .wanted = .{ .hugepageLimits = &.{ .{ .pageSize = "1GB", .limit = 0 }, .{ .pageSize = "../2MB", .limit = 0 } } }, .v1 = "!hugepageLimits[1] INVAL", .v2 = "!hugepageLimits[1] INVAL" },
    .{ .wanted = .{ .network = .{ .classID = 0x100001 } }, .v1 = "net_cls.classid=1048577", .v2 = "!network.classID OPNOTSUPP" },
    .{ .wanted = .{ .network = .{ .priorities = &.{.{ .name = "eth0", .priority = 5 }} } }, .v1 = "net_prio.ifpriomap=eth0 5", .v2 = "!network.priorities OPNOTSUPP" },
    .{ .wanted = .{ .rdma = &.{.{ .key = "mlx5_1", .value = .{ .hcaHandles = 3 } }} }, .v1 = "rdma.max=mlx5_1 hca_handle=3", .v2 = "rdma.max=mlx5_1 hca_handle=3" },
    .{ .wanted = .{ .rdma = &.{.{ .key = "mlx5_1", .value = .{ .hcaHandles = 3, .hcaObjects = 4 } }} }, .v1 = "rdma.max=mlx5_1 hca_handle=3 hca_object=4", .v2 = "rdma.max=mlx5_1 hca_handle=3 hca_object=4" },
    // unified
    .{ .wanted = .{ .unified = &.{.{ .key = "memory.high", .value = "1000" }} }, .v1 = "!unified OPNOTSUPP", .v2 = "memory.high=1000" },
    .{ .wanted = .{ .unified = &.{.{ .key = "cgroup.max.descendants", .value = "10" }} }, .v1 = "!unified OPNOTSUPP", .v2 = "cgroup.max.descendants=10" },
    .{ .wanted = .{ .unified = &.{ .{ .key = "memory.high", .value = "1" }, .{ .key = "misc.max", .value = "1" } } }, .v1 = "!unified OPNOTSUPP", .v2 = "!unified[1] OPNOTSUPP" },
    .{ .wanted = .{ .unified = &.{.{ .key = "cgroup.procs", .value = "1" }} }, .v1 = "!unified INVAL", .v2 = "!unified INVAL" },
    .{ .wanted = .{ .unified = &.{.{ .key = "../memory.max", .value = "1" }} }, .v1 = "!unified INVAL", .v2 = "!unified INVAL" },
    .{ .wanted = .{ .unified = &.{.{ .key = "memory", .value = "1" }} }, .v1 = "!unified INVAL", .v2 = "!unified INVAL" },
};

test "every limit becomes a write or a refusal that names it" {
    for (&table) |*row| {
        try expectResult(&row.wanted, v1, row.v1);
        try expectResult(&row.wanted, v2, row.v2);
    }
}

test "without the controller nothing that writes is passed over" {
    for (&table) |*row| {
        if (row.v1.len == 0 or row.v1[0] == '!') continue;
        var recorder: Recorder = .{};
        var failure: linux.Failure = .{};
        try std.testing.expectError(error.Failed, limits.forEach(&row.wanted, nothing, &failure, &recorder));
        try std.testing.expectEqual(@backingInt(linux.E.OPNOTSUPP), failure.errno);
    }
}

test "on a hybrid host each limit goes where its controller is" {
    const hybrid: Available = .{ .v1 = .initMany(&.{ .memory, .pids }), .v2 = .initMany(&.{ .hugetlb, .io }), .unified = true };
    try expectResult(&.{ .memory = .{ .limit = 1 }, .hugepageLimits = &.{.{ .pageSize = "2MB", .limit = 2 }} }, hybrid, "memory.limit_in_bytes=1\nhugetlb.2MB.rsvd.max=2|hugetlb.2MB.max=2");
    try expectResult(&.{ .cpu = .{ .shares = 5 } }, hybrid, "!cpu.shares OPNOTSUPP");
    try expectResult(&.{ .unified = &.{.{ .key = "memory.high", .value = "1" }} }, hybrid, "!unified OPNOTSUPP");
}

test "shares become a weight: the ends and the default meet, more is never less" {
    const known = [_][2]u64{ .{ 0, 1 }, .{ 2, 1 }, .{ 1024, 100 }, .{ 2000, 170 }, .{ 262_144, 10_000 }, .{ 1 << 40, 10_000 } };
    for (known) |pair| try std.testing.expectEqual(pair[1], limits.weightOfShares(pair[0]));
    var last: u64 = 0;
    var shares: u64 = 2;
    while (shares <= 262_144) : (shares += 7) {
        const weight = limits.weightOfShares(shares);
        try std.testing.expect(weight >= last and weight >= 1 and weight <= 10_000);
        last = weight;
    }
}
