//! The stages of a target's way, and the events that lead to each.

use cody_events::event::Event;
use cody_events::evidence::CheckVerdict;
use cody_events::job::{Created, Limits};
use cody_events::thread::{FinishOutcome, Purpose, ReviewVerdict, StopReason, ToolsRan};

use super::build::{BASE, ONE, On, created};
use super::given::{Given, given};

/// Stages of a target's way, in order, as seen from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Waiting,
    Requested,
    Claimed,
    Scanned,
    Based,
    Threaded,
    InCall,
    Answered,
    Claims,
    Checked,
    Reviewing,
    InReviewCall,
    ReviewAnswered,
    Accepted,
}

impl Stage {
    pub const ALL: [Self; 14] = [
        Self::Waiting,
        Self::Requested,
        Self::Claimed,
        Self::Scanned,
        Self::Based,
        Self::Threaded,
        Self::InCall,
        Self::Answered,
        Self::Claims,
        Self::Checked,
        Self::Reviewing,
        Self::InReviewCall,
        Self::ReviewAnswered,
        Self::Accepted,
    ];

    /// The event that leads to this stage.
    fn event(self, on: On) -> Option<Event> {
        Some(match self {
            Self::Waiting => return None,
            Self::Requested => on.requested(1).into(),
            Self::Claimed => on.started(1).into(),
            Self::Scanned => on.scanned().into(),
            Self::Based => on.baseline().into(),
            Self::Threaded => on.thread(1, Purpose::Change, BASE).into(),
            Self::InCall => on.permitted(1, 1, 1).into(),
            Self::Answered => on.turn(1, 1).into(),
            Self::Claims => {
                let finish = Some(FinishOutcome::Changed);
                ToolsRan { finish, ..on.tools(1, 1, BASE, 1) }.into()
            }
            Self::Checked => on.checked(1, CheckVerdict::Passed).into(),
            Self::Reviewing => on.thread(2, Purpose::Review, 1).into(),
            Self::InReviewCall => on.permitted(2, 1, 1).into(),
            Self::ReviewAnswered => on.said(2, 1, StopReason::EndTurn).into(),
            Self::Accepted => on.reviewed(2, 1, ReviewVerdict::Accept).into(),
        })
    }
}

/// The events that bring a target to `stage`, without the job's own.
pub fn way_to(on: On, stage: Stage) -> Vec<Event> {
    Stage::ALL.iter().filter(|s| **s <= stage).filter_map(|s| s.event(on)).collect()
}

/// A job with one target that has come to `stage`.
pub fn at(stage: Stage) -> Given {
    given([created(1).into()]).and(way_to(ONE, stage))
}

/// A job with these limits in which each target's conversation is open.
pub fn talking(targets: u32, limits: Limits) -> Given {
    let job = given([Created { limits, ..created(targets) }.into()]);
    (1..=targets).fold(job, |job, target| job.and(way_to(On(target), Stage::Threaded)))
}
