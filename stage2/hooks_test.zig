//! Hooks that do well, badly, late and too much, all of them /bin/sh.

const std = @import("std");
const expectEqual = std.testing.expectEqual;
const expectEqualStrings = std.testing.expectEqualStrings;
const linux = @import("linux");
const os = linux.os;
const hooks = @import("hooks.zig");
const Hook = hooks.Hook;
const Hooks = hooks.Hooks;
const Problem = hooks.Problem;

fn shell(comptime script: [:0]const u8) Hook {
    return .{ .path = "/bin/sh", .args = &.{ "sh", "-c", script } };
}

/// Runs prestart hooks and returns the message of the one that failed, or nothing.
fn messageOf(list: []const Hook, buffer: []u8) ![]const u8 {
    var failure: linux.Failure = .{};
    var problem: Problem = .{};
    hooks.run(&failure, &.{ .prestart = list }, .prestart, "{}", null, &problem) catch {
        try expectEqual(linux.Failure.Step.hook, failure.step);
        try expectEqual(problem.place, @as(hooks.Place, @bitCast(failure.index)));
        return problem.message(buffer);
    };
    try expectEqual(null, problem.cause);
    return "";
}

fn expectMessage(expected: []const u8, list: []const Hook) !void {
    var buffer: [2048]u8 = undefined;
    try expectEqualStrings(expected, try messageOf(list, &buffer));
}

test "a failure names the hook, how it ended and what it said, and stops the rest" {
    try expectMessage("", &.{ shell("exit 0"), shell("echo all well; true") });
    try expectMessage(
        \\Cannot run hook "prestart[1]": "/bin/sh" exited with 3: no such bridge
    , &.{ shell("true"), shell("echo no such bridge >&2; exit 3"), shell("exit 4") });
    try expectMessage(
        \\Cannot run hook "prestart[0]": "/bin/sh" was ended by signal 15
    , &.{shell("kill $$")});
    try expectMessage(
        \\Cannot run hook "prestart[0]": "/nonexistent" does not start: ENOENT
    , &.{.{ .path = "/nonexistent" }});
    try expectMessage(
        \\Cannot run hook "prestart[0]": "/etc" does not start: EACCES
    , &.{.{ .path = "/etc" }});
}

test "what a hook says is bounded, and loses its control characters" {
    try expectMessage(
        \\Cannot run hook "prestart[0]": "/bin/sh" exited with 1: a [31mred  b
    , &.{shell("printf 'a\\033[31mred\\n\\tb\\n'; exit 1")});
    var buffer: [2048]u8 = undefined;
    const loud = try messageOf(&.{shell("i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done; exit 1")}, &buffer);
    try std.testing.expect(loud.len < 1200);
    try std.testing.expect(std.mem.endsWith(u8, loud, "line 39998 line 39999"));
    var short: [20]u8 = undefined;
    try expectEqualStrings("Cannot run hook \"pre", try messageOf(&.{shell("exit 1")}, &short));
}

test "a hook that is late is killed with what it started" {
    var late = shell("sleep 30 & sleep 30; echo never");
    late.timeout = 1;
    const before = seconds();
    try expectMessage(
        \\Cannot run hook "prestart[0]": "/bin/sh" took longer than 1 s
    , &.{late});
    var talking = shell("while :; do echo still here; done");
    talking.timeout = 1;
    var buffer: [2048]u8 = undefined;
    const message = try messageOf(&.{talking}, &buffer);
    try std.testing.expect(std.mem.startsWith(u8, message, "Cannot run hook \"prestart[0]\": \"/bin/sh\" took longer than 1 s: "));
    try std.testing.expect(seconds() - before < 10);
}

test "a hook that leaves a daemon behind does not hold us up" {
    const before = seconds();
    try expectMessage("", &.{shell("sleep 3 & exit 0")});
    try std.testing.expect(seconds() - before < 3);
}

test "a hook reads the state, and has nothing but its streams and its own environment" {
    var failure: linux.Failure = .{};
    const json = "{\"id\":\"web\"}";
    var open: [2]os.fd_t = undefined;
    _ = os.pipe2(&open, .{}); // Left open on purpose: without close-on-exec.
    defer for (open) |fd| linux.file.close(fd);
    var problem: Problem = .{};
    const tell = "cat; echo; ls /proc/self/fd | tr '\\n' ' '; pwd; env | grep -v ^_= | sort; exit 9";
    for ([_][]const [:0]const u8{ &.{}, &.{ "A=1", "PATH=/bin:/usr/bin" } }, [_][]const u8{
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/",
        "A=1\nPATH=/bin:/usr/bin\nPWD=/",
    }) |env, expected| {
        var hook = shell(tell);
        hook.env = env;
        failure = .{};
        try std.testing.expectError(error.Failed, hooks.run(&failure, &.{ .createRuntime = &.{hook} }, .createRuntime, json, null, &problem));
        var whole: [2048]u8 = undefined;
        const text = try std.fmt.bufPrint(&whole, "{s}\n0 1 2 3 /\n{s}\n", .{ json, expected });
        try expectEqualStrings(text, problem.output.bytes[0..problem.output.len]);
    }
}

test "after the end the other hooks run all the same, and the first problem is told" {
    var failure: linux.Failure = .{};
    var problem: Problem = .{};
    try hooks.run(&failure, &.{ .poststop = &.{ shell("exit 5"), shell("exit 6") } }, .poststop, "{}", null, &problem);
    try expectEqual(@as(u8, 5), problem.cause.?.exited);
    try expectEqual(linux.Failure.Step.none, failure.step);
}

test "a hook that cannot run as it is written is found beforehand, by its place" {
    const bad = [_]Hook{
        .{ .path = "bin/sh" },
        .{ .path = "" },
        .{ .path = "/bin/sh", .timeout = 0 },
        .{ .path = "/bin/sh", .env = &.{"NOVALUE"} },
        .{ .path = "/bin/sh", .env = &.{"=x"} },
    };
    for (bad) |hook| {
        const list: Hooks = .{ .poststop = &.{ shell("true"), hook } };
        try expectEqual(hooks.Place{ .point = .poststop, .entry = 1 }, list.firstInvalid().?);
        var buffer: [256]u8 = undefined;
        try std.testing.expect(std.mem.endsWith(u8, try messageOf(&.{hook}, &buffer), "does not start: EINVAL"));
    }
    try expectEqual(null, (Hooks{ .prestart = &.{shell("true")} }).firstInvalid());
}

test "hooks run the same from a block" {
    const list = [_]Hook{
        shell("cat >/dev/null"),
        .{ .path = "/bin/sh", .args = &.{ "sh", "-c", "cat; echo \" $A $0 $1\"; exit 4", "x", "y z" }, .env = &.{"A=b"}, .timeout = 20 },
    };
    const begun = "{\"id\":\"web\"";
    var block: [512]u8 = undefined;
    const size = hooks.Packed.size(begun, &list);
    hooks.Packed.write(block[0..size], begun, &list);
    var failure: linux.Failure = .{};
    var message: []const u8 = "";
    try std.testing.expectError(error.Failed, hooks.Packed.run(&failure, block[0..size], 7, &message));
    try expectEqualStrings(
        \\Cannot run hook "startContainer[1]": "/bin/sh" exited with 4: {"id":"web","status":"created","pid":7} b x y z
    , message);
}

fn seconds() i64 {
    var time: os.timespec = undefined;
    _ = os.clock_gettime(.MONOTONIC, &time);
    return time.sec;
}
