//! `finish`: Claude says that it is done, and how it ended. Whether that is true is judged
//! elsewhere, later, and that judgement is the tool's result.

use cody_events::raw::RawJson;
use cody_events::thread::{Finish, FinishOutcome};
use serde::Deserialize;

use super::result::{Complaint, complain};

/// The longest title, in bytes; a pull request's has room for it and a suffix.
const MAX_TITLE_BYTES: usize = 200;
/// The longest summary, and the longest piece of evidence, in bytes.
const MAX_TEXT_BYTES: usize = 20_000;
/// The most pieces of evidence.
const MAX_EVIDENCE: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    outcome: FinishOutcome,
    title: String,
    summary: String,
    evidence: Vec<String>,
}

/// Takes a call as a claim, or says what is missing from it.
pub(super) fn read(id: &str, input: &RawJson) -> Result<Finish, Complaint> {
    let Input { outcome, title, summary, evidence } = super::read_input(input)?;
    let evidence: Vec<String> =
        evidence.into_iter().filter(|item| !item.trim().is_empty()).collect();
    match outcome {
        FinishOutcome::Changed if title.trim().is_empty() => {
            return complain("finish: `changed` needs a `title`, one line for the pull request.");
        }
        FinishOutcome::AlreadyCompliant | FinishOutcome::NotApplicable if evidence.is_empty() => {
            return complain(
                "finish: this outcome needs `evidence`: name the files and lines, or the commands and \
                 their results, that show it.",
            );
        }
        FinishOutcome::Cannot if summary.trim().is_empty() => {
            return complain("finish: `cannot` needs a `summary` that says why it cannot be done.");
        }
        FinishOutcome::Changed
        | FinishOutcome::AlreadyCompliant
        | FinishOutcome::NotApplicable
        | FinishOutcome::Cannot => {}
    }
    let title = title.trim();
    if title.contains(['\n', '\r']) || title.len() > MAX_TITLE_BYTES {
        return complain(format!(
            "finish: `title` must be one line of at most {MAX_TITLE_BYTES} bytes; the rest belongs into \
             `summary`."
        ));
    }
    if evidence.len() > MAX_EVIDENCE
        || evidence.iter().chain([&summary]).any(|text| text.len() > MAX_TEXT_BYTES)
    {
        return complain(format!(
            "finish: `summary` and each piece of `evidence` may have {MAX_TEXT_BYTES} bytes, and \
             `evidence` {MAX_EVIDENCE} pieces. Say the same in fewer words."
        ));
    }
    Ok(Finish { id: id.to_owned(), outcome, title: title.to_owned(), summary, evidence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_complete_or_told_what_is_missing() {
        for (outcome, title, summary, evidence, complaint) in [
            ("changed", "Do it", "", "[]", None),
            ("changed", " ", "s", "[]", Some("needs a `title`")),
            ("changed", "a\nb", "s", "[]", Some("one line")),
            ("already-compliant", "", "s", r#"["a.rs:3"]"#, None),
            ("already-compliant", "", "s", r#"[" "]"#, Some("needs `evidence`")),
            ("not-applicable", "", "s", "[]", Some("needs `evidence`")),
            ("cannot", "", "why", "[]", None),
            ("cannot", "", "", "[]", Some("needs a `summary`")),
            ("done", "t", "s", "[]", Some("unknown variant `done`")),
        ] {
            let input = format!(
                r#"{{"outcome":"{outcome}","title":{title:?},"summary":"{summary}","evidence":{evidence}}}"#
            );
            let read = read("toolu_1", &RawJson::parse(input).unwrap());
            match (read, complaint) {
                (Ok(finish), None) => {
                    assert_eq!((finish.id.as_str(), finish.title.as_str()), ("toolu_1", title))
                }
                (Err(Complaint(text)), Some(part)) => assert!(text.contains(part), "{text}"),
                (read, _) => panic!("{outcome}: {read:?}"),
            }
        }
    }
}
