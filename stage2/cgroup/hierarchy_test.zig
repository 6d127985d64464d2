//! Recorded tables of five kinds of hosts, and broken ones.

const std = @import("std");
const expectEqual = std.testing.expectEqual;
const expectEqualStrings = std.testing.expectEqualStrings;
const hierarchy = @import("hierarchy.zig");
const Controller = hierarchy.Controller;
const Hierarchies = hierarchy.Hierarchies;
const Mode = hierarchy.Mode;

/// What is expected of one hierarchy, in mountinfo's order.
const Place = struct {
    mount: []const u8,
    own: []const u8,
    controllers: []const Controller = &.{},
};

fn expectPlaces(memberships: []const u8, mountinfo: []const u8, mode: Mode, places: []const Place) !void {
    const found: Hierarchies = .parse(memberships, mountinfo);
    try expectEqual(mode, found.mode());
    try expectEqual(places.len, found.len);
    for (places, found.slice()) |place, *actual| {
        try expectEqualStrings(place.mount, actual.mountPoint());
        try expectEqualStrings(place.own, actual.own());
        try expectEqual(place.mount.len + place.own.len, actual.directory().len);
        try std.testing.expect(actual.controllers.eql(.initMany(place.controllers)));
    }
}

test "version 1 alone: controllers mounted together, and one mounted twice" {
    try expectPlaces(
        \\6:name=systemd:/user.slice
        \\5:memory:/user.slice
        \\3:cpu,cpuacct:/
        \\
    ,
        \\25 19 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
        \\26 25 0:23 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
        \\28 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:12 - cgroup cgroup rw,cpu,cpuacct
        \\29 25 0:26 / /sys/fs/cgroup/memory rw,nosuid shared:13 master:1 - cgroup cgroup rw,memory
        \\90 25 0:26 / /mnt/memory-again rw,nosuid - cgroup cgroup rw,memory
        \\
    , .legacy, &.{
        .{ .mount = "/sys/fs/cgroup/cpu,cpuacct", .own = "", .controllers = &.{ .cpu, .cpuacct } },
        .{ .mount = "/sys/fs/cgroup/memory", .own = "/user.slice", .controllers = &.{.memory} },
    });
}

test "hybrid: version 2 beside version 1, standing at different places" {
    try expectPlaces(
        \\4:memory:/process_api/8c4f
        \\1:cpu:/
        \\0::/
        \\
    ,
        \\32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
        \\35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
        \\41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
        \\
    , .hybrid, &.{
        .{ .mount = "/sys/fs/cgroup/cpu", .own = "", .controllers = &.{.cpu} },
        .{ .mount = "/sys/fs/cgroup/memory", .own = "/process_api/8c4f", .controllers = &.{.memory} },
        .{ .mount = "/sys/fs/cgroup/unified", .own = "" },
    });
}

test "unified: a path with a colon, a mount point with an escaped space" {
    try expectPlaces(
        "0::/system.slice/kurmad:1.service\n",
        "24 18 0:21 / /sys/fs/my\\040cgroups rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        .unified,
        &.{.{ .mount = "/sys/fs/my cgroups", .own = "/system.slice/kurmad:1.service" }},
    );
}

test "on version 2, a process that stepped aside stands where it made room" {
    const mount = "24 18 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    try expectPlaces("0::/kurmad.service/kurma-host\n", mount, .unified, &.{.{ .mount = "/sys/fs/cgroup", .own = "/kurmad.service" }});
    try expectPlaces("0::/kurma-host\n", mount, .unified, &.{.{ .mount = "/sys/fs/cgroup", .own = "" }});
    try expectPlaces("0::/not-kurma-host\n", mount, .unified, &.{.{ .mount = "/sys/fs/cgroup", .own = "/not-kurma-host" }});
}

test "in a container with a cgroup namespace the own cgroup is the top" {
    try expectPlaces(
        "3:memory:/\n0::/\n",
        \\700 690 0:29 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
        \\701 690 0:30 / /sys/fs/cgroup/unified ro - cgroup2 cgroup rw
    ,
        .hybrid,
        &.{
            .{ .mount = "/sys/fs/cgroup/memory", .own = "", .controllers = &.{.memory} },
            .{ .mount = "/sys/fs/cgroup/unified", .own = "" },
        },
    );
}

test "in a container without one, the mount shows the container's part only" {
    try expectPlaces(
        "3:memory:/docker/af12/child\n2:pids:/docker/af12\n1:cpu:/elsewhere\n",
        \\700 690 0:29 /docker/af12 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
        \\701 690 0:30 /docker/af12 /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
        \\702 690 0:31 /docker/af1 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu
    ,
        .legacy,
        &.{
            .{ .mount = "/sys/fs/cgroup/memory", .own = "/child", .controllers = &.{.memory} },
            .{ .mount = "/sys/fs/cgroup/pids", .own = "", .controllers = &.{.pids} },
        },
    );
}

test "what lies outside of the own cgroup namespace is not used" {
    const outside = "700 690 0:29 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
    try expectPlaces("0::/\n", outside, .none, &.{});
    const moved = "700 690 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
    try expectPlaces("0::/../sibling\n", moved, .none, &.{});
}

test "nothing mounted, lines cut short and paths too long leave nothing" {
    try expectPlaces("", "", .none, &.{});
    const line = "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw";
    for (0..line.len - 3) |len| {
        const found: Hierarchies = .parse("0::/\n", line[0..len]);
        try std.testing.expect(found.len <= 1);
    }
    const too_long = &@as([hierarchy.max_path]u8, @splat('x'));
    const long = "41 31 0:38 / /" ++ too_long ++ " rw - cgroup2 cgroup2 rw";
    try expectPlaces("0::/\n", long, .none, &.{});
    try expectPlaces("0::/" ++ too_long ++ "\n", line, .none, &.{});
}

test "any bytes are read without harm" {
    var prng: std.Random.DefaultPrng = .init(0x6b75726d61);
    const random = prng.random();
    const base = "35 31 0:32 /a\\040b /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    for (0..20_000) |_| {
        var mountinfo = base.*;
        for (0..random.uintLessThan(usize, 6)) |_| {
            mountinfo[random.uintLessThan(usize, mountinfo.len)] = "/\\ :0\n-,\x00z"[random.uintLessThan(usize, 10)];
        }
        const found: Hierarchies = .parse("4:memory:/a b/c\n0::/\n", &mountinfo);
        for (found.slice()) |*item| {
            try std.testing.expect(std.mem.endsWith(u8, item.directory(), item.own()));
            try std.testing.expect(item.directory().len <= hierarchy.max_path);
        }
    }
}
