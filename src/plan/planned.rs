//! What would become of a job, for whoever wants to know before it is created.

use cody_events::job::{CheckSource, Effort, Limits, Policy, TargetKind};
use cody_events::policy::PathClass;
use serde::{Deserialize, Serialize};

use crate::job::command::{Checks, CreateJob};

/// A job as it would be created. Money is in millionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedJob {
    pub targets: Vec<PlannedTarget>,
    /// What Claude would be told; with a recipe, as it reads when it is filled in.
    pub prompt: String,
    pub model: String,
    pub effort: Option<Effort>,
    pub policy: Policy,
    /// Whether one target goes first, and the others wait until its diff is approved.
    pub pilot: bool,
    pub check_source: CheckSource,
    /// Those that were given; others are found by the scan.
    pub checks: Vec<String>,
    /// Whether Claude may run commands.
    pub bash: bool,
    /// Whether another conversation with Claude reviews each diff.
    pub review: bool,
    /// Classes of changes that a diff is not held for.
    pub allow: Vec<PathClass>,
    pub fetch_dependencies: bool,
    pub limits: Limits,
    /// What its smallest call may cost, at worst.
    pub floor_call_micros: u64,
    /// The most that it may cost.
    pub most_micros: u64,
    /// The recipe that it is made from.
    pub recipe: Option<String>,
}

/// A repository as it is understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarget {
    /// From 1.
    pub number: u32,
    /// `owner/name`, or the last component of a local path.
    pub repository: String,
    pub kind: TargetKind,
    /// Where it would be fetched from.
    pub locator: String,
    /// What Claude is told for this one alone.
    pub notes: Option<String>,
}

impl PlannedJob {
    /// The job that `command` would create.
    pub fn of(command: &CreateJob) -> Self {
        let target = |(number, target): (u32, &crate::job::command::NewTarget)| PlannedTarget {
            number,
            repository: target.repository.clone(),
            kind: target.kind,
            locator: target.location.locator.clone(),
            notes: target.location.notes.clone(),
        };
        let count = command.targets.len() as u64;
        let each = command.limits.budget_micros.saturating_mul(count);
        Self {
            targets: (1..).zip(&command.targets).map(target).collect(),
            prompt: command.prompt.clone(),
            model: command.model.clone(),
            effort: command.effort,
            policy: command.policy,
            pilot: command.pilot,
            check_source: command.checks.source(),
            checks: match &command.checks {
                Checks::Given(checks) => checks.clone(),
                Checks::Detected | Checks::Off => Vec::new(),
            },
            bash: command.bash,
            review: !command.skip_review,
            allow: command.allow.iter().copied().collect(),
            fetch_dependencies: command.fetch_dependencies,
            limits: command.limits,
            floor_call_micros: command.rules.floor_call_micros,
            most_micros: command.limits.job_budget_micros.map_or(each, |shared| shared.min(each)),
            recipe: command.recipe.as_ref().map(|(used, _)| used.name.clone()),
        }
    }
}
