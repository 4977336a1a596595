//! Whether a new job can be accepted, and the event that says so.

use std::collections::BTreeMap;

use cody_events::envelope::MAX_FACTS_BYTES;
use cody_events::event::Draft;
use cody_events::ids::TargetNumber;
use cody_events::job::{Created, CreatedPayload, CreatedTarget, Limits};

use super::command::{Checks, CreateJob, ModelStanding};
use super::rejection::{Rejection, RejectionCode};

/// More check commands than this are no checks but a script.
const MAX_CHECKS: usize = 16;
/// Longer commands belong into a file of the repository.
const MAX_CHECK_BYTES: usize = 4096;
/// A job may be capped lower by configuration, never higher: its facts have to stay small.
pub(super) const MOST_TARGETS: usize = 20;

/// Whether `wish` can be accepted, for those who want to know before they start anything.
pub fn check(wish: &CreateJob) -> Result<(), Rejection> {
    check_prompt(wish)?;
    check_targets(wish)?;
    check_names(wish)?;
    check_model(wish)?;
    check_limits(&wish.limits, &wish.model, wish.rules.floor_call_micros)?;
    check_checks(&wish.checks)
}

/// The event that accepts `wish`, or why not.
pub(super) fn created(wish: &CreateJob) -> Result<Vec<Draft>, Rejection> {
    check(wish)?;
    let payload = CreatedPayload {
        prompt: wish.prompt.clone(),
        notes: wish.notes.clone(),
        locations: wish.targets.iter().map(|target| target.location.clone()).collect(),
        checks: match &wish.checks {
            Checks::Given(commands) => commands.clone(),
            Checks::Detected | Checks::Off => Vec::new(),
        },
        variables: wish.recipe.as_ref().map(|(_, variables)| variables.clone()).unwrap_or_default(),
    };
    Ok(vec![super::decide::draft(facts(wish), &payload)])
}

fn facts(wish: &CreateJob) -> Created {
    let targets = (1..).zip(&wish.targets).map(|(number, target)| CreatedTarget {
        number: TargetNumber(number),
        kind: target.kind,
        repository: target.repository.clone(),
    });
    Created {
        targets: targets.collect(),
        policy: wish.policy,
        limits: wish.limits,
        model: wish.model.clone(),
        effort: wish.effort,
        checks: wish.checks.source(),
        bash: wish.bash,
        skip_review: wish.skip_review,
        allow: wish.allow.iter().copied().collect(),
        fetch_dependencies: wish.fetch_dependencies,
        pilot: wish.pilot,
        recipe: wish.recipe.as_ref().map(|(recipe, _)| recipe.clone()),
        app_version: wish.app_version.clone(),
    }
}

/// Twenty repositories with the longest names that there are do not fit into one event's facts.
fn check_names(wish: &CreateJob) -> Result<(), Rejection> {
    let bytes = serde_json::to_string(&facts(wish)).map_or(usize::MAX, |facts| facts.len());
    if bytes <= MAX_FACTS_BYTES {
        return Ok(());
    }
    Err(Rejection::new(
        RejectionCode::TooManyTargets,
        format!(
            "The names of the {} repositories and of the model take {bytes} bytes; a job has room \
             for {MAX_FACTS_BYTES}.",
            wish.targets.len()
        ),
        "Split the job.",
    ))
}

fn check_prompt(wish: &CreateJob) -> Result<(), Rejection> {
    if wish.prompt.trim().is_empty() {
        return Err(Rejection::new(
            RejectionCode::NoPrompt,
            "The job has no prompt.",
            "Say what to change, with --prompt \"…\" or --prompt-file FILE.",
        ));
    }
    let most = wish.rules.max_prompt_bytes;
    if wish.prompt.len() > most {
        return Err(Rejection::new(
            RejectionCode::PromptTooLong,
            format!("The prompt has {} bytes; the limit is {most}.", wish.prompt.len()),
            "Shorten it, or put the details into a file of the repositories and point to it.",
        ));
    }
    Ok(())
}

fn check_targets(wish: &CreateJob) -> Result<(), Rejection> {
    if wish.targets.is_empty() {
        return Err(Rejection::new(
            RejectionCode::NoTarget,
            "The job names no repository.",
            "Name at least one with --repo: owner/name, an https URL or a local path.",
        ));
    }
    let most = wish.rules.max_targets.min(MOST_TARGETS);
    if wish.targets.len() > most {
        return Err(Rejection::new(
            RejectionCode::TooManyTargets,
            format!("The job names {} repositories; the cap is {most}.", wish.targets.len()),
            format!(
                "Split the job, or raise `max_targets` in config.toml (at most {MOST_TARGETS})."
            ),
        ));
    }
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for target in &wish.targets {
        let locator = target.location.locator.as_str();
        if let Some(first) = seen.insert(&target.identity, locator) {
            return Err(Rejection::new(
                RejectionCode::DuplicateTarget,
                format!("`{first}` and `{locator}` are the same repository."),
                "Name each repository once.",
            ));
        }
    }
    Ok(())
}

