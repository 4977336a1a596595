//! A call's way through the limiter's gate. Holds no money: permits come after it.

use cody_events::outcome::Outcome;

use super::call::Call;
use super::{Advance, Converser};
use crate::claude::assemble::StreamProgress;
use crate::claude::limiter::Admission;

/// What the gate answers.
pub(super) enum Entered {
    Now(Admission),
    /// It was shut at first, so the budget and the job may have changed meanwhile.
    Late(Admission),
    /// The provider wants more quiet than anybody should wait for.
    Closed(Advance),
}

impl Converser {
    /// Passes the gate before money is asked for: a call that waits there holds no permit, and a
    /// server that dies meanwhile is charged nothing. Who is `admitted` already goes on.
    pub(super) async fn enter(&self, admitted: Option<Admission>, call: &Call) -> Entered {
        if let Some(admission) = admitted {
            return Entered::Now(admission);
        }
        match self.limiter.admit(&call.model, call.prefix).await {
            Ok(admission) if admission.has_waited() => Entered::Late(admission),
            Ok(admission) => Entered::Now(admission),
            Err(quiet) => Entered::Closed(Advance::Conclude {
                outcome: Outcome::Failed,
                evidence: vec![format!("No call to Claude is possible now: {quiet}.")],
            }),
        }
    }
}

/// Tells the gate what happens while a response arrives.
pub(super) fn tell(admission: &Admission, progress: StreamProgress<'_>) {
    match progress {
        StreamProgress::Answered(limits) => admission.heard(limits),
        StreamProgress::Started => admission.began(),
        StreamProgress::Block { .. }
        | StreamProgress::Text(_)
        | StreamProgress::Thinking(_)
        | StreamProgress::ToolInput(_) => {}
    }
}
