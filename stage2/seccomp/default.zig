//! The profile of containers that bring none: every call of the kernel's tables is
//! in one of the groups below, so a table with new calls does not compile until
//! somebody has decided about them.
//!
//! docs/decisions says where the decisions come from. Two answers are given:
//! EPERM where the kernel itself asks for a privilege, so that programs say the
//! right thing; ENOSYS where it asks for none, or is asked by no program in use, so
//! that programs do without, as they would on a kernel built without the call.

const std = @import("std");
const linux = std.os.linux;
const capabilities = @import("capabilities");
const of = capabilities.of;
const compiler = @import("compile.zig");
const Instruction = compiler.Instruction;
const numbers = @import("numbers.zig");
const Call = numbers.Call;
const list = numbers.list;
const profiles = @import("profile.zig");
const Profile = profiles.Profile;
const Rule = profiles.Rule;
const Condition = profiles.Condition;

/// What a container is given beyond the usual.
pub const Options = struct {
    /// Of the bounding set: a capability is of no use if its calls are refused.
    capabilities: capabilities.Set = capabilities.default,
    /// Lets 32-bit programs run. They enter the kernel by code that is tested less, and
    /// have sockets only if they make them without socketcall(2), which hides its
    /// arguments from every filter.
    i386: bool = false,
    /// Lets programs use io_uring(7), whose operations no filter sees.
    io_uring: bool = false,
};

/// Always allowed: what an unprivileged program does with its own files, memory,
/// processes and clocks. The kernel's own checks are what guards them.
const always = list(
    // Files and folders.
    \\read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat openat2 creat
    \\close close_range lseek llseek dup dup2 dup3 fcntl fcntl64 flock pipe pipe2 truncate truncate64
    \\ftruncate ftruncate64 fallocate fadvise64 fadvise64_64 readahead fsync fdatasync sync syncfs
    \\sync_file_range stat stat64 lstat lstat64 fstat fstat64 oldstat oldlstat oldfstat newfstatat
    \\fstatat64 statx statfs statfs64 fstatfs fstatfs64 access faccessat faccessat2 getdents getdents64
    \\readdir getcwd chdir fchdir mkdir mkdirat rmdir rename renameat renameat2 link linkat unlink
    \\unlinkat symlink symlinkat readlink readlinkat mknod mknodat chmod fchmod fchmodat fchmodat2 chown
    \\chown32 fchown fchown32 lchown lchown32 fchownat umask utime utimes futimesat utimensat
    \\utimensat_time64 setxattr lsetxattr fsetxattr setxattrat getxattr lgetxattr fgetxattr getxattrat
    \\listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
    \\file_getattr file_setattr sendfile sendfile64 splice tee copy_file_range name_to_handle_at
    \\inotify_init inotify_init1 inotify_add_watch inotify_rm_watch cachestat statmount listmount
    // Waiting for files.
    \\select newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1
    \\epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create
    \\timerfd_settime timerfd_settime64 timerfd_gettime timerfd_gettime64 io_setup io_destroy io_submit
    \\io_cancel io_getevents io_pgetevents io_pgetevents_time64
    // Memory.
    \\brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 munlock mlockall
    \\munlockall memfd_create memfd_secret remap_file_pages mseal map_shadow_stack pkey_mprotect
    \\pkey_alloc pkey_free membarrier
    // Processes, their users and groups, their limits.
    \\fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid
    \\setpgid getpgrp getsid setsid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32
    \\setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
    \\getresuid getresuid32 setresgid setresgid32 getresgid getresgid32 setfsuid setfsuid32 setfsgid
    \\setfsgid32 getgroups getgroups32 setgroups setgroups32 capget capset prctl arch_prctl
    \\set_thread_area get_thread_area set_tid_address rseq rseq_slice_yield restart_syscall getrlimit
    \\ugetrlimit setrlimit prlimit64 getrusage times getpriority setpriority nice ioprio_get ioprio_set
    \\sched_yield sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_setattr
    \\sched_getattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    \\sched_rr_get_interval_time64 sched_setaffinity sched_getaffinity getcpu process_mrelease
    // Signals and threads.
    \\kill tkill tgkill pidfd_open pidfd_send_signal rt_sigaction rt_sigprocmask rt_sigpending
    \\rt_sigtimedwait rt_sigtimedwait_time64 rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend
    \\rt_sigreturn sigaltstack signal sigaction sigprocmask sigpending sigsuspend sigreturn sgetmask
    \\ssetmask pause futex futex_time64 futex_wait futex_wake futex_requeue futex_waitv set_robust_list
    \\get_robust_list
    // Clocks; setting them is another group, but reading the state of the clock's
    // discipline is one call with setting it, and the kernel asks for CAP_SYS_TIME.
    \\time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
    \\clock_nanosleep_time64 nanosleep alarm getitimer setitimer timer_create timer_settime
    \\timer_settime64 timer_gettime timer_gettime64 timer_getoverrun timer_delete adjtimex clock_adjtime
    \\clock_adjtime64
    // Talking to other processes. ipc(2) only bundles the calls beside it.
    \\ipc semget semop semctl semtimedop semtimedop_time64 shmget shmat shmdt shmctl msgget msgsnd
    \\msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive
    \\mq_timedreceive_time64 mq_notify mq_getsetattr
    // Sockets that exist; making them is `sockets`.
    \\bind listen accept accept4 connect shutdown sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
    \\recvmmsg_time64 getsockname getpeername getsockopt setsockopt
    // About the machine.
    \\uname olduname oldolduname sysinfo getrandom
    // A program may take rights from itself.
    \\seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self lsm_get_self_attr
    \\lsm_set_self_attr lsm_list_modules
    // Made by the kernel's own trampolines when the host traces a program, and useless
    // outside of them; refusing would kill what is traced.
    \\uprobe uretprobe
);

