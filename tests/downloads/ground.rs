//! Where the tests stand: a log with a job that is written as a test wants it, its views, and the door
//! on a port of its own.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use cody_batch::api::downloads::{DownloadDoor, Gate, Links, router};
use cody_batch::api::reading::JobReader;
use cody_batch::app::App;
use cody_batch::clock::{Clock, SystemClock};
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::side::SideTables;
use cody_batch::store::views::Views;
use cody_batch::store::{Append, Expected, Log, SqliteLog};
use cody_events::envelope::{Door, NewEvent};
use cody_events::event::Draft;
use cody_events::ids::{CommandId, JobId};
use cody_events::time::Timestamp;
use tempfile::TempDir;
use tokio::sync::RwLock;
use uuid::Uuid;

/// Held alone by what measures this process.
pub static ALONE: RwLock<()> = RwLock::const_new(());

/// The job of these tests.
pub const JOB: JobId = JobId(Uuid::from_u128(0x0198_c5a2_6d1e_7c3b_9f00_3a1b_2c4d_5e6f));

/// A clock that a test moves.
#[derive(Debug, Default)]
pub struct SetClock(pub AtomicI64);

impl SetClock {
    pub fn forward(&self, duration: Duration) {
        self.0.fetch_add(i64::try_from(duration.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_796_000_000_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst).unsigned_abs())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Lets one token through.
struct OneToken;

#[async_trait]
impl Gate for OneToken {
    async fn may_read(&self, headers: &HeaderMap) -> Result<(), Response> {
        let token = headers.get("authorization").and_then(|value| value.to_str().ok());
        match token {
            Some("Bearer good") => Ok(()),
            _ => Err(StatusCode::UNAUTHORIZED.into_response()),
        }
    }
}

/// A log, its views and a door to it.
pub struct World {
    pub reader: JobReader,
    pub links: Arc<Links>,
    pub clock: Arc<SetClock>,
    log: Arc<dyn Log>,
    address: SocketAddr,
    http: reqwest::Client,
    commands: std::sync::atomic::AtomicU64,
    _dir: TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::over(|log| log).await
    }

    /// A world whose door reads the log through `seen`.
    pub async fn over(seen: impl FnOnce(Arc<dyn Log>) -> Arc<dyn Log>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SetClock::default());
        let as_clock: Arc<dyn Clock> = Arc::<SetClock>::clone(&clock);
        let entropy = Arc::new(SystemEntropy);
        let sqlite = SqliteLog::open(dir.path(), Arc::clone(&as_clock), entropy.clone()).unwrap();
        let sqlite = Arc::new(sqlite);
        let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&sqlite);
        let log: Arc<dyn Log> = sqlite;
        let views = Arc::new(Views::open(dir.path(), Arc::clone(&log), side).await.unwrap());
        let app = App::new(seen(Arc::clone(&log)), as_clock, entropy, NonZeroUsize::MIN);
        let app = Arc::new(app.as_sole_writer());
        let reader = JobReader { app: Arc::clone(&app), views };
        let links = Arc::new(Links::new(app));
        let address = serve(reader.clone(), Arc::clone(&links)).await;
        let (http, commands) = (http(), std::sync::atomic::AtomicU64::new(1));
        Self { reader, links, clock, log, address, http, commands, _dir: dir }
    }

    /// Appends `drafts` to the job's stream, of `actor` through `door`; a second passes.
    pub async fn append(&self, actor: &str, door: Door, drafts: Vec<Draft>) {
        let command =
            CommandId(Uuid::from_u128(self.commands.fetch_add(1, Ordering::SeqCst).into()));
        self.clock.forward(Duration::from_secs(1));
        let now = self.clock.now();
        let events = drafts.iter().map(|draft| event(draft, now)).collect();
        let append = Append {
            stream: JOB.stream(),
            expected: Expected::Any,
            command_id: command,
            actor: actor.to_owned(),
            door,
            correlation_id: None,
            unique_key: None,
            events,
        };
        self.log.append(append).await.unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request for `path` of the job, by who may read.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(self.url(&format!("/jobs/{JOB}/{path}"))).bearer_auth("good")
    }

    /// A request for an address, by nobody.
    pub fn visit(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }
}

/// An event as the log takes it.
pub fn event(draft: &Draft, occurred_at: Timestamp) -> NewEvent {
    NewEvent {
        kind: draft.event.kind().to_owned(),
        schema_version: draft.event.schema_version(),
        occurred_at,
        facts: draft.event.facts_json().unwrap(),
        payload: draft.payload.clone().map(String::into_bytes),
        causation_id: None,
    }
}

/// Reads what lies in `dir`, as the command line does.
pub async fn reader_of(dir: &Path) -> JobReader {
    let log = Arc::new(SqliteLog::open_to_read(dir).unwrap());
    let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&log);
    let log: Arc<dyn Log> = log;
    let views = Arc::new(Views::open_to_read(dir, Arc::clone(&log), side).await.unwrap());
    let app = App::new(log, Arc::new(SystemClock), Arc::new(SystemEntropy), NonZeroUsize::MIN);
    JobReader { app: Arc::new(app), views }
}

/// Serves the door; answers where.
pub async fn serve(reader: JobReader, links: Arc<Links>) -> SocketAddr {
    let door = DownloadDoor::new(reader, Arc::new(OneToken), links);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router(door)).await.unwrap() });
    address
}

pub fn http() -> reqwest::Client {
    // The second to install a provider is told so; either serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// What a header of an answer says.
pub fn header(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}
