//! Scans of a repository with 100,000 files. What they may read is asserted; what they took is
//! printed, because a bound in seconds is a property of the machine.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::Instant;

use cody_events::digest::ObjectId;
use cody_events::tree::{Entry, EntryMode, RepoPath};

use super::*;

const FILES: usize = 100_000;
/// 100,000 of these make 1 GiB.
const FILE_BYTES: usize = 10_737;
const PROMPT: &str = "Make `retry_with_backoff` honour the Retry-After header in every client, and \
                      add a test for service 77 in src/group042/mod007/file3.go";

/// Paths like those of a large monorepo: 1,000 folders on two levels, 100 files in each.
fn path(number: usize) -> String {
    let (group, module, file) = (number / 1000, number / 100 % 10, number % 100);
    let extension = ["rs", "py", "ts", "go", "md"][number % 5];
    format!("src/group{group:03}/mod{module:03}/file{file}.{extension}")
}

/// Text of words that differ by file; one file in 5,000 defines what the prompt is about.
fn content(number: usize) -> Vec<u8> {
    let mut text = String::with_capacity(FILE_BYTES + 80);
    if number % 5000 == 3 {
        text.push_str("pub fn retry_with_backoff(header: &str) -> Client {\n");
    }
    let mut word = number as u64 + 1;
    while text.len() < FILE_BYTES {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let _ =
            writeln!(text, "    let value_{:x} = callService{:x}(test);", word >> 48, word >> 52);
    }
    text.truncate(FILE_BYTES);
    text.into_bytes()
}

fn number_of(path: &RepoPath) -> usize {
    let text = path.display();
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    let parts = text.split('/').map(digits).map(|d| d.parse().unwrap_or(0)).collect::<Vec<usize>>();
    parts[1] * 1000 + parts[2] * 100 + parts[3]
}

fn entries() -> Vec<(RepoPath, Entry, u64)> {
    let entry = Entry { mode: EntryMode::File, object: ObjectId::ZERO };
    let listed = |number| (RepoPath::new(path(number)).unwrap(), entry, FILE_BYTES as u64);
    (0..FILES).map(listed).collect()
}

/// A figure of this process in KiB, as Linux counts it.
fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

fn measure(input: &ScanInput<'_>, limits: &ScanLimits) -> Scan {
    let before = status_kib("VmRSS:");
    let started = Instant::now();
    let scan = scan(input, limits);
    println!(
        "{FILES} files: {:?}; {:?}; resident {before} KiB before, {} KiB at the peak",
        started.elapsed(),
        scan.findings.reading,
        status_kib("VmHWM:"),
    );
    scan
}

#[test]
fn a_hundred_thousand_files_are_ranked_within_the_budget() {
    let entries = entries();
    let bytes_read = Cell::new(0u64);
    let read = |path: &RepoPath, max: usize| {
        let mut head = content(number_of(path));
        head.truncate(max);
        bytes_read.set(bytes_read.get() + head.len() as u64);
        Ok(head)
    };
    let input =
        ScanInput { entries: &entries, read_head: &read, default_branch: None, prompt: PROMPT };
    let limits =
        ScanLimits { ranking_bytes: 4 << 20, head_bytes: 4 << 10, ..ScanLimits::default() };
    let scan = measure(&input, &limits);

    let reading = &scan.findings.reading;
    assert!(reading.bytes_read <= limits.ranking_bytes);
    assert_eq!(reading.files_read, 1024);
    assert_eq!(reading.files_read + reading.files_not_reached, FILES as u64);
    // Beyond the ranking, only the candidates are read once more, for their lines.
    let again = limits.candidate_count as u64 * limits.head_bytes;
    assert!(bytes_read.get() <= limits.ranking_bytes + again);
    assert_eq!(scan.facts.total_bytes, (FILES * FILE_BYTES) as u64);
    assert_eq!(scan.findings.candidates.len(), limits.candidate_count);
}
