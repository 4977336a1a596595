//! A thread's conversation, put together from the log. Every block was logged once, by the event
//! that made it; here blocks are only laid side by side, never rendered again.

use std::collections::BTreeMap;

use cody_events::diff::ChangesRequested;
use cody_events::event::{DecodeError, Event, decode_payload};
use cody_events::evidence::ChecksRan;
use cody_events::ids::{CallNumber, TargetNumber, ThreadNumber, TurnNumber};
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallPermitted, ClaudeTurn, DiffReviewed, Purpose, ThreadStarted, ThreadStartedPayload, ToolsRan,
};

use crate::claude::request::{self, Body, Role};

/// What a thread has said so far.
#[derive(Debug, Clone, Default)]
pub struct History {
    start: Option<ThreadStartedPayload>,
    /// Whether it makes the change, and so hears what people say of that.
    makes_change: bool,
    /// What was said after the first message, up to the latest response in history.
    said: Vec<(Role, Vec<RawJson>)>,
    /// Blocks of ours since then: the user message that the next request ends with.
    pending: Vec<RawJson>,
    /// What calls of the turn in flight added to that message.
    notices: BTreeMap<(TurnNumber, CallNumber), Vec<RawJson>>,
    /// Whether the thread's latest tools included a `finish` that nothing has answered yet.
    finish_is_open: bool,
    /// The bytes of blocks added since the latest response in history.
    fresh_bytes: u64,
}

/// Why a history cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the payload of event {position} is gone; the thread cannot go on without it")]
    PayloadGone { position: u64 },
    #[error("the thread has no start in the log")]
    NotStarted,
    #[error(transparent)]
    Request(#[from] request::BadRequest),
}

impl History {
    /// Whether `event` says something in the conversation of `thread`, so that its payload is needed.
    pub fn needs_payload(event: &Event, target: TargetNumber, thread: ThreadNumber) -> bool {
        match event {
            Event::ThreadStarted(e) => e.target == target && e.thread == thread,
            Event::CallPermitted(e) => e.target == target && e.thread == thread,
            Event::ClaudeTurn(e) => e.target == target && e.thread == thread && e.in_history,
            Event::ToolsRan(e) => e.target == target && e.thread == thread,
            Event::ChecksRan(e) => e.target == target && e.answers_finish,
            Event::DiffReviewed(e) => e.target == target && e.answers_finish,
            Event::ChangesRequested(e) => e.0.target == target,
            _ => false,
        }
    }

    /// Adds what `event` says. The caller has asked [`Self::needs_payload`]; `payload` is nothing if
    /// the event has none.
    pub fn add(
        &mut self,
        event: &Event,
        payload: Option<&[u8]>,
        position: u64,
    ) -> Result<(), HistoryError> {
        let gone = HistoryError::PayloadGone { position };
        match event {
            Event::ThreadStarted(e) => {
                self.makes_change = e.purpose != Purpose::Review;
                let start = decode_payload::<ThreadStarted>(payload.ok_or(gone)?)?;
                self.fresh_bytes = start.first_message.get().len() as u64;
                self.start = Some(start);
            }
            Event::CallPermitted(e) => {
                if let Some(payload) = payload {
                    let notice = decode_payload::<CallPermitted>(payload)?.notice;
                    self.notices.insert((e.turn, e.call), notice);
                }
            }
            Event::ClaudeTurn(e) => self.answered(e, payload.ok_or(gone)?)?,
            Event::ToolsRan(e) => {
                let ran = decode_payload::<ToolsRan>(payload.ok_or(gone)?)?;
                self.say(ran.results);
                self.finish_is_open = e.finish.is_some();
            }
            Event::ChecksRan(_) => {
                let result = decode_payload::<ChecksRan>(payload.ok_or(gone)?)?.finish_result;
                self.answer_finish(result);
            }
            Event::DiffReviewed(_) => {
                let result = decode_payload::<DiffReviewed>(payload.ok_or(gone)?)?.finish_result;
                self.answer_finish(result);
            }
            // A thread that begins later, or that judges, was not spoken to.
            Event::ChangesRequested(_) if self.makes_change => {
                // The result of the open `finish`, or a text where nothing is open.
                let block = decode_payload::<ChangesRequested>(payload.ok_or(gone)?)?.finish_result;
                self.say(block.into_iter().collect());
                self.finish_is_open = false;
            }
            _ => {}
        }
        Ok(())
    }

    /// A response entered history, after the user message that its own call sent.
    fn answered(&mut self, turn: &ClaudeTurn, payload: &[u8]) -> Result<(), HistoryError> {
        let notice = self.notices.remove(&(turn.turn, turn.call)).unwrap_or_default();
        self.notices.clear();
        self.pending.extend(notice);
        self.said.push((Role::User, std::mem::take(&mut self.pending)));
        self.said.push((Role::Assistant, decode_payload::<ClaudeTurn>(payload)?.content));
        self.fresh_bytes = 0;
        Ok(())
    }

    fn say(&mut self, blocks: Vec<RawJson>) {
        self.fresh_bytes = self.fresh_bytes.saturating_add(bytes_of(&blocks));
        self.pending.extend(blocks);
    }

    fn answer_finish(&mut self, result: Option<RawJson>) {
        if self.finish_is_open {
            self.say(result.into_iter().collect());
            self.finish_is_open = false;
        }
    }

    /// The bytes that every request of the thread starts with; nothing before the thread started.
    pub fn start(&self) -> Option<&ThreadStartedPayload> {
        self.start.as_ref()
    }

    /// The next request, with `notice` at the end of its last user message.
    pub fn request(&self, notice: &[RawJson], max_tokens: u32) -> Result<Body, HistoryError> {
        let start = self.start.as_ref().ok_or(HistoryError::NotStarted)?;
        let mut history = request::History::new(&start.first_message);
        for (role, blocks) in &self.said {
            match role {
                Role::User => history.user(blocks),
                Role::Assistant => history.assistant(blocks),
            }
        }
        history.user(self.pending.iter().chain(notice));
        Ok(request::compose(start, &history, max_tokens)?)
    }

    /// The bytes of what was said since the latest response in history.
    pub fn fresh_bytes(&self) -> u64 {
        self.fresh_bytes
    }
}

fn bytes_of(blocks: &[RawJson]) -> u64 {
    blocks.iter().map(|block| block.get().len() as u64).sum()
}
