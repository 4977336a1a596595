//! What following the log costs: catching up with typed facts, and making the views again, each next
//! to SQLite alone. All in one run, in turns. `cargo bench --bench following` prints the table.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to tell")]

#[path = "../../projections/tests/histories/mod.rs"]
#[expect(dead_code, reason = "the projections' tests use the rest")]
mod histories;
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod measure;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::clock::SystemClock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::sqlite::FILE;
use cody_batch::store::views::Views;
use cody_batch::store::{Append, Appended, Expected, Log, SqliteLog};
use cody_events::envelope::{Door, NewEvent};
use cody_events::event::Event;
use cody_events::ids::{CommandId, JobId};
use cody_events::time::Timestamp;
use histories::Step;
use measure::{median, micros, number, own_cpu, print, print_at_least, print_load, process_cpu};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use uuid::Uuid;

const ROUNDS: usize = 5;
const JOBS: u64 = 1_000;
const TURNS: u32 = 30;
const PAGE: usize = 500;

/// What one round found: processor time an event, in microseconds, and the wall's.
struct Round {
    raw_read: f64,
    read: f64,
    read_wall: Duration,
    raw_rebuild: f64,
    rebuild: f64,
    rebuild_wall: Duration,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    print_load();
    let place = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = SqliteLog::open(place.path(), Arc::new(SystemClock), Arc::new(SystemEntropy));
    let log = Arc::new(log.unwrap());
    let rounds: Vec<Round> = runtime.block_on(async {
        let events = write(&log).await;
        let as_log: Arc<dyn Log> = Arc::<SqliteLog>::clone(&log);
        let views = Views::open(place.path(), as_log, Arc::<SqliteLog>::clone(&log)).await.unwrap();
        assert_eq!(views.quarantined().await.unwrap(), [], "the stories are such as happen");
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(round(&log, &views, place.path(), events).await);
        }
        println!("{events} events of {JOBS} jobs, medians of {ROUNDS} interleaved rounds");
        rounds
    });
    let of = |value: fn(&Round) -> f64| median(&rounds, value);
    print("SQLite alone reads the same columns, CPU", 1e6 / of(|r| r.raw_read), "/s");
    print_at_least("catch-up, typed by facts, CPU", 1e6 / of(|r| r.read), "/s", 700_000.0);
    print("catch-up / SQLite alone, CPU", of(|r| r.read / r.raw_read), "");
    print("catch-up, wall", of(|r| r.read_wall.as_secs_f64() * 1e3), "ms");
    print("SQLite alone changes as many rows, CPU", 1e6 / of(|r| r.raw_rebuild), "/s");
    print_at_least("rebuild of the views, CPU", 1e6 / of(|r| r.rebuild), "/s", 225_000.0);
    print("rebuild / SQLite alone, CPU", of(|r| r.rebuild / r.raw_rebuild), "");
    print("rebuild, wall", of(|r| r.rebuild_wall.as_secs_f64() * 1e3), "ms");
    print_load();
}

async fn round(log: &Arc<SqliteLog>, views: &Views, dir: &Path, events: u64) -> Round {
    let raw_read = micros(raw_read(dir)) / number(events);
    let (cpu, start) = (process_cpu(), Instant::now());
    assert_eq!(catch_up(log).await, events);
    let (read, read_wall) = (micros(process_cpu() - cpu) / number(events), start.elapsed());
    let raw_rebuild = micros(raw_rebuild(dir, events)) / number(events);
    let (cpu, start) = (process_cpu(), Instant::now());
    views.rebuild().await.unwrap();
    let (rebuild, rebuild_wall) = (micros(process_cpu() - cpu) / number(events), start.elapsed());
    Round { raw_read, read, read_wall, raw_rebuild, rebuild, rebuild_wall }
}

/// One target's way to a diff, with as many turns as usual.
fn story() -> Vec<Event> {
    let mut steps = vec![
        Step::Create { targets: 1 },
        Step::Request(1),
        Step::Start(1, 1),
        Step::Thread(1, 1, false),
    ];
    for turn in 1..=TURNS {
        steps.push(Step::Permit(1, 1, turn));
        steps.push(Step::Turn(1, 1, turn));
        steps.push(Step::Tools(1, 1, turn, 1));
    }
    steps.extend([
        Step::Checks(1, true),
        Step::Thread(1, 2, true),
        Step::Turn(1, 2, 1),
        Step::Review(1, true),
        Step::Diff(1, 7),
        Step::Finish(1, 0),
        Step::End(1),
        Step::FinishJob,
    ]);
    steps.iter().map(Step::event).collect()
}

