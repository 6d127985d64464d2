//! `linux.resources` and `hooks` of config.json are read as they are into the structs
//! that carry them out: every key of the runtime-spec has its place.

const std = @import("std");
const expectEqual = std.testing.expectEqual;
const expectEqualStrings = std.testing.expectEqualStrings;
const cgroup = @import("cgroup");
const hooks = @import("hooks");
const json = @import("json.zig");

fn decode(comptime T: type, buffer: []u8, text: []const u8) !T {
    var fixed: std.heap.FixedBufferAllocator = .init(buffer);
    var problem: json.Problem = .{};
    return json.decode(T, fixed.allocator(), text, &problem) catch |invalid| {
        std.debug.print("{s}\n", .{problem.text()});
        return invalid;
    };
}

test "every key of linux.resources is known" {
    var buffer: [16 * 1024]u8 = undefined;
    const limits = try decode(cgroup.Limits, &buffer,
        \\{
        \\  "unified": {"memory.high": "1000"},
        \\  "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
        \\  "pids": {"limit": 32771},
        \\  "hugepageLimits": [{"pageSize": "2MB", "limit": 9223372036854772000}],
        \\  "memory": {"limit": 536870912, "reservation": 536870912, "swap": 536870912, "kernel": -1, "kernelTCP": -1,
        \\    "swappiness": 0, "disableOOMKiller": false, "useHierarchy": false, "checkBeforeUpdate": true},
        \\  "cpu": {"shares": 1024, "quota": 1000000, "burst": 1000000, "period": 500000, "realtimeRuntime": 950000,
        \\    "realtimePeriod": 1000000, "cpus": "2-3", "mems": "0-7", "idle": 0},
        \\  "blockIO": {"weight": 10, "leafWeight": 10,
        \\    "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
        \\    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}], "throttleWriteBpsDevice": [],
        \\    "throttleReadIOPSDevice": [], "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 300}]},
        \\  "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
        \\  "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}
        \\}
    );
    try expectEqual(@as(?i64, 32771), limits.pids.limit);
    try expectEqualStrings("2-3", limits.cpu.cpus.?);
    try expectEqual(@as(u64, 300), limits.blockIO.throttleWriteIOPSDevice[0].rate);
    try expectEqual(@as(?u32, 10000), limits.rdma[0].value.hcaObjects);
    try expectEqualStrings("memory.high", limits.unified[0].key);
    try expectEqual(@as(?i64, 229), limits.devices.?[1].minor);
}

test "hooks at all six points are known" {
    var buffer: [16 * 1024]u8 = undefined;
    const hook =
        \\[{"path": "/bin/hook", "args": ["hook", "arg1"], "env": ["key1=value1"], "timeout": 3}]
    ;
    const list = try decode(hooks.Hooks, &buffer, "{\"prestart\":" ++ hook ++ ",\"createRuntime\":" ++ hook ++ ",\"createContainer\":" ++ hook ++
        ",\"startContainer\":" ++ hook ++ ",\"poststart\":" ++ hook ++ ",\"poststop\":" ++ hook ++ "}");
    for (std.enums.values(hooks.Point)) |point| {
        try expectEqual(1, list.at(point).len);
        try expectEqual(@as(?u32, 3), list.at(point)[0].timeout);
    }
    try expectEqual(null, list.firstInvalid());
}