/// Calls that are refused together, and for one reason.
const Group = struct {
    calls: []const Call,
    answer: linux.E = .PERM,
    /// Any of these capabilities lifts the refusal; 0: none does.
    lifted_by: capabilities.Set = 0,
};

const refused = [_]Group{
    // Mounting rearranges what paths mean, and mount options parse untrusted text in the
    // kernel. Also the newer calls for the same.
    .{ .calls = list(
        \\mount umount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree
        \\open_tree_attr mount_setattr
    ), .lifted_by = of("SYS_ADMIN") },
    // Entering other namespaces. Making them is `namespaces` and `clone` below.
    .{ .calls = list("setns"), .lifted_by = of("SYS_ADMIN") },
    // Hides its flags in memory, where no filter can look: without it, libcs use clone.
    .{ .calls = list("clone3"), .answer = .NOSYS, .lifted_by = of("SYS_ADMIN") },
    // Administration of the machine, or of namespaces that are not the program's.
    .{ .calls = list("sethostname setdomainname quotactl quotactl_fd fanotify_init fanotify_mark"), .lifted_by = of("SYS_ADMIN") },
    .{ .calls = list("syslog"), .lifted_by = of("SYSLOG SYS_ADMIN") },
    .{ .calls = list("acct"), .lifted_by = of("SYS_PACCT") },
    .{ .calls = list("chroot"), .lifted_by = of("SYS_CHROOT") },
    .{ .calls = list("vhangup"), .lifted_by = of("SYS_TTY_CONFIG") },
    .{ .calls = list("reboot"), .lifted_by = of("SYS_BOOT") },
    .{ .calls = list("settimeofday stime clock_settime clock_settime64"), .lifted_by = of("SYS_TIME") },
    .{ .calls = list("iopl ioperm"), .lifted_by = of("SYS_RAWIO") },
    .{ .calls = list("init_module finit_module delete_module"), .lifted_by = of("SYS_MODULE") },
    // Opens files by number, past every folder above them: how containers read the host's
    // disk when they had CAP_DAC_READ_SEARCH and shared a file system with it.
    .{ .calls = list("open_by_handle_at"), .lifted_by = of("DAC_READ_SEARCH") },
    // Reading and changing other processes. Tracers see what their children do before
    // the filter does, so a change of theirs is filtered as well.
    .{ .calls = list("ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd"), .lifted_by = of("SYS_PTRACE") },
    .{ .calls = list("process_madvise"), .answer = .NOSYS, .lifted_by = of("SYS_PTRACE") },
    // Programs and counters inside the kernel: its largest source of holes of late.
    .{ .calls = list("bpf"), .lifted_by = of("BPF SYS_ADMIN") },
    .{ .calls = list("perf_event_open"), .lifted_by = of("PERFMON SYS_ADMIN") },
    // Lets a program stop the kernel in the middle of a copy, which makes races in it
    // win every time.
    .{ .calls = list("userfaultfd") },
    // Gives pages to a pipe that the program may still write to.
    .{ .calls = list("vmsplice"), .answer = .NOSYS },
    // Keys belong to users and sessions, not to containers.
    .{ .calls = list("add_key request_key keyctl"), .answer = .NOSYS },
    // On which memory node pages lie. libnuma takes ENOSYS for a machine without nodes.
    .{ .calls = list(
        \\mbind get_mempolicy set_mempolicy set_mempolicy_home_node migrate_pages move_pages
    ), .answer = .NOSYS, .lifted_by = of("SYS_NICE") },
    // The machine's swap and its next kernel: never a container's, whatever it is granted.
    .{ .calls = list("swapon swapoff kexec_load kexec_file_load") },
    // Namespaces by number, new and in use by no program yet.
    .{ .calls = list("listns"), .answer = .NOSYS },
    // Calls of the past: most are only a number, and no program in use makes the others.
    .{ .calls = list(
        \\uselib ustat sysfs sysctl lookup_dcookie nfsservctl create_module query_module get_kernel_syms
        \\getpmsg putpmsg afs_syscall tuxcall security vserver epoll_ctl_old epoll_wait_old bdflush idle
        \\break stty gtty ftime prof lock mpx ulimit profil vm86 vm86old
    ), .answer = .NOSYS },
};

