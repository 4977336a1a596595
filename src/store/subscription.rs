//! Following the log: catch up in pages, then wait for more. The notice of new events is a hint;
//! what a follower gets, it reads from the log, so nothing is skipped and nothing piles up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use cody_events::envelope::Recorded;
use tokio::sync::watch;

use super::{Head, LogError};

/// How many events one page holds.
pub const PAGE: usize = 500;

/// A place in the log that a follower can go on from. What it looks like is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// After the event at `position`.
    pub fn after(position: u64) -> Self {
        Self(position)
    }

    /// The position after which the follower goes on.
    pub fn position(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.0)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cursor; pass one that an earlier answer gave, or none to start from now")]
pub struct BadCursor(String);

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        text.strip_prefix('c')
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| BadCursor(text.to_owned()))
    }
}

/// Reads pages of a log.
#[async_trait]
pub trait ReadPages: Send + Sync {
    /// Up to `limit` events after `position`, in order.
    async fn page(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError>;
}

/// One follower. It holds a position and no events, however slow it is.
pub struct Subscription {
    cursor: Cursor,
    /// Whether the log has shown that it reaches as far as the first cursor.
    is_placed: bool,
    pages: Arc<dyn ReadPages>,
    head: watch::Receiver<Head>,
}

impl Subscription {
    /// A follower of `pages` from `cursor` on, woken by `head`.
    pub fn new(cursor: Cursor, pages: Arc<dyn ReadPages>, head: watch::Receiver<Head>) -> Self {
        Self { cursor, is_placed: cursor == Cursor::START, pages, head }
    }

    /// The next events, at least one, strictly after those before; waits until there are some.
    /// An error loses nothing: the next call goes on from the same place. A cursor that lies beyond
    /// the log's end belongs to another log, or to one that was restored since, and is rejected.
    pub async fn next_page(&mut self) -> Result<Vec<Recorded>, LogError> {
        if !self.is_placed {
            let place = self.pages.page(self.cursor.0 - 1, 1).await?;
            if place.first().is_none_or(|event| event.position != self.cursor.0) {
                return Err(LogError::Rejected {
                    code: "cursor-unknown",
                    message: format!("the cursor {} lies beyond the log's end", self.cursor),
                });
            }
            self.is_placed = true;
        }
        loop {
            self.head.mark_unchanged();
            let page = self.pages.page(self.cursor.0, PAGE).await?;
            if let Some(last) = page.last() {
                self.cursor = Cursor(last.position);
                return Ok(page);
            }
            if self.head.changed().await.is_err() {
                return Err(LogError::Unavailable("the log was closed".to_owned()));
            }
        }
    }

    /// Where the follower stands.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
