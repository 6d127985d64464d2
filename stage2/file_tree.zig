//! What of a plan a container's file tree is made of: whether a tree that was made for one
//! plan is the tree of another.

const json = @import("json.zig");
const plan_module = @import("plan.zig");
const Plan = plan_module.Plan;

/// Whether both come to the same, mounted in the same place. Plans that want a terminal never
/// do: the tree has the terminal in it.
pub fn isSame(one: *const Plan, other: *const Plan) bool {
    const process, const another = .{ &one.config.process, &other.config.process };
    if (process.terminal or another.terminal) return false;
    return json.same(plan_module.Envelope, &one.kurma, &other.kurma, &.{ "layers", "scratch", "ephemeral" }) and
        json.same(plan_module.Config, &one.config, &other.config, &.{ "root", "mounts" }) and
        json.same(plan_module.Process, process, another, &.{"cwd"}) and
        json.same(plan_module.Linux, &one.config.linux, &other.config.linux, &.{ "maskedPaths", "readonlyPaths", "rootfsPropagation", "sysctl" });
}
