//! Reading the verdict of a review.

use cody_events::event::Event;
use cody_events::ids::{CommandId, JobId, TargetNumber, ThreadNumber, TurnNumber};
use cody_events::raw::RawJson;
use cody_events::thread::{ClaudeTurn, DiffReviewed, DiffReviewedPayload, ReviewVerdict};
use serde::Deserialize;

use super::{ConverseError, Converser, prompts};
use crate::app::Asker;
use crate::claude::blocks::{tool_result, visible_text};
use crate::job::{Command, MAX_REPAIRS};

/// A review's answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    pub verdict: ReviewVerdict,
    pub summary: String,
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Reads the answer's text; nothing if it is no verdict.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text.trim()).ok()
    }

    /// What counts when there is none: silence never accepts.
    fn absent() -> Self {
        Self {
            verdict: ReviewVerdict::Object,
            summary: "The review gave no verdict.".to_owned(),
            reasons: Vec::new(),
        }
    }
}

impl Converser {
    /// Records the verdict that the latest response of the review `thread` gives. An objection goes
    /// back into the change's conversation while repairs are left.
    pub async fn read_review(
        &self,
        job: JobId,
        target: TargetNumber,
        thread: ThreadNumber,
        finish_id: Option<&str>,
    ) -> Result<(), ConverseError> {
        let state = self.app.state(job).await?;
        let missing = |what| ConverseError::Missing(target, what);
        let target_state = state
            .job
            .as_ref()
            .and_then(|job| job.targets.get(&target))
            .ok_or(missing("the target itself"))?;
        let tree = target_state.claim.as_ref().ok_or(missing("an open finish"))?.tree;
        let (turn, content) = self.latest_response(job, target, thread).await?;
        let answer = Verdict::read(&visible_text(&content));
        // Claude can act on findings; it cannot act on a review that found no words.
        let sent_back = answer.as_ref().is_some_and(|a| a.verdict == ReviewVerdict::Object)
            && target_state.repairs < MAX_REPAIRS;
        let answer = answer.unwrap_or_else(Verdict::absent);
        let finish_result = match (sent_back, finish_id) {
            (true, Some(id)) => Some(tool_result(
                id,
                &prompts::review_objects(&answer.summary, &answer.reasons),
                true,
            )?),
            _ => None,
        };
        let facts = DiffReviewed {
            target,
            thread,
            turn,
            tree,
            verdict: answer.verdict,
            answers_finish: finish_result.is_some(),
        };
        let payload =
            DiffReviewedPayload { summary: answer.summary, reasons: answer.reasons, finish_result };
        let id = CommandId::derived(&[
            "review",
            &job.to_string(),
            &target.to_string(),
            &thread.to_string(),
        ]);
        let command = Command::RecordReview(Box::new((facts, payload)));
        self.app.execute(job, id, command, &Asker::room("converser")).await?;
        Ok(())
    }

    async fn latest_response(
        &self,
        job: JobId,
        target: TargetNumber,
        thread: ThreadNumber,
    ) -> Result<(TurnNumber, Vec<RawJson>), ConverseError> {
        let events = self.app.events(job, 0).await?;
        let latest = events.iter().rev().find_map(|told| match &told.event {
            Event::ClaudeTurn(turn) if turn.target == target && turn.thread == thread => {
                Some((told.recorded.position, turn.turn))
            }
            _ => None,
        });
        let Some((position, turn)) = latest else { return Ok((TurnNumber(0), Vec::new())) };
        let payload = self.app.payload_of::<ClaudeTurn>(position).await?;
        Ok((turn, payload.map(|payload| payload.content).unwrap_or_default()))
    }
}
