//! Compiled programs, run call by call beside a direct reading of their profiles.

const std = @import("std");
const expectEqual = std.testing.expectEqual;
const expectError = std.testing.expectError;
const bpf = @import("bpf.zig");
const compiler = @import("compile.zig");
const Data = compiler.Data;
const numbers = @import("numbers.zig");
const Call = numbers.Call;
const profiles = @import("profile.zig");
const Profile = profiles.Profile;
const Rule = profiles.Rule;
const Condition = profiles.Condition;
const Action = profiles.Action;

var scratch: compiler.Scratch = undefined;

/// What `profile` says of a call, read rule by rule.
pub fn verdict(profile: Profile, data: *const Data) u32 {
    const arch: numbers.Arch = if (data.arch == compiler.auditArch(.x86_64))
        .x86_64
    else if (data.arch == compiler.auditArch(.i386) and profile.i386)
        .i386
    else
        return Action.kill.value();
    const unassigned = (profile.unassigned orelse profile.default).value();
    if (arch == .x86_64 and data.nr >= compiler.x32_bit and data.nr != 0xffffffff) return Action.kill.value();
    if (data.nr >= numbers.limit or !numbers.assigned(arch, @intCast(data.nr))) return unassigned;

    var highest: ?u32 = null;
    var found: ?Rule = null;
    var instead: ?Action = null;
    for (profile.rules) |rule| {
        var named = false;
        for (rule.calls) |call| {
            const number = call.number(arch) orelse continue;
            highest = @max(highest orelse 0, number);
            if (number == data.nr) named = true;
        }
        if (!named) continue;
        if (rule.otherwise) |action| if (instead == null or action.stricterThan(instead.?)) {
            instead = action;
        };
        if (!holds(rule, data)) continue;
        if (rule.conditions.len == 0 and rule.action.value() == profile.default.value()) continue;
        if (found == null or wins(rule, found.?)) found = rule;
    }
    if (data.nr > highest orelse numbers.limit) return unassigned;
    if (found) |rule| return rule.action.value();
    return (instead orelse profile.default).value();
}

fn wins(rule: Rule, other: Rule) bool {
    if (rule.action.kind.rank() != other.action.kind.rank()) return rule.action.kind.rank() < other.action.kind.rank();
    return rule.conditions.len == 0 and other.conditions.len > 0;
}

fn holds(rule: Rule, data: *const Data) bool {
    if (rule.conditions.len == 0) return true;
    for (rule.conditions) |condition| {
        const argument = data.args[condition.index];
        const one = switch (condition.operator) {
            .not_equal => argument != condition.value,
            .less => argument < condition.value,
            .less_or_equal => argument <= condition.value,
            .equal => argument == condition.value,
            .greater_or_equal => argument >= condition.value,
            .greater => argument > condition.value,
            .masked_equal => argument & condition.value == condition.value_two & condition.value,
        };
        if (one and rule.match == .any) return true;
        if (!one and rule.match == .all) return false;
    }
    return rule.match == .all;
}

fn answer(profile: Profile, name: []const u8, args: [6]u64) !u32 {
    const program = try compiler.compile(profile, &scratch);
    try bpf.check(program);
    const number = numbers.find(name).?.number(.x86_64).?;
    return bpf.run(program, &.{ .nr = number, .arch = compiler.auditArch(.x86_64), .args = args });
}

const refused = Action.errno(.PERM).value();
const allowed = Action.allow.value();
const missing = Action.errno(.NOSYS).value();

test "conditions of a rule must all hold; of two rules one suffices" {
    const zero: Condition = .{ .index = 0, .operator = .equal, .value = 0 };
    const one: Condition = .{ .index = 1, .operator = .equal, .value = 1 };
    const both: Profile = .{ .default = .errno(.PERM), .rules = &.{
        .{ .calls = numbers.list("dup2"), .action = .allow, .conditions = &.{ zero, one } },
    } };
    try expectEqual(allowed, try answer(both, "dup2", .{ 0, 1, 9, 9, 9, 9 }));
    try expectEqual(refused, try answer(both, "dup2", .{ 0, 2, 9, 9, 9, 9 }));
    try expectEqual(refused, try answer(both, "dup2", .{ 1, 1, 9, 9, 9, 9 }));

    const either: Profile = .{ .default = .errno(.PERM), .rules = &.{
        .{ .calls = numbers.list("dup2"), .action = .allow, .conditions = &.{zero} },
        .{ .calls = numbers.list("dup2"), .action = .allow, .conditions = &.{one} },
    } };
    try expectEqual(allowed, try answer(either, "dup2", .{ 0, 2, 9, 9, 9, 9 }));
    try expectEqual(allowed, try answer(either, "dup2", .{ 1, 1, 9, 9, 9, 9 }));
    try expectEqual(refused, try answer(either, "dup2", .{ 1, 2, 9, 9, 9, 9 }));
}

