//! Turns a profile into a classic BPF program for seccomp(2).
//!
//! The architecture is looked at first, then the x32 range, then a balanced tree of
//! comparisons finds the call's number among ranges with the same answer. The
//! kernel runs a filter once for each number when it is installed, so the depth of
//! the tree is also what installing costs.
//!
//! ```
//!   ld arch ─ x86-64 ─ ld nr ─ below 2^30 ─ tree ─┬─ ret
//!      │                  └─ x32: ret kill        └─ ld argument … ret
//!      ├─ i386 ─ ld nr ─ tree …
//!      └─ ret kill
//! ```
//!
//! Source: linux/filter.h, linux/seccomp.h, Documentation/userspace-api/seccomp_filter.rst

const std = @import("std");
const assert = std.debug.assert;
const linux = @import("linux");
const numbers = @import("numbers.zig");
const Arch = numbers.Arch;
const profiles = @import("profile.zig");
const Profile = profiles.Profile;
const Rule = profiles.Rule;
const Condition = profiles.Condition;
const Action = profiles.Action;

/// struct sock_filter
pub const Instruction = extern struct {
    code: u16,
    /// How many instructions a true, a false comparison skips.
    jt: u8 = 0,
    jf: u8 = 0,
    k: u32,
};

/// BPF_MAXINSNS: the kernel takes no longer program.
pub const max_length = 4096;

/// The operation codes that a program of ours uses. linux/bpf_common.h
pub const Code = struct {
    pub const load = 0x20; // BPF_LD | BPF_W | BPF_ABS
    pub const mask = 0x54; // BPF_ALU | BPF_AND | BPF_K
    pub const jump = 0x05; // BPF_JMP | BPF_JA
    pub const equal = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    pub const above = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    pub const at_least = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    pub const give = 0x06; // BPF_RET | BPF_K
};

/// struct seccomp_data, which a program loads from.
pub const Data = extern struct {
    nr: u32,
    arch: u32,
    instruction_pointer: u64 = 0,
    args: [6]u64 = @splat(0),
};

/// AUDIT_ARCH_*: what `Data.arch` says. linux/audit.h
pub fn auditArch(arch: Arch) u32 {
    return switch (arch) {
        .x86_64 => 0xc000003e,
        .i386 => 0x40000003,
    };
}

/// __X32_SYSCALL_BIT
pub const x32_bit = 0x40000000;

/// A process that waits for a listener it cannot hand over waits for ever, so these
/// calls may not ask one.
pub const handing_over = numbers.list("write sendmsg");

pub const Error = error{
    /// The program has more than `max_length` instructions.
    ProgramTooLong,
    /// More rules and names than `Scratch` has room for.
    ProfileTooLarge,
    /// An errno above 4095, which the kernel would shorten.
    ErrnoTooLarge,
    /// An argument's index above 5.
    NoSuchArgument,
    /// The default, or a call in `handing_over`, asks the listener.
    ListenerUnreachable,
};

/// One line on what an error means, for the person who wrote the profile.
pub fn explain(err: Error) []const u8 {
    return switch (err) {
        error.ProgramTooLong => "Too many seccomp rules: the program would pass the kernel's limit of 4096 instructions",
        error.ProfileTooLarge => "Too many seccomp rules: at most 2048 system calls in all, and 512 rules for one",
        error.ErrnoTooLarge => "A seccomp errno is at most 4095",
        error.NoSuchArgument => "A system call's arguments are numbered from 0 to 5",
        error.ListenerUnreachable => "SCMP_ACT_NOTIFY is not possible as the default, nor for write and sendmsg, which hand over the listener",
    };
}

