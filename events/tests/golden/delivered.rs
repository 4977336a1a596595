//! What became of a tree on GitHub, how targets and jobs end, and what belongs to no job.

use cody_events::delivery::{
    BranchPushed, DeliveryFailed, DeliveryFailure, PrChecks, PrOpened, PrReview, PrState, PrUpdated,
};
use cody_events::event::Event;
use cody_events::ids::{RoundNumber, TargetNumber};
use cody_events::job::{Archived, By, Unarchived};
use cody_events::outcome::{
    Finished, FinishedTarget, Outcome, ReopenReason, TargetFinished, TargetFinishedPayload,
    TargetReopened,
};
use cody_events::system::{
    EpochOpened, PayloadRedacted, Scope, SettingsChanged, SettingsChangedPayload, TokenCreated,
    TokenCreatedPayload, TokenRevoked,
};
use cody_events::time::Timestamp;

use super::started::reason;
use super::{Golden, bare, hash, object, with};

const TARGET: TargetNumber = TargetNumber(1);

pub fn all() -> Vec<Golden> {
    vec![
        bare(BranchPushed {
            target: TARGET,
            branch: "cody-batch/01a208b6-1".to_owned(),
            commit: object(10),
            by: By::Policy,
        }),
        bare(PrOpened {
            target: TARGET,
            branch: "cody-batch/01a208b6-1".to_owned(),
            commit: object(10),
            number: 42,
            url: "https://github.com/acme/billing/pull/42".to_owned(),
            draft: true,
        }),
        bare(PrUpdated {
            target: TARGET,
            number: 42,
            commit: object(10),
            state: PrState::Merged,
            checks: PrChecks::Passed,
            review: PrReview::Approved,
        }),
        with(
            DeliveryFailed { target: TARGET, class: DeliveryFailure::Protected },
            &reason("the branch is protected"),
        ),
        with(
            TargetFinished {
                target: TARGET,
                round: RoundNumber::FIRST,
                outcome: Outcome::DiffReady,
                tree: Some(object(4)),
                diff_hash: Some(hash(8)),
                cost_micros: 15_432,
            },
            &TargetFinishedPayload { evidence: vec!["the checks pass".to_owned()] },
        ),
        with(
            TargetReopened {
                target: TARGET,
                round: RoundNumber(2),
                why: ReopenReason::ChangesRequested,
                by: By::Person,
            },
            &reason("use the root logger"),
        ),
        bare(Finished {
            targets: vec![finished(1, Outcome::DiffReady), finished(2, Outcome::AlreadyCompliant)],
            cost_micros: 15_432,
        }),
        bare(Archived { by: By::Person }),
        bare(Unarchived { by: By::Person }),
        with(PayloadRedacted { position: 7, by: By::Person }, &reason("a password was in it")),
        with(
            TokenCreated {
                token_id: "t1".to_owned(),
                scopes: vec![Scope::Read, Scope::Run],
                expires_at: Some(Timestamp(1_800_000_000_000_000)),
                by: By::Person,
            },
            &TokenCreatedPayload { name: "dashboard".to_owned() },
        ),
        with(TokenRevoked { token_id: "t1".to_owned(), by: By::Person }, &reason("it leaked")),
        with(
            SettingsChanged { settings: vec!["job.max_targets".to_owned()], by: By::Person },
            &SettingsChangedPayload {
                values: [("job.max_targets".to_owned(), "10".to_owned())].into(),
            },
        ),
        bare(EpochOpened {
            epoch: 3,
            app_version: "0.1.0".to_owned(),
            sqlite_version: Some("3.51.3".to_owned()),
        }),
    ]
}

fn finished(number: u32, outcome: Outcome) -> FinishedTarget {
    FinishedTarget { target: TargetNumber(number), round: RoundNumber::FIRST, outcome }
}

/// The longest lists that facts may carry, of the widest values.
pub fn largest() -> Vec<Event> {
    let settings = (0..32).map(|_| "s".repeat(96)).collect();
    let scopes = vec![Scope::Read, Scope::Run, Scope::Approve, Scope::Admin];
    vec![
        SettingsChanged { settings, by: By::Person }.into(),
        TokenCreated {
            token_id: "t".repeat(64),
            scopes,
            expires_at: Some(Timestamp(i64::from(u32::MAX) * 1_000_000)),
            by: By::Person,
        }
        .into(),
    ]
}
