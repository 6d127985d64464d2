//! The native half of Kurma. `zig build -l` names what it can make; the Makefile
//! calls it, and `deno compile` embeds what lands in build/native.

const std = @import("std");

pub fn build(b: *std.Build) void {
    const options = testOptions(b);
    const native: Native = .init(b, .shipped, options);

    b.getInstallStep().dependOn(native.install(native.library()));
    b.getInstallStep().dependOn(native.installBare(native.smallProgram("kurma-stage3", "native.zig")));
    b.getInstallStep().dependOn(native.install(native.program("kurma-unpack", "stage1/images/unpack/main.zig")));
    b.getInstallStep().dependOn(native.install(native.program("kurma-hello", "stage1/images/hello/hello.zig")));
    b.getInstallStep().dependOn(native.install(native.program("kurma-init", "stage1/boot/main.zig")));

    const cgroup_driver = b.step("cgroup-driver", "Build the program that tries cgroups on a kernel");
    cgroup_driver.dependOn(native.install(native.program("cgroup-driver", "tests/cgroup/driver.zig")));

    const bindings = b.step("bindings", "Write ffi/abi.gen.ts from the export table");
    bindings.dependOn(native.bindings());

    const guest = b.step("guest", "Build the static program that tells tests what it sees inside a container");
    guest.dependOn(native.install(native.program("guest", "tests/guest/guest.zig")));

    const launcher = b.step("launcher", "Build the program that starts a container's init alone, for tests");
    launcher.dependOn(native.install(native.program("launcher", "tests/stage3/launcher.zig")));

    const floor = b.step("floor", "Build what measures the kernel alone, and the stopwatch around every process");
    floor.dependOn(native.install(native.program("floor", "bench/floor/floor.zig")));
    floor.dependOn(native.install(native.program("enter", "bench/floor/enter.zig")));
    floor.dependOn(native.install(native.program("stopwatch", "bench/floor/stopwatch.zig")));
    floor.dependOn(native.install(native.program("serve", "bench/floor/serve.zig")));

    const weakened = b.step("weakened", "Build the program whose protections the tests of attacks can leave out");
    weakened.dependOn(native.install(Native.init(b, .weakened, options).program("kurma-weakened", "native.zig")));

    const attacker = b.step("attacker", "Build the static program that the tests of attacks run inside a container");
    attacker.dependOn(native.install(native.program("attacker", "tests/attacks/attacker.zig")));

    const injector = b.step("injector", "Build the program that makes system calls of a start fail, for tests");
    injector.dependOn(native.install(native.program("injector", "tests/faults/injector.zig")));

    const xstate = b.step("xstate", "Build what lets user-mode Linux run on processors with more registers than it knows");
    xstate.dependOn(native.install(native.preload("xstate", "tests/rigs/xstate.zig")));

    const filters = b.step("filters", "Build what measures seccomp filters");
    filters.dependOn(native.install(native.program("filters", "bench/seccomp/filters.zig")));

    const tests = b.step("test", "Run the native unit tests; no root needed");
    const tested: Native = .init(b, .tested, options);
    tested.dependOnUnitTests(tests);
}

/// `-Dfuzz=1000000` is what `make soak` runs.
fn testOptions(b: *std.Build) *std.Build.Step.Options {
    const options = b.addOptions();
    options.addOption(u32, "fuzz", b.option(u32, "fuzz", "Inputs of each fuzz test (default 100000)") orelse 100_000);
    return options;
}

/// The modules, each with the root of its folder and those below it: imports point
/// down this list's order.
const modules = [_]struct { name: []const u8, root: []const u8, imports: []const []const u8 }{
    .{ .name = "linux", .root = "ffi/linux/linux.zig", .imports = &.{} },
    .{ .name = "unpack", .root = "stage1/images/unpack/unpack.zig", .imports = &.{"linux"} },
    .{ .name = "boot", .root = "stage1/boot/boot.zig", .imports = &.{"linux"} },
    .{ .name = "capabilities", .root = "stage2/capabilities.zig", .imports = &.{"linux"} },
    .{ .name = "rlimits", .root = "stage2/rlimits.zig", .imports = &.{"linux"} },
    .{ .name = "landlock", .root = "stage2/landlock.zig", .imports = &.{"linux"} },
    .{ .name = "seccomp", .root = "stage2/seccomp/seccomp.zig", .imports = &.{ "linux", "capabilities" } },
    .{ .name = "cgroup", .root = "stage2/cgroup/cgroup.zig", .imports = &.{"linux"} },
    .{ .name = "hooks", .root = "stage2/hooks.zig", .imports = &.{"linux"} },
    .{ .name = "stage3", .root = "stage3/stage3.zig", .imports = &.{ "linux", "capabilities", "rlimits", "seccomp", "landlock", "hooks" } },
    .{ .name = "stage2", .root = "stage2/stage2.zig", .imports = &.{ "linux", "capabilities", "rlimits", "seccomp", "landlock", "cgroup", "hooks", "stage3" } },
};

