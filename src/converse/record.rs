//! What a call came to, in the log: a response, or why there is none. It was paid for, so it waits for
//! a log that takes nothing.

use cody_events::ids::{CallNumber, CommandId, JobId, TargetNumber, ThreadNumber, TurnNumber};
use cody_events::outcome::Outcome;
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallFailed, CallFailedPayload, ClaudeTurn, ClaudeTurnPayload, StopReason,
};

use super::call::{Call, Called};
use super::{ConverseError, Converser};
use crate::app::Asker;
use crate::claude::blocks::BlockView;
use crate::claude::client::Reply;
use crate::claude::failure::CallError;
use crate::claude::retry::{GiveUp, RetryStep, next_step as next_try};
use crate::job::Command;

impl Converser {
    pub(super) async fn record_turn(&self, call: &Call, reply: Reply) -> Result<(), ConverseError> {
        let permit = &call.permit;
        let response = reply.response;
        let tool_count = response
            .content
            .iter()
            .filter(|block| matches!(BlockView::of(block), BlockView::ToolUse { .. }))
            .count();
        let stop_reason = response.stop_reason;
        let facts = ClaudeTurn {
            target: permit.target,
            thread: permit.thread,
            turn: permit.turn,
            call: permit.call,
            stop_reason,
            in_history: enters_history(stop_reason, &response.content, tool_count),
            tool_count: u32::try_from(tool_count).unwrap_or(u32::MAX),
            usage: response.usage,
            cost_micros: call.price.cost_micros(&response.usage),
            ms: reply.total_ms,
            request_id: reply.request_id,
        };
        let payload = ClaudeTurnPayload {
            content: response.content,
            stop_reason: response.stop_reason_text,
            stop_details: response.stop_details,
        };
        let command = Command::RecordTurn(Box::new((facts, payload)));
        self.app.execute_at_last(call.job, call.command_id("turn"), command, &converser()).await?;
        Ok(())
    }

    pub(super) async fn failed(
        &self,
        call: &Call,
        error: CallError,
        failures: u32,
    ) -> Result<Called, ConverseError> {
        let permit = &call.permit;
        let facts = CallFailed {
            target: permit.target,
            thread: permit.thread,
            turn: permit.turn,
            call: permit.call,
            class: error.class,
            status: error.status,
            request_id: error.request_id.clone(),
            usage: error.usage_seen,
            assumed_micros: if error.may_be_charged() { permit.reserved_micros } else { 0 },
            ms: error.total_ms,
        };
        let message = error.message.clone();
        self.record_failure(call.job, facts, message).await?;
        let jitter = self.app.entropy().fraction();
        Ok(match next_try(error.class, failures + 1, error.retry_after, jitter) {
            RetryStep::After(after) => Called::Retry(after),
            RetryStep::NewThread => Called::Recorded,
            RetryStep::GiveUp { why } => {
                let outcome = match why {
                    GiveUp::Context => Outcome::Stuck,
                    GiveUp::Refused
                    | GiveUp::Account
                    | GiveUp::SpendCap
                    | GiveUp::Exhausted
                    | GiveUp::LongWait => Outcome::Failed,
                };
                Called::Conclude(outcome, format!("The call to Claude failed ({error}): {why}."))
            }
        })
    }

    pub(super) async fn record_failure(
        &self,
        job: JobId,
        facts: CallFailed,
        message: String,
    ) -> Result<(), ConverseError> {
        let id = command_id("failed", job, facts.target, facts.thread, facts.turn, facts.call);
        let command = Command::FailCall(Box::new((facts, CallFailedPayload { message })));
        self.app.execute_at_last(job, id, command, &converser()).await?;
        Ok(())
    }
}

impl Call {
    pub(super) fn command_id(&self, what: &str) -> CommandId {
        let permit = &self.permit;
        command_id(what, self.job, permit.target, permit.thread, permit.turn, permit.call)
    }
}

fn command_id(
    what: &str,
    job: JobId,
    target: TargetNumber,
    thread: ThreadNumber,
    turn: TurnNumber,
    call: CallNumber,
) -> CommandId {
    CommandId::derived(&[
        what,
        &job.to_string(),
        &target.to_string(),
        &thread.to_string(),
        &turn.to_string(),
        &call.to_string(),
    ])
}

pub(super) fn converser() -> Asker {
    Asker::room("converser")
}

/// Whether later requests carry this response. One that was cut off, refused, or says nothing at
/// all would make them invalid.
fn enters_history(stop: StopReason, content: &[RawJson], tool_count: usize) -> bool {
    match stop {
        StopReason::MaxTokens | StopReason::Refusal | StopReason::ModelContextWindowExceeded => {
            false
        }
        StopReason::ToolUse => tool_count > 0,
        StopReason::EndTurn | StopReason::StopSequence | StopReason::Unknown => {
            !content.is_empty() && tool_count == 0
        }
        StopReason::PauseTurn => !content.is_empty(),
    }
}
