//! Calls of the kernel that no command needs, and that others have escaped through: filters for
//! seccomp, for both backends. What keeps a command in are namespaces or landlock; these close what
//! those leave open, and make the kernel that a hostile program can talk to smaller.
//!
//! It is a list of what is denied. A list of what is allowed would have to know every program that
//! a repository's checks may start.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// Which world a command is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    /// Its own network, processes and IPC: sockets are its own affair.
    Namespaces,
    /// The machine's: no socket can be made, and no other process be touched.
    Shared,
}

/// Refused as forbidden: namespaces, mounts, other processes, the kernel's own matters.
const FORBIDDEN: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

/// Answered as if the kernel were older: programs have another way then. `clone3` keeps its flags
/// in memory, where no filter can see them, as `openat2` keeps its mode; memory of `memfd` belongs to
/// no process's count.
const ABSENT: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_openat2,
];

/// Also forbidden where IPC and the network are the machine's.
const FORBIDDEN_IN_SHARED: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Also answered as by an older kernel where the files are the machine's, because landlock has no
/// rule for them: to be told what happens in directories that cannot be read, and to write attributes
/// on whatever one owns or may write to.
const ABSENT_IN_SHARED: &[i64] = &[
    libc::SYS_inotify_add_watch,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    SYS_SETXATTRAT,
    SYS_REMOVEXATTRAT,
    SYS_FILE_SETATTR,
];

/// Calls of Linux 6.13 and 6.17, by the numbers that all architectures share.
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_FILE_SETATTR: i64 = 469;

