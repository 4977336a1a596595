//! What a command and all that it starts may use together: memory, processes, disk. Rules of the
//! kernel that hold for each process (the shell's `ulimit`) are no answer to many processes, and
//! some do not hold for root; so a running tree is looked at from outside, a few times a second.
//!
//! What is looked at belongs to somebody who may cheat: files that were deleted while open are found
//! through the processes that hold them, and what is hidden from the look counts as too much. What no
//! look can find at all (files in flight between sockets, buffers of the kernel) shows in what the
//! machine has left: when that is next to nothing, commands go first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a tree is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// Files that are looked at to find what was written; a tree with more has its bytes elsewhere.
const FILES: usize = 2_000_000;
/// The part of what the machine had left when a command began that has to be left at any time.
const LEAST_PART: u64 = 16;

/// What a command may use, with all that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, by the kernel's count of resident pages and of the tables that lead to them;
    /// at most three quarters of what the machine has.
    pub memory_bytes: u64,
    /// Processes and threads at once.
    pub processes: u64,
    /// Bytes that it may add to the disk.
    pub disk_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 8 << 30, processes: 4_096, disk_bytes: 8 << 30 }
    }
}

/// A limit that ended a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// Bytes of memory that it may use.
    Memory(u64),
    /// Processes and threads that it may have.
    Processes(u64),
    /// Bytes that it may write.
    Disk(u64),
    /// What the machine had next to nothing left of, whoever took it.
    Machine(&'static str),
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "it used more than {} MiB of memory", bytes >> 20),
            Self::Processes(count) => write!(f, "it had more than {count} processes and threads"),
            Self::Disk(bytes) => write!(f, "it wrote more than {} MiB to the disk", bytes >> 20),
            Self::Machine(what) => {
                write!(f, "the machine had next to no {what} left, and commands go first")
            }
        }
    }
}

/// Three quarters of the machine's memory.
fn most_memory_bytes() -> u64 {
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemTotal:"));
    total.map_or(u64::MAX, |total| total / 4 * 3)
}

/// Looks at one running tree.
#[derive(Debug)]
pub(super) struct LimitWatch {
    limits: Limits,
    /// Directories that the command may write to.
    writable: Vec<PathBuf>,
    began: SystemTime,
    threads_at_begin: u64,
    left_at_begin: Left,
    next: Instant,
    next_alarm: Instant,
}

impl LimitWatch {
    /// Begins now: what is there already does not count.
    pub(super) fn begin(limits: Limits, writable: Vec<PathBuf>) -> Self {
        let memory_bytes = limits.memory_bytes.min(most_memory_bytes());
        Self {
            limits: Limits { memory_bytes, ..limits },
            left_at_begin: Left::now(&writable),
            writable,
            began: SystemTime::now(),
            threads_at_begin: machine_threads(),
            next: Instant::now() + EVERY,
            next_alarm: Instant::now(),
        }
    }

    /// Whether the tree below the process `root` is over a limit. Looks only when it is time to, or
    /// when there are suddenly so many processes on the machine that waiting would be too late.
    pub(super) fn look(&mut self, root: u32) -> Option<Exceeded> {
        let begun = Instant::now();
        if begun < self.next && !(begun >= self.next_alarm && self.is_crowded()) {
            return None;
        }
        let over = self.over(root);
        // A tree that is slow to look at is looked at less often.
        let took = begun.elapsed();
        self.next = Instant::now() + EVERY.max(took * 10);
        self.next_alarm = Instant::now() + took * 3;
        over
    }

    /// One number tells, at a cost that does not grow with what it counts.
    fn is_crowded(&self) -> bool {
        machine_threads() > self.threads_at_begin + self.limits.processes / 2
    }

    fn over(&self, root: u32) -> Option<Exceeded> {
        let Limits { memory_bytes, processes, disk_bytes } = self.limits;
        let tree = descendants(root);
        let (mut threads, mut resident) = (0, 0);
        for status in tree.iter().filter_map(|pid| fs::read_to_string(status_of(*pid)).ok()) {
            threads += number(&status, "Threads:").unwrap_or(1);
            resident += own_bytes(&status);
        }
        if threads > processes || tree.len() as u64 > processes {
            return Some(Exceeded::Processes(processes));
        }
        // Each process counts all of the pages that it shares with others. Who would be over by that
        // is weighed by a slower and fairer count.
        if resident > memory_bytes
            && tree.iter().map(|pid| fair_bytes(*pid)).sum::<u64>() > memory_bytes
        {
            return Some(Exceeded::Memory(memory_bytes));
        }
        let left = Left::now(&self.writable);
        if self.is_disk_over(root, &tree, &left) {
            return Some(Exceeded::Disk(disk_bytes));
        }
        left.is_next_to_nothing(&self.left_at_begin).map(Exceeded::Machine)
    }

    /// The free space of the disk is asked first. Only where that has shrunk by the limit is it
    /// found out who wrote: others use the disk too.
    fn is_disk_over(&self, root: u32, tree: &BTreeSet<u32>, left: &Left) -> bool {
        let limit = self.limits.disk_bytes;
        let mut before_and_now = self.left_at_begin.disks.iter().zip(&left.disks);
        if !before_and_now.any(|(before, now)| before.0.saturating_sub(now.0) >= limit) {
            return false;
        }
        let since = self.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let mut written = Written::since(since);
        for dir in &self.writable {
            written.add_below(dir);
        }
        // Our launcher keeps its own files to itself, and has none.
        for pid in tree.iter().filter(|pid| **pid != root) {
            written.add_deleted_but_open(*pid);
        }
        written.is_hidden || written.bytes >= limit
    }
}

/// What the machine has left.
#[derive(Debug)]
struct Left {
    memory_bytes: u64,
    /// Bytes, and files that can be made, on the disk of each writable directory.
    disks: Vec<(u64, u64)>,
}