/// Entry points that only 32-bit programs need: segments of 16 and 32 bits for the
/// first, and for the second everything that makes sockets, with arguments that a
/// filter cannot see. The second stays refused: it would let AF_ALG and AF_VSOCK in.
const segments = list("modify_ldt");
const multiplexer = list("socketcall");

const io_uring = list("io_uring_setup io_uring_enter io_uring_register");

/// What makes sockets, with the family as its first argument.
const sockets = list("socket socketpair");

/// The families that programs need. What is not here is refused, because the next
/// hole will be in a family that few have heard of: a socket of the kernel's crypto
/// interface was enough to change other containers' files in memory, and a vsock
/// leads to the hypervisor. EAFNOSUPPORT is what a kernel without the family says.
const families = [_]u32{ linux.AF.UNIX, linux.AF.INET, linux.AF.INET6, linux.AF.NETLINK };

/// The audit log's netlink protocol. Logins take this errno for a kernel without audit
/// and go on; what they would get instead, an EPERM for the first record, ends them.
const audit = [_]Condition{ .int(0, linux.AF.NETLINK), .int(2, linux.NETLINK.AUDIT) };

/// CLONE_NEW* of clone(2), which takes all its flags in the lower half.
const namespace_flags = linux.CLONE.NEWNS | linux.CLONE.NEWCGROUP | linux.CLONE.NEWUTS | linux.CLONE.NEWIPC |
    linux.CLONE.NEWUSER | linux.CLONE.NEWPID | linux.CLONE.NEWNET;

/// What unshare(2) undoes without making a namespace. Here the flags that are allowed
/// are listed, because unshare still gains new ones.
const own_flags: u64 = linux.CLONE.FS | linux.CLONE.FILES | linux.CLONE.SYSVSEM | linux.CLONE.THREAD | linux.CLONE.SIGHAND | linux.CLONE.VM;

/// PER_LINUX, PER_LINUX32, UNAME26, the two together, and the question. Others turn off
/// what protects a program's memory, or imitate the system calls of other systems.
const personalities = [_]u32{ 0x0, 0x8, 0x20000, 0x20008, 0xffffffff };

/// Requests of ioctl(2) that type into the terminal of whoever watches: TIOCSTI and
/// TIOCLINUX.
const typing = [_]u32{ 0x5412, 0x541c };

/// TIOCSETD: another line discipline, loaded as a module when first asked for.
/// Point-to-point protocols need one.
const line_discipline = [_]u32{0x5423};

/// What makes processes and namespaces.
const clone = list("clone");
const unshare = list("unshare");
const ioctl = list("ioctl");
const personality = list("personality");

/// Room for the rules of any `Options`.
pub const Rules = struct {
    items: [refused.len + 16]Rule,
    len: usize,

    /// Not inlined: the calls are many, and the program has to stay small.
    noinline fn add(rules: *Rules, rule: Rule) void {
        rules.items[rules.len] = rule;
        rules.len += 1;
    }

    noinline fn decide(rules: *Rules, calls: []const Call, allowed: bool, answer: linux.E) void {
        rules.add(.{ .calls = calls, .action = if (allowed) .allow else .errno(answer) });
    }

    /// Allows the calls if one of `conditions` holds, and answers `answer` if not.
    noinline fn only(rules: *Rules, calls: []const Call, conditions: []const Condition, answer: linux.E) void {
        rules.add(.{ .calls = calls, .action = .allow, .conditions = conditions, .match = .any, .otherwise = .errno(answer) });
    }

    /// Refuses the calls if one of `conditions` holds.
    fn except(rules: *Rules, calls: []const Call, conditions: []const Condition) void {
        rules.add(.{ .calls = calls, .action = .errno(.PERM), .conditions = conditions, .match = .any });
    }
};

