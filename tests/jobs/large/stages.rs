//! Each stage by itself, in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use cody_batch::git::{
    self, Base, FetchLimits, Locator, PackStore, RecordedTree, WalkBudget, WalkCaps,
};
use cody_batch::scan::{ScanInput, ScanLimits, scan};
use cody_events::tree::RepoPath;

use super::Took;
use super::generate::Made;
use crate::git_server::GitServer;

const ROOMY: WalkBudget = WalkBudget { files: 200_000, bytes: 4 << 30, file_bytes: 256 << 20 };
const LIMITS: FetchLimits = FetchLimits { bytes: 4 << 30, duration: Duration::from_secs(1_800) };
const CAPS: WalkCaps = WalkCaps { new_entries: 1_000, new_bytes: 16 << 20, files: 1_000_000 };
/// Edits whose median is a turn's.
const EDITS: usize = 5;

/// Runs `work` and tells what it took; the kernel's mark of the highest memory is reset before.
fn timed<R>(work: impl FnOnce() -> R) -> (R, Took) {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let started = Instant::now();
    let result = work();
    let seconds = started.elapsed().as_secs_f64();
    (result, Took { seconds, peak_mib: peak_mib(std::process::id()).unwrap() })
}

/// The highest resident memory of a process so far.
pub fn peak_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// From a host to a patch.
pub async fn measure(dir: &Path, made: &Made) -> Vec<(String, Took)> {
    let server = GitServer::start(None).await;
    server.adopt(&made.bare, "acme/big");
    let locator =
        Locator::parse(&server.url("acme/big"), std::slice::from_ref(&server.host)).unwrap();
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || stages(&dir, &locator)).await.unwrap()
}

fn stages(dir: &Path, locator: &Locator) -> Vec<(String, Took)> {
    let mut all = Vec::new();
    let mut note = |name: &str, took| all.push((name.to_owned(), took));
    let resolved = git::resolve(locator, None, None).unwrap();
    let caches = dir.join("cache");
    let (cache, took) = timed(|| git::fetch(locator, None, &resolved, &caches, &LIMITS).unwrap());
    note("fetch at depth 1", took);
    let (_, took) = timed(|| git::weigh_at(&cache, resolved.commit, &ROOMY).unwrap());
    note("weigh", took);
    let (pack, took) =
        timed(|| PackStore::new(dir.join("packs")).store(&cache, resolved.commit).unwrap());
    note("keep the pack", took);
    let open = || Base::open(&pack.dir, resolved.commit).unwrap();
    let work = dir.join("work");
    let (mut stats, took) =
        timed(|| git::checkout(&RecordedTree::at_base(open()).unwrap(), &work).unwrap());
    note("checkout", took);
    let ((), took) = timed(|| {
        let base = open();
        let entries = base.sized_entries().unwrap();
        let read_head = |path: &RepoPath, most: usize| {
            let at = entries.binary_search_by(|(other, _, _)| other.cmp(path)).unwrap();
            let mut content = base.content(entries[at].1.object).unwrap();
            content.truncate(most);
            Ok(content)
        };
        let input = ScanInput {
            entries: &entries,
            read_head: &read_head,
            default_branch: Some("main"),
            prompt: "Make the balance of an account a number",
        };
        let found = scan(&input, &ScanLimits::default());
        assert!(found.facts.file_count >= 10);
    });
    note("scan", took);
    let base = open();
    let mut known = BTreeSet::new();
    let (first, took) = timed(|| git::walk(&work, &base, &known, &mut stats, &CAPS).unwrap());
    assert_eq!((first.changed.len(), first.tree), (0, base.tree_id()));
    note("first walk", took);
    let mut edits = Vec::new();
    let mut walked = first;
    for number in 1..=EDITS {
        let file = work.join(Made::edited());
        let text = std::fs::read_to_string(&file).unwrap();
        let before = format!("THE_LINE = {}", number - 1);
        std::fs::write(&file, text.replace(&before, &format!("THE_LINE = {number}"))).unwrap();
        known.insert(RepoPath::new(Made::edited()).unwrap());
        let (after, took) = timed(|| git::walk(&work, &base, &known, &mut stats, &CAPS).unwrap());
        assert_eq!(after.changed.len(), 1);
        walked = after;
        edits.push(took);
    }
    edits.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    note("walk after an edit", edits[EDITS / 2]);
    let changed: BTreeMap<_, _> =
        walked.changed.iter().map(|change| (change.path.clone(), change.entry)).collect();
    assert_eq!(changed.len(), 1);
    let (patch, took) = timed(|| {
        let mut recorded = RecordedTree::at_base(open()).unwrap();
        recorded.apply(&walked.changed, &walked.blobs).unwrap();
        assert_eq!(recorded.tree_id().unwrap(), walked.tree);
        git::write_patch(&recorded).unwrap()
    });
    assert!(String::from_utf8_lossy(&patch.bytes).contains("+THE_LINE = 5"));
    note("tree and patch", took);
    all
}