/// Room for one compilation. Large: keep it static, or on a stack that has 64 KiB.
pub const Scratch = struct {
    program: [max_length]Instruction,
    /// The rule that an error is about.
    rule: u16,

    links: [max_links]Link,
    links_len: u16,
    /// The rules that name a number, the first in the profile first.
    heads: [numbers.limit]u16,
    /// Where to go with which numbers, in ascending order.
    ranges: [numbers.limit + 1]Range,
    ranges_len: u16,
    leaves: [numbers.limit]Leaf,
    leaves_len: u16,
    /// The latest `ret` of each value.
    returns: [max_returns]Return,
    returns_len: u16,
    /// Rules of one leaf, the strictest first.
    order: [max_order]u16,

    const max_links = 2048;
    const max_returns = 512;
    const max_order = 512;
    const end = std.math.maxInt(u16);

    const Link = struct { rule: u16, next: u16 };
    const Range = struct { first: u32, leaf: u16 };
    /// What happens to numbers of a range: the rules with conditions that `sample`
    /// has, then `otherwise`.
    const Leaf = struct { sample: u16, conditional: bool, otherwise: Action, entry: Target };
    const Return = struct { value: u32, place: u16 };
};

/// Compiles `profile`. The result lies in `scratch.program`; it holds until the next
/// compilation.
///
/// Errors: as in `Error`; `scratch.rule` is the position of the rule that caused it.
pub fn compile(profile: Profile, scratch: *Scratch) Error![]const Instruction {
    try check(profile, scratch);
    var program: Assembler = .{ .scratch = scratch, .len = 0 };
    scratch.returns_len = 0;
    const kill: Target = .{ .give = Action.kill.value() };
    // Written from its end to its start: jumps only go forward, and this way where
    // they lead is known.
    var next = kill;
    if (profile.i386) {
        const tree = try section(profile, .i386, &program);
        try program.load(@offsetOf(Data, "nr"), tree);
        next = try program.branch(Code.equal, auditArch(.i386), program.here(), kill);
    }
    const tree = try section(profile, .x86_64, &program);
    // A tracer that skips a call leaves -1 for a number: that is not x32.
    const none = (profile.unassigned orelse profile.default).value();
    const x32 = try program.branch(Code.equal, std.math.maxInt(u32), .{ .give = none }, kill);
    const native = try program.branch(Code.at_least, x32_bit, x32, tree);
    try program.load(@offsetOf(Data, "nr"), native);
    _ = try program.branch(Code.equal, auditArch(.x86_64), program.here(), next);
    try program.load(@offsetOf(Data, "arch"), program.here());
    return scratch.program[max_length - program.len ..];
}

/// What can be said without knowing an architecture.
fn check(profile: Profile, scratch: *Scratch) Error!void {
    scratch.rule = 0;
    if (profile.rules.len >= Scratch.end) return error.ProfileTooLarge;
    if (profile.default.kind == .notify) return error.ListenerUnreachable;
    try checkErrno(profile.default);
    if (profile.unassigned) |action| try checkErrno(action);
    for (profile.rules, 0..) |rule, position| {
        scratch.rule = @intCast(position);
        try checkErrno(rule.action);
        if (rule.otherwise) |action| try checkErrno(action);
        for (rule.conditions) |condition| if (condition.index > 5) return error.NoSuchArgument;
        if (rule.action.kind == .notify) for (rule.calls) |call| {
            for (handing_over) |needed| if (call == needed) return error.ListenerUnreachable;
        };
    }
}

fn checkErrno(action: Action) Error!void {
    const max = 4095; // MAX_ERRNO
    if (action.kind == .errno and action.data > max) return error.ErrnoTooLarge;
}

/// Writes the tree of one architecture.
fn section(profile: Profile, arch: Arch, program: *Assembler) Error!Target {
    const scratch = program.scratch;
    const highest = try link(profile, arch, scratch);
    const unassigned = profile.unassigned orelse profile.default;

    scratch.ranges_len = 0;
    scratch.leaves_len = 0;
    for (0..@as(u32, highest) + 1) |each| {
        const number: u16 = @intCast(each);
        const leaf = if (numbers.assigned(arch, number))
            leafOf(profile, number, scratch)
        else
            fixedLeaf(unassigned, scratch);
        addRange(number, leaf, scratch);
    }
    addRange(@as(u32, highest) + 1, fixedLeaf(unassigned, scratch), scratch);

    for (scratch.leaves[0..scratch.leaves_len]) |*leaf| {
        if (leaf.conditional) leaf.entry = try block(profile, leaf, program);
    }
    return branchOver(scratch.ranges[0..scratch.ranges_len], program);
}

