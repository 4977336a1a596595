//! Whether the server is well, and what it does, in figures. It reads what other rooms know of
//! themselves, the log and the views; it changes nothing, and nothing is decided on what it says.

mod process;
mod tally;
mod text;
mod traffic;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cody_events::event::Event;
use cody_projections::census::{self, Census};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::Clock;
use crate::converse::Converser;
use crate::dispatch::{DispatchFigures, Dispatcher};
use crate::histogram::Sizes;
use crate::store::views::{Views, ViewsError};
use crate::store::{Cursor, SqliteLog};
use tally::Tally;

pub use text::Format;
pub use traffic::{OpenSubscription, RouteClass, Traffic};

/// The most events that the views of a server that is ready lack.
const MAX_LAG_EVENTS: u64 = 10_000;
/// The longest that they lack one.
const MAX_LAG: Duration = Duration::from_secs(30);
/// The longest that the dispatcher does not look.
const MAX_UNLOOKED: Duration = Duration::from_secs(30);
/// How often a log whose last commit failed is asked whether it takes something again.
const PROBE_PAUSE: Duration = Duration::from_secs(5);
/// Jobs and targets are counted again after so many times the time that counting took.
const COUNTING_SHARE: u32 = 10;
/// And at most this often.
const COUNTING_PAUSE: Duration = Duration::from_millis(500);
/// How long a log that cannot be read is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What the rooms know, in one place.
#[derive(Debug)]
pub struct Pulse {
    sources: Sources,
    traffic: Traffic,
    tally: Mutex<Tally>,
    counted: tokio::sync::Mutex<Option<Counted>>,
    probed: tokio::sync::Mutex<Option<Duration>>,
    started_at: Duration,
}

/// Whom it asks.
#[derive(Debug)]
pub struct Sources {
    pub app: Arc<App>,
    pub log: Arc<SqliteLog>,
    pub views: Arc<Views>,
    pub dispatcher: Arc<Dispatcher>,
    pub converser: Arc<Converser>,
    /// Cancelled when the server was asked to stop.
    pub stopping: CancellationToken,
}

/// Something that keeps the server from being ready.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    pub code: &'static str,
    pub message: String,
}

/// A census, and how long it is good for.
#[derive(Debug, Clone)]
struct Counted {
    census: Census,
    until: Duration,
}

/// Everything in figures, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    census: Census,
    tally: Tally,
    dispatch: DispatchFigures,
    open_calls: usize,
    commits: Sizes,
    waiting_commands: usize,
    lag: Lag,
    requests: Vec<traffic::Requests>,
    open_subscriptions: usize,
    process: Option<process::Process>,
}

/// How far the views are behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lag {
    log_position: u64,
    views_position: u64,
    /// For how long the oldest event that they lack has been in the log.
    time: Duration,
}

impl Lag {
    fn events(self) -> u64 {
        self.log_position.saturating_sub(self.views_position)
    }
}

impl Pulse {
    /// The pulse of a server whose rooms are `sources`.
    pub fn new(sources: Sources) -> Self {
        let started_at = sources.app.clock().monotonic();
        Self {
            sources,
            traffic: Traffic::default(),
            tally: Mutex::default(),
            counted: tokio::sync::Mutex::default(),
            probed: tokio::sync::Mutex::default(),
            started_at,
        }
    }