impl Left {
    fn now(writable: &[PathBuf]) -> Self {
        let memory = fs::read_to_string("/proc/meminfo").ok();
        Self {
            memory_bytes: memory.and_then(|text| kib(&text, "MemAvailable:")).unwrap_or(u64::MAX),
            disks: writable.iter().map(|dir| free_bytes_and_files(dir)).collect(),
        }
    }

    /// What is nearly all gone of what there was.
    fn is_next_to_nothing(&self, before: &Self) -> Option<&'static str> {
        let is_gone = |before: u64, now: u64| now < before / LEAST_PART;
        let mut disks = before.disks.iter().zip(&self.disks);
        if is_gone(before.memory_bytes, self.memory_bytes) {
            return Some("memory");
        }
        let is_full = |(before, now): (&(u64, u64), &(u64, u64))| {
            is_gone(before.0, now.0) || is_gone(before.1, now.1)
        };
        disks.any(is_full).then_some("room on the disk")
    }
}

/// What was written since a command began, as far as it shows.
struct Written {
    /// In seconds of the epoch.
    since: i64,
    files_left: usize,
    /// Files without a name that were counted, by device and inode.
    nameless: BTreeSet<(u64, u64)>,
    bytes: u64,
    /// Whether there is more than can be looked at, or something was closed against it.
    is_hidden: bool,
}

impl Written {
    fn since(since: i64) -> Self {
        let nameless = BTreeSet::new();
        Self { since, files_left: FILES, nameless, bytes: 0, is_hidden: false }
    }

    /// Files below `dir` that were changed.
    fn add_below(&mut self, dir: &Path) {
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) => {
                    // It may be gone by now. Else it is closed, or deeper than a path can tell.
                    let kind = error.kind();
                    self.is_hidden |=
                        !matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                    continue;
                }
            };
            for entry in entries.flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    dirs.push(entry.path());
                } else if metadata.ctime() >= self.since {
                    self.bytes += metadata.blocks() * 512;
                }
                self.files_left = self.files_left.saturating_sub(1);
                if self.files_left == 0 {
                    self.is_hidden = true;
                    return;
                }
            }
        }
    }

    /// Files without a name that a process has open.
    fn add_deleted_but_open(&mut self, pid: u32) {
        let open = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(open) => open,
            Err(_) => {
                // What has ended has no memory and no files. What lives and shows none keeps them
                // to itself.
                let status = fs::read_to_string(status_of(pid)).unwrap_or_default();
                self.is_hidden |= number(&status, "VmPTE:").is_some();
                return;
            }
        };
        for metadata in open.flatten().filter_map(|entry| fs::metadata(entry.path()).ok()) {
            let is_nameless = metadata.is_file() && metadata.nlink() == 0;
            if is_nameless && self.nameless.insert((metadata.dev(), metadata.ino())) {
                self.bytes += metadata.blocks() * 512;
            }
        }
    }
}

/// Bytes that nobody uses on the disk of `dir`, and files that can be made there; the most there can
/// be where that cannot be told.
fn free_bytes_and_files(dir: &Path) -> (u64, u64) {
    rustix::fs::statvfs(dir).map_or((u64::MAX, u64::MAX), |stat| {
        // Some file systems count no files.
        let files = if stat.f_files == 0 { u64::MAX } else { stat.f_ffree };
        (stat.f_bfree.saturating_mul(stat.f_frsize), files)
    })
}

/// `root` and what it started, and so on. An orphan belongs to whoever took it over, which is
/// always inside: the first process of a namespace, or our launcher.
fn descendants(root: u32) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        if found.insert(pid) {
            next.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    found
}

/// The parent of a process. Its name stands before that in parentheses, and may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[after_name + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Threads of the whole machine.
fn machine_threads() -> u64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running_and_all = text.split_ascii_whitespace().nth(3).unwrap_or_default();
    running_and_all.split('/').nth(1).and_then(|all| all.parse().ok()).unwrap_or(0)
}

fn status_of(pid: u32) -> String {
    format!("/proc/{pid}/status")
}

/// Bytes of memory that are backed by no file on a disk, and of tables of pages: those can be many for
/// pages that are not.
fn own_bytes(status: &str) -> u64 {
    ["RssAnon:", "RssShmem:", "VmPTE:"].iter().filter_map(|name| kib(status, name)).sum()
}

/// The same, where a page that several processes share counts for each as its part. A process may
/// keep that count to itself; it counts in full then.
fn fair_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(status_of(pid)).unwrap_or_default();
    let part = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok().and_then(|text| {
        Some(kib(&text, "Pss_Anon:")? + kib(&text, "Pss_Shmem:")? + kib(&status, "VmPTE:")?)
    });
    part.unwrap_or_else(|| own_bytes(&status))
}

/// The bytes that a line gives in KiB after `name`.
fn kib(text: &str, name: &str) -> Option<u64> {
    number(text, name).map(|kib| kib * 1024)
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_go_when_next_to_nothing_is_left() {
        let left = |memory_bytes, disk| Left { memory_bytes, disks: vec![(1_000, 1_000), disk] };
        let before = left(16_000, (16_000, 16_000));
        for (now, expected) in [
            (left(1_000, (1_000, 1_000)), None),
            (left(999, (1_000, 1_000)), Some("memory")),
            (left(1_000, (999, 1_000)), Some("room on the disk")),
            (left(1_000, (1_000, 999)), Some("room on the disk")),
        ] {
            assert_eq!(now.is_next_to_nothing(&before), expected, "{now:?}");
        }
        assert_eq!(left(0, (0, 0)).is_next_to_nothing(&left(0, (0, 0))), None);
    }
}
