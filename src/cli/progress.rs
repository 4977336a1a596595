//! Progress of a job while it runs: on a terminal one line a repository that moves, else plain lines
//! as things happen. All of it on stderr.

use std::collections::BTreeMap;
use std::time::Duration;

use cody_events::evidence::CheckPhase;
use cody_events::ids::TargetNumber;
use cody_events::outcome::Outcome;
use cody_events::thread::Purpose;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::text;
use crate::job::state::{Job, Target};
use crate::job::{JobState, NextStep, next_step};

/// Shows how a job goes on.
pub struct Progress {
    lines: Lines,
}

enum Lines {
    Moving { bars: BTreeMap<TargetNumber, ProgressBar>, _all: MultiProgress },
    Plain { latest: BTreeMap<TargetNumber, String> },
}

impl Progress {
    /// Progress for the targets of `job`.
    pub fn new(job: &Job, is_terminal: bool) -> Self {
        if !is_terminal {
            return Self { lines: Lines::Plain { latest: BTreeMap::new() } };
        }
        let all = MultiProgress::new();
        let style = style(width_of(job), "cyan", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
        let bars = job
            .targets
            .values()
            .map(|target| {
                let bar = all.add(ProgressBar::new_spinner());
                bar.set_style(style.clone());
                bar.set_prefix(text::printable(&target.repository));
                bar.enable_steady_tick(Duration::from_millis(120));
                (target.number, bar)
            })
            .collect();
        Self { lines: Lines::Moving { bars, _all: all } }
    }

    /// Shows `state` as it is now.
    pub fn show(&mut self, state: &JobState) {
        let Some(job) = &state.job else { return };
        for target in job.targets.values() {
            let stage = stage(state, target);
            let spent = text::dollars(target.money.spent_micros());
            match &mut self.lines {
                Lines::Moving { bars, .. } => {
                    let Some(bar) = bars.get(&target.number) else { continue };
                    if bar.is_finished() {
                        continue;
                    }
                    let turns = text::counted(u64::from(target.turns), "turn");
                    bar.set_message(format!("{stage:<28} {turns:>9}  {spent:>8}"));
                    if let Some(outcome) = target.outcome {
                        bar.set_style(ended(width_of(job), outcome));
                        bar.finish();
                    }
                }
                Lines::Plain { latest } => {
                    let turns = text::counted(u64::from(target.turns), "turn");
                    let told = latest.entry(target.number).or_default();
                    // Each turn of Claude is news; each poll is not.
                    let line = format!("{stage} ({turns}, {spent})");
                    if *told != line {
                        eprintln!("{}: {line}", text::printable(&target.repository));
                        *told = line;
                    }
                }
            }
        }
    }

    /// Leaves the lines as they are.
    pub fn end(self) {
        if let Lines::Moving { bars, .. } = self.lines {
            for bar in bars.values() {
                bar.abandon();
            }
            // The cursor stands at the end of the last line.
            eprintln!();
        }
    }
}

/// The widest name, as far as there is room.
fn width_of(job: &Job) -> usize {
    let names = job.targets.values().map(|target| target.repository.chars().count());
    names.max().unwrap_or(0).min(40)
}

fn style(width: usize, colour: &str, ticks: &str) -> ProgressStyle {
    let template = format!("{{spinner:.{colour}}} {{prefix:{width}}}  {{wide_msg}} {{elapsed:>4}}");
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars(ticks)
}

/// How a line looks once its target has an outcome.
fn ended(width: usize, outcome: Outcome) -> ProgressStyle {
    match outcome {
        Outcome::DiffReady | Outcome::AlreadyCompliant | Outcome::NotApplicable => {
            style(width, "green", "✔✔")
        }
        Outcome::BudgetStopped | Outcome::Cancelled => style(width, "yellow", "■■"),
        Outcome::FailedChecks
        | Outcome::Objected
        | Outcome::Refused
        | Outcome::Stuck
        | Outcome::Failed => style(width, "red", "✘✘"),
    }
}

/// What a target is at, in a few words.
fn stage(state: &JobState, target: &Target) -> String {
    if let Some(outcome) = target.outcome {
        return outcome.name().to_owned();
    }
    if target.base.is_none() {
        return "fetching".to_owned();
    }
    if target.attempt().is_none() {
        return "starting a worker".to_owned();
    }
    match next_step(state, target.number) {
        NextStep::Scan => "scanning".to_owned(),
        NextStep::RunChecks { phase: CheckPhase::Baseline, .. } => "checking the base".to_owned(),
        NextStep::RunChecks { .. } | NextStep::ReuseChecks { .. } => match target.repairs {
            0 => "checking the change".to_owned(),
            repair => format!("checking repair {repair}"),
        },
        NextStep::RunTools { .. } | NextStep::InterruptTools { .. } => "running tools".to_owned(),
        NextStep::StartThread { purpose: Purpose::Review, .. } | NextStep::ReadReview { .. } => {
            "reviewing".to_owned()
        }
        NextStep::Converse { thread }
            if target.review.as_ref().is_some_and(|r| r.number == thread) =>
        {
            "reviewing".to_owned()
        }
        NextStep::StartThread { .. } | NextStep::Converse { .. } => match target.repairs {
            0 => "Claude is at work".to_owned(),
            repair => format!("Claude is at work, repair {repair}"),
        },
        NextStep::RefuseClaim { .. } | NextStep::Conclude { .. } => "finishing".to_owned(),
        NextStep::Leave(_) => "stopping".to_owned(),
    }
}
