//! The views beside the log: they follow it, are made again, and never show a reader less than a
//! reader saw before.

use std::path::Path;
use std::sync::Arc;

use cody_batch::clock::SystemClock;
use cody_batch::store::side::SideTables;
use cody_batch::store::views::Views;
use cody_batch::store::{Append, Expected, Log, SqliteLog};
use cody_events::envelope::{Door, NewEvent};
use cody_events::event::Event;
use cody_events::ids::{CommandId, JobId, TargetNumber};
use cody_events::job::{
    By, CheckSource, Created, CreatedTarget, Limits, Policy, SharedLimits, TargetKind,
};
use cody_events::job::{Paused, Resumed};
use cody_events::time::Timestamp;
use cody_projections::{build, jobs};
use rusqlite::Connection;
use uuid::Uuid;

use crate::support::{Directory, open_sqlite};

pub async fn open(directory: &Directory) -> (Arc<SqliteLog>, Views) {
    let log = Arc::new(open_sqlite(directory.path(), Arc::new(SystemClock)));
    let views = follow(directory.path(), &log).await;
    (log, views)
}

pub async fn follow(dir: &Path, log: &Arc<SqliteLog>) -> Views {
    Views::open(dir, as_log(log), as_side(log)).await.unwrap()
}

pub fn as_log(log: &Arc<SqliteLog>) -> Arc<dyn Log> {
    Arc::<SqliteLog>::clone(log)
}

fn as_side(log: &Arc<SqliteLog>) -> Arc<dyn SideTables> {
    Arc::<SqliteLog>::clone(log)
}

pub fn job(number: u64) -> JobId {
    JobId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number)))
}

pub async fn add(log: &SqliteLog, job: JobId, event: impl Into<Event>) -> u64 {
    let event = event.into();
    let append = Append {
        stream: job.stream(),
        expected: Expected::Any,
        command_id: CommandId(Uuid::now_v7()),
        actor: "ada".to_owned(),
        door: Door::Cli,
        correlation_id: None,
        unique_key: None,
        events: vec![NewEvent {
            kind: event.kind().to_owned(),
            schema_version: event.schema_version(),
            occurred_at: Timestamp(7),
            facts: event.facts_json().unwrap(),
            payload: None,
            causation_id: None,
        }],
    };
    log.append(append).await.unwrap();
    log.head().await.unwrap().position
}

pub fn created() -> Created {
    Created {
        targets: vec![CreatedTarget {
            number: TargetNumber(1),
            kind: TargetKind::Local,
            repository: "app".to_owned(),
        }],
        policy: Policy::PatchOnly,
        limits: Limits {
            budget_micros: 1,
            job_budget_micros: None,
            max_turns: 1,
            max_tokens: None,
            max_wall_ms: None,
            max_tool_ms: None,
            max_diff_bytes: None,
            shared: SharedLimits::default(),
        },
        model: "claude-test".to_owned(),
        effort: None,
        checks: CheckSource::Off,
        bash: false,
        skip_review: false,
        fetch_dependencies: false,
        pilot: false,
        recipe: None,
        allow: Vec::new(),
        app_version: "0".to_owned(),
    }
}

pub fn paused() -> Paused {
    Paused { target: None, by: By::Person }
}

pub async fn listed(views: &Views) -> Vec<(JobId, bool)> {
    let read = |connection: &Connection| jobs::page(connection, None, 1_000_000);
    views.read(read).await.unwrap().into_iter().map(|row| (row.job, row.is_paused)).collect()
}

pub fn builds(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("views-") && name.ends_with(".db"))
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_visible_to_who_waits_for_it_and_to_the_next_server() {
    let directory = Directory::new();
    {
        let (log, views) = open(&directory).await;
        add(&log, job(1), created()).await;
        let position = add(&log, job(1), paused()).await;
        assert!(views.at_least(position).await);
        assert_eq!(listed(&views).await, [(job(1), true)]);
        let waited = std::time::Instant::now();
        assert!(!views.at_least(position + 1).await);
        assert!(waited.elapsed() >= cody_batch::store::views::MAX_WAIT);
        views.close().await;
    }
    let (_log, views) = open(&directory).await;
    assert_eq!(listed(&views).await, [(job(1), true)]);
    assert_eq!(builds(directory.path()), ["views-2.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_cannot_be_trusted_is_made_again() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("gone", |path| std::fs::remove_file(path).unwrap()),
        ("no database", |path| std::fs::write(path, "no database at all").unwrap()),
        ("made by other projections", |path| change(path, "UPDATE projections SET version = 99")),
        ("from another log", |path| change(path, "UPDATE checkpoint SET log_hash = zeroblob(32)")),
        ("ahead of the log", |path| change(path, "UPDATE checkpoint SET position = 1000")),
    ];
    for (what, harm) in harms {
        let directory = Directory::new();
        {
            let (log, views) = open(&directory).await;
            let position = add(&log, job(1), created()).await;
            assert!(views.at_least(position).await);
            views.close().await;
        }
        harm(&directory.path().join("views-2.db"));
        let reading = Arc::new(SqliteLog::open_to_read(directory.path()).unwrap());
        let read = Views::open_to_read(directory.path(), as_log(&reading), as_side(&reading)).await;
        assert_eq!(listed(&read.unwrap()).await, [(job(1), false)], "read: {what}");
        let (log, views) = open(&directory).await;
        assert_eq!(listed(&views).await, [(job(1), false)], "{what}");
        assert_eq!(builds(directory.path()), ["views-3.db"], "{what}");
        let position = add(&log, job(1), Resumed { target: None, by: By::Person }).await;
        assert!(views.at_least(position).await, "{what}");
        views.close().await;
    }
}

fn change(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_a_server_sees_all_and_writes_nothing() {
    let directory = Directory::new();
    {
        let (log, views) = open(&directory).await;
        let position = add(&log, job(1), created()).await;
        assert!(views.at_least(position).await);
        views.close().await;
        // What the server wrote last did not reach the views before it died.
        add(&log, job(2), created()).await;
    }
    let before = std::fs::read(directory.path().join("views-2.db")).unwrap();
    let log = Arc::new(SqliteLog::open_to_read(directory.path()).unwrap());
    let views = Views::open_to_read(directory.path(), as_log(&log), as_side(&log)).await.unwrap();
    assert_eq!(listed(&views).await, [(job(2), false), (job(1), false)]);
    assert_eq!(views.position(), log.head().await.unwrap().position);
    assert_eq!(std::fs::read(directory.path().join("views-2.db")).unwrap(), before);
    let stands = views.read(build::checkpoint).await.unwrap();
    assert_eq!(stands.position, 2);
}
