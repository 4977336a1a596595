//! A server in a process of its own, at whose jobs things happen as fast as is wished. The process is
//! this very test program, asked for the one test here, which does nothing unless `CODY_FEED` tells it
//! what to do. The events are of real kinds and go through the real store.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cody_batch::clock::SystemClock;
use cody_batch::config::Config;
use cody_batch::entropy::SystemEntropy;
use cody_batch::serve::Server;
use cody_batch::store::{Append, Appended, Expected, Log, SqliteLog};
use cody_events::envelope::{Door, NewEvent};
use cody_events::ids::{CommandId, JobId};
use cody_events::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::super::histories::Step;
use super::super::served::Place;

const ORDER: &str = "CODY_FEED";
const MARK: &str = "feed: ";
/// How often each job's next event is written.
const TICK: Duration = Duration::from_millis(20);

/// What the process is to do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Order {
    /// Jobs that things happen to. Each gets an event every 20 ms.
    pub busy_jobs: u128,
    /// Jobs at which nothing happens.
    pub quiet_jobs: u128,
    /// Events a job that is not quiet gets.
    pub events_a_job: u32,
}

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// Where it listens, and where its log ends.
    Ready { url: String, head: u64 },
    /// What it wrote.
    Fed(Fed),
}

/// What the process wrote.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fed {
    /// Where its log ends.
    pub head: u64,
    /// How long it took, in milliseconds.
    ms: u64,
    /// When the writer of each event was told that it is on disk, in microseconds since 1970.
    pub told_at: BTreeMap<u64, u64>,
}

/// The process.
pub struct Feed {
    pub place: Place,
    pub url: String,
    pub token: String,
    /// Where the log ended before anything was fed.
    pub start: u64,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The id of a job: the busy ones come first.
pub fn job(number: u128) -> JobId {
    JobId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number))
}

/// Starts the process, which waits to be told to begin.
pub fn feed(order: Order) -> Feed {
    let place = Place::new();
    let (token, _) = place.token("follower", &["admin"]);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "graphql::feed::as_ordered", "--ignored", "--nocapture"])
        .env(ORDER, serde_json::to_string(&(order, place.data())).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let output = BufReader::new(output);
    let mut feed = Feed { place, url: String::new(), token, start: 0, child, input, output };
    let Said::Ready { url, head } = feed.hear() else { panic!("it is not ready") };
    (feed.url, feed.start) = (url, head);
    feed
}

impl Feed {
    fn hear(&mut self) -> Said {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the feed is gone");
            // The test program puts its own words before the first.
            if let Some((_, said)) = line.split_once(MARK) {
                return serde_json::from_str(said).unwrap();
            }
        }
    }

    /// Has it begin.
    pub fn begin(&mut self) {
        writeln!(self.input).unwrap();
    }

    /// Waits until all is written: what that is, and the events a second.
    pub fn fed(&mut self) -> (Fed, u64) {
        let Said::Fed(fed) = self.hear() else { panic!("it was fed before") };
        let rate = (fed.head - self.start) * 1_000 / fed.ms.max(1);
        (fed, rate)
    }

    /// The memory that the process has in use, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The positions in the log after its start, of `job` or of all.
    pub async fn positions(&self, job: Option<JobId>) -> Vec<u64> {
        let log = SqliteLog::open_to_read(&self.place.data()).unwrap();
        let events = log.read_log(self.start, 1_000_000).await.unwrap();
        let of_job = |stream: &str| job.is_none_or(|job| job.stream() == stream);
        events.iter().filter(|e| of_job(&e.stream)).map(|e| e.position).collect()
    }
}

/// The process itself.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "other tests start it"]
async fn as_ordered() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let (order, data): (Order, PathBuf) = serde_json::from_str(&order).unwrap();
    let settings = |name: &str| match name {
        "ANTHROPIC_API_KEY" => Some("sk-ant-canary".to_owned()),
        "ANTHROPIC_BASE_URL" => Some("http://127.0.0.1:9".to_owned()),
        "CODY_REQUESTS_A_MINUTE" => Some("0".to_owned()),
        _ => None,
    };
    prepare(&data, order).await;
    let config = Config::load(&data, &settings).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(&config, Some(listen)).await.unwrap();
    let head = server.log.head().await.unwrap().position;
    say(&Said::Ready { url: format!("http://{}", server.address), head });
    listen_on().await;
    let began = Instant::now();
    let told_at = write(&server.log, order).await;
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap();
    say(&Said::Fed(Fed { head: server.log.head().await.unwrap().position, ms, told_at }));
    listen_on().await;
}

fn say(said: &Said) {
    println!("{MARK}{}", serde_json::to_string(said).unwrap());
}

/// Waits for the next line of whoever started us, or until it is gone.
async fn listen_on() {
    let line = || std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    tokio::task::spawn_blocking(line).await.unwrap();
}

/// Makes the jobs, each with a target at work. No server is there to take care of them, and the next
/// one is not told to.
async fn prepare(data: &Path, order: Order) {
    let log = SqliteLog::open(data, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap();
    let steps = [
        Step::Create { targets: 1 },
        Step::Request(1),
        Step::Start(1, 1),
        Step::Thread(1, 1, false),
    ];
    let events: Vec<NewEvent> = steps.iter().map(new).collect();
    for number in 0..order.busy_jobs + order.quiet_jobs {
        append(&log, number, 0, events.clone()).await;
    }
}

/// Writes what happens, each event in a command of its own, until each busy job had its events.
async fn write(log: &Arc<SqliteLog>, order: Order) -> BTreeMap<u64, u64> {
    let mut told_at = BTreeMap::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..order.events_a_job {
        ticks.tick().await;
        let turn = number / 3 + 1;
        let step = match number % 3 {
            0 => Step::Permit(1, 1, turn),
            1 => Step::Turn(1, 1, turn),
            _ => Step::Tools(1, 1, turn, 1),
        };
        let appends = (0..order.busy_jobs)
            .map(|job| append(log, job, u128::from(number) + 1, vec![new(&step)]));
        told_at.extend(futures_util::future::join_all(appends).await);
    }
    told_at
}

/// Appends; answers with the last position and when it was told.
async fn append(log: &SqliteLog, number: u128, command: u128, events: Vec<NewEvent>) -> (u64, u64) {
    let append = Append {
        stream: job(number).stream(),
        expected: Expected::Any,
        command_id: CommandId(Uuid::from_u128(number << 64 | command)),
        actor: "converser".to_owned(),
        door: Door::Server,
        correlation_id: None,
        unique_key: None,
        events,
    };
    match log.append(append).await {
        Ok(Appended::Appended { last_position, .. }) => (last_position, now_micros()),
        other => panic!("{other:?}"),
    }
}

/// Microseconds since 1970.
pub fn now_micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

fn new(step: &Step) -> NewEvent {
    let event = step.event();
    NewEvent {
        kind: event.kind().to_owned(),
        schema_version: event.schema_version(),
        occurred_at: Timestamp(7),
        facts: event.facts_json().unwrap(),
        payload: None,
        causation_id: None,
    }
}
