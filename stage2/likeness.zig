//! Whether a container that was made of one plan, all but its command, is the container of
//! another.

const json = @import("json.zig");
const plan_module = @import("plan.zig");
const Plan = plan_module.Plan;

/// Whether both come to the same but for the command's words, its environment and the names:
/// what can be given to a container later. Annotations are for hooks, and there are none.
pub fn isSame(one: *const Plan, other: *const Plan) bool {
    // A name that is there can be another, and cannot be none.
    if ((one.config.hostname == null) != (other.config.hostname == null)) return false;
    return json.sameBut(plan_module.Envelope, &one.kurma, &other.kurma, &.{}) and
        json.sameBut(plan_module.Config, &one.config, &other.config, &.{ "process", "hostname", "annotations" }) and
        json.sameBut(plan_module.Process, &one.config.process, &other.config.process, &.{ "args", "env" });
}