/// The profile for `options`; it points into `rules`.
pub fn profile(options: Options, rules: *Rules) Profile {
    const held = options.capabilities;
    rules.len = 0;
    rules.decide(always, true, .PERM);
    for (refused) |group| rules.decide(group.calls, group.lifted_by & held != 0, group.answer);
    rules.decide(io_uring, options.io_uring, .NOSYS);
    rules.decide(segments, options.i386, .NOSYS);
    rules.decide(multiplexer, false, .NOSYS);

    // Without the capability the kernel would say EPERM as well, but only after it has
    // loaded the family.
    if (held & of("NET_RAW") != 0) {
        rules.only(sockets, comptime &ints(0, &families ++ .{linux.AF.PACKET}), .AFNOSUPPORT);
    } else {
        rules.only(sockets, comptime &ints(0, &families), .AFNOSUPPORT);
        rules.except(sockets, comptime &ints(0, &.{linux.AF.PACKET}));
    }
    if (held & of("AUDIT_WRITE") == 0) {
        rules.add(.{ .calls = list("socket"), .action = .errno(.PROTONOSUPPORT), .conditions = &audit });
    }
    if (held & of("SYS_ADMIN") != 0) {
        rules.decide(clone, true, .PERM);
        rules.decide(unshare, true, .PERM);
    } else {
        rules.only(clone, comptime &.{.without(0, namespace_flags)}, .PERM);
        rules.only(unshare, comptime &.{.without(0, ~own_flags)}, .PERM);
    }
    rules.only(personality, comptime &ints(0, &personalities), .PERM);
    rules.decide(ioctl, true, .PERM);
    rules.except(ioctl, comptime &ints(1, &typing));
    if (held & of("NET_ADMIN") == 0) rules.except(ioctl, comptime &ints(1, &line_discipline));
    return .{ .default = .errno(.PERM), .i386 = options.i386, .rules = rules.items[0..rules.len] };
}

fn ints(comptime index: u8, comptime values: []const u32) [values.len]Condition {
    var conditions: [values.len]Condition = undefined;
    for (values, &conditions) |value, *condition| condition.* = .int(index, value);
    return conditions;
}

/// The program for `options`, in `scratch` unless it is the one that most containers
/// get: that one is part of the binary.
pub fn compile(options: Options, scratch: *compiler.Scratch) compiler.Error![]const Instruction {
    const relevant: Options = .{ .capabilities = options.capabilities & lifting, .i386 = options.i386, .io_uring = options.io_uring };
    if (std.meta.eql(relevant, .{ .capabilities = capabilities.default & lifting })) return &usual;
    var rules: Rules = undefined;
    return compiler.compile(profile(options, &rules), scratch);
}

/// Every capability that makes a difference to the profile.
const lifting = collected: {
    var set = of("NET_RAW NET_ADMIN SYS_ADMIN AUDIT_WRITE");
    for (refused) |group| set |= group.lifted_by;
    break :collected set;
};

const usual = compiled: {
    @setEvalBranchQuota(10_000_000);
    var rules: Rules = undefined;
    var scratch: compiler.Scratch = undefined;
    const program = compiler.compile(profile(.{}, &rules), &scratch) catch |err| @compileError(@errorName(err));
    break :compiled program[0..program.len].*;
};

comptime { // Every call is decided about, once.
    @setEvalBranchQuota(1_000_000);
    var decided: [numbers.count]bool = @splat(false);
    const groups = [_][]const Call{ always, segments, multiplexer, io_uring, sockets, clone, unshare, ioctl, personality };
    for (groups) |group| decide(&decided, group);
    for (refused) |group| decide(&decided, group.calls);
    for (decided, 0..) |done, row| if (!done) {
        const call: Call = @fromBackingInt(row);
        @compileError("decide about the system call " ++ call.name());
    };
}

fn decide(comptime decided: []bool, comptime calls: []const Call) void {
    for (calls) |call| {
        if (decided[@backingInt(call)]) @compileError("decided twice about the system call " ++ call.name());
        decided[@backingInt(call)] = true;
    }
}
