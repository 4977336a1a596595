//! What becomes the command: gives up one right after the other, and at last itself.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::fs::{Gid, Mode, Uid};
use rustix::process::{Signal, chdir, set_parent_process_death_signal, setsid, umask};
use rustix::stdio::dup2_stdin;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::rules;
use super::spec::Spec;
use crate::sandbox::rlimits;
use crate::sandbox::syscalls::{self, World};

/// The one right that a user of its own keeps: to pass through directories and read files that are
/// the worker's. Landlock decides which; a data directory is closed to every other user.
const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// Reads the orders and becomes the command. Returns only if that fails, having said why to
/// `complaints`: nothing of the command has run then.
pub(super) fn become_the_command(mut complaints: File) -> Result<ExitCode, String> {
    let why = become_it();
    let _ = complaints.write_all(why.as_bytes());
    Err(why)
}

fn become_it() -> String {
    let spec = match prepare() {
        Ok(spec) => spec,
        Err(why) => return why,
    };
    let Some((program, arguments)) = spec.argv.split_first() else {
        return "no program was named".to_owned();
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
    let error = command.exec();
    format!("{program}: {error}")
}

fn prepare() -> Result<Spec, String> {
    let step = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let mut orders = String::new();
    io::stdin().read_to_string(&mut orders).map_err(step("no orders"))?;
    let spec: Spec = serde_json::from_str(&orders).map_err(|_| "no orders".to_owned())?;

    setsid().map_err(|error| step("no session")(error.into()))?;
    rlimits::limit_this_process(spec.processes).map_err(step("no limits"))?;
    rules::keep_files_out(&spec)?;
    if let Some(user) = spec.user {
        become_user(user).map_err(step("the launcher cannot become another user"))?;
    }
    // After the change of user, which takes it away.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| step("no death signal")(error.into()))?;
    umask(Mode::from_raw_mode(0o022));
    chdir(&spec.cwd).map_err(|error| step("the work directory")(error.into()))?;
    let nothing = File::open("/dev/null").map_err(step("no /dev/null"))?;
    dup2_stdin(&nothing).map_err(|error| step("no input")(error.into()))?;
    for filter in syscalls::filters(World::Shared)? {
        seccompiler::apply_filter(&filter).map_err(|error| format!("seccomp: {error}"))?;
    }
    Ok(spec)
}

/// Becomes `user`, with no group but its own and no right but [`KEPT`].
fn become_user(user: u32) -> io::Result<()> {
    for right in CapabilitySet::all().iter().filter(|right| *right != KEPT) {
        match remove_capability_from_bounding_set(right) {
            // Rights that this kernel does not know yet.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // Without it `access` would answer for somebody who has no right at all, and compilers ask it.
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let kept = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: KEPT };
    set_capabilities(None, kept)?;
    configure_capability_in_ambient_set(KEPT, true)?;
    Ok(())
}
