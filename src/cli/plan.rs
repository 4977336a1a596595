//! `plan`: what would become of a job, without one.

use clap::Args;
use cody_events::job::{CheckSource, Limits, Policy};

use super::job_args::{JobArgs, warn_of_uncommitted};
use super::planning::planned;
use super::{Context, Exit, text};
use crate::plan::{PlannedJob, Recipe};

/// What `plan` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch plan --prompt \"Replace print by logging\" --repo acme/api --repo acme/web --budget-usd 2
      See what `run` with the same flags would do, and the most that it could cost.
  cody-batch plan --recipe upgrade-dependency --var dependency=serde_json --var version=2.1.0 --repo .
      Read the prompt that comes of a recipe.")]
pub struct PlanArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    job: JobArgs,
}

/// Runs the verb.
pub async fn run(context: Context, args: PlanArgs) -> Result<Exit, anyhow::Error> {
    let request = args.job.request(&context)?;
    let (planned, recipe) = planned(&context, &request).await?;
    warn_of_uncommitted(&context.config, &request);
    if args.json {
        text::put(format_args!("{}\n", serde_json::to_string(&planned)?))?;
        return Ok(Exit::OK);
    }
    text::put(text::printable(&shown(&planned, recipe.as_ref())))?;
    eprintln!("\nNothing was created and nothing was spent. `run` with the same flags starts it.");
    Ok(Exit::OK)
}

/// All of a planned job, for a person.
fn shown(planned: &PlannedJob, recipe: Option<&Recipe>) -> String {
    let mut out = format!("{}\n", text::repositories(planned.targets.len()));
    let width = planned.targets.iter().map(|one| one.repository.chars().count()).max();
    let width = width.unwrap_or(0).min(40);
    for target in &planned.targets {
        out.push_str(&format!(
            "  {}. {:<width$}  {}\n",
            target.number, target.repository, target.locator
        ));
        for line in target.notes.iter().flat_map(|notes| notes.trim().lines()) {
            out.push_str(&format!("     note: {line}\n"));
        }
    }
    out.push_str(&format!("\nModel    {}{}\n", planned.model, effort(planned)));
    out.push_str(&format!("Then     {}\n", then(planned)));
    out.push_str(&format!("Checks   {}\n", checks(planned)));
    let yes = |is_so: bool| if is_so { "yes" } else { "no" };
    out.push_str(&format!(
        "Review   by another conversation with Claude: {}\n",
        yes(planned.review)
    ));
    out.push_str(&format!("Commands Claude may run them in a sandbox: {}\n", yes(planned.bash)));
    if planned.fetch_dependencies {
        out.push_str("Fetched  what the repositories depend on, before their commands run\n");
    }
    if !planned.allow.is_empty() {
        let classes: Vec<&str> = planned.allow.iter().map(|class| class.name()).collect();
        out.push_str(&format!("Allowed  diffs are not held for {}\n", classes.join(", ")));
    }
    out.push_str(&format!(
        "Cost     at most {} in all; the smallest call may cost {}\n",
        text::dollars(planned.most_micros),
        text::dollars(planned.floor_call_micros)
    ));
    out.push_str(&format!("Limits   {}\n", limits(&planned.limits)));
    match recipe {
        Some(recipe) => {
            out.push_str(&format!("\nPrompt, by the recipe {} ({}):\n", recipe.name, recipe.source))
        }
        None => out.push_str("\nPrompt:\n"),
    }
    out.extend(planned.prompt.trim_end().lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("  {line}\n"),
    }));
    out
}

fn effort(planned: &PlannedJob) -> String {
    planned.effort.map_or_else(String::new, |effort| format!(", effort {effort}"))
}

/// What becomes of a diff.
fn then(planned: &PlannedJob) -> &'static str {
    match (planned.policy, planned.pilot) {
        (Policy::Review, false) => "a person reviews each diff",
        (Policy::Review, true) => {
            "one repository goes first, the others when its diff is approved; a person reviews each"
        }
        (Policy::Auto, false) => "each diff is delivered without a person's look",
        (Policy::Auto, true) => {
            "one repository goes first; when its diff is approved, the others follow without a look"
        }
        (Policy::PatchOnly, false) => "the patches are the end",
        (Policy::PatchOnly, true) => {
            "one repository goes first, the others when its diff is approved; patches are the end"
        }
    }
}

fn checks(planned: &PlannedJob) -> String {
    match planned.check_source {
        CheckSource::Off => "none".to_owned(),
        CheckSource::Given => planned.checks.join("; "),
        CheckSource::Detected => "those that the scan finds".to_owned(),
    }
}

fn limits(limits: &Limits) -> String {
    let minutes = |ms: u64| text::counted(ms / 60_000, "minute");
    let mut all = vec![
        format!("{} a repository", text::dollars(limits.budget_micros)),
        text::counted(u64::from(limits.max_turns), "turn"),
    ];
    all.extend(limits.max_tokens.map(|tokens| text::counted(tokens, "token")));
    all.extend(limits.max_wall_ms.map(minutes));
    all.extend(limits.max_tool_ms.map(|ms| format!("{} of tools", minutes(ms))));
    all.extend(limits.max_diff_bytes.map(|bytes| format!("a patch of {bytes} bytes")));
    all.join(", ")
}
