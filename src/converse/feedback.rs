//! What a worker's checks mean for a change, and what Claude is told of it.

use cody_events::evidence::{
    CheckPhase, CheckSkip, CheckVerdict, CheckedCommand, ChecksRan, ChecksRanPayload,
    CommandOutput, RepoScannedPayload,
};
use cody_events::ids::AttemptNumber;
use cody_events::job::{CheckSource, CreatedPayload};
use cody_events::raw::RawJson;

use super::prompts;
use crate::claude::blocks::{text_block, tool_result};
use crate::job::ClaimProblem;
use crate::job::MAX_REPAIRS;
use crate::job::state::{Baseline, Job, Target};
use crate::wire::ChecksReport;

pub use super::prompts::INTERRUPTED;

/// Checks as they are recorded.
pub type Judgement = (ChecksRan, ChecksRanPayload);

/// The commands that check a target.
pub fn commands(
    source: CheckSource,
    created: &CreatedPayload,
    scanned: &RepoScannedPayload,
) -> Vec<String> {
    match source {
        CheckSource::Given => created.checks.clone(),
        CheckSource::Detected => scanned.checks.iter().map(|check| check.command.clone()).collect(),
        CheckSource::Off => Vec::new(),
    }
}

/// Judges a worker's report on the checks of `target`. Commands that a person named must pass;
/// commands that the scan found must not fail where they passed before.
pub fn judge(
    job: &Job,
    target: &Target,
    attempt: AttemptNumber,
    report: ChecksReport,
    finish_id: Option<&str>,
) -> Result<Judgement, serde_json::Error> {
    let mut facts = ChecksRan {
        target: target.number,
        attempt,
        tree: report.tree,
        phase: report.phase,
        image: None,
        cache: report.cache,
        commands: report.results,
        skipped: report.skipped,
        verdict: None,
        answers_finish: false,
    };
    let mut payload = ChecksRanPayload { commands: report.outputs, finish_result: None };
    if facts.phase == CheckPhase::Baseline {
        return Ok((facts, payload));
    }
    let must_pass = job.checks == CheckSource::Given;
    let failures = Failures::of(must_pass, target.baseline.as_ref(), &facts.commands);
    let verdict = failures.verdict(facts.skipped);
    // What failed before is not the change's fault, but may be what it is about: it is said once.
    let words = match verdict {
        CheckVerdict::Failed if target.repairs < MAX_REPAIRS => {
            Some((prompts::FAILED_CHECKS[usize::from(must_pass)], &failures.broken))
        }
        CheckVerdict::StillFailing if target.repairs == 0 => {
            Some((prompts::STILL_FAILING, &failures.unfixed))
        }
        _ => None,
    };
    if let Some((rule, indices)) = words {
        let shown: Vec<(&CommandOutput, &CheckedCommand)> = indices
            .iter()
            .filter_map(|index| payload.commands.get(*index).zip(facts.commands.get(*index)))
            .collect();
        payload.finish_result = finish_result(finish_id, &prompts::checks_failed(rule, &shown))?;
    }
    facts.verdict = Some(verdict);
    facts.answers_finish = payload.finish_result.is_some();
    Ok((facts, payload))
}

/// Commands that fail, by index.
struct Failures {
    /// They have to pass: a person named them, or they passed before the change.
    broken: Vec<usize>,
    /// They failed before as well.
    unfixed: Vec<usize>,
}

impl Failures {
    fn of(must_pass: bool, baseline: Option<&Baseline>, results: &[CheckedCommand]) -> Self {
        let failed_before = |index: usize| {
            baseline.and_then(|b| b.commands.get(index)).is_some_and(|c| !c.passed())
        };
        let failing = (0..results.len()).filter(|index| !results[*index].passed());
        let (unfixed, broken) = failing.partition(|index| !must_pass && failed_before(*index));
        Self { broken, unfixed }
    }

    fn verdict(&self, skipped: Option<CheckSkip>) -> CheckVerdict {
        match skipped {
            Some(CheckSkip::NoCommands | CheckSkip::NoSandbox) => CheckVerdict::Unchecked,
            Some(CheckSkip::ClaimRefused) => CheckVerdict::Refused,
            Some(CheckSkip::SameTree) | None if !self.broken.is_empty() => CheckVerdict::Failed,
            Some(CheckSkip::SameTree) | None if !self.unfixed.is_empty() => {
                CheckVerdict::StillFailing
            }
            Some(CheckSkip::SameTree) | None => CheckVerdict::Passed,
        }
    }
}

/// The same verdict for the same tree, without running anything again.
pub fn reuse(
    target: &Target,
    attempt: AttemptNumber,
    phase: CheckPhase,
    verdict: CheckVerdict,
    finish_id: Option<&str>,
) -> Result<Judgement, serde_json::Error> {
    let sent_back = verdict == CheckVerdict::Failed && target.repairs < MAX_REPAIRS;
    let finish_result = if sent_back {
        finish_result(
            finish_id,
            "The checks fail as before: /repo has not changed since they ran.",
        )?
    } else {
        None
    };
    Ok(skipped(target, attempt, phase, CheckSkip::SameTree, verdict, finish_result))
}

/// Sends a claim back that the tree does not bear out.
pub fn refuse(
    target: &Target,
    attempt: AttemptNumber,
    phase: CheckPhase,
    why: ClaimProblem,
    finish_id: Option<&str>,
) -> Result<Judgement, serde_json::Error> {
    let words = match why {
        ClaimProblem::NothingChanged => prompts::NOTHING_CHANGED,
        ClaimProblem::SomethingChanged => prompts::SOMETHING_CHANGED,
    };
    let result = finish_result(finish_id, words)?;
    Ok(skipped(target, attempt, phase, CheckSkip::ClaimRefused, CheckVerdict::Refused, result))
}

/// A person's comment, as Claude reads it next: the result of the `finish` that waits for one, or words
/// of their own.
pub fn changes_requested(
    finish_id: Option<&str>,
    comment: &str,
) -> Result<RawJson, serde_json::Error> {
    let words = prompts::changes_requested(comment);
    match finish_id {
        Some(id) => tool_result(id, &words, true),
        None => text_block(&words),
    }
}

fn skipped(
    target: &Target,
    attempt: AttemptNumber,
    phase: CheckPhase,
    skip: CheckSkip,
    verdict: CheckVerdict,
    finish_result: Option<RawJson>,
) -> Judgement {
    let tree = target.claim.as_ref().map(|claim| claim.tree).or(target.tree);
    let facts = ChecksRan {
        target: target.number,
        attempt,
        tree: tree.unwrap_or(cody_events::digest::ObjectId::ZERO),
        phase,
        image: None,
        cache: None,
        commands: Vec::new(),
        skipped: Some(skip),
        verdict: Some(verdict),
        answers_finish: finish_result.is_some(),
    };
    (facts, ChecksRanPayload { commands: Vec::new(), finish_result })
}

fn finish_result(id: Option<&str>, words: &str) -> Result<Option<RawJson>, serde_json::Error> {
    id.map(|id| tool_result(id, words, true)).transpose()
}
