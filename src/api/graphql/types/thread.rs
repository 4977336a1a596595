//! Conversations with Claude.

use async_graphql::{Context, Error, ID, Object};
use cody_events::ids::JobId;
use cody_projections::threads::{self, ThreadRow};

use super::message::Message;
use super::scalars::Long;
use super::words::ThreadPurpose;
use crate::api::graphql::errors::internal;
use crate::api::graphql::ids::GlobalId;
use crate::api::graphql::pages::{self, Page};
use crate::api::graphql::pages_of;
use crate::api::graphql::services::app;

/// One conversation with Claude about a target.
#[derive(Debug, Clone)]
pub struct Thread {
    pub job: JobId,
    pub row: ThreadRow,
}

/// One conversation with Claude about a target: a fixed beginning, then messages that are only added.
#[Object]
impl Thread {
    /// The global id.
    pub async fn id(&self) -> ID {
        GlobalId::Thread(self.job, self.row.target, self.row.thread).into()
    }

    /// From 1 within the target.
    async fn number(&self) -> Long {
        Long(self.row.thread.0.into())
    }

    /// What it is for.
    async fn purpose(&self) -> ThreadPurpose {
        self.row.purpose.into()
    }

    /// The thread that it follows, by its number.
    async fn parent(&self) -> Option<Long> {
        self.row.parent.map(|parent| Long(parent.0.into()))
    }

    /// The round in which it began.
    async fn round(&self) -> Long {
        Long(self.row.round)
    }

    /// The model.
    async fn model(&self) -> &str {
        &self.row.model
    }

    /// The tree that it started from, or judges, as git names it.
    async fn tree(&self) -> String {
        self.row.tree.to_string()
    }

    /// Claude's responses in it.
    async fn turn_count(&self) -> Long {
        Long(self.row.turn_count)
    }

    /// What was said, oldest first; the first message is the one that Claude was given at the start.
    #[graphql(complexity = "pages_of(first) * child_complexity")]
    async fn messages(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many: 1 to 100.")] first: i32,
        #[graphql(desc = "After which: the `endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Page<Message>, Error> {
        let asked = match pages::asked(first, after.as_deref()) {
            Ok(asked) => asked,
            Err(error) => return Ok(pages::refused(error)),
        };
        let (job, target, thread) = (self.job, self.row.target, self.row.thread);
        let start = self.row.started_position;
        let opening = asked.after.is_none_or(|after| after < start);
        let limit = u32::try_from(asked.first.saturating_add(1)).unwrap_or(u32::MAX);
        let since = asked.after.unwrap_or(0);
        let found = app(context)?
            .ask(move |views| threads::messages(views, job, target, thread, since, limit))
            .await
            .map_err(internal)?;
        let first = opening.then(|| (start, Message::opening(start)));
        let rest = found.into_iter().map(|row| (row.position, Message::of(row)));
        Ok(pages::page(asked, first.into_iter().chain(rest).collect()))
    }
}
