//! The scan of the base, read from its pack.

use cody_events::evidence::{Candidate, FoundCheck, Language, Manifest, RepoScannedPayload};
use cody_events::tree::{Entry, RepoPath};

use super::attempt::Attempt;
use super::{WorkerError, blocking};
use crate::git::Base;
use crate::scan::{Purpose, RenderCaps, Scan, ScanInput, ScanLimits, render_context};
use crate::wire::{Receipt, ScanReport};

/// Larger files are data: a pack gives a file whole or not at all.
const MAX_READ_BYTES: u64 = 4 << 20;

/// Scans the base and reports what was found.
pub(super) async fn scan(attempt: &Attempt) -> Result<(), WorkerError> {
    let assignment = &attempt.assignment;
    let (pack, commit) = attempt.pack()?;
    let prompt = assignment.prompt.clone();
    let looks = attempt.settings.scan;
    let branch = assignment.base.branch.clone();
    let found = blocking(move || {
        let base = Base::open(&pack, commit)?;
        let sizes = base.sized_entries()?;
        let read_head = |path: &RepoPath, most: usize| head(&base, &sizes, path, most);
        let input = ScanInput {
            entries: &sizes,
            read_head: &read_head,
            default_branch: Some(&branch),
            prompt: &prompt,
        };
        let limits = if looks { ScanLimits::default() } else { ScanLimits::counts_only() };
        Ok(crate::scan::scan(&input, &limits))
    })
    .await?;
    let report = report(attempt, &found);
    attempt.connection.post::<_, Receipt>("scan", &report).await?;
    Ok(())
}

/// The beginning of a file of the base, straight from its pack: `entries` are in byte order.
fn head(
    base: &Base,
    entries: &[(RepoPath, Entry, u64)],
    path: &RepoPath,
    most: usize,
) -> std::io::Result<Vec<u8>> {
    let at = entries.binary_search_by(|(other, _, _)| other.cmp(path));
    let at = at.map_err(|_| std::io::Error::other("it is not in the base"))?;
    let content = base.small_content(entries[at].1.object, MAX_READ_BYTES);
    let mut content = content
        .map_err(std::io::Error::other)?
        .ok_or_else(|| std::io::Error::other("it is too large to be read"))?;
    content.truncate(most);
    Ok(content)
}

fn report(attempt: &Attempt, scan: &Scan) -> ScanReport {
    let languages = scan.facts.languages.iter().map(|share| Language {
        name: share.name.clone(),
        file_count: share.files,
        byte_count: share.bytes,
    });
    let manifests = scan.findings.manifests.iter().map(|manifest| Manifest {
        path: manifest.path.clone(),
        build_system: manifest.system.name().to_owned(),
    });
    let candidates = scan.findings.candidates.iter().map(|candidate| Candidate {
        path: candidate.path.clone(),
        score_milli: candidate.score_milli,
        why: candidate.terms.join(", "),
    });
    // Tests judge a change; linters and type checkers have opinions of their own about old code.
    let checks = scan
        .findings
        .check_commands
        .iter()
        .filter(|check| check.purpose == Purpose::Test && !check.needs_dependencies)
        .map(|check| FoundCheck {
            command: match &check.folder {
                Some(folder) => format!("cd {} && {}", quoted(&folder.display()), check.command),
                None => check.command.clone(),
            },
            why: check.reason.clone(),
        });
    ScanReport {
        base_commit: attempt.assignment.base.commit,
        tree: attempt.assignment.base.tree,
        languages: languages.collect(),
        file_count: scan.facts.file_count,
        byte_count: scan.facts.total_bytes,
        found: RepoScannedPayload {
            manifests: manifests.collect(),
            checks: checks.collect(),
            candidates: candidates.collect(),
            instruction_files: scan
                .findings
                .instructions
                .iter()
                .map(|file| file.path.clone())
                .collect(),
            context: render_context(scan, &RenderCaps::default()),
        },
    }
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