test "two conditions on one argument make a range, where runc would allow everything" {
    var rule: Rule = .{ .calls = numbers.list("socket"), .action = .allow, .conditions = &.{
        .{ .index = 0, .operator = .not_equal, .value = 38 },
        .{ .index = 0, .operator = .not_equal, .value = 40 },
    } };
    try expectEqual(refused, try answer(.{ .default = .errno(.PERM), .rules = &.{rule} }, "socket", .{ 38, 0, 0, 0, 0, 0 }));
    try expectEqual(allowed, try answer(.{ .default = .errno(.PERM), .rules = &.{rule} }, "socket", .{ 39, 0, 0, 0, 0, 0 }));
    rule.match = .any;
    try expectEqual(allowed, try answer(.{ .default = .errno(.PERM), .rules = &.{rule} }, "socket", .{ 38, 0, 0, 0, 0, 0 }));
}

test "the strictest of the rules that match holds" {
    const profile: Profile = .{ .default = .errno(.PERM), .rules = &.{
        .{ .calls = numbers.list("kill"), .action = .allow },
        .{ .calls = numbers.list("kill"), .action = .{ .kind = .log }, .conditions = &.{.{ .index = 1, .operator = .less, .value = 10 }} },
        .{ .calls = numbers.list("kill"), .action = .kill, .conditions = &.{.{ .index = 1, .operator = .equal, .value = 9 }} },
    } };
    try expectEqual(allowed, try answer(profile, "kill", .{ 1, 10, 0, 0, 0, 0 }));
    try expectEqual(@as(u32, 0x7ffc0000), try answer(profile, "kill", .{ 1, 8, 0, 0, 0, 0 }));
    try expectEqual(Action.kill.value(), try answer(profile, "kill", .{ 1, 9, 0, 0, 0, 0 }));
}

test "a rule that repeats the default does not hide an exception" {
    const profile: Profile = .{ .default = .errno(.PERM), .rules = &.{
        .{ .calls = numbers.list("personality"), .action = .errno(.PERM) },
        .{ .calls = numbers.list("personality"), .action = .allow, .conditions = &.{.{ .index = 0, .operator = .equal, .value = 0 }} },
    } };
    try expectEqual(allowed, try answer(profile, "personality", @splat(0)));
    try expectEqual(refused, try answer(profile, "personality", @splat(1)));
}

test "comparisons cover all 64 bits, unsigned" {
    const edge = 0x1_0000_0001;
    const expected = .{
        .{ .less, true, false, false },
        .{ .less_or_equal, true, true, false },
        .{ .equal, false, true, false },
        .{ .not_equal, true, false, true },
        .{ .greater_or_equal, false, true, true },
        .{ .greater, false, false, true },
    };
    inline for (expected) |row| {
        const profile: Profile = .{ .default = .errno(.PERM), .rules = &.{
            .{ .calls = numbers.list("write"), .action = .allow, .conditions = &.{.{ .index = 5, .operator = row[0], .value = edge }} },
        } };
        for ([_]u64{ 0, 1, 2, 0xffffffff, 0x1_0000_0000, edge - 1 }) |low| {
            try expectEqual(row[1], try answer(profile, "write", .{ 0, 0, 0, 0, 0, low }) == allowed);
        }
        try expectEqual(row[2], try answer(profile, "write", .{ 0, 0, 0, 0, 0, edge }) == allowed);
        for ([_]u64{ edge + 1, 0x2_0000_0000, std.math.maxInt(u64) }) |high| {
            try expectEqual(row[3], try answer(profile, "write", .{ 0, 0, 0, 0, 0, high }) == allowed);
        }
    }
}

test "what the profile's author could not know answers ENOSYS" {
    const profile: Profile = .{ .default = .kill, .rules = &.{
        .{ .calls = numbers.list("read pidfd_open"), .action = .allow },
    } };
    try expectEqual(allowed, try answer(profile, "pidfd_open", @splat(0)));
    try expectEqual(Action.kill.value(), try answer(profile, "write", @splat(0)));
    try expectEqual(missing, try answer(profile, "clone3", @splat(0)));
    const program = try compiler.compile(profile, &scratch);
    for ([_]u32{ 337, 423, 472, 511, 512, 100_000, 0x3fffffff, 0xffffffff }) |number| {
        try expectEqual(missing, bpf.run(program, &.{ .nr = number, .arch = compiler.auditArch(.x86_64) }));
    }
}