/// Hangs each rule on the numbers it names. Returns the highest of them: what lies
/// above it, the profile's author did not know.
fn link(profile: Profile, arch: Arch, scratch: *Scratch) Error!u16 {
    var highest: ?u16 = null;
    @memset(&scratch.heads, Scratch.end);
    scratch.links_len = 0;
    var position: u16 = @intCast(profile.rules.len);
    while (position > 0) {
        position -= 1;
        scratch.rule = position;
        const rule = profile.rules[position];
        const silent = rule.conditions.len == 0 and rule.action.value() == profile.default.value();
        for (rule.calls) |call| {
            const number = call.number(arch) orelse continue;
            highest = @max(highest orelse 0, number);
            if (silent) continue;
            const head = &scratch.heads[number];
            if (head.* != Scratch.end and scratch.links[head.*].rule == position) continue; // Named twice.
            if (scratch.links_len == Scratch.max_links) return error.ProfileTooLarge;
            scratch.links[scratch.links_len] = .{ .rule = position, .next = head.* };
            head.* = scratch.links_len;
            scratch.links_len += 1;
        }
    }
    return highest orelse numbers.limit - 1; // Without rules, it means every call.
}

/// What holds if no condition does: the strictest rule without any, else what the
/// rules with conditions say, else the default.
fn otherwise(profile: Profile, number: u16, scratch: *const Scratch) Action {
    var always: ?Action = null;
    var instead: ?Action = null;
    var at = scratch.heads[number];
    while (at != Scratch.end) : (at = scratch.links[at].next) {
        const rule = profile.rules[scratch.links[at].rule];
        if (rule.conditions.len == 0) always = stricter(always, rule.action);
        if (rule.otherwise) |action| instead = stricter(instead, action);
    }
    if (always) |action| return action;
    return instead orelse profile.default;
}

fn stricter(held: ?Action, action: Action) Action {
    const other = held orelse return action;
    return if (action.stricterThan(other)) action else other;
}

/// Steps to the next rule with conditions that can change the answer: a rule that is
/// no stricter than one without conditions cannot.
fn nextConditional(profile: Profile, start: u16, scratch: *const Scratch, unconditional: bool, limit: Action) u16 {
    var at = start;
    while (at != Scratch.end) : (at = scratch.links[at].next) {
        const rule = profile.rules[scratch.links[at].rule];
        if (rule.conditions.len == 0) continue;
        if (!unconditional or rule.action.stricterThan(limit)) return at;
    }
    return Scratch.end;
}

fn hasUnconditional(profile: Profile, number: u16, scratch: *const Scratch) bool {
    var at = scratch.heads[number];
    while (at != Scratch.end) : (at = scratch.links[at].next) {
        if (profile.rules[scratch.links[at].rule].conditions.len == 0) return true;
    }
    return false;
}

/// The leaf for a number, shared by all numbers to which the same rules apply.
fn leafOf(profile: Profile, number: u16, scratch: *Scratch) u16 {
    const action = otherwise(profile, number, scratch);
    const always = hasUnconditional(profile, number, scratch);
    const first = nextConditional(profile, scratch.heads[number], scratch, always, action);
    if (first == Scratch.end) return fixedLeaf(action, scratch);
    search: for (scratch.leaves[0..scratch.leaves_len], 0..) |leaf, index| {
        if (!leaf.conditional or leaf.otherwise.value() != action.value()) continue;
        const other_always = hasUnconditional(profile, leaf.sample, scratch);
        var mine = first;
        var other = nextConditional(profile, scratch.heads[leaf.sample], scratch, other_always, action);
        while (mine != Scratch.end and other != Scratch.end) {
            if (scratch.links[mine].rule != scratch.links[other].rule) continue :search;
            mine = nextConditional(profile, scratch.links[mine].next, scratch, always, action);
            other = nextConditional(profile, scratch.links[other].next, scratch, other_always, action);
        }
        if (mine == other) return @intCast(index);
    }
    return addLeaf(.{ .sample = number, .conditional = true, .otherwise = action, .entry = undefined }, scratch);
}

fn fixedLeaf(action: Action, scratch: *Scratch) u16 {
    for (scratch.leaves[0..scratch.leaves_len], 0..) |leaf, index| {
        if (!leaf.conditional and leaf.otherwise.value() == action.value()) return @intCast(index);
    }
    return addLeaf(.{ .sample = 0, .conditional = false, .otherwise = action, .entry = .{ .give = action.value() } }, scratch);
}

