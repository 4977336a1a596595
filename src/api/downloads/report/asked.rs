//! What a job was asked to be: by whom, with what, within which limits.

use cody_events::job::{CheckSource, Limits, Policy};

use super::super::markdown::{code, code_cell, prose};
use super::moment;
use crate::api::reading::ReadJob;
use crate::api::words;

/// The section, with its heading.
pub fn section(job: &ReadJob) -> String {
    let mut out = "\n## Asked\n\n".to_owned();
    if let Some(birth) = job.birth() {
        out.push_str(&format!(
            "- By {}, through the {} door, at {} UTC, of version {}\n",
            code(&birth.recorded.actor),
            birth.recorded.door.name(),
            moment(birth.recorded.recorded_at),
            code(&job.created.app_version),
        ));
    }
    for line in terms(job) {
        out.push_str(&format!("- {line}\n"));
    }
    out.push_str(&variables(job));
    if let Some(notes) = &job.request.notes {
        out.push_str(&format!("\nNotes for whoever reads it:\n\n{}", prose(notes)));
    }
    out.push_str(&repositories(job));
    out
}

/// On what terms, a line each.
fn terms(job: &ReadJob) -> Vec<String> {
    let created = &job.created;
    let mut lines = Vec::new();
    if let Some(recipe) = &created.recipe {
        lines.push(format!(
            "The prompt was made from the recipe {}, SHA-256 `{}`",
            code(&recipe.name),
            recipe.digest
        ));
    }
    lines.push(match created.policy {
        Policy::Review => "Policy review: a person approves each diff".to_owned(),
        Policy::Auto => "Policy auto: what passes everything goes without a person".to_owned(),
        Policy::PatchOnly => "Policy patch-only: the patch is the end".to_owned(),
    });
    if created.pilot {
        lines.push("One repository goes first, and the others wait for its approval".to_owned());
    }
    let effort = created.effort.map_or(String::new(), |effort| format!(", effort {effort}"));
    lines.push(format!("Model {}{effort}", code(&created.model)));
    lines.push(match created.checks {
        CheckSource::Given => {
            let commands: Vec<String> = job.request.checks.iter().map(|one| code(one)).collect();
            format!("These checks must pass: {}", commands.join(", "))
        }
        CheckSource::Detected => "The checks that the scan finds must not break".to_owned(),
        CheckSource::Off => "No checks".to_owned(),
    });
    if !created.bash {
        lines.push("Claude may run no commands".to_owned());
    }
    if created.skip_review {
        lines.push("No independent review".to_owned());
    }
    if created.fetch_dependencies {
        lines.push("Dependencies are fetched before commands run".to_owned());
    }
    if !created.allow.is_empty() {
        let classes: Vec<&str> = created.allow.iter().map(|class| class.name()).collect();
        lines.push(format!("Its diffs may touch {}", classes.join(", ")));
    }
    lines.push(format!("Limits: {}", limits(&created.limits)));
    lines
}

/// Limits in a line.
pub fn limits(limits: &Limits) -> String {
    let each = |what: String| format!("{what} a repository");
    let all = |what: String| format!("{what} in all");
    let money = |micros| words::dollars(micros);
    let tokens = |count| format!("{} tokens", words::grouped(count));
    let work = |ms| format!("{} of work", words::duration(ms));
    let tools = |ms| format!("{} of tools", words::duration(ms));
    let bytes = |count| format!("{} bytes of patch", words::grouped(count));
    let shared = &limits.shared;
    let turns = |count: u32| words::counted(u64::from(count), "turn");
    let parts = [
        Some(each(money(limits.budget_micros))),
        limits.job_budget_micros.map(money).map(all),
        Some(each(turns(limits.max_turns))),
        shared.max_turns.map(turns).map(all),
        limits.max_tokens.map(tokens).map(each),
        shared.max_tokens.map(tokens).map(all),
        limits.max_wall_ms.map(work).map(each),
        shared.max_wall_ms.map(work).map(all),
        limits.max_tool_ms.map(tools).map(each),
        shared.max_tool_ms.map(tools).map(all),
        limits.max_diff_bytes.map(bytes).map(each),
        shared.max_diff_bytes.map(bytes).map(all),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What was put in the places of the recipe's variables.
fn variables(job: &ReadJob) -> String {
    if job.request.variables.is_empty() {
        return String::new();
    }
    let mut out = "\n| variable | value |\n|---|---|\n".to_owned();
    for (name, value) in &job.request.variables {
        out.push_str(&format!("| {} | {} |\n", code_cell(name), code_cell(value)));
    }
    out
}

/// Where each repository is, and what was said for it alone.
fn repositories(job: &ReadJob) -> String {
    let mut out = "\n| # | from | branch |\n|---|---|---|\n".to_owned();
    let mut notes = String::new();
    for (target, place) in job.created.targets.iter().zip(&job.request.locations) {
        let branch = place.branch.as_deref().map_or("the default one".to_owned(), code_cell);
        out.push_str(&format!(
            "| {} | {} | {branch} |\n",
            target.number,
            code_cell(&place.locator)
        ));
        if let Some(words) = &place.notes {
            notes.push_str(&format!(
                "\nFor repository {} alone:\n\n{}",
                target.number,
                prose(words)
            ));
        }
    }
    out + &notes
}
