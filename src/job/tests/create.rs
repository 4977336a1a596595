//! What a job must be to be accepted.

use std::collections::BTreeMap;

use cody_events::job::{CheckSource, Created, CreatedPayload, Limits, Location};

use super::build::{created, limits};
use super::given::given;
use super::wishes::{create, wish};
use crate::job::RejectionCode;
use crate::job::RejectionCode::*;
use crate::job::command::{Checks, CreateJob, CreateRules, ModelStanding};
use crate::job::create::check;

#[test]
fn a_good_wish_is_accepted_with_what_the_person_wrote_in_the_payload() {
    let wish = CreateJob {
        notes: Some("For the audit.".to_owned()),
        checks: Checks::Given(vec!["npm test".to_owned()]),
        ..wish(2)
    };
    let facts = Created { checks: CheckSource::Given, ..created(2) };
    let when = given([]).when(create(wish));
    let payload: CreatedPayload =
        serde_json::from_str(when.drafts()[0].payload.as_deref().unwrap()).unwrap();
    let location = |name: &str| Location { locator: name.to_owned(), branch: None, notes: None };
    assert_eq!(
        payload,
        CreatedPayload {
            prompt: "Replace print by logging.".to_owned(),
            notes: Some("For the audit.".to_owned()),
            locations: vec![location("acme/app-1"), location("acme/app-2")],
            checks: vec!["npm test".to_owned()],
            variables: BTreeMap::new(),
        }
    );
    when.then([facts.into()]).when(create(super::wishes::wish(2))).rejected(JobExists);
}

#[test]
fn every_bad_wish_has_its_code() {
    let rules = |change: fn(&mut CreateRules)| {
        let mut wish = wish(1);
        change(&mut wish.rules);
        wish
    };
    let limited = |change: fn(&mut Limits)| {
        let mut limits = limits();
        change(&mut limits);
        CreateJob { limits, ..wish(1) }
    };
    let checked = |checks: Vec<String>| CreateJob { checks: Checks::Given(checks), ..wish(1) };
    let twice = {
        let mut wish = wish(2);
        wish.targets[1].identity = wish.targets[0].identity.clone();
        wish
    };
    let cases: Vec<(RejectionCode, CreateJob)> = vec![
        (NoPrompt, CreateJob { prompt: String::new(), ..wish(1) }),
        (NoPrompt, CreateJob { prompt: " \n\t".to_owned(), ..wish(1) }),
        (PromptTooLong, CreateJob { prompt: "x".repeat(65_537), ..wish(1) }),
        (PromptTooLong, rules(|rules| rules.max_prompt_bytes = 3)),
        (NoTarget, wish(0)),
        (TooManyTargets, wish(6)),
        (TooManyTargets, {
            let mut wish = wish(20);
            wish.rules.max_targets = 20;
            wish.targets.iter_mut().for_each(|target| target.repository = "n".repeat(201));
            wish
        }),
        // Configuration may raise the cap, but not beyond what the facts have room for.
        (TooManyTargets, {
            let mut wish = wish(21);
            wish.rules.max_targets = 1_000;
            wish
        }),
        (DuplicateTarget, twice),
        (UnknownModel, {
            rules(|r| r.model = ModelStanding::Unknown { known: vec!["claude-test".to_owned()] })
        }),
        (RetiredModel, {
            rules(|rules| {
                rules.model = ModelStanding::Retired {
                    on: "2026-02-19".to_owned(),
                    successor: Some("claude-opus-5-5".to_owned()),
                };
            })
        }),
        (RetiredModel, {
            rules(|rules| {
                rules.model =
                    ModelStanding::Retired { on: "2026-02-19".to_owned(), successor: None };
            })
        }),
        (BadLimits, limited(|limits| limits.max_turns = 0)),
        (BadLimits, limited(|limits| limits.max_tokens = Some(0))),
        (BadLimits, limited(|limits| limits.max_wall_ms = Some(0))),
        (BadLimits, limited(|limits| limits.max_tool_ms = Some(0))),
        (BadLimits, limited(|limits| limits.max_diff_bytes = Some(0))),
        (BadLimits, limited(|limits| limits.job_budget_micros = Some(0))),
        (BadLimits, limited(|limits| limits.budget_micros = 1 << 53)),
        (BadLimits, limited(|limits| limits.shared.max_tokens = Some(u64::MAX))),
        (BudgetTooSmall, limited(|limits| limits.budget_micros = 249_999)),
        (BudgetTooSmall, limited(|limits| limits.job_budget_micros = Some(249_999))),
        (BadCheck, checked(vec![String::new()])),
        (BadCheck, checked(vec!["a\0b".to_owned()])),
        (BadCheck, checked(vec!["x".repeat(4_097)])),
        (BadCheck, checked(vec!["true".to_owned(); 17])),
    ];
    for (code, wish) in cases {
        assert_eq!(check(&wish).map_err(|rejection| rejection.code), Err(code));
        given([]).when(create(wish)).rejected(code);
    }
}

#[test]
fn limits_are_met_exactly() {
    for wish in [
        wish(5),
        CreateJob { prompt: "x".repeat(65_536), ..wish(1) },
        CreateJob { limits: Limits { budget_micros: 250_000, ..limits() }, ..wish(1) },
        CreateJob { checks: Checks::Given(vec!["x".repeat(4_096); 16]), ..wish(1) },
    ] {
        given([]).when(create(wish)).accepted();
    }
}

#[test]
fn a_no_says_the_figure_and_the_way_out() {
    let too_small = CreateJob { limits: Limits { budget_micros: 1, ..limits() }, ..wish(1) };
    let rejection = check(&too_small).unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "A budget of 0.01 USD does not pay for one call to claude-test, which may cost 0.25 USD. \
         Set --budget-usd to at least 0.25 USD, or take a smaller model."
    );
}

#[test]
fn nothing_else_can_be_wished_of_a_job_that_is_not_there() {
    given([]).when(super::wishes::cancel()).rejected(NoSuchJob);
}
