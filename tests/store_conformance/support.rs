//! Places where a log lives, and the events that the tests write there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cody_batch::clock::Clock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::{Append, Expected, Log, SqliteLog};
use cody_events::envelope::{Door, NewEvent, Recorded};
use cody_events::ids::CommandId;
use cody_events::time::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

use crate::model::ModelPlace;

/// Where a log lives while no process has it open.
pub trait Place {
    /// Opens what is there. The one before has to be dropped.
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Log>;
}

/// A directory with a log in SQLite.
pub struct Directory(pub TempDir);

impl Directory {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn sqlite(&self) -> SqliteLog {
        open_sqlite(self.path(), Arc::new(SetClock::new(1)))
    }
}

impl Place for Directory {
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Log> {
        Arc::new(open_sqlite(self.path(), clock))
    }
}

pub fn open_sqlite(dir: &Path, clock: Arc<dyn Clock>) -> SqliteLog {
    SqliteLog::open(dir, clock, Arc::new(SystemEntropy)).unwrap()
}

/// Every kind of log there is, empty.
pub fn places() -> [(&'static str, Box<dyn Place>); 2] {
    [("model", Box::new(ModelPlace::default())), ("sqlite", Box::new(Directory::new()))]
}

/// What keeps a log, the log, and where it lives.
type OpenLog = (&'static str, Arc<dyn Log>, Box<dyn Place>);

/// Every kind of log there is, empty and open.
pub fn logs() -> Vec<OpenLog> {
    let open = |(name, place): (_, Box<dyn Place>)| {
        let log = place.open(Arc::new(SetClock::new(1_000)));
        (name, log, place)
    };
    places().into_iter().map(open).collect()
}

/// A clock that shows what it was set to.
#[derive(Debug)]
pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn new(micros: i64) -> Self {
        Self(AtomicI64::new(micros))
    }

    pub fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.now().as_micros().unsigned_abs())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

pub fn command(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(number))
}

/// An event whose facts say `number`.
pub fn event(number: u64) -> NewEvent {
    NewEvent {
        kind: "paused".to_owned(),
        schema_version: 1,
        occurred_at: Timestamp(7),
        facts: format!(r#"{{"number":{number}}}"#),
        payload: None,
        causation_id: None,
    }
}

/// The same, with a payload.
pub fn event_with(number: u64, payload: &str) -> NewEvent {
    NewEvent { payload: Some(payload.as_bytes().to_vec()), ..event(number) }
}

pub fn append(stream: &str, expected: Expected, id: u128, events: Vec<NewEvent>) -> Append {
    Append {
        stream: stream.to_owned(),
        expected,
        command_id: command(id),
        actor: "ada".to_owned(),
        door: Door::Cli,
        correlation_id: Some(Uuid::from_u128(9)),
        unique_key: None,
        events,
    }
}

/// The whole log, read in pages of `limit`.
pub async fn read_all(log: &dyn Log, limit: usize) -> Vec<Recorded> {
    read_from(log, 0, limit).await
}

/// All that stands after `position`.
pub async fn read_after(log: &dyn Log, position: u64) -> Vec<Recorded> {
    read_from(log, position, 1_000).await
}

async fn read_from(log: &dyn Log, position: u64, limit: usize) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    loop {
        let after = all.last().map_or(position, |event| event.position);
        let page = log.read_log(after, limit).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// How many cases a long test runs: `CODY_CASES`, or `usual`.
pub fn cases(usual: u32) -> u32 {
    std::env::var("CODY_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
