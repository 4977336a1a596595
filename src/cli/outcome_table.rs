//! The end of a job at a glance: a row a repository, grouped by outcome, a sum that closes, the cost.

use cody_events::outcome::Outcome;
use serde::Serialize;

use super::reading::{self, ReadJob};
use super::text;
use crate::job::state::{Job, Target};
use std::collections::BTreeMap;
use std::path::PathBuf;

use cody_events::ids::TargetNumber;

/// What `run --json` and `show --json` print.
#[derive(Debug, Serialize)]
pub struct JobJson {
    pub job_id: String,
    pub status: &'static str,
    pub cost_micros: u64,
    pub targets: Vec<TargetJson>,
}

/// One target of [`JobJson`].
#[derive(Debug, Serialize)]
pub struct TargetJson {
    pub number: u32,
    pub repository: String,
    pub status: &'static str,
    pub outcome: Option<&'static str>,
    pub delivery: &'static str,
    pub diff_hash: Option<String>,
    /// Absolute; null without `--out`, and for an empty diff.
    pub patch: Option<PathBuf>,
    pub pull_request: Option<PullRequestJson>,
}

/// A pull request.
#[derive(Debug, Serialize)]
pub struct PullRequestJson {
    pub number: u64,
    pub url: String,
    pub state: &'static str,
}

/// The job as programs read it.
pub fn json(job: &ReadJob, patches: &BTreeMap<TargetNumber, PathBuf>) -> JobJson {
    JobJson {
        job_id: job.id.to_string(),
        status: job.status(),
        cost_micros: job.state.spent_micros(),
        targets: job
            .state
            .targets
            .values()
            .map(|target| TargetJson {
                number: target.number.0,
                repository: target.repository.clone(),
                status: work_status(&job.state, target),
                outcome: target.outcome.map(Outcome::name),
                delivery: if target.held { "held" } else { "none" },
                diff_hash: target.diff.map(|diff| diff.diff_hash.to_string()),
                patch: patches.get(&target.number).cloned(),
                pull_request: None,
            })
            .collect(),
    }
}

/// A target's place on the axis of work.
pub fn work_status(job: &Job, target: &Target) -> &'static str {
    if target.outcome.is_some() {
        "finished"
    } else if job.paused || target.paused {
        "paused"
    } else if target.attempt().is_some() {
        "running"
    } else {
        "waiting"
    }
}

/// The table, as lines for a person.
pub fn table(job: &ReadJob, patches: &BTreeMap<TargetNumber, PathBuf>) -> String {
    let mut rows: Vec<[String; 5]> = Vec::new();
    let mut targets: Vec<&Target> = job.state.targets.values().collect();
    targets.sort_by_key(|target| (target.outcome, target.number));
    for target in targets {
        let outcome = target.outcome.map_or("unfinished", Outcome::name);
        let held = if target.held { ", held" } else { "" };
        let patch = match patches.get(&target.number) {
            Some(path) => path.display().to_string(),
            None if target.diff.is_some() => {
                format!("cody-batch diff {} {}", text::short(&job.id), target.number)
            }
            None => "no diff".to_owned(),
        };
        rows.push([
            format!("{outcome}{held}"),
            text::printable(&target.repository),
            text::counted(u64::from(target.turns), "turn"),
            text::dollars(target.money.spent_micros()),
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
    lines.push_str(&sum(&job.state));
    lines
}

/// How many of each outcome, and that they are all.
fn sum(job: &Job) -> String {
    let count = |wanted: Option<Outcome>| {
        job.targets.values().filter(|target| target.outcome == wanted).count()
    };
    let mut parts: Vec<String> = Outcome::ALL
        .into_iter()
        .filter(|outcome| count(Some(*outcome)) > 0)
        .map(|outcome| format!("{} {}", count(Some(outcome)), outcome.name()))
        .collect();
    if count(None) > 0 {
        parts.push(format!("{} unfinished", count(None)));
    }
    let total = match job.targets.len() {
        1 => "1 repository".to_owned(),
        many => format!("{many} repositories"),
    };
    format!(
        "\n{total} = {}. Job {}, cost {}.\n",
        parts.join(" + "),
        reading::status(job),
        text::dollars(job.spent_micros())
    )
}
