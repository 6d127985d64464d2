//! Which system calls a container may make: from a profile to a program in the
//! kernel. No heap; what needs room is given it.
//!
//! - `oci`: reads `linux.seccomp` of an OCI configuration into a `Profile`;
//! - `default`: the profile for containers that bring none;
//! - `compile`: a profile to a BPF program, when compiling Kurma or at run time;
//! - `install`: a program into the calling process.

const compiler = @import("compile.zig");
const profiles = @import("profile.zig");

pub const numbers = @import("numbers.zig");

pub const Profile = profiles.Profile;
pub const Rule = profiles.Rule;
pub const Condition = profiles.Condition;
pub const Action = profiles.Action;

pub const compile = compiler.compile;
pub const Error = compiler.Error;
pub const Scratch = compiler.Scratch;
pub const Instruction = compiler.Instruction;
pub const max_length = compiler.max_length;

test {
    _ = numbers;
    _ = @import("bpf.zig");
    _ = @import("compile_test.zig");
}