/// There is room: a number adds one leaf at most, and no number is `limit` - 1.
fn addLeaf(leaf: Scratch.Leaf, scratch: *Scratch) u16 {
    scratch.leaves[scratch.leaves_len] = leaf;
    scratch.leaves_len += 1;
    return scratch.leaves_len - 1;
}

fn addRange(first: u32, leaf: u16, scratch: *Scratch) void {
    if (scratch.ranges_len > 0 and scratch.ranges[scratch.ranges_len - 1].leaf == leaf) return;
    scratch.ranges[scratch.ranges_len] = .{ .first = first, .leaf = leaf };
    scratch.ranges_len += 1;
}

/// A tree over `ranges`, halved at each comparison.
fn branchOver(ranges: []const Scratch.Range, program: *Assembler) Error!Target {
    if (ranges.len == 1) return program.scratch.leaves[ranges[0].leaf].entry;
    const middle = ranges.len / 2;
    const upper = try branchOver(ranges[middle..], program);
    const lower = try branchOver(ranges[0..middle], program);
    return program.branch(Code.at_least, ranges[middle].first, upper, lower);
}

/// The rules of a leaf with their conditions, the strictest first.
fn block(profile: Profile, leaf: *const Scratch.Leaf, program: *Assembler) Error!Target {
    const scratch = program.scratch;
    const always = hasUnconditional(profile, leaf.sample, scratch);
    var len: usize = 0;
    var at = nextConditional(profile, scratch.heads[leaf.sample], scratch, always, leaf.otherwise);
    while (at != Scratch.end) : (at = nextConditional(profile, scratch.links[at].next, scratch, always, leaf.otherwise)) {
        if (len == Scratch.max_order) return error.ProfileTooLarge;
        const rule = scratch.links[at].rule;
        var place = len;
        while (place > 0 and profile.rules[rule].action.stricterThan(profile.rules[scratch.order[place - 1]].action)) : (place -= 1) {
            scratch.order[place] = scratch.order[place - 1];
        }
        scratch.order[place] = rule;
        len += 1;
    }
    var miss: Target = .{ .give = leaf.otherwise.value() };
    while (len > 0) {
        len -= 1;
        scratch.rule = scratch.order[len];
        miss = try ruleTest(profile.rules[scratch.order[len]], miss, program);
    }
    return miss;
}

/// Gives the rule's action if its conditions hold, else goes to `miss`.
fn ruleTest(rule: Rule, miss: Target, program: *Assembler) Error!Target {
    const hit: Target = .{ .give = rule.action.value() };
    const match: Rule.Match = if (linux.weakness.has(.conditions)) .any else rule.match;
    var next = switch (match) {
        .all => hit,
        .any => miss,
    };
    var left = rule.conditions.len;
    while (left > 0) {
        left -= 1;
        next = switch (match) {
            .all => try compare(rule.conditions[left], next, miss, program),
            .any => try compare(rule.conditions[left], hit, next, program),
        };
    }
    return next;
}

/// One comparison of 64 bits with a machine that has 32: the upper half decides
/// unless it is equal.
fn compare(condition: Condition, yes: Target, no: Target, program: *Assembler) Error!Target {
    const value = condition.value;
    return switch (condition.operator) {
        .equal => same(condition.index, std.math.maxInt(u64), value, yes, no, program),
        .not_equal => same(condition.index, std.math.maxInt(u64), value, no, yes, program),
        .masked_equal => same(condition.index, value, condition.value_two & value, yes, no, program),
        .greater => ordered(condition.index, Code.above, value, yes, no, program),
        .greater_or_equal => ordered(condition.index, Code.at_least, value, yes, no, program),
        .less => ordered(condition.index, Code.at_least, value, no, yes, program),
        .less_or_equal => ordered(condition.index, Code.above, value, no, yes, program),
    };
}

fn same(index: u8, bits: u64, value: u64, yes: Target, no: Target, program: *Assembler) Error!Target {
    const lower = try sameHalf(lowerHalf(index), @truncate(bits), @truncate(value), yes, no, program);
    return sameHalf(upperHalf(index), @truncate(bits >> 32), @truncate(value >> 32), lower, no, program);
}