fn check_model(wish: &CreateJob) -> Result<(), Rejection> {
    let model = &wish.model;
    match &wish.rules.model {
        ModelStanding::Known => Ok(()),
        ModelStanding::Unknown { known } => Err(Rejection::new(
            RejectionCode::UnknownModel,
            format!("The model `{model}` is not in the price table, so its cost has no bound."),
            format!("Choose one of {}, or add it to the table.", known.join(", ")),
        )),
        ModelStanding::Retired { on, successor } => Err(Rejection::new(
            RejectionCode::RetiredModel,
            format!("The model `{model}` was retired on {on}."),
            match successor {
                Some(successor) => format!("Use `{successor}`."),
                None => "Choose a current model.".to_owned(),
            },
        )),
    }
}

/// The largest limit: what every reader of JSON keeps. Nothing here comes near it.
const MOST: u64 = (1 << 53) - 1;

/// Whether there is anything that `limits` allow: no zeros, and money for one call at least; and whether
/// they can be told.
pub(super) fn check_limits(limits: &Limits, model: &str, floor: u64) -> Result<(), Rejection> {
    if limits.max_turns == 0 {
        return Err(Rejection::new(
            RejectionCode::BadLimits,
            "A limit of 0 turns leaves nothing to do.",
            "Set --max-turns to at least 1.",
        ));
    }
    let optional = [
        ("max_tokens", limits.max_tokens),
        ("max_wall_ms", limits.max_wall_ms),
        ("max_tool_ms", limits.max_tool_ms),
        ("max_diff_bytes", limits.max_diff_bytes),
        ("job_budget_micros", limits.job_budget_micros),
        ("shared.max_turns", limits.shared.max_turns.map(u64::from)),
        ("shared.max_tokens", limits.shared.max_tokens),
        ("shared.max_wall_ms", limits.shared.max_wall_ms),
        ("shared.max_tool_ms", limits.shared.max_tool_ms),
        ("shared.max_diff_bytes", limits.shared.max_diff_bytes),
    ];
    if let Some((name, _)) = optional.iter().find(|(_, value)| *value == Some(0)) {
        return Err(Rejection::new(
            RejectionCode::BadLimits,
            format!("The limit `{name}` is not above 0, which leaves nothing to do."),
            "Set it higher, or leave it out.",
        ));
    }
    let money = [("budget_micros", Some(limits.budget_micros))];
    let too_much = |(_, value): &&(&str, Option<u64>)| value.is_some_and(|value| value > MOST);
    if let Some((name, _)) = optional.iter().chain(&money).find(too_much) {
        return Err(Rejection::new(
            RejectionCode::BadLimits,
            format!("The limit `{name}` is above {MOST}, and none may be."),
            "Set it lower, or leave it out.",
        ));
    }
    let budgets = [
        ("--budget-usd", Some(limits.budget_micros)),
        ("job_budget_usd", limits.job_budget_micros),
    ];
    for (name, budget) in budgets {
        let Some(budget) = budget.filter(|budget| *budget < floor) else { continue };
        return Err(Rejection::new(
            RejectionCode::BudgetTooSmall,
            format!(
                "A budget of {} does not pay for one call to {}, which may cost {}.",
                dollars(budget),
                model,
                dollars(floor)
            ),
            format!("Set {name} to at least {}, or take a smaller model.", dollars(floor)),
        ));
    }
    Ok(())
}

fn check_checks(checks: &Checks) -> Result<(), Rejection> {
    let Checks::Given(commands) = checks else { return Ok(()) };
    let bad = |message: String| {
        Err(Rejection::new(
            RejectionCode::BadCheck,
            message,
            "Give each check as one shell command, such as --check \"npm test\".",
        ))
    };
    if commands.len() > MAX_CHECKS {
        return bad(format!("{} checks are given; at most {MAX_CHECKS} fit.", commands.len()));
    }
    for command in commands {
        if command.trim().is_empty() {
            return bad("A check is empty.".to_owned());
        }
        if command.len() > MAX_CHECK_BYTES || command.contains('\0') {
            return bad(format!(
                "A check is no command: it has {} bytes (at most {MAX_CHECK_BYTES}) or a NUL byte.",
                command.len()
            ));
        }
    }
    Ok(())
}

/// Micro-dollars as a person writes them, rounded up to the cent.
pub(super) fn dollars(micros: u64) -> String {
    let cents = micros.div_ceil(10_000);
    format!("{}.{:02} USD", cents / 100, cents % 100)
}
