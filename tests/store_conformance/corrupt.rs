//! What a damaged row does to those who read it: a clear error that names the event, for its own job.
//! Other jobs are read, written and shown as before.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use cody_batch::app::{App, AppError};
use cody_batch::clock::SystemClock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::verify::Verdict;
use cody_batch::store::{Cursor, Expected, Log, LogError, SqliteLog};

use crate::support::{Directory, append, event_with};
use crate::views::{add, as_log, created, follow, job, listed, open, paused};

/// Changes the one place in the file where `text` stands.
fn flip(path: &Path, text: &str, at: usize, bit: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    let found: Vec<usize> = (0..bytes.len() - text.len())
        .filter(|i| bytes[*i..].starts_with(text.as_bytes()))
        .collect();
    let [place] = found[..] else { panic!("{text} stands at {found:?}") };
    bytes[place + at] ^= bit;
    std::fs::write(path, bytes).unwrap();
}

/// Two jobs, created at 1 and 2, the first paused at 3; a payload at 4 in a stream of its own.
async fn written() -> Directory {
    let directory = Directory::new();
    let (log, views) = open(&directory).await;
    add(&log, job(1), created()).await;
    add(&log, job(2), created()).await;
    add(&log, job(1), paused()).await;
    let plain = vec![event_with(7, r#"{"text":"plain payload"}"#)];
    log.append(append("system", Expected::Any, 1, plain)).await.unwrap();
    assert!(views.at_least(4).await);
    views.close().await;
    drop(log);
    // The views are made again from what is read.
    std::fs::remove_file(directory.path().join("views-2.db")).unwrap();
    directory
}

fn app(log: &Arc<SqliteLog>) -> App {
    let states = NonZeroUsize::new(4).unwrap();
    App::new(as_log(log), Arc::new(SystemClock), Arc::new(SystemEntropy), states)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_named_and_other_jobs_go_on() {
    // A letter that is another letter, and a byte that is no letter at all.
    for bit in [0x01, 0x80] {
        let directory = written().await;
        flip(&directory.path().join("log.db"), r#""by":"person""#, 6, bit);
        let log = Arc::new(directory.sqlite());
        let app = app(&log);
        let told = app.events(job(1), 0).await.unwrap_err();
        let AppError::Log(LogError::Damaged { place, .. }) = &told else { panic!("{told:?}") };
        assert_eq!(place, "event 3", "{told}");
        assert!(app.state(job(1)).await.is_err(), "nothing is decided on it");
        // What stands before it is as it was, and so are other jobs.
        assert_eq!(log.read_stream(&job(1).stream(), 1, 1).await.unwrap().len(), 1);
        assert_eq!(app.events(job(2), 0).await.unwrap().len(), 1);
        let views = follow(directory.path(), &log).await;
        let position = add(&log, job(2), paused()).await;
        assert!(views.at_least(position).await);
        assert_eq!(listed(&views).await, [(job(2), true), (job(1), false)]);
        let held: Vec<(String, u64)> = views
            .quarantined()
            .await
            .unwrap()
            .into_iter()
            .map(|q| (q.stream, q.position))
            .collect();
        assert!(!held.is_empty());
        assert!(held.iter().all(|held| *held == (job(1).stream(), 3)), "{held:?}");
        let page = log.subscribe(Cursor::START).next_page().await.unwrap();
        assert_eq!(page.iter().map(|e| e.position).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        match log.verify().await.unwrap() {
            Verdict::Broken { position, .. } => assert_eq!(position, 3),
            whole => panic!("{whole:?}"),
        }
        views.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_became_another_number_is_no_decision() {
    let directory = written().await;
    // Still JSON, still facts of its kind, but not what was written.
    let path = directory.path().join("log.db");
    let stream = job(2).stream();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let facts: String = connection
        .query_row("SELECT facts FROM events WHERE stream = ?1", [&stream], |row| row.get(0))
        .unwrap();
    connection.execute_batch("DROP TRIGGER events_never_change").unwrap();
    let other = facts.replace("\"max_turns\":1", "\"max_turns\":9");
    assert_ne!(facts, other);
    connection
        .execute("UPDATE events SET facts = ?1 WHERE stream = ?2", [&other, &stream])
        .unwrap();
    drop(connection);
    let log = Arc::new(directory.sqlite());
    let told = app(&log).state(job(2)).await.unwrap_err();
    let AppError::Log(LogError::Damaged { place, .. }) = told else { panic!("{told:?}") };
    assert_eq!(place, "event 2");
    assert!(app(&log).state(job(1)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_payload_is_named_and_never_handed_out() {
    let directory = written().await;
    flip(&directory.path().join("log.db"), "plain payload", 3, 0x02);
    let log = directory.sqlite();
    match log.payload(4).await {
        Err(LogError::Damaged { place, .. }) => assert_eq!(place, "payload 4"),
        other => panic!("{other:?}"),
    }
}
