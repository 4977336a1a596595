//! The one shell around the rules: loads a job's state, asks `decide`, appends, evolves. Every door
//! and every room goes through here, so a command has one meaning wherever it comes from. Here stands
//! what the shell is; what it does to the log, and what it reads there, have a file each.

mod executing;
mod reading;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use cody_events::envelope::Door;
use cody_events::event::DecodeError;
use cody_events::ids::{CommandId, JobId};
use cody_projections::{Answer, Connection};
use lru::LruCache;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::job::{JobState, Rejection};
use crate::store::views::{Views, ViewsError};
use crate::store::{Log, LogError};

pub use crate::store::UniqueKey;
pub use reading::Told;

/// The stream of what belongs to no job.
pub const SYSTEM: &str = "system";

/// Executes commands and reads what was recorded.
pub struct App {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    states: Mutex<LruCache<JobId, Arc<tokio::sync::Mutex<JobState>>>>,
    /// How many of them are kept when nobody uses them.
    most_states: NonZeroUsize,
    /// What the log means; nothing where only commands are carried out.
    views: Option<Arc<Views>>,
    /// Whether nobody else writes, so that a state that was read once is known from then on.
    is_sole_writer: bool,
}

/// Who wishes, and through which door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub actor: String,
    pub door: Door,
}

impl Asker {
    /// One of the server's own rooms.
    pub fn room(name: &str) -> Self {
        Self { actor: name.to_owned(), door: Door::Server }
    }
}

/// What became of a command that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Whether this call added events; else they were there before.
    pub is_new: bool,
    /// The position of the last event added, or of the log's head.
    pub position: u64,
    /// Whose stream has them: the job of the command, but where its key named another before.
    pub job: JobId,
}

/// Why a command was not carried out, or a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("another server has taken over this log; this one stops writing")]
    Fenced,
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the facts could not be written as JSON")]
    Render(#[from] serde_json::Error),
    #[error(transparent)]
    Views(#[from] ViewsError),
    #[error("the views are not open here")]
    NoViews,
    #[error("the stream of job {0} kept changing under the command")]
    Contended(JobId),
}

impl AppError {
    /// Whether another time would do: the log could not be read or written just now.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Log(LogError::Unavailable(_)) | Self::Contended(_) | Self::Views(_) => true,
            Self::Log(
                LogError::Rejected { .. } | LogError::Damaged { .. } | LogError::Closed(_),
            )
            | Self::Rejected(_)
            | Self::Fenced
            | Self::Decode(_)
            | Self::NoViews
            | Self::Render(_) => false,
        }
    }

    /// Whether no other time would do: what the log holds cannot be read, or cannot be written.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Log(error) => error.is_broken(),
            Self::Decode(_) | Self::Render(_) | Self::NoViews => true,
            Self::Views(_) | Self::Contended(_) | Self::Rejected(_) | Self::Fenced => false,
        }
    }
}

impl App {
    /// A shell over `log` that keeps at most `states` jobs in memory.
    pub fn new(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        states: NonZeroUsize,
    ) -> Self {
        let (most_states, states) = (states, Mutex::new(LruCache::unbounded()));
        Self { log, clock, entropy, states, most_states, views: None, is_sole_writer: false }
    }

    /// The same shell, which can be asked what the log means.
    pub fn with_views(self, views: Arc<Views>) -> Self {
        Self { views: Some(views), ..self }
    }

    /// The same shell in the process that holds the log: what is in the log comes from here.
    pub fn as_sole_writer(self) -> Self {
        Self { is_sole_writer: true, ..self }
    }

    /// The log, for those who read or follow it.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// The clock that all rooms share.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where ids and secrets come from.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    /// Asks the views.
    pub async fn ask<R, W>(&self, work: W) -> Result<R, AppError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> Answer<R> + Send + 'static,
    {
        Ok(self.views.as_ref().ok_or(AppError::NoViews)?.read(work).await?)
    }

    /// Waits a little until the views show what stands at `position`; tells whether they do.
    pub async fn shows(&self, position: u64) -> bool {
        match &self.views {
            Some(views) => views.at_least(position).await,
            None => false,
        }
    }

    /// How far along the log the views are.
    pub fn shown_position(&self) -> u64 {
        self.views.as_ref().map_or(0, |views| views.position())
    }

    /// The id of the one command that `key` stands for; without one, an id that no other command has.
    pub fn command_id(&self, key: Option<&UniqueKey>) -> CommandId {
        key.map_or_else(|| self.new_command_id(), UniqueKey::command_id)
    }

    /// A command id that no other command has.
    pub fn new_command_id(&self) -> CommandId {
        CommandId(self.entropy.uuid_v7(self.clock.now()))
    }

    /// The id of a job that is about to be asked for.
    pub fn new_job_id(&self) -> JobId {
        JobId(self.entropy.uuid_v7(self.clock.now()))
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}
