//! The room that talks to Claude: builds the request from the log, asks for a permit, streams,
//! records. Workers never see a key, and a worker's death loses no response.
//!
//! A call that began goes on to its end whoever waits for it: it is paid for.

mod budget;
mod call;
pub mod feedback;
mod history;
mod prompts;
mod review;
mod threads;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cody_events::ids::{JobId, TargetNumber, ThreadNumber};
use cody_events::outcome::Outcome;
use tokio::sync::watch;

use crate::app::{App, AppError};
use crate::claude::client::Client;
use crate::claude::limiter::Limiter;
use crate::claude::models::{ModelRefusal, ModelTable};

pub use review::Verdict;
pub use threads::ReviewMaterial;

/// Talks to Claude for all targets of this server.
#[derive(Debug)]
pub struct Converser {
    app: Arc<App>,
    client: Client,
    limiter: Limiter,
    models: Arc<ModelTable>,
    /// The turn in flight of each target, so that it is asked for once however many wait for it.
    in_flight: Mutex<InFlight>,
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
    /// The log cannot be written, or holds what this version cannot read.
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
        Self { app, client, limiter, models, in_flight: Mutex::default() }
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
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = in_flight.get(&(job, target)) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        in_flight.insert((job, target), answer.clone());
        let converser = Arc::clone(self);
        tokio::spawn(async move {
            let advance = converser.next_turn(job, target, thread).await.unwrap_or_else(|error| {
                tracing::error!(%job, %target, %error, "conversation stopped");
                Advance::Broken(error_chain(&error))
            });
            converser
                .in_flight
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&(job, target));
            tell.send_replace(Some(advance));
        });
        answer
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
