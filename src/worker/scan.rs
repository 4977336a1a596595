//! The scan of the base, on a checkout of its own that is thrown away.

use cody_events::evidence::{Candidate, FoundCheck, Language, Manifest, RepoScannedPayload};

use super::attempt::{Attempt, remove};
use super::{WorkerError, blocking};
use crate::git::{self, Base, RecordedTree};
use crate::scan::{Purpose, RenderCaps, Scan, ScanInput, ScanLimits, head_reader, render_context};
use crate::wire::{Receipt, ScanReport};

/// Scans the base and reports what was found.
pub(super) async fn scan(attempt: &Attempt) -> Result<(), WorkerError> {
    let assignment = &attempt.assignment;
    let (pack, commit) = attempt.pack()?;
    let dir = attempt.dir.join("scan");
    let prompt = assignment.prompt.clone();
    let branch = assignment.base.branch.clone();
    let place = dir.clone();
    let found = blocking(move || {
        let base = Base::open(&pack, commit)?;
        let sizes = base.sized_entries()?;
        let recorded = RecordedTree::at_base(base)?;
        git::checkout(&recorded, &place)?;
        let read_head = head_reader(&place);
        let input = ScanInput {
            entries: &sizes,
            read_head: &read_head,
            default_branch: Some(&branch),
            prompt: &prompt,
        };
        Ok(crate::scan::scan(&input, &ScanLimits::default()))
    })
    .await;
    remove(&dir).await;
    let report = report(attempt, &found?);
    attempt.connection.post::<_, Receipt>("scan", &report).await?;
    Ok(())
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