test "other ways into the kernel end the process" {
    const profile: Profile = .{ .default = .allow, .unassigned = null };
    const program = try compiler.compile(profile, &scratch);
    const kill = Action.kill.value();
    for ([_]u32{ 0x40000003, 0, 0xc00000b7, 0x8000003e, 0xffffffff }) |arch| {
        try expectEqual(kill, bpf.run(program, &.{ .nr = 0, .arch = arch }));
    }
    for ([_]u32{ 0x40000000, 0x40000001, 0x400001d7, 0x7fffffff, 0x80000000, 0xfffffffe }) |number| {
        try expectEqual(kill, bpf.run(program, &.{ .nr = number, .arch = compiler.auditArch(.x86_64) }));
    }
    try expectEqual(allowed, bpf.run(program, &.{ .nr = 0xffffffff, .arch = compiler.auditArch(.x86_64) }));
}

test "a profile that cannot be kept is refused, with the rule's position" {
    const fine: Rule = .{ .calls = numbers.list("read"), .action = .allow };
    const cases = [_]struct { anyerror, Profile }{
        .{ error.ErrnoTooLarge, .{ .default = .kill, .rules = &.{ fine, .{ .calls = numbers.list("dup"), .action = .{ .kind = .errno, .data = 4096 } } } } },
        .{ error.NoSuchArgument, .{ .default = .kill, .rules = &.{ fine, .{ .calls = numbers.list("dup"), .action = .allow, .conditions = &.{.int(6, 0)} } } } },
        .{ error.ListenerUnreachable, .{ .default = .allow, .rules = &.{ fine, .{ .calls = numbers.list("write"), .action = .{ .kind = .notify } } } } },
    };
    for (cases) |case| {
        try expectError(case[0], compiler.compile(case[1], &scratch));
        try expectEqual(1, scratch.rule);
    }
    try expectError(error.ListenerUnreachable, compiler.compile(.{ .default = .{ .kind = .notify } }, &scratch));
}

/// `count` rules for one call, each for another value of its first argument.
fn manyValues(comptime count: usize) [count]Rule {
    @setEvalBranchQuota(100_000);
    var rules: [count]Rule = undefined;
    for (&rules, 0..) |*rule, value| rule.* = .{
        .calls = numbers.list("ioctl"),
        .action = .allow,
        .conditions = &.{.{ .index = 1, .operator = .equal, .value = value << 32 | value }},
    };
    return rules;
}

test "jumps of any length arrive" {
    const rules = comptime manyValues(500);
    const profile: Profile = .{ .default = .errno(.PERM), .rules = &rules };
    const program = try compiler.compile(profile, &scratch);
    try bpf.check(program);
    try std.testing.expect(program.len > 1000);
    for (0..501) |value| {
        for ([_]u64{ value, value << 32 | value }) |argument| {
            const data: Data = .{ .nr = 16, .arch = compiler.auditArch(.x86_64), .args = .{ 0, argument, 0, 0, 0, 0 } };
            try expectEqual(verdict(profile, &data), bpf.run(program, &data));
        }
    }
}

test "a program that the kernel would not take is refused" {
    // Different actions for the same test share nothing.
    const Wide = struct {
        const conditions: [600]Condition = @splat(.{ .index = 0, .operator = .greater, .value = 1 << 40 });
        const rules: [4]Rule = .{
            .{ .calls = numbers.list("read"), .action = .errno(.PERM), .conditions = &conditions },
            .{ .calls = numbers.list("write"), .action = .errno(.ACCES), .conditions = &conditions },
            .{ .calls = numbers.list("open"), .action = .errno(.NOENT), .conditions = &conditions },
            .{ .calls = numbers.list("close"), .action = .errno(.BADF), .conditions = &conditions },
        };
    };
    try expectError(error.ProgramTooLong, compiler.compile(.{ .default = .allow, .rules = &Wide.rules }, &scratch));
    const Many = struct {
        const rules: [3000]Rule = @splat(.{ .calls = numbers.list("read"), .action = .errno(.PERM) });
    };
    try expectError(error.ProfileTooLarge, compiler.compile(.{ .default = .allow, .rules = &Many.rules }, &scratch));
}

