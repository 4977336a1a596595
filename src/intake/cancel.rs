//! The end of a whole job at somebody's wish, which keeps what was changed so far.

use std::time::Duration;

use cody_events::diff::{DiffProduced, DiffProducedPayload};
use cody_events::ids::JobId;
use cody_events::job::By;
use cody_events::outcome::Outcome;

use super::{Intake, IntakeError, Story};
use crate::app::{AppError, Asker, Executed, UniqueKey};
use crate::job::{Command, RejectionCode};

/// How often a cancelled job's diffs are derived again because a worker changed a tree.
const CANCEL_TRIES: u32 = 3;
/// How long those diffs may take together.
const CANCEL_PATIENCE: Duration = Duration::from_millis(800);
/// As many diffs as one command's events have room for, next to each target's end.
const MOST_PARTIAL_DIFFS: usize = 16;

impl Intake {
    /// Cancels a job, once for each `key`, and keeps what its unfinished targets have changed so far.
    pub async fn cancel(
        &self,
        job: JobId,
        by: By,
        reason: &str,
        asker: &Asker,
        key: Option<UniqueKey>,
    ) -> Result<Executed, IntakeError> {
        // A try that is refused uses no key up, so that whichever is taken has it.
        let id = self.app.command_id(key.as_ref());
        let command = |diffs| Command::CancelJob { by, reason: reason.to_owned(), diffs };
        for _ in 0..CANCEL_TRIES {
            // Workers are stopped only after this; what takes long is not worth the wait.
            let diffs = tokio::time::timeout(CANCEL_PATIENCE, self.partial_diffs(job)).await;
            let diffs = diffs.unwrap_or_default();
            match self.app.execute_once(job, id, command(diffs), asker, key.clone()).await {
                // A tree changed in between.
                Err(AppError::Rejected(no)) if no.code == RejectionCode::OutOfOrder => {}
                done => return Ok(done?),
            }
        }
        Ok(self.app.execute_once(job, id, command(Vec::new()), asker, key).await?)
    }

    async fn partial_diffs(&self, job: JobId) -> Vec<(DiffProduced, DiffProducedPayload)> {
        let state = self.app.state(job).await.unwrap_or_default();
        let targets = state.job.map(|job| job.targets).unwrap_or_default();
        let mut diffs = Vec::new();
        let open = targets.values().filter(|t| t.outcome.is_none() && t.is_changed());
        for target in open.take(MOST_PARTIAL_DIFFS) {
            let Ok(mut story) = Story::read(&self.app, job, target.number).await else { continue };
            self.mask_story(&mut story);
            match self.produced(job, target.number, Outcome::Cancelled, &story).await {
                Ok(diff) => diffs.push((diff.facts, diff.payload)),
                Err(error) => {
                    tracing::warn!(%job, target = %target.number, %error, "no partial diff is kept");
                }
            }
        }
        diffs
    }
}