/// Not inlined: with its callers it would grow to half of the program's text.
noinline fn sameHalf(offset: u32, bits: u32, value: u32, yes: Target, no: Target, program: *Assembler) Error!Target {
    if (bits == 0) return yes; // Nothing of this half counts.
    _ = try program.branch(Code.equal, value, yes, no);
    if (bits != std.math.maxInt(u32)) try program.emit(.{ .code = Code.mask, .k = bits });
    try program.load(offset, program.here());
    return program.here();
}

fn ordered(index: u8, code: u16, value: u64, yes: Target, no: Target, program: *Assembler) Error!Target {
    const upper: u32 = @truncate(value >> 32);
    _ = try program.branch(code, @truncate(value), yes, no);
    try program.load(lowerHalf(index), program.here());
    _ = try program.branch(Code.equal, upper, program.here(), no);
    _ = try program.branch(Code.above, upper, yes, program.here());
    try program.load(upperHalf(index), program.here());
    return program.here();
}

/// Little-endian, as x86 is.
fn lowerHalf(index: u8) u32 {
    return @offsetOf(Data, "args") + 8 * @as(u32, index);
}

fn upperHalf(index: u8) u32 {
    return lowerHalf(index) + 4;
}

/// Where a comparison leads.
const Target = union(enum) {
    /// An instruction, counted from the end of the program: the last is 1.
    place: u16,
    /// A `ret` with this value; many jumps share one.
    give: u32,
};

/// Writes a program from its end to its start.
const Assembler = struct {
    scratch: *Scratch,
    len: u16,

    /// How far a comparison jumps at most.
    const reach = std.math.maxInt(u8);

    fn emit(program: *Assembler, instruction: Instruction) Error!void {
        if (program.len == max_length) return error.ProgramTooLong;
        program.len += 1;
        program.scratch.program[max_length - program.len] = instruction;
    }

    /// The instruction written last, which is the one that runs next.
    fn here(program: *const Assembler) Target {
        return .{ .place = program.len };
    }

    /// Loads a word of `Data`; what was written last then looks at it.
    fn load(program: *Assembler, offset: u32, next: Target) Error!void {
        switch (next) {
            .place => |place| if (place != program.len) try program.emit(.{ .code = Code.jump, .k = program.len - place }),
            .give => |value| try program.emit(.{ .code = Code.give, .k = value }),
        }
        try program.emit(.{ .code = Code.load, .k = offset });
    }

    fn branch(program: *Assembler, code: u16, k: u32, yes: Target, no: Target) Error!Target {
        // What brings one of the two near can push the other out of reach.
        while (true) {
            const on_true = try program.near(yes);
            const on_false = try program.near(no);
            const true_skip = program.len - on_true;
            const false_skip = program.len - on_false;
            if (true_skip > reach or false_skip > reach) continue;
            try program.emit(.{ .code = code, .jt = @intCast(true_skip), .jf = @intCast(false_skip), .k = k });
            return program.here();
        }
    }

    /// A place within reach that leads to `target`.
    fn near(program: *Assembler, target: Target) Error!u16 {
        switch (target) {
            .place => |place| {
                if (program.len - place <= reach) return place;
                try program.emit(.{ .code = Code.jump, .k = program.len - place });
                return program.len;
            },
            .give => |value| {
                const known = try program.latest(value);
                if (known.place != 0 and program.len - known.place <= reach) return known.place;
                try program.emit(.{ .code = Code.give, .k = value });
                known.place = program.len;
                return program.len;
            },
        }
    }

    fn latest(program: *Assembler, value: u32) Error!*Scratch.Return {
        const scratch = program.scratch;
        for (scratch.returns[0..scratch.returns_len]) |*known| if (known.value == value) return known;
        if (scratch.returns_len == Scratch.max_returns) return error.ProfileTooLarge;
        scratch.returns_len += 1;
        const added = &scratch.returns[scratch.returns_len - 1];
        added.* = .{ .value = value, .place = 0 };
        return added;
    }
};

comptime {
    assert(@sizeOf(Instruction) == 8);
    assert(@sizeOf(Data) == 64);
}
