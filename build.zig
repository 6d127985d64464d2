//! The native half of Kurma. `zig build -l` names what it can make; the Makefile
//! calls it, and `deno compile` embeds what lands in build/native.

const std = @import("std");

pub fn build(b: *std.Build) void {
    const native: Native = .init(b);

    b.getInstallStep().dependOn(native.install(native.library()));
    b.getInstallStep().dependOn(native.install(native.program("kurma-stage3", "native.zig")));

    const cgroup_driver = b.step("cgroup-driver", "Build the program that tries cgroups on a kernel");
    cgroup_driver.dependOn(native.install(native.program("cgroup-driver", "tests/cgroup/driver.zig")));

    const bindings = b.step("bindings", "Write ffi/abi.gen.ts from the export table");
    bindings.dependOn(native.bindings());

    const guest = b.step("guest", "Build the static program that tells tests what it sees inside a container");
    guest.dependOn(native.install(native.program("guest", "tests/guest/guest.zig")));

    const floor = b.step("floor", "Build what measures the kernel alone, and the stopwatch around every process");
    floor.dependOn(native.install(native.program("floor", "bench/floor/floor.zig")));
    floor.dependOn(native.install(native.program("stopwatch", "bench/floor/stopwatch.zig")));

    const tests = b.step("test", "Run the native unit tests; no root needed");
    for (native.unitTests()) |run| tests.dependOn(run);
}

const Native = struct {
    b: *std.Build,
    /// Runs on every x86-64 machine: raw system calls only, so no libc is named.
    target: std.Build.ResolvedTarget,
    linux: *std.Build.Module,
    cgroup: *std.Build.Module,
    capabilities: *std.Build.Module,
    rlimits: *std.Build.Module,
    seccomp: *std.Build.Module,

    fn init(b: *std.Build) Native {
        const target = b.resolveTargetQuery(.{ .cpu_arch = .x86_64, .os_tag = .linux, .abi = .none });
        const linux = b.createModule(.{ .root_source_file = b.path("ffi/linux/linux.zig"), .target = target });
        const cgroup = b.createModule(.{ .root_source_file = b.path("stage2/cgroup/cgroup.zig"), .target = target });
        cgroup.addImport("linux", linux);
        const capabilities = b.createModule(.{ .root_source_file = b.path("stage2/capabilities.zig"), .target = target });
        capabilities.addImport("linux", linux);
        const rlimits = b.createModule(.{ .root_source_file = b.path("stage2/rlimits.zig"), .target = target });
        rlimits.addImport("linux", linux);
        const seccomp = b.createModule(.{ .root_source_file = b.path("stage2/seccomp/seccomp.zig"), .target = target });
        seccomp.addImport("linux", linux);
        seccomp.addImport("capabilities", capabilities);
        return .{
            .b = b,
            .target = target,
            .linux = linux,
            .cgroup = cgroup,
            .capabilities = capabilities,
            .rlimits = rlimits,
            .seccomp = seccomp,
        };
    }

    fn module(native: Native, root: []const u8) *std.Build.Module {
        const made = native.b.createModule(.{
            .root_source_file = native.b.path(root),
            .target = native.target,
            .optimize = .safe,
            .strip = true,
            .single_threaded = true,
            .unwind_tables = .none,
            .error_tracing = false,
        });
        made.addImport("linux", native.linux);
        made.addImport("cgroup", native.cgroup);
        made.addImport("capabilities", native.capabilities);
        made.addImport("rlimits", native.rlimits);
        made.addImport("seccomp", native.seccomp);
        return made;
    }

    fn library(native: Native) *std.Build.Step.Compile {
        const root = native.module("ffi/libkurma.zig");
        root.pic = true;
        return native.b.addLibrary(.{ .name = "kurma", .linkage = .dynamic, .root_module = root });
    }

    fn program(native: Native, name: []const u8, root: []const u8) *std.Build.Step.Compile {
        return native.b.addExecutable(.{ .name = name, .root_module = native.module(root) });
    }

    fn install(native: Native, artifact: *std.Build.Step.Compile) *std.Build.Step {
        const options: std.Build.Step.InstallArtifact.Options = .{ .dest_dir = .{ .override = .prefix } };
        return &native.b.addInstallArtifact(artifact, options).step;
    }

    /// Runs on the build machine, with the standard library's own I/O.
    fn bindings(native: Native) *std.Build.Step {
        const b = native.b;
        const root = b.createModule(.{ .root_source_file = b.path("ffi/bindings.zig"), .target = b.graph.host });
        root.addImport("linux", native.linux);
        const run = b.addRunArtifact(b.addExecutable(.{ .name = "bindings", .root_module = root }));
        const update = b.addUpdateSourceFiles();
        update.addCopyFileToSource(run.captureStdOut(.{}), "ffi/abi.gen.ts");
        return &update.step;
    }

    fn unitTests(native: Native) [5]*std.Build.Step {
        const roots = [_]*std.Build.Module{ native.linux, native.cgroup, native.capabilities, native.rlimits, native.seccomp };
        var steps: [roots.len]*std.Build.Step = undefined;
        for (roots, &steps) |root, *step| {
            const run = native.b.addRunArtifact(native.b.addTest(.{ .root_module = root }));
            run.has_side_effects = true; // They talk to the kernel, and `make test` counts them each time.
            step.* = &run.step;
        }
        return steps;
    }
};
