//! The room that talks to Claude: builds the request from the log, asks for a permit, streams,
//! records. Workers never see a key, and a worker's death loses no response.
//!
//! A call that began goes on to its end whoever waits for it: it is paid for.

mod budget;
mod call;
mod closing;
pub mod feedback;
mod gate;
mod history;
mod line;
mod prompts;
mod record;
mod review;
mod threads;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cody_events::ids::{JobId, TargetNumber, ThreadNumber};
use cody_events::outcome::Outcome;
use lru::LruCache;
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::app::{App, AppError};
use crate::claude::client::Client;
use crate::claude::limiter::Limiter;
use crate::claude::models::{ModelRefusal, ModelTable};

pub use crate::tools::name_of as tool_name;
pub use review::Verdict;
pub use threads::ReviewMaterial;

/// Talks to Claude for all targets of this server.
#[derive(Debug)]
pub struct Converser {
    app: Arc<App>,
    client: Client,
    limiter: Limiter,
    models: Arc<ModelTable>,
    /// Threads that were lately asked for, so that a turn reads only what is new of its thread.
    histories: Mutex<LruCache<ThreadKey, Known>>,
    /// Who waits for money of a shared budget.
    line: line::Line,
    /// Calls permitted and not yet recorded, and whether more are.
    calls: closing::Calls,
    /// The turn in flight of each target, so that it is asked for once however many wait for it.
    in_flight: Mutex<InFlight>,
}

/// How often it is looked whether the last call has ended.
const CLOSING_STEP: Duration = Duration::from_millis(50);
/// Threads kept in memory: two for each of a few targets at work.
const HISTORIES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

type ThreadKey = (JobId, TargetNumber, ThreadNumber);

/// A thread's conversation up to a version of its job's stream.
#[derive(Debug, Default)]
struct Known {
    version: u64,
    history: history::History,
}

type InFlight = HashMap<(JobId, TargetNumber), watch::Receiver<Option<Advance>>>;

/// How a conversation went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// Something was recorded; the next step may be another.
    Recorded,
    /// The conversation cannot go on; the round ends like this.
    Conclude { outcome: Outcome, evidence: Vec<String> },
    /// Paused, cancelled or finished in the meantime.
    Stopped,
    /// The log takes nothing now. Nothing was asked for; ask again.
    Later,
    /// The log holds what this version cannot read, or there is a mistake in this program.
    Broken(String),
}

/// Why a conversation cannot be started or continued.
#[derive(Debug, thiserror::Error)]
pub enum ConverseError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    History(#[from] history::HistoryError),
    #[error(transparent)]
    Model(#[from] ModelRefusal),
    #[error(transparent)]
    Prefix(#[from] crate::claude::prefix::BadPrefix),
    #[error("a block could not be written as JSON")]
    Render(#[from] serde_json::Error),
    #[error("the log of target {0} lacks what the conversation needs: {1}")]
    Missing(TargetNumber, &'static str),
}

impl Converser {
    /// A converser over `app` that asks through `client`, at the pace of `limiter`.
    pub fn new(app: Arc<App>, client: Client, limiter: Limiter, models: Arc<ModelTable>) -> Self {
        Self {
            app,
            client,
            limiter,
            models,
            histories: Mutex::new(LruCache::new(HISTORIES)),
            line: line::Line::default(),
            calls: closing::Calls::default(),
            in_flight: Mutex::default(),
        }
    }

    /// Permits no call from now on, and waits until those under way are recorded: they are paid for.
    pub async fn close(&self) {
        self.calls.close();
        while self.calls.count() > 0 {
            self.app.clock().sleep(CLOSING_STEP).await;
        }
    }

    /// Calls that are permitted and not yet recorded.
    pub fn open_calls(&self) -> usize {
        self.calls.count()
    }

    /// Asks for the next response of `thread`, or waits for the one in flight. Dropping the future
    /// leaves the call running: whoever asks next finds its response in the log.
    pub async fn advance(
        self: &Arc<Self>,
        job: JobId,
        target: TargetNumber,
        thread: ThreadNumber,
    ) -> Advance {
        let mut answer = self.join_or_start(job, target, thread);
        let waited = answer.wait_for(Option::is_some).await;
        match waited.map(|advance| advance.clone()) {
            Ok(Some(advance)) => advance,
            Ok(None) | Err(_) => Advance::Broken("the call ended without an answer".to_owned()),
        }
    }

    fn join_or_start(
        self: &Arc<Self>,
        job: JobId,
        target: TargetNumber,
        thread: ThreadNumber,
    ) -> watch::Receiver<Option<Advance>> {
        let mut in_flight = self.lock_in_flight();
        if let Some(answer) = in_flight.get(&(job, target)) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        in_flight.insert((job, target), answer.clone());
        let flight = Flight { converser: Arc::clone(self), job, target };
        let span = tracing::info_span!("turn", %job, %target, %thread);
        let turn = async move {
            let advance = flight.converser.next_turn(job, target, thread).await;
            let advance = advance.unwrap_or_else(|error| match error.is_passing() {
                true => Advance::Later,
                false => {
                    tracing::error!(%job, %target, %error, "conversation stopped");
                    Advance::Broken(error_chain(&error))
                }
            });
            // Whoever is told that it ended may ask again at once.
            drop(flight);
            tell.send_replace(Some(advance));
        };
        tokio::spawn(turn.instrument(span));
        answer
    }

    /// Waits for the call that `target` may have in flight, of whatever thread: a new thread starts
    /// when the last word of the old one is in the log.
    async fn let_land(&self, job: JobId, target: TargetNumber) -> Result<(), ConverseError> {
        let in_flight = self.lock_in_flight().get(&(job, target)).cloned();
        if let Some(mut answer) = in_flight {
            // Without its sender, the call has ended as well.
            let _ = answer.wait_for(Option::is_some).await;
        }
        self.settle(job, target).await
    }

    /// Charges a call that an earlier server left behind: its response, if there was one, is lost.
    pub async fn settle(&self, job: JobId, target: TargetNumber) -> Result<(), ConverseError> {
        let is_ours = self.lock_in_flight().contains_key(&(job, target));
        if is_ours { Ok(()) } else { self.settle_orphan(job, target).await }
    }

    /// Settles what nobody holds of the job's other targets: money that is set aside for a call which
    /// no server makes any more would be waited for without an end.
    async fn settle_others(&self, job: JobId, target: TargetNumber) -> Result<(), ConverseError> {
        let state = self.app.state(job).await?;
        let targets = state.job.map(|job| job.targets).unwrap_or_default();
        let others = targets.values().filter(|o| o.number != target && o.permit.is_some());
        for other in others {
            self.settle(job, other.number).await?;
        }
        Ok(())
    }

    fn lock_in_flight(&self) -> std::sync::MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn under way; the next may begin when it is dropped, however it ended.
struct Flight {
    converser: Arc<Converser>,
    job: JobId,
    target: TargetNumber,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.converser.lock_in_flight().remove(&(self.job, self.target));
    }
}

impl ConverseError {
    /// Whether another time would do: the log could not be read or written just now.
    fn is_passing(&self) -> bool {
        matches!(self, Self::App(error) if error.is_passing())
    }

    /// Whether no other time would do.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::App(error) => error.is_broken(),
            Self::History(_)
            | Self::Model(_)
            | Self::Prefix(_)
            | Self::Render(_)
            | Self::Missing(..) => true,
        }
    }
}

/// An error and what it rests on, in one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
