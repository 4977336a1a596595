//! A control group that counts the processes of one call. Root's are counted by nothing else that the
//! kernel has, and a fork bomb is faster than anybody who watches. Where none can be made (a container,
//! a user without rights) the watch from outside has to do; for users the kernel has its own limit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::geteuid;

/// Where control groups that count are made: the one hierarchy, or the one of its own of older systems.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"];
const PREFIX: &str = "cody-batch-";
/// More than are allowed, so that who watches still sees a tree that is over its limit.
const SLACK: u64 = 32;
/// How long the group of dead processes may take to be empty.
const PATIENCE: Duration = Duration::from_secs(2);
/// Enters the group, then becomes the program.
const ENTER: &str = r#"echo 0 >"$0" && exec "$@""#;

static CALLS: AtomicU64 = AtomicU64::new(0);

/// The group of one call, if it has one.
#[derive(Debug)]
pub(super) struct Crowd {
    dir: Option<PathBuf>,
}

impl Crowd {
    /// A group of at most about `processes` processes and threads.
    pub(super) fn of(processes: u64) -> Self {
        if !geteuid().is_root() {
            return Self { dir: None };
        }
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{call}", std::process::id());
        let made = ROOTS.into_iter().find_map(|root| make(Path::new(root), &name, processes).ok());
        Self { dir: made }
    }

    /// What starts `program` in the group.
    pub(super) fn command(&self, program: &Path) -> Command {
        match &self.dir {
            Some(dir) => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", ENTER]).arg(dir.join("cgroup.procs")).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let Some(dir) = &self.dir else { return };
        let since = Instant::now();
        // Not before the last of the dead is gone from it.
        while fs::remove_dir(dir).is_err() && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn make(root: &Path, name: &str, processes: u64) -> io::Result<PathBuf> {
    remove_abandoned(root)?;
    let dir = root.join(name);
    fs::create_dir(&dir)?;
    let limit = dir.join("pids.max");
    // In a directory that is no group of this kind, writing would make a file.
    let limited = match limit.exists() {
        true => fs::write(&limit, (processes + SLACK).to_string()),
        false => Err(io::ErrorKind::Unsupported.into()),
    };
    limited.inspect_err(|_| drop(fs::remove_dir(&dir)))?;
    Ok(dir)
}

/// Groups of workers that were killed. One in which something lives cannot be removed.
fn remove_abandoned(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)?.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    Ok(())
}
