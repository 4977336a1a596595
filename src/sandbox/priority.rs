//! Commands come after us: where root starts them, the kernel counts no processes against them, and
//! who is to put out a fork bomb must not wait in its line. Who is not root may not do this, and need
//! not: the kernel's own limit holds then.

use rustix::process::{Pid, geteuid, setpriority_process};
use rustix::thread::gettid;

/// What commands get: a tenth of the share of a process that nobody gave a priority.
const OF_COMMANDS: i32 = 10;
const OF_THE_WATCH: i32 = -10;
const USUAL: i32 = 0;

/// The priority of this thread, while it starts and watches a command.
#[derive(Debug)]
pub(super) struct Priority {
    thread: Option<Pid>,
}

impl Priority {
    /// From now on this thread starts commands.
    pub(super) fn to_start() -> Self {
        let priority = Self { thread: geteuid().is_root().then(gettid) };
        priority.set(OF_COMMANDS);
        priority
    }

    /// From now on this thread watches.
    pub(super) fn to_watch(&self) {
        self.set(OF_THE_WATCH);
    }

    /// What cannot be had is done without: a container may forbid it.
    fn set(&self, priority: i32) {
        if let Some(thread) = self.thread {
            let _ = setpriority_process(Some(thread), priority);
        }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        self.set(USUAL);
    }
}