    /// What its doors serve.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Whether the server was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.sources.stopping.is_cancelled()
    }

    /// Ends when the server is asked to stop.
    pub async fn stopping(&self) {
        self.sources.stopping.cancelled().await;
    }

    /// Counts what is recorded after `cursor`, for ever.
    pub async fn follow(self: Arc<Self>, cursor: Cursor) {
        let mut news = self.sources.app.log().subscribe(cursor);
        loop {
            let Ok(page) = news.next_page().await else {
                self.clock().sleep(PAUSE).await;
                continue;
            };
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            for recorded in page {
                let event = Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts);
                tally.add(event.as_ref().ok());
            }
        }
    }

    /// What keeps the server from being ready; nothing if it is.
    pub async fn problems(&self) -> Vec<Problem> {
        if self.is_stopping() {
            let message = "the server was asked to stop; ask the next one".to_owned();
            return vec![Problem { code: "stopping", message }];
        }
        let mut problems = Vec::new();
        if let Some(message) = self.log_problem().await {
            problems.push(Problem { code: "log-unavailable", message });
        }
        match self.lag().await {
            Ok(lag) if lag.events() > MAX_LAG_EVENTS || lag.time > MAX_LAG => {
                let message = format!(
                    "the views lack {} events, the oldest for {} s; see the server's log for what stops \
                     them",
                    lag.events(),
                    lag.time.as_secs()
                );
                problems.push(Problem { code: "views-behind", message });
            }
            Ok(_) => {}
            Err(_) => {
                let message = "the log cannot be read; see the server's log for why".to_owned();
                problems.push(Problem { code: "log-unreadable", message });
            }
        }
        // It may not have looked yet.
        let unlooked = self.sources.dispatcher.figures().looked_for.min(self.age());
        if unlooked > MAX_UNLOOKED {
            let message =
                format!("the dispatcher has not looked at its jobs for {} s", unlooked.as_secs());
            problems.push(Problem { code: "dispatcher-stuck", message });
        }
        problems
    }

    /// Everything in figures.
    pub async fn snapshot(&self) -> Result<Snapshot, ViewsError> {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Snapshot {
            census: self.census().await?,
            tally,
            dispatch: self.sources.dispatcher.figures(),
            open_calls: self.sources.converser.open_calls(),
            commits: self.sources.log.commits().sizes(),
            waiting_commands: self.sources.log.waiting(),
            lag: self.lag().await?,
            requests: self.traffic.requests(),
            open_subscriptions: self.traffic.open_subscriptions(),
            process: process::read(),
        })
    }

    /// Why the log takes nothing. One whose last commit failed is asked now and then, because nobody
    /// else may come to ask.
    async fn log_problem(&self) -> Option<String> {
        let commits = self.sources.log.commits();
        if !commits.has_failed() {
            return None;
        }
        let mut probed = self.probed.lock().await;
        let now = self.clock().monotonic();
        if probed.is_none_or(|at| now.saturating_sub(at) >= PROBE_PAUSE) {
            *probed = Some(now);
            // What it says is noted where every commit is.
            let _ = self.sources.log.probe().await;
        }
        commits.has_failed().then(|| {
            "the last write failed; see the server's log for why, and whether the disk is full"
                .to_owned()
        })
    }

    async fn lag(&self) -> Result<Lag, ViewsError> {
        let log = self.sources.app.log();
        let views_position = self.sources.views.position();
        let log_position = log.head().await?.position.max(views_position);
        let oldest = match log_position > views_position {
            true => log.read_log(views_position, 1).await?.into_iter().next(),
            false => None,
        };
        let now = self.clock().now().as_micros();
        let micros = oldest.map_or(0, |event| now.saturating_sub(event.recorded_at.as_micros()));
        let time = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        Ok(Lag { log_position, views_position, time })
    }

    /// How many jobs and targets stand where, as they stood a moment ago.
    async fn census(&self) -> Result<Census, ViewsError> {
        let mut counted = self.counted.lock().await;
        let began = self.clock().monotonic();
        if let Some(counted) = counted.as_ref().filter(|counted| began < counted.until) {
            return Ok(counted.census.clone());
        }
        let census = self.sources.views.read(census::take).await?;
        let ended = self.clock().monotonic();
        let pause = ended.saturating_sub(began).saturating_mul(COUNTING_SHARE).max(COUNTING_PAUSE);
        *counted = Some(Counted { census: census.clone(), until: ended.saturating_add(pause) });
        Ok(census)
    }

    fn age(&self) -> Duration {
        self.clock().monotonic().saturating_sub(self.started_at)
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.sources.app.clock()
    }
}
