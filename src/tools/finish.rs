//! `finish`: the claim that the work is done. It gets no result here; the event that judges it
//! answers.

use cody_events::thread::{Finish, FinishOutcome};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, AskedTool, input};

const MAX_TITLE_BYTES: usize = 200;
const MAX_TEXT_BYTES: usize = 20_000;
const MAX_EVIDENCE: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    outcome: FinishOutcome,
    title: String,
    summary: String,
    evidence: Vec<String>,
}

/// The tool's definition.
pub(super) fn schema() -> Value {
    json!({
        "name": "finish",
        "description": "Ends the work on this repository. `changed`: the request is fulfilled by \
            your edits. `already-compliant`: nothing had to change. `not-applicable`: the request \
            does not concern this repository. `cannot`: you cannot do it. Evidence names what you \
            ran or which files you looked at. The result tells what checks or the review found, if \
            they found something.",
        "strict": true,
        "input_schema": {
            "type": "object",
            "properties": {
                "outcome": {
                    "type": "string",
                    "enum": ["changed", "already-compliant", "not-applicable", "cannot"],
                },
                "title": {
                    "type": "string",
                    "description": "One line in the imperative, as for a commit.",
                },
                "summary": {
                    "type": "string",
                    "description": "What changed and why, for a reviewer.",
                },
                "evidence": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Facts that bear the outcome out, one each.",
                },
            },
            "required": ["outcome", "title", "summary", "evidence"],
            "additionalProperties": false,
        },
    })
}

/// Takes the claim if it is whole.
pub(super) fn run(tool: &AskedTool) -> Answer {
    let claim = match input::<Input>(tool) {
        Ok(claim) => claim,
        Err(answer) => return answer,
    };
    let fail = |words: &str| Answer::Failed(format!("{words} Call `finish` again."));
    if claim.title.trim().is_empty() || claim.title.len() > MAX_TITLE_BYTES {
        return fail("The title must be one line of 1 to 200 bytes.");
    }
    if claim.summary.len() > MAX_TEXT_BYTES || claim.evidence.len() > MAX_EVIDENCE {
        return fail("The summary or the list of evidence is too long.");
    }
    let evidence: Vec<String> = claim
        .evidence
        .into_iter()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty() && line.len() <= MAX_TEXT_BYTES)
        .collect();
    if evidence.is_empty() {
        return fail(match claim.outcome {
            FinishOutcome::Changed => "Give evidence: what you ran or looked at.",
            FinishOutcome::AlreadyCompliant => {
                "`already-compliant` needs evidence: the files that show it."
            }
            FinishOutcome::NotApplicable => "`not-applicable` needs evidence: why it is not.",
            FinishOutcome::Cannot => "`cannot` needs evidence: what stops you.",
        });
    }
    Answer::Finished(Finish {
        id: tool.id.clone(),
        outcome: claim.outcome,
        title: claim.title.trim().to_owned(),
        summary: claim.summary,
        evidence,
    })
}