/// Profiles at random, with few calls and few values so that rules meet.
const Generator = struct {
    random: std.Random,
    calls: [24][8]Call = undefined,
    conditions: [24][3]Condition = undefined,
    rules: [24]Rule = undefined,
    words: []const u64 = &.{ 0, 1, 2, 0xffffffff, 0x1_0000_0000, 0x1_0000_0001, 0xffffffff_00000001, 0x8000_0000, 0x7e020000, std.math.maxInt(u64) },

    fn action(generator: *Generator) Action {
        const kinds = [_]Action.Kind{ .kill_process, .kill_thread, .trap, .errno, .trace, .log, .allow, .allow, .errno };
        const kind = kinds[generator.random.uintLessThan(usize, kinds.len)];
        return .{ .kind = kind, .data = if (kind == .errno or kind == .trace) generator.random.uintLessThan(u16, 5) else 0 };
    }

    fn word(generator: *Generator) u64 {
        if (generator.random.boolean()) return generator.random.int(u64) >> generator.random.int(u6);
        return generator.words[generator.random.uintLessThan(usize, generator.words.len)];
    }

    fn profile(generator: *Generator, spread: u16) Profile {
        const random = generator.random;
        const len = random.uintLessThan(usize, generator.rules.len + 1);
        for (generator.rules[0..len], generator.calls[0..len], generator.conditions[0..len]) |*rule, *calls, *conditions| {
            const calls_len = random.uintAtMost(usize, calls.len);
            for (calls[0..calls_len]) |*call| call.* = @fromBackingInt(random.uintLessThan(u16, spread));
            const conditions_len = random.uintAtMost(usize, conditions.len) * random.int(u1);
            for (conditions[0..conditions_len]) |*condition| condition.* = .{
                .index = random.uintLessThan(u8, 6) / 2,
                .operator = random.enumValue(Condition.Operator),
                .value = generator.word(),
                .value_two = generator.word(),
            };
            rule.* = .{
                .calls = calls[0..calls_len],
                .action = generator.action(),
                .conditions = conditions[0..conditions_len],
                .match = random.enumValue(Rule.Match),
                .otherwise = if (conditions_len > 0 and random.boolean()) generator.action() else null,
            };
        }
        return .{
            .default = generator.action(),
            .unassigned = if (random.boolean()) generator.action() else null,
            .i386 = random.boolean(),
            .rules = generator.rules[0..len],
        };
    }

    fn data(generator: *Generator, profile_under_test: Profile) Data {
        const random = generator.random;
        const archs = [_]u32{ compiler.auditArch(.x86_64), compiler.auditArch(.x86_64), compiler.auditArch(.i386), 0x40000028 };
        var made: Data = .{
            .nr = if (random.uintLessThan(u8, 8) == 0) random.int(u32) else random.uintLessThan(u32, numbers.limit + 8),
            .arch = archs[random.uintLessThan(usize, archs.len)],
            .instruction_pointer = random.int(u64),
        };
        for (&made.args) |*argument| argument.* = generator.word();
        if (profile_under_test.rules.len == 0 or random.uintLessThan(u8, 4) == 0) return made;
        // Aim at a rule, and near its edges.
        const rule = profile_under_test.rules[random.uintLessThan(usize, profile_under_test.rules.len)];
        if (rule.calls.len > 0) {
            const call = rule.calls[random.uintLessThan(usize, rule.calls.len)];
            const arch: numbers.Arch = if (made.arch == compiler.auditArch(.i386)) .i386 else .x86_64;
            if (call.number(arch)) |number| made.nr = number;
        }
        for (rule.conditions) |condition| {
            const target = if (condition.operator == .masked_equal) condition.value_two & condition.value else condition.value;
            made.args[condition.index] = target +% random.uintLessThan(u64, 3) -% 1;
        }
        return made;
    }
};

test "a compiled program agrees with its profile, for profiles at random" {
    var seeded: std.Random.DefaultPrng = .init(0x6b75726d61);
    var generator: Generator = .{ .random = seeded.random() };
    for (0..2_000) |round| {
        const spread: u16 = if (round % 2 == 0) 6 else numbers.count;
        const profile = generator.profile(spread);
        const program = try compiler.compile(profile, &scratch);
        try bpf.check(program);
        for (0..200) |_| {
            const data = generator.data(profile);
            try expectEqual(verdict(profile, &data), bpf.run(program, &data));
        }
    }
}
