//! What bears an outcome out, in words that name what was run and seen.

use cody_events::attempt::SandboxBackend;
use cody_events::evidence::{CheckSkip, CheckedCommand, ChecksRan, ChecksRanPayload};
use cody_events::outcome::Outcome;
use cody_events::thread::ReviewVerdict;

use super::Story;
use crate::job::state::Target;
use crate::scan::on_one_line;

/// The evidence of `outcome`: what its maker says, then what was observed.
pub fn of(
    outcome: Outcome,
    story: &Story,
    target: Option<&Target>,
    reasons: Vec<String>,
) -> Vec<String> {
    let mut evidence = reasons;
    let claims = match outcome {
        Outcome::DiffReady
        | Outcome::AlreadyCompliant
        | Outcome::NotApplicable
        | Outcome::FailedChecks
        | Outcome::Objected
        | Outcome::Stuck => story.finish.as_ref(),
        Outcome::Refused | Outcome::BudgetStopped | Outcome::Failed | Outcome::Cancelled => None,
    };
    if let Some(finish) = claims {
        evidence.extend(finish.evidence.iter().map(|claim| format!("Claude: {claim}")));
    }
    if let Some(words) = &story.refusal
        && outcome == Outcome::Refused
    {
        evidence.push(format!("Claude refused: {words}"));
    }
    if let Some((facts, payload)) = &story.checks {
        evidence.extend(check_lines(facts, payload, story.baseline.as_ref()));
    }
    if let Some((facts, payload)) = &story.review {
        let verdict = match facts.verdict {
            ReviewVerdict::Accept => "accepts",
            ReviewVerdict::Object => "objects",
        };
        evidence.push(format!("The independent review {verdict}: {}", payload.summary));
        if facts.verdict == ReviewVerdict::Object {
            evidence.extend(payload.reasons.iter().map(|reason| format!("Review: {reason}")));
        }
    }
    if evidence.is_empty() {
        let turns = target.map_or(0, |target| target.turns);
        evidence.push(format!("Ended after {turns} turns."));
    }
    evidence
}

/// Why a diff waits for a person and is never delivered by itself.
pub fn held(outcome: Outcome, target: Option<&Target>) -> Option<String> {
    if outcome == Outcome::Objected {
        return Some("The independent review still objects after the last repair.".to_owned());
    }
    let has_sandbox = target
        .and_then(|target| target.sandbox)
        .is_some_and(|backend| backend != SandboxBackend::None);
    (!has_sandbox).then(|| "No sandbox worked on the worker's machine, so no check ran.".to_owned())
}

/// What the engineer claims, for a reviewer who does not know the conversation.
pub fn review_claim(story: &Story) -> (String, String) {
    let claim = story.finish.as_ref().map_or_else(String::new, |finish| {
        let mut text = format!("{}\n\n{}\n", finish.title, finish.summary);
        for line in &finish.evidence {
            text.push_str(&format!("- {line}\n"));
        }
        text
    });
    let checks = match &story.checks {
        Some((facts, payload)) => check_lines(facts, payload, story.baseline.as_ref()).join("\n"),
        None => "No check ran.".to_owned(),
    };
    (claim, checks)
}

/// One line a command: before and after.
fn check_lines(
    facts: &ChecksRan,
    payload: &ChecksRanPayload,
    baseline: Option<&(ChecksRan, ChecksRanPayload)>,
) -> Vec<String> {
    if facts.commands.is_empty() {
        return vec![match facts.skipped {
            Some(CheckSkip::NoCommands) => {
                "No check command is known for this repository; nothing was run.".to_owned()
            }
            Some(CheckSkip::NoSandbox) => "No sandbox works here, so no check was run.".to_owned(),
            Some(CheckSkip::SameTree) => "The checks' result on this tree stands.".to_owned(),
            Some(CheckSkip::ClaimRefused) => "The claim was sent back before any check.".to_owned(),
            None => "No check was run.".to_owned(),
        }];
    }
    payload
        .commands
        .iter()
        .zip(&facts.commands)
        .enumerate()
        .map(|(index, (command, after))| {
            let before = baseline.and_then(|(facts, _)| facts.commands.get(index));
            let before = before.map_or("not run".to_owned(), how);
            // A command may name a folder, and a folder may be called anything.
            let command = on_one_line(&command.command);
            format!("`{command}`: {before} before, {} after", how(after))
        })
        .collect()
}

fn how(command: &CheckedCommand) -> String {
    match (command.timed_out, command.exit_code) {
        (true, _) => "timed out".to_owned(),
        (false, Some(0)) => "passes".to_owned(),
        (false, Some(code)) => format!("fails (exit code {code})"),
        (false, None) => "killed by a signal".to_owned(),
    }
}
