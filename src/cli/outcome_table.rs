//! The end of a job at a glance: a row a repository, grouped by outcome, a sum that closes, the cost.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cody_events::delivery::PrState;
use cody_events::digest::Sha256;
use cody_events::ids::TargetNumber;
use cody_events::outcome::Outcome;
use cody_events::status::{Delivery, JobStatus, TargetStatus};
use cody_projections::overview::{JobOverview, TargetOverview};
use cody_projections::targets::TargetRow;
use serde::Serialize;

use super::text;

/// What `run --json` and `show --json` print.
#[derive(Debug, Serialize)]
pub struct JobJson {
    pub job_id: String,
    pub status: JobStatus,
    pub cost_micros: u64,
    pub targets: Vec<TargetJson>,
}

/// One target of [`JobJson`].
#[derive(Debug, Serialize)]
pub struct TargetJson {
    pub number: u32,
    pub repository: String,
    pub status: TargetStatus,
    pub outcome: Option<Outcome>,
    pub delivery: Delivery,
    pub diff_hash: Option<Sha256>,
    /// Absolute; null without `--out`, and for an empty diff.
    pub patch: Option<PathBuf>,
    pub pull_request: Option<PullRequestJson>,
}

/// A pull request.
#[derive(Debug, Serialize)]
pub struct PullRequestJson {
    pub number: u64,
    pub url: String,
    pub state: PrState,
}

/// The job as programs read it.
pub fn json(job: &JobOverview, patches: &BTreeMap<TargetNumber, PathBuf>) -> JobJson {
    JobJson {
        job_id: job.job.job.to_string(),
        status: job.status(),
        cost_micros: job.spent_micros(),
        targets: job.targets.iter().map(|one| target_json(&one.target, patches)).collect(),
    }
}

fn target_json(target: &TargetRow, patches: &BTreeMap<TargetNumber, PathBuf>) -> TargetJson {
    TargetJson {
        number: target.target.0,
        repository: target.repository.clone(),
        status: target.status,
        outcome: target.outcome,
        delivery: target.delivery,
        diff_hash: target.diff_hash,
        patch: patches.get(&target.target).cloned(),
        pull_request: target.pull_request.as_ref().map(|pull_request| PullRequestJson {
            number: pull_request.number,
            url: pull_request.url.clone(),
            state: pull_request.state,
        }),
    }
}

/// The table, as lines for a person; `program` is how this one is started.
pub fn table(
    job: &JobOverview,
    patches: &BTreeMap<TargetNumber, PathBuf>,
    program: &str,
) -> String {
    let mut rows: Vec<[String; 5]> = Vec::new();
    let mut targets: Vec<&TargetOverview> = job.targets.iter().collect();
    targets.sort_by_key(|one| (one.target.outcome, one.target.target));
    for one in targets {
        let target = &one.target;
        let outcome = target.outcome.map_or("unfinished", Outcome::name);
        let delivery = match target.delivery {
            Delivery::None => String::new(),
            other => format!(", {}", other.name()),
        };
        let patch = match patches.get(&target.target) {
            Some(path) => path.display().to_string(),
            None if target.diff_hash.is_some() => {
                format!("{program} diff {} {}", text::short(&job.job.job), target.target)
            }
            None => "no diff".to_owned(),
        };
        rows.push([
            format!("{outcome}{delivery}"),
            text::printable(&target.repository),
            text::counted(one.turn_count, "turn"),
            text::dollars(one.cost.spent_micros()),
            patch,
        ]);
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    let mut lines = String::new();
    for [outcome, repository, turns, cost, patch] in &rows {
        lines.push_str(&format!(
            "{outcome:<0$}  {repository:<1$}  {turns:>2$}  {cost:>3$}  {patch}\n",
            widths[0], widths[1], widths[2], widths[3],
        ));
    }
    lines.push_str(&sum(job));
    lines.push_str(&hints(job, program));
    lines
}

/// What can be done about targets that did not come to a good end.
fn hints(job: &JobOverview, program: &str) -> String {
    let outcomes = || job.targets.iter().filter_map(|one| one.target.outcome);
    let is_stopped = outcomes().any(|outcome| outcome == Outcome::BudgetStopped);
    let has_failed =
        outcomes().any(|outcome| !outcome.is_success() && outcome != Outcome::BudgetStopped);
    let id = text::short(&job.job.job);
    let mut lines = String::new();
    if job.job.is_cancelled {
        return lines;
    }
    if let Some(one) = job.targets.iter().find(|one| one.target.delivery.awaits_person()) {
        let target = one.target.target;
        lines.push_str(&format!(
            "A person has to look: {program} diff {id} {target}, then {program} approve {id} --target {target} \
             (or request-changes, or reject)\n"
        ));
    }
    if is_stopped {
        lines.push_str(&format!(
            "Go on where a limit stopped: {program} resume {id} --budget-usd …  (`show {id}` says which limit)\n"
        ));
    }
    if has_failed {
        lines.push_str(&format!("Start over with what failed: {program} retry {id}\n"));
    }
    lines
}

/// How many of each outcome, and that they are all.
fn sum(job: &JobOverview) -> String {
    let count = |wanted: Option<Outcome>| {
        job.targets.iter().filter(|one| one.target.outcome == wanted).count()
    };
    let mut parts: Vec<String> = Outcome::ALL
        .into_iter()
        .filter(|outcome| count(Some(*outcome)) > 0)
        .map(|outcome| format!("{} {}", count(Some(outcome)), outcome.name()))
        .collect();
    if count(None) > 0 {
        parts.push(format!("{} unfinished", count(None)));
    }
    format!(
        "\n{} = {}. Job {}, {}.\n",
        text::repositories(job.targets.len()),
        parts.join(" + "),
        job.status().name(),
        text::spending(job)
    )
}
