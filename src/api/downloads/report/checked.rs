//! What was checked of one target: what its commands needed, what they said before and after, and what
//! the review found.

use cody_events::event::Event;
use cody_events::evidence::{
    CheckPhase, CheckSkip, CheckVerdict, ChecksRan, DependenciesFetched, FetchOutcome,
};
use cody_events::thread::{DiffReviewed, ReviewVerdict};

use super::super::DownloadError;
use super::super::markdown::{code_cell, inline};
use crate::api::reading::ReadJob;
use crate::api::words;
use crate::app::App;
use crate::job::state::Target;

/// The section; nothing if nothing was checked.
pub async fn section(app: &App, job: &ReadJob, target: &Target) -> Result<String, DownloadError> {
    let parts = [
        dependencies(app, job, target).await?,
        checks(app, job, target).await?,
        reviews(app, job, target).await?,
    ];
    let text = parts.concat();
    if text.is_empty() {
        return Ok(text);
    }
    Ok(format!("### Checked\n\n{text}"))
}

/// Every fetch of dependencies, and the hosts that it reached or was refused.
async fn dependencies(app: &App, job: &ReadJob, target: &Target) -> Result<String, DownloadError> {
    let mut rows = String::new();
    for told in &job.events {
        let Event::DependenciesFetched(facts) = &told.event else { continue };
        if facts.target != target.number {
            continue;
        }
        let payload = app.payload_of::<DependenciesFetched>(told.recorded.position).await?;
        let words = payload.iter().flat_map(|payload| &payload.fetches).map(Some);
        for (fetch, words) in facts.fetches.iter().zip(words.chain(std::iter::repeat(None))) {
            let how = match fetch.outcome {
                FetchOutcome::Fetched => "fetched",
                FetchOutcome::Cached => "from an earlier fetch",
                FetchOutcome::Failed => "failed",
                FetchOutcome::NoNamespaces => "not possible in this sandbox",
            };
            let hosts = |hosts: &[String]| inline(&hosts.join(", "));
            rows.push_str(&format!(
                "| {} | {how} | {} | {} | {} |\n",
                fetch.ecosystem,
                words.map_or_else(String::new, |words| hosts(&words.hosts)),
                words.map_or_else(String::new, |words| hosts(&words.refused_hosts)),
                words::duration(fetch.ms)
            ));
        }
    }
    if rows.is_empty() {
        return Ok(rows);
    }
    Ok(format!(
        "| dependencies | result | hosts reached | hosts refused | time |\n|---|---|---|---|---|\n{rows}\n"
    ))
}

/// Every run of the checks, a row a command, and what they say of the change.
async fn checks(app: &App, job: &ReadJob, target: &Target) -> Result<String, DownloadError> {
    let mut rows = String::new();
    for told in &job.events {
        let Event::ChecksRan(facts) = &told.event else { continue };
        if facts.target != target.number {
            continue;
        }
        let phase = match facts.phase {
            CheckPhase::Baseline => "before",
            CheckPhase::After => "after",
            CheckPhase::Repair => "after repair",
        };
        let payload = app.payload_of::<ChecksRan>(told.recorded.position).await?;
        let commands = payload.iter().flat_map(|payload| &payload.commands);
        let names = commands.map(|one| code_cell(&one.command));
        let names = names.chain(std::iter::repeat("(removed)".to_owned()));
        for (result, name) in facts.commands.iter().zip(names) {
            let how = match (result.timed_out, result.exit_code) {
                (true, _) => "timed out".to_owned(),
                (false, Some(0)) => "passes".to_owned(),
                (false, Some(code)) => format!("fails ({code})"),
                (false, None) => "killed".to_owned(),
            };
            let took = words::duration(result.ms);
            rows.push_str(&format!("| {phase} | {name} | {how} | {took} |\n"));
        }
        if let Some(skip) = facts.skipped {
            rows.push_str(&format!("| {phase} | none | {} | |\n", skipped(skip)));
        }
        if let Some(verdict) = facts.verdict {
            rows.push_str(&format!("| {phase} | all | **{}** | |\n", said(verdict)));
        }
    }
    if rows.is_empty() {
        return Ok(rows);
    }
    Ok(format!("| checks | command | result | time |\n|---|---|---|---|\n{rows}\n"))
}

fn skipped(skip: CheckSkip) -> &'static str {
    match skip {
        CheckSkip::NoCommands => "no command was given, and none was found",
        CheckSkip::NoSandbox => "no sandbox works there",
        CheckSkip::SameTree => "the same commands ran on the same tree before",
        CheckSkip::ClaimRefused => "the claim was refused before any was worth it",
    }
}

fn said(verdict: CheckVerdict) -> &'static str {
    match verdict {
        CheckVerdict::Passed => "passed",
        CheckVerdict::StillFailing => "what failed before fails still",
        CheckVerdict::Failed => "failed",
        CheckVerdict::Unchecked => "unchecked",
        CheckVerdict::Refused => "the claim is refused",
    }
}

/// Every verdict of the independent review, with its reasons.
async fn reviews(app: &App, job: &ReadJob, target: &Target) -> Result<String, DownloadError> {
    let mut out = String::new();
    for told in &job.events {
        let Event::DiffReviewed(facts) = &told.event else { continue };
        if facts.target != target.number {
            continue;
        }
        let verdict = match facts.verdict {
            ReviewVerdict::Accept => "accepts",
            ReviewVerdict::Object => "objects",
        };
        let tree = facts.tree.to_string();
        out.push_str(&format!(
            "The independent review of tree `{}` **{verdict}**",
            tree.get(..12).unwrap_or(&tree)
        ));
        match app.payload_of::<DiffReviewed>(told.recorded.position).await? {
            Some(payload) => {
                out.push_str(&format!(": {}\n\n", inline(&payload.summary)));
                for reason in &payload.reasons {
                    out.push_str(&format!("- {}\n", inline(reason)));
                }
                if !payload.reasons.is_empty() {
                    out.push('\n');
                }
            }
            None => out.push_str(".\n\n"),
        }
    }
    if target.repairs > 0 {
        let repairs = words::counted(u64::from(target.repairs), "repair");
        out.push_str(&format!("In its last round, {repairs} followed.\n\n"));
    }
    Ok(out)
}
