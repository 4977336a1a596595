//! A job as it is asked for over GraphQL, and what would become of it.

use async_graphql::{Context, Error, InputObject, SimpleObject};
use cody_events::policy::PathClass as Class;

use super::errors::{UserError, of_control};
use super::services::{caller, services};
use super::types::scalars::Long;
use super::types::words::{Effort, PathClass, Policy, TargetKind};
use crate::plan::{JobRequest, PlannedJob as Planned};

/// A job as it is asked for.
#[derive(Debug, Clone, InputObject)]
pub struct PlanJobInput {
    /// What to change, in words. A recipe has a prompt of its own.
    pub prompt: Option<String>,
    /// The repositories: `owner/name`, https URLs or, where the server allows it, local paths.
    pub targets: Vec<TargetInput>,
    /// Words for the people who read the job; Claude does not see them.
    pub notes: Option<String>,
    /// A branch that all repositories have; without, each one's default.
    pub branch: Option<String>,
    /// Commands that must pass afterwards; without, the scan finds some.
    pub checks: Option<Vec<String>>,
    /// Run no checks.
    pub no_checks: Option<bool>,
    /// The model; without, the server's default.
    pub model: Option<String>,
    /// How hard Claude thinks; without, as the model does by itself.
    pub effort: Option<Effort>,
    /// What becomes of an accepted diff; without, a person reviews it. `AUTO` needs the scope `approve`.
    pub policy: Option<Policy>,
    /// Whether one repository goes first, and the others wait until its diff is approved.
    pub pilot: Option<bool>,
    /// A recipe, by its name.
    pub recipe: Option<String>,
    /// What stands in the places of the recipe's variables.
    pub variables: Option<Vec<VariableInput>>,
    /// Millionths of a US dollar for each repository.
    pub budget_micros: Option<Long>,
    /// Millionths of a US dollar for all repositories together.
    pub job_budget_micros: Option<Long>,
    /// Claude's responses for each repository.
    pub max_turns: Option<i32>,
    /// Tokens, in and out, for each repository.
    pub max_tokens: Option<Long>,
    /// Minutes that workers may hold each repository.
    pub max_minutes: Option<i32>,
    /// Minutes that tools and checks of each repository may take.
    pub max_tool_minutes: Option<i32>,
    /// Bytes that each repository's patch may have.
    pub max_diff_bytes: Option<Long>,
    /// Claude's responses for all repositories together.
    pub job_max_turns: Option<i32>,
    /// Tokens, in and out, for all repositories together.
    pub job_max_tokens: Option<Long>,
    /// Minutes that workers may hold all repositories together.
    pub job_max_minutes: Option<i32>,
    /// Minutes that tools and checks of all repositories may take together.
    pub job_max_tool_minutes: Option<i32>,
    /// Bytes that all patches may have together.
    pub job_max_diff_bytes: Option<Long>,
    /// Whether Claude may not run commands.
    pub no_bash: Option<bool>,
    /// Take the change without an independent review by Claude.
    pub no_review: Option<bool>,
    /// Classes of changes that a diff is not held for; needs the scope `approve`.
    pub allow: Option<Vec<PathClass>>,
    /// Fetch what the repositories depend on, from the hosts that the server allows.
    pub fetch_dependencies: Option<bool>,
}

/// A repository of a job.
#[derive(Debug, Clone, InputObject)]
pub struct TargetInput {
    /// `owner/name`, an https URL or, where the server allows it, a local path.
    pub repository: String,
    /// What Claude is told for this repository alone.
    pub notes: Option<String>,
}

/// A variable of a recipe, and its value.
#[derive(Debug, Clone, InputObject)]
pub struct VariableInput {
    /// As the recipe names it.
    pub name: String,
    /// What stands in its place; the recipe says what it may be.
    pub value: String,
}

/// What would become of a job.
#[derive(Debug, Clone, SimpleObject)]
pub struct JobPlan {
    /// Its repositories as they are understood; empty if there can be no job.
    pub targets: Vec<PlannedTarget>,
    /// The model.
    pub model: Option<String>,
    /// What its smallest call may cost, at worst, in millionths of a US dollar.
    pub floor_call_micros: Option<Long>,
    /// The most that it may cost, in millionths of a US dollar.
    pub most_micros: Option<Long>,
    /// Why the job would not be created; empty if it would.
    pub user_errors: Vec<UserError>,
}