/// Writes the jobs' stories, in turns; answers how many events that are.
async fn write(log: &Arc<SqliteLog>) -> u64 {
    let story = Arc::new(story());
    for part in 0..story.len().div_ceil(10) {
        let appends = (0..JOBS).map(|job| {
            let (log, story) = (Arc::clone(log), Arc::clone(&story));
            async move {
                let events = story.iter().skip(part * 10).take(10).map(as_new).collect();
                let append = Append {
                    stream: JobId(Uuid::from_u128(0x7000_8000_0000_0000_0000 + u128::from(job)))
                        .stream(),
                    expected: Expected::Any,
                    command_id: CommandId(Uuid::from_u128(u128::from(job) << 64 | part as u128)),
                    actor: "converser".to_owned(),
                    door: Door::Server,
                    correlation_id: None,
                    unique_key: None,
                    events,
                };
                assert!(matches!(log.append(append).await, Ok(Appended::Appended { .. })));
            }
        });
        futures_util::future::join_all(appends).await;
    }
    log.head().await.unwrap().position
}

fn as_new(event: &Event) -> NewEvent {
    NewEvent {
        kind: event.kind().to_owned(),
        schema_version: event.schema_version(),
        occurred_at: Timestamp(7),
        facts: event.facts_json().unwrap(),
        payload: None,
        causation_id: None,
    }
}

/// Reads the whole log in pages, each event as what it is.
async fn catch_up(log: &Arc<SqliteLog>) -> u64 {
    let mut at = 0;
    loop {
        let page = log.read_log(at, PAGE).await.unwrap();
        let Some(last) = page.last() else { return at };
        at = last.position;
        for event in &page {
            let typed = Event::decode(&event.kind, event.schema_version, &event.facts).unwrap();
            std::hint::black_box(typed);
        }
    }
}

/// Looks at every column of every event, and keeps nothing.
fn raw_read(dir: &Path) -> Duration {
    let connection = Connection::open(dir.join(FILE)).unwrap();
    let cpu = own_cpu();
    let mut statement = connection.prepare("SELECT * FROM events ORDER BY position").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        for column in 0..18 {
            std::hint::black_box(row.get_ref(column).unwrap());
        }
    }
    own_cpu() - cpu
}

/// Changes as many rows of the views' own tables as the projections do: for each event the job's and
/// the target's, for two in three a message and for each third a cost, a page to a commit.
fn raw_rebuild(dir: &Path, events: u64) -> Duration {
    let path = dir.join("raw-views.db");
    let mut connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", "normal").unwrap();
    connection
        .execute_batch(
            "CREATE TABLE jobs (job TEXT PRIMARY KEY, position INTEGER, updated_at INTEGER) STRICT, WITHOUT ROWID;
             CREATE TABLE targets (job TEXT, target INTEGER, position INTEGER, status TEXT,
                 PRIMARY KEY (job, target)) STRICT, WITHOUT ROWID;
             CREATE TABLE messages (job TEXT, target INTEGER, thread INTEGER, position INTEGER, turn INTEGER,
                 kind TEXT, ms INTEGER, PRIMARY KEY (job, target, thread, position)) STRICT, WITHOUT ROWID;
             CREATE TABLE costs (job TEXT, target INTEGER, known INTEGER, calls INTEGER,
                 PRIMARY KEY (job, target)) STRICT, WITHOUT ROWID;",
        )
        .unwrap();
    let cpu = own_cpu();
    let mut at = 0;
    while at < events {
        let transaction = connection.transaction().unwrap();
        for position in (at..events).take(PAGE) {
            let job = format!("00000000-0000-7000-8000-{:012x}", position / 10 % JOBS);
            let position = position.cast_signed();
            let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
                transaction.prepare_cached(sql).unwrap().execute(values).unwrap();
            };
            run(
                "INSERT INTO jobs VALUES (?1, ?2, ?2)
                 ON CONFLICT DO UPDATE SET position = ?2, updated_at = ?2",
                params![job, position],
            );
            if position % 3 == 0 {
                run(
                    "INSERT INTO costs VALUES (?1, 1, ?2, 1)
                     ON CONFLICT DO UPDATE SET known = known + ?2, calls = calls + 1",
                    params![job, position],
                );
                run(
                    "INSERT INTO targets VALUES (?1, 1, ?2, 'running')
                     ON CONFLICT DO UPDATE SET position = ?2",
                    params![job, position],
                );
            } else {
                run(
                    "INSERT INTO messages VALUES (?1, 1, 1, ?2, 1, 'response', 17)",
                    params![job, position],
                );
            }
        }
        transaction.commit().unwrap();
        at += PAGE as u64;
    }
    drop(connection);
    let cpu = own_cpu() - cpu;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    cpu
}
