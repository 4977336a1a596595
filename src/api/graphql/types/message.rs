//! Messages of a conversation.

use async_graphql::{Context, Error, ID, Object};
use cody_events::diff::ChangesRequested;
use cody_events::event::{Event as Recorded, decode_payload};
use cody_events::evidence::ChecksRan;
use cody_events::raw::RawJson;
use cody_events::thread::{CallPermitted, ClaudeTurn, DiffReviewed, ThreadStarted, ToolsRan};
use cody_projections::threads::{MessageKind as Kind, MessageRow};
use serde::Deserialize;

use super::block::Block;
use super::payload;
use super::scalars::{Long, Position};
use super::words::MessageKind;
use crate::api::graphql::errors::internal;
use crate::api::graphql::ids::GlobalId;
use crate::app::AppError;

/// Something said or done in a conversation.
#[derive(Debug, Clone)]
pub struct Message {
    position: u64,
    /// Nothing for the message that the conversation opens with.
    row: Option<MessageRow>,
}

#[derive(Deserialize)]
struct First {
    content: Vec<RawJson>,
}

impl Message {
    /// The message that a thread opens with, which its start at `position` has.
    pub fn opening(position: u64) -> Self {
        Self { position, row: None }
    }

    /// A later one.
    pub fn of(row: MessageRow) -> Self {
        Self { position: row.position, row: Some(row) }
    }

    fn kind_of(&self) -> Kind {
        self.row.as_ref().map_or(Kind::Notice, |row| row.kind)
    }

    /// The blocks in the payload, whatever event it belongs to.
    fn read(&self, bytes: &[u8]) -> Result<Vec<RawJson>, AppError> {
        let judgement = |block: Option<RawJson>| block.into_iter().collect::<Vec<_>>();
        let Some(row) = &self.row else {
            let start = decode_payload::<ThreadStarted>(bytes)?;
            return Ok(start.first_message.read::<First>()?.content);
        };
        Ok(match row.kind {
            Kind::Response => decode_payload::<ClaudeTurn>(bytes)?.content,
            Kind::Results => decode_payload::<ToolsRan>(bytes)?.results,
            Kind::Notice => decode_payload::<CallPermitted>(bytes)?.notice,
            // Three kinds of events judge, and each of their payloads has the block under one name.
            Kind::Judgement => {
                if let Ok(payload) = decode_payload::<ChecksRan>(bytes) {
                    judgement(payload.finish_result)
                } else if let Ok(payload) = decode_payload::<DiffReviewed>(bytes) {
                    judgement(payload.finish_result)
                } else {
                    judgement(decode_payload::<ChangesRequested>(bytes)?.finish_result)
                }
            }
        })
    }
}

/// Something said or done in a conversation, in blocks.
#[Object]
impl Message {
    /// The global id.
    pub async fn id(&self) -> ID {
        GlobalId::Message(self.position).into()
    }

    /// The event that has it, by its place in the log.
    async fn position(&self) -> Position {
        Position(self.position)
    }

    /// What it is.
    async fn kind(&self) -> MessageKind {
        self.kind_of().into()
    }

    /// The response that it is, follows or precedes, by its number in the thread.
    async fn turn(&self) -> Option<Long> {
        self.row.as_ref().map(|row| Long(row.turn.0.into()))
    }

    /// Whether Claude is shown it in later turns.
    async fn in_history(&self) -> bool {
        self.row.as_ref().is_none_or(|row| row.in_history)
    }

    /// Tools that answered with an error.
    async fn error_count(&self) -> Long {
        Long(self.row.as_ref().map_or(0, |row| row.error_count))
    }

    /// Milliseconds: Claude's of a response, the tools' of results.
    async fn ms(&self) -> Long {
        Long(self.row.as_ref().map_or(0, |row| row.ms))
    }

    /// What it says: nothing if its text was removed.
    #[graphql(complexity = "5 + child_complexity")]
    async fn blocks(&self, context: &Context<'_>) -> Result<Option<Vec<Block>>, Error> {
        let Some(bytes) = payload(context, self.position).await? else { return Ok(None) };
        let blocks = self.read(&bytes).map_err(internal)?;
        Ok(Some(blocks.iter().map(Block::of).collect()))
    }
}

/// The message that `event`, at `position`, is; nothing if it is none.
pub fn of_event(event: &Recorded, position: u64) -> Option<Message> {
    let (turn, kind, in_history, tools, ms) = match event {
        Recorded::ThreadStarted(_) => return Some(Message::opening(position)),
        Recorded::ClaudeTurn(e) => (e.turn, Kind::Response, e.in_history, e.tool_count, e.ms),
        Recorded::ToolsRan(e) => (e.turn, Kind::Results, true, 0, e.tool_ms()),
        Recorded::CallPermitted(e) => (e.turn, Kind::Notice, true, 0, 0),
        _ => return None,
    };
    let tool_count = u64::from(tools);
    Some(Message::of(MessageRow {
        position,
        turn,
        kind,
        in_history,
        tool_count,
        error_count: 0,
        ms,
    }))
}