const Native = struct {
    b: *std.Build,
    /// Runs on every x86-64 machine: raw system calls only, so no libc is named.
    target: std.Build.ResolvedTarget,
    made: [modules.len]*std.Build.Module,

    /// Tests run every module with all checks.
    fn init(b: *std.Build, purpose: enum { shipped, weakened, tested }, options: *std.Build.Step.Options) Native {
        var native: Native = .{
            .b = b,
            .target = b.resolveTargetQuery(.{ .cpu_arch = .x86_64, .os_tag = .linux, .abi = .none }),
            .made = undefined,
        };
        for (modules, &native.made) |module, *slot| {
            slot.* = b.createModule(.{
                .root_source_file = b.path(module.root),
                .target = native.target,
                .optimize = if (purpose == .tested) .debug else .safe,
            });
            for (module.imports) |name| slot.*.addImport(name, native.find(name));
        }
        const weakness = b.addOptions();
        weakness.addOption(bool, "weakened", purpose == .weakened);
        native.find("linux").addOptions("build", weakness);
        native.find("unpack").addObject(native.fastSha256());
        native.find("stage3").addOptions("options", options);
        return native;
    }

    /// For processors that have the instructions; unpack/digest.zig asks first.
    fn fastSha256(native: *const Native) *std.Build.Step.Compile {
        var query = native.target.query;
        query.cpu_features_add = std.Target.x86.featureSet(&.{ .sha, .avx2 });
        return native.b.addObject(.{ .name = "sha256_fast", .root_module = native.b.createModule(.{
            .root_source_file = native.b.path("stage1/images/unpack/sha256_fast.zig"),
            .target = native.b.resolveTargetQuery(query),
            .optimize = .fast,
            .strip = true,
            .single_threaded = true,
            .pic = true,
        }) });
    }

    fn find(native: *const Native, name: []const u8) *std.Build.Module {
        for (modules, native.made) |module, made| if (std.mem.eql(u8, module.name, name)) return made;
        unreachable; // A name in this file.
    }

    /// A root of its own, with every module at hand.
    fn root(native: *const Native, path: []const u8, optimize: std.builtin.Optimize) *std.Build.Module {
        const made = native.b.createModule(.{
            .root_source_file = native.b.path(path),
            .target = native.target,
            .optimize = optimize,
            .strip = true,
            .single_threaded = true,
            .unwind_tables = .none,
            .error_tracing = false,
        });
        for (modules) |module| made.addImport(module.name, native.find(module.name));
        return made;
    }

    fn library(native: *const Native) *std.Build.Step.Compile {
        return native.dynamic("kurma", "ffi/libkurma.zig");
    }

    /// For LD_PRELOAD: finds the C library in the process that it is loaded into.
    fn preload(native: *const Native, name: []const u8, path: []const u8) *std.Build.Step.Compile {
        const made = native.dynamic(name, path);
        made.linker_allow_shlib_undefined = true;
        return made;
    }

    fn dynamic(native: *const Native, name: []const u8, path: []const u8) *std.Build.Step.Compile {
        const made = native.root(path, .safe);
        made.pic = true;
        return native.b.addLibrary(.{ .name = name, .linkage = .dynamic, .root_module = made });
    }

    fn program(native: *const Native, name: []const u8, path: []const u8) *std.Build.Step.Compile {
        return native.b.addExecutable(.{ .name = name, .root_module = native.root(path, .safe) });
    }

    /// The root decides what the optimizer is to save, for the whole program; each module, the
    /// standard library among them, keeps its checks, and native.zig asks for its own.
    fn smallProgram(native: *const Native, name: []const u8, path: []const u8) *std.Build.Step.Compile {
        const made = native.root(path, .small);
        // The compiler takes the settings of its own module from one of this name.
        made.addImport("std", native.b.createModule(.{
            .root_source_file = .{ .relative = .{ .base = .zig_lib, .sub_path = "std/std.zig" } },
            .target = native.target,
            .optimize = .safe,
        }));
        return native.b.addExecutable(.{ .name = name, .root_module = made });
    }

    fn install(native: *const Native, artifact: *std.Build.Step.Compile) *std.Build.Step {
        const options: std.Build.Step.InstallArtifact.Options = .{ .dest_dir = .{ .override = .prefix } };
        return &native.b.addInstallArtifact(artifact, options).step;
    }

    /// Without what the kernel does not read.
    fn installBare(native: *const Native, artifact: *std.Build.Step.Compile) *std.Build.Step {
        const b = native.b;
        const tool = b.createModule(.{ .root_source_file = b.path("toolchain/bare.zig"), .target = b.graph.host });
        const run = b.addRunArtifact(b.addExecutable(.{ .name = "bare", .root_module = tool }));
        run.addArtifactArg(artifact);
        const bare = run.addOutputFileArg(artifact.name);
        return &b.addInstallFileWithDir(bare, .prefix, artifact.name).step;
    }

    /// Runs on the build machine, with the standard library's own I/O.
    fn bindings(native: *const Native) *std.Build.Step {
        const b = native.b;
        const made = b.createModule(.{ .root_source_file = b.path("ffi/bindings.zig"), .target = b.graph.host });
        for (modules) |module| made.addImport(module.name, native.find(module.name));
        const run = b.addRunArtifact(b.addExecutable(.{ .name = "bindings", .root_module = made }));
        const update = b.addUpdateSourceFiles();
        update.addCopyFileToSource(run.captureStdOut(.{}), "ffi/abi.gen.ts");
        return &update.step;
    }

    fn dependOnUnitTests(native: *const Native, step: *std.Build.Step) void {
        for (native.made) |made| {
            const run = native.b.addRunArtifact(native.b.addTest(.{ .root_module = made }));
            run.has_side_effects = true; // They talk to the kernel, and `make test` counts them each time.
            step.dependOn(&run.step);
        }
    }
};
