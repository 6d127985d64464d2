//! Which system calls a container may make: from a profile to a program in the
//! kernel. No heap; what needs room is given it.
//!
//! - `oci`: reads `linux.seccomp` of an OCI configuration into a `Profile`;
//! - `default`: the profile for containers that bring none;
//! - `compile`: a profile to a BPF program, when compiling Kurma or at run time;
//! - `install`: a program into the calling process.

const compiler = @import("compile.zig");
const installer = @import("install.zig");
const profiles = @import("profile.zig");

pub const default = @import("default.zig");
pub const numbers = @import("numbers.zig");
pub const oci = @import("oci.zig");

pub const Profile = profiles.Profile;
pub const Rule = profiles.Rule;
pub const Condition = profiles.Condition;
pub const Action = profiles.Action;

pub const compile = compiler.compile;
pub const explain = compiler.explain;
pub const Error = compiler.Error;
pub const Scratch = compiler.Scratch;
pub const Instruction = compiler.Instruction;
pub const max_length = compiler.max_length;

pub const install = installer.install;
pub const Flags = installer.Flags;

test {
    _ = default;
    _ = installer;
    _ = numbers;
    _ = oci;
    _ = @import("bpf.zig");
    _ = @import("compile_test.zig");
    _ = @import("default_test.zig");
    _ = @import("kernel_test.zig");
    _ = @import("oci_test.zig");
}
