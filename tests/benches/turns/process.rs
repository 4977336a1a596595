//! What a process takes of the machine, looked up while it runs.

use std::process::Command;
use std::time::Duration;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// CPU time and memory of one process; of its ended children apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu_s: f64,
    pub children_cpu_s: f64,
    pub peak_mib: f64,
}

/// Runs `command` to its end.
pub fn watch(mut command: Command) -> Usage {
    let mut child = command.spawn().unwrap();
    let mut usage = Usage::default();
    loop {
        usage = look(child.id()).unwrap_or(usage);
        if child.try_wait().unwrap().is_some() {
            return usage;
        }
        std::thread::sleep(LOOK);
    }
}

/// Watches a process that somebody else started to its end.
pub fn watch_pid(pid: &u32) -> Usage {
    let mut usage = Usage::default();
    while let Some(now) = look(*pid) {
        usage = now;
        std::thread::sleep(LOOK);
    }
    usage
}

/// What it has taken so far; nothing if it has ended.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a short life are exact enough")]
fn look(pid: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak_kib: f64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok());
    // A tick is a hundredth of a second; what the scheduler counts for each thread is finer.
    let coarse = (ticks(11)? + ticks(12)?) as f64 / 100.0;
    let mut fine = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        fine +=
            text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
    }
    Some(Usage {
        // Threads that ended are in the coarse count alone.
        cpu_s: coarse.max(fine as f64 / 1e9),
        children_cpu_s: (ticks(13)? + ticks(14)?) as f64 / 100.0,
        peak_mib: peak_kib / 1_024.0,
    })
}