/// Calls that change how a process is treated, and which argument says whose.
const OF_OTHERS: &[(i64, u8)] = &[
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

/// Bytes of one segment of shared memory.
const SHARED_BYTES: u64 = 1 << 20;

/// Kinds of sockets that a network of one's own keeps in. Others (VSOCK above all) reach the host of
/// the machine past every namespace.
const SOCKETS: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Each makes a namespace in which one has more rights. (Time has no bit in `clone`.)
const NEW_NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Who runs a file with one of these bits runs it as its owner or group. A command's files may be
/// root's, for who looks from outside.
const BORROWED_IDENTITY: [u64; 2] = [0o4000, 0o2000];

/// Calls that give a file a mode, and which of their arguments that is.
const GIVE_A_MODE: &[(i64, u8)] = &[
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (libc::SYS_fchmodat2, 2),
    (libc::SYS_mknodat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
];

/// Flags with which a file is made, under a name or without.
const MAKES_A_FILE: [i32; 2] = [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY];

/// Calls that give a file a mode if they make it: where their flags are, and where the mode is.
const MAY_GIVE_A_MODE: &[(i64, u8, u8)] = &[
    (libc::SYS_openat, 2, 3),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1, 2),
];

/// Calls of a terminal that type for others.
const TYPES_FOR_OTHERS: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Calls whose numbers carry this bit are those of another way to call the same kernel (x32).
const X32_BIT: u32 = 0x4000_0000;

/// The filters of `world`, to be installed one after the other.
pub(super) fn filters(world: World) -> Result<Vec<BpfProgram>, String> {
    let forbidden = forbidden(world).map_err(|error| error.to_string())?;
    let in_shared = if world == World::Shared { ABSENT_IN_SHARED } else { &[] };
    let absent = ABSENT.iter().chain(in_shared).map(|call| (*call, Vec::new())).collect();
    Ok(vec![
        compile(forbidden, libc::EPERM).map_err(|error| error.to_string())?,
        compile(absent, libc::ENOSYS).map_err(|error| error.to_string())?,
    ])
}

/// A filter as bytes, as the kernel reads it.
pub(super) fn bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for step in program {
        bytes.extend_from_slice(&step.code.to_ne_bytes());
        bytes.extend_from_slice(&[step.jt, step.jf]);
        bytes.extend_from_slice(&step.k.to_ne_bytes());
    }
    bytes
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn forbidden(world: World) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let namespaces = NEW_NAMESPACES
        .into_iter()
        .map(|flag| SeccompRule::new(vec![has(0, u64::from(flag.cast_unsigned()))?]));
    rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    let typing = TYPES_FOR_OTHERS
        .into_iter()
        .map(|call| only_if(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, call));
    rules.insert(libc::SYS_ioctl, typing.collect::<Result<_, _>>()?);
    for (call, mode) in GIVE_A_MODE {
        let bits = BORROWED_IDENTITY.into_iter();
        let rules_of_call = bits.map(|bit| SeccompRule::new(vec![has(*mode, bit)?]));
        rules.insert(*call, rules_of_call.collect::<Result<_, _>>()?);
    }
    for (call, flags, mode) in MAY_GIVE_A_MODE {
        let both = BORROWED_IDENTITY.into_iter().flat_map(|bit| MAKES_A_FILE.map(|f| (f, bit)));
        let rules_of_call = both.map(|(makes, bit)| {
            let makes = u64::from(makes.cast_unsigned());
            SeccompRule::new(vec![has(*flags, makes)?, has(*mode, bit)?])
        });
        rules.insert(*call, rules_of_call.collect::<Result<_, _>>()?);
    }
    match world {
        World::Namespaces => {
            let others = SOCKETS.into_iter().map(|family| {
                let family = u64::from(family.cast_unsigned());
                SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
            });
            let others = SeccompRule::new(others.collect::<Result<_, _>>()?)?;
            rules.insert(libc::SYS_socket, vec![others]);
            // Such memory belongs to no process while none has it attached, so nobody counts it. As
            // many as there can be of this size are bearable, and databases need a small one.
            let large = only_if(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Gt, SHARED_BYTES)?;
            rules.insert(libc::SYS_shmget, vec![large]);
        }
        World::Shared => {
            rules.extend(FORBIDDEN_IN_SHARED.iter().map(|call| (*call, Vec::new())));
            // A pair of datagram sockets can be sent from to any other socket; and what is asked for
            // as raw is one.
            let family = u64::from(libc::AF_UNIX.cast_unsigned());
            let others = only_if(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family);
            let datagrams = [libc::SOCK_DGRAM, libc::SOCK_RAW].into_iter().map(|kind| {
                let masked = SeccompCmpOp::MaskedEq(0xf);
                only_if(1, SeccompCmpArgLen::Qword, masked, u64::from(kind.cast_unsigned()))
            });
            let pairs = std::iter::once(others).chain(datagrams).collect::<Result<_, _>>()?;
            rules.insert(libc::SYS_socketpair, pairs);
            // Limits and priorities of other processes of the same user. Which of them comes first
            // for some, and whose: nought is oneself.
            for (call, whose) in OF_OTHERS {
                let others = only_if(*whose, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
                rules.insert(*call, vec![others]);
            }
            for (call, process) in [(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)] {
                let many = only_if(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, process)?;
                rules.entry(call).or_default().push(many);
            }
        }
    }
    Ok(rules)
}

/// Whether an argument has these bits.
fn has(argument: u8, bits: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    let masked = SeccompCmpOp::MaskedEq(bits);
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, masked, bits)
}

fn only_if(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])
}

/// Calls of another architecture end the process, as do those of x32.
fn compile(rules: Rules, errno: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?;
    let mut program = BpfProgram::try_from(filter)?;
    if cfg!(target_arch = "x86_64") {
        let number_of_call = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
        let is_x32 = sock_filter { code: 0x45, jt: 0, jf: 1, k: X32_BIT };
        let end = sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_KILL_PROCESS };
        program.splice(0..0, [number_of_call, is_x32, end]);
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_small_enough_for_the_kernel() {
        for world in [World::Namespaces, World::Shared] {
            for program in filters(world).unwrap() {
                assert!(program.len() < 4096 && bytes(&program).len() == program.len() * 8);
            }
        }
    }
}
