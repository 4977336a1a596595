//! What a command and all that it starts may use together: memory, processes, disk. Rules of the
//! kernel that hold for each process (the shell's `ulimit`) are no answer to many processes, and
//! some do not hold for root; so a running tree is looked at from outside, a few times a second.
//!
//! What is looked at belongs to somebody who may cheat: files that were deleted while open are found
//! through the processes that hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a tree is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// Files that are looked at to find what was written; a tree with more has its bytes elsewhere.
const FILES: usize = 2_000_000;

/// What a command may use, with all that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, by the kernel's count of resident pages; at most three quarters of what the
    /// machine has.
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
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "it used more than {} MiB of memory", bytes >> 20),
            Self::Processes(count) => write!(f, "it had more than {count} processes and threads"),
            Self::Disk(bytes) => write!(f, "it wrote more than {} MiB to the disk", bytes >> 20),
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
    free_at_begin: Vec<u64>,
    next: Instant,
    next_alarm: Instant,
}

impl LimitWatch {
    /// Begins now: what is there already does not count.
    pub(super) fn begin(limits: Limits, writable: Vec<PathBuf>) -> Self {
        let memory_bytes = limits.memory_bytes.min(most_memory_bytes());
        Self {
            limits: Limits { memory_bytes, ..limits },
            free_at_begin: writable.iter().map(|dir| free_bytes(dir)).collect(),
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
            resident += own_resident_bytes(&status);
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
        self.is_disk_over(&tree).then_some(Exceeded::Disk(disk_bytes))
    }

    /// The free space of the disk is asked first. Only where that has shrunk by the limit is it
    /// found out who wrote: others use the disk too.
    fn is_disk_over(&self, tree: &BTreeSet<u32>) -> bool {
        let limit = self.limits.disk_bytes;
        let mut before_and_now = self.writable.iter().map(|dir| free_bytes(dir));
        let shrank = self.free_at_begin.iter().any(|before| {
            before_and_now.next().is_some_and(|now| before.saturating_sub(now) >= limit)
        });
        if !shrank {
            return false;
        }
        let since = self.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let mut files_left = FILES;
        let visible: u64 =
            self.writable.iter().map(|dir| written_below(dir, since, &mut files_left)).sum();
        files_left == 0 || visible + deleted_but_open(tree) >= limit
    }
}

/// Bytes that nobody uses on the disk of `dir`; the most there can be where that cannot be told.
fn free_bytes(dir: &Path) -> u64 {
    let free = rustix::fs::statvfs(dir).map(|stat| stat.f_bfree.saturating_mul(stat.f_frsize));
    free.unwrap_or(u64::MAX)
}

/// Bytes of files below `dir` that were changed since `since`, in seconds of the epoch.
fn written_below(dir: &Path, since: i64, files_left: &mut usize) -> u64 {
    let mut bytes = 0;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else if metadata.ctime() >= since {
                bytes += metadata.blocks() * 512;
            }
            *files_left = files_left.saturating_sub(1);
            if *files_left == 0 {
                return bytes;
            }
        }
    }
    bytes
}

/// Bytes of files without a name that processes of `tree` have open.
fn deleted_but_open(tree: &BTreeSet<u32>) -> u64 {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for pid in tree {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for metadata in open.filter_map(|entry| fs::metadata(entry.path()).ok()) {
            let is_nameless = metadata.is_file() && metadata.nlink() == 0;
            if is_nameless && seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    bytes
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

/// Bytes of memory that are backed by no file on a disk.
fn own_resident_bytes(status: &str) -> u64 {
    kib(status, "RssAnon:").unwrap_or(0) + kib(status, "RssShmem:").unwrap_or(0)
}

/// The same, where a page that several processes share counts for each as its part. A process may
/// keep that count to itself; it counts in full then.
fn fair_bytes(pid: u32) -> u64 {
    let part = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .ok()
        .and_then(|text| Some(kib(&text, "Pss_Anon:")? + kib(&text, "Pss_Shmem:")?));
    part.unwrap_or_else(|| {
        fs::read_to_string(status_of(pid)).map_or(0, |status| own_resident_bytes(&status))
    })
}

/// The bytes that a line gives in KiB after `name`.
fn kib(text: &str, name: &str) -> Option<u64> {
    number(text, name).map(|kib| kib * 1024)
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
