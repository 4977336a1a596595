//! What the log tells of a target's present round, gathered for whoever judges it.

use cody_events::attempt::Base;
use cody_events::digest::ObjectId;
use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, ChecksRan, ChecksRanPayload};
use cody_events::ids::{JobId, RoundNumber, TargetNumber};
use cody_events::outcome::ReopenReason;
use cody_events::thread::{
    ClaudeTurn, DiffReviewed, DiffReviewedPayload, Finish, StopReason, ToolsRan,
};
use cody_events::tree::{Blob, ChangedEntry};

use super::IntakeError;
use crate::app::{App, AppError};

/// A target's round, as far as its end needs it.
#[derive(Debug, Clone)]
pub struct Story {
    pub round: RoundNumber,
    pub base: Option<Base>,
    pub tree: Option<ObjectId>,
    /// Positions of the tools that changed the tree, in order.
    tools: Vec<u64>,
    pub finish: Option<Finish>,
    pub baseline: Option<(ChecksRan, ChecksRanPayload)>,
    pub checks: Option<(ChecksRan, ChecksRanPayload)>,
    pub review: Option<(DiffReviewed, DiffReviewedPayload)>,
    /// What Claude said when it refused.
    pub refusal: Option<String>,
}

impl Story {
    /// Reads it from the log.
    pub async fn read(app: &App, job: JobId, target: TargetNumber) -> Result<Self, AppError> {
        let mut story = Self {
            round: RoundNumber::FIRST,
            base: None,
            tree: None,
            tools: Vec::new(),
            finish: None,
            baseline: None,
            checks: None,
            review: None,
            refusal: None,
        };
        for told in app.events(job, 0).await? {
            story.add(app, target, told.recorded.position, &told.event).await?;
        }
        Ok(story)
    }

    async fn add(
        &mut self,
        app: &App,
        target: TargetNumber,
        position: u64,
        event: &Event,
    ) -> Result<(), AppError> {
        match event {
            Event::AttemptRequested(e) if e.target == target => self.base = Some(e.base.clone()),
            Event::TargetReopened(e) if e.target == target => {
                self.round = e.round;
                if e.why == ReopenReason::Retried {
                    self.tools.clear();
                    self.tree = None;
                    self.finish = None;
                    self.baseline = None;
                }
                if e.why != ReopenReason::BudgetRaised {
                    self.checks = None;
                    self.review = None;
                    self.refusal = None;
                }
            }
            Event::ToolsRan(e) if e.target == target => {
                self.tree = Some(e.tree_after);
                if e.tree_after != e.tree_before {
                    self.tools.push(position);
                }
                if e.finish.is_some() {
                    let payload = app.payload_of::<ToolsRan>(position).await?;
                    self.finish = payload.and_then(|payload| payload.finish);
                    self.review = None;
                }
            }
            Event::ChecksRan(e) if e.target == target => {
                let payload = app.payload_of::<ChecksRan>(position).await?;
                let payload = payload
                    .unwrap_or(ChecksRanPayload { commands: Vec::new(), finish_result: None });
                match e.phase {
                    CheckPhase::Baseline => self.baseline = Some((e.clone(), payload)),
                    // A verdict that is only repeated has no output of its own.
                    CheckPhase::After | CheckPhase::Repair
                        if e.skipped.is_none() || self.checks.is_none() =>
                    {
                        self.checks = Some((e.clone(), payload));
                    }
                    CheckPhase::After | CheckPhase::Repair => {}
                }
            }
            Event::DiffReviewed(e) if e.target == target => {
                let payload = app.payload_of::<DiffReviewed>(position).await?;
                self.review = payload.map(|payload| (e.clone(), payload));
            }
            Event::ClaudeTurn(e) if e.target == target && e.stop_reason == StopReason::Refusal => {
                let payload = app.payload_of::<ClaudeTurn>(position).await?;
                self.refusal = payload
                    .and_then(|payload| payload.stop_details)
                    .map(|details| details.get().to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// What each turn's tools changed, in order.
    pub(super) async fn tree_steps(
        &self,
        app: &App,
    ) -> Result<Vec<(Vec<ChangedEntry>, Vec<Blob>)>, IntakeError> {
        let mut steps = Vec::with_capacity(self.tools.len());
        for position in &self.tools {
            let payload = app
                .payload_of::<ToolsRan>(*position)
                .await?
                .ok_or(IntakeError::PayloadGone(*position))?;
            steps.push((payload.changed, payload.blobs));
        }
        Ok(steps)
    }
}
