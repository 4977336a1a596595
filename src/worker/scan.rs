//! The scan of the base, read from its pack.

use cody_events::evidence::{Candidate, RepoScannedPayload};

use super::attempt::Attempt;
use super::{WorkerError, blocking};
use crate::git::Base;
use crate::scan::{RenderCaps, Scan, ScanLimits, render_context};
use crate::wire::{Receipt, ScanReport};

/// Scans the base and reports what was found.
pub(super) async fn scan(attempt: &Attempt) -> Result<(), WorkerError> {
    let assignment = &attempt.assignment;
    let (pack, commit) = attempt.pack()?;
    let prompt = assignment.prompt.clone();
    let looks = attempt.settings.scan;
    let branch = assignment.base.branch.clone();
    let found = blocking(move || {
        let base = Base::open(&pack, commit)?;
        let limits = if looks { ScanLimits::default() } else { ScanLimits::counts_only() };
        Ok(crate::scan::scan_base(&base, Some(&branch), &prompt, &limits)?)
    })
    .await?;
    let report = report(attempt, &found);
    attempt.connection.post::<_, Receipt>("scan", &report).await?;
    Ok(())
}

fn report(attempt: &Attempt, scan: &Scan) -> ScanReport {
    let candidates = scan.findings.candidates.iter().map(|candidate| Candidate {
        path: candidate.path.clone(),
        score_milli: candidate.score_milli,
        why: candidate.terms.join(", "),
    });
    ScanReport {
        base_commit: attempt.assignment.base.commit,
        tree: attempt.assignment.base.tree,
        languages: scan.languages(),
        file_count: scan.facts.file_count,
        byte_count: scan.facts.total_bytes,
        found: RepoScannedPayload {
            manifests: scan.manifests(),
            checks: scan.checks(),
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