/// A repository as it is understood.
#[derive(Debug, Clone, SimpleObject)]
pub struct PlannedTarget {
    /// From 1.
    pub number: Long,
    /// `owner/name`, or the last component of a local path.
    pub repository: String,
    /// Where it lives.
    pub kind: TargetKind,
    /// Where it would be fetched from.
    pub locator: String,
}

impl PlanJobInput {
    /// The request in the words that all doors share.
    pub fn into_request(self) -> JobRequest {
        let micros = |amount: Option<Long>| amount.map(|Long(micros)| dollars(micros));
        let count = |number: Option<i32>| number.map(|number| u64::try_from(number).unwrap_or(0));
        let notes = self.targets.iter().filter_map(|target| {
            let notes = target.notes.clone().filter(|notes| !notes.trim().is_empty())?;
            Some((target.repository.clone(), notes))
        });
        JobRequest {
            prompt: self.prompt.unwrap_or_default(),
            notes: self.notes,
            repository_notes: notes.collect(),
            repositories: self.targets.into_iter().map(|target| target.repository).collect(),
            branch: self.branch,
            checks: self.checks.unwrap_or_default(),
            no_checks: self.no_checks.unwrap_or(false),
            model: self.model,
            effort: self.effort.map(cody_events::job::Effort::from),
            budget_usd: micros(self.budget_micros),
            job_budget_usd: micros(self.job_budget_micros),
            max_turns: self.max_turns.map(|turns| u32::try_from(turns).unwrap_or(0)),
            max_tokens: self.max_tokens.map(|Long(tokens)| tokens),
            max_minutes: count(self.max_minutes),
            max_tool_minutes: count(self.max_tool_minutes),
            max_diff_bytes: self.max_diff_bytes.map(|Long(bytes)| bytes),
            job_max_turns: self.job_max_turns.map(|turns| u32::try_from(turns).unwrap_or(0)),
            job_max_tokens: self.job_max_tokens.map(|Long(tokens)| tokens),
            job_max_minutes: count(self.job_max_minutes),
            job_max_tool_minutes: count(self.job_max_tool_minutes),
            job_max_diff_bytes: self.job_max_diff_bytes.map(|Long(bytes)| bytes),
            policy: self.policy.map(cody_events::job::Policy::from),
            no_bash: self.no_bash.unwrap_or(false),
            no_review: self.no_review.unwrap_or(false),
            allow: self.allow.unwrap_or_default().into_iter().map(Class::from).collect(),
            fetch_dependencies: self.fetch_dependencies.unwrap_or(false),
            pilot: self.pilot,
            recipe: self.recipe,
            variables: self
                .variables
                .unwrap_or_default()
                .into_iter()
                .map(|variable| (variable.name, variable.value))
                .collect(),
            recipe_text: None,
        }
    }
}

/// Micro-dollars as a request spells them.
pub fn dollars(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// What would become of the job that `input` asks for.
pub async fn plan(context: &Context<'_>, input: PlanJobInput) -> Result<JobPlan, Error> {
    let reception = &services(context)?.reception;
    let planned = match reception.planned(caller(context)?, input.into_request()).await {
        Ok(planned) => planned,
        Err(error) => {
            return Ok(JobPlan {
                targets: Vec::new(),
                model: None,
                floor_call_micros: None,
                most_micros: None,
                user_errors: vec![of_control(error)?],
            });
        }
    };
    let planned = Planned::of(&planned);
    let targets = planned.targets.into_iter().map(|target| PlannedTarget {
        number: Long(target.number.into()),
        repository: target.repository,
        kind: target.kind.into(),
        locator: target.locator,
    });
    Ok(JobPlan {
        targets: targets.collect(),
        model: Some(planned.model),
        floor_call_micros: Some(Long(planned.floor_call_micros)),
        most_micros: Some(Long(planned.most_micros)),
        user_errors: Vec::new(),
    })
}
