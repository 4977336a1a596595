//! What only the room itself can arrange: a writer that is held up, and a file that may grow no more.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use cody_events::envelope::{Door, NewEvent};
use cody_events::ids::CommandId;
use cody_events::time::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{MAX_QUEUE_WAIT, MAX_WAITING, SqliteLog};
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::store::verify::Verdict;
use crate::store::{Append, Appended, Expected, Log, LogError};

fn open() -> (TempDir, Arc<SqliteLog>) {
    let place = TempDir::new().unwrap();
    let log = SqliteLog::open(place.path(), Arc::new(SystemClock), Arc::new(SystemEntropy));
    (place, Arc::new(log.unwrap()))
}

fn wish(number: u128, payload: Option<String>) -> Append {
    Append {
        stream: "s".to_owned(),
        expected: Expected::Any,
        command_id: CommandId(Uuid::from_u128(number)),
        actor: "ada".to_owned(),
        door: Door::Cli,
        correlation_id: None,
        unique_key: None,
        events: vec![NewEvent {
            kind: "paused".to_owned(),
            schema_version: 1,
            occurred_at: Timestamp(0),
            facts: "{}".to_owned(),
            payload: payload.map(String::into_bytes),
            causation_id: None,
        }],
    }
}

/// Keeps the writer from going on until what is given back is dropped.
async fn hold_up(log: &Arc<SqliteLog>) -> (Sender<()>, JoinHandle<Result<(), LogError>>) {
    let (holder, held) = channel::<()>();
    let (tell, entered) = tokio::sync::oneshot::channel();
    let log = Arc::clone(log);
    let work = move |_: &Connection| {
        tell.send(()).unwrap();
        // An error means that the holder is gone, which is what it waits for.
        let _ = held.recv();
        Ok(())
    };
    let side = tokio::spawn(async move { log.write(work).await });
    entered.await.unwrap();
    (holder, side)
}

/// Asks for `numbers` at once; all have been asked when this is done.
async fn ask(
    log: &Arc<SqliteLog>,
    numbers: std::ops::Range<u128>,
) -> Vec<JoinHandle<Result<Appended, LogError>>> {
    let asked = numbers.map(|number| {
        let log = Arc::clone(log);
        tokio::spawn(async move { log.append(wish(number, None)).await })
    });
    let asked: Vec<_> = asked.collect();
    // One thread runs them all, some each time that we step back.
    for _ in &asked {
        tokio::task::yield_now().await;
    }
    asked
}

#[tokio::test]
async fn a_full_queue_makes_askers_wait_and_then_takes_them_all() {
    let (_place, log) = open();
    let (holder, side) = hold_up(&log).await;
    let asked = ask(&log, 0..3 * MAX_WAITING as u128).await;
    assert!(asked.iter().all(|asker| !asker.is_finished()));
    let places = &log.writer.as_ref().unwrap().places;
    assert_eq!(places.available_permits(), 0, "no more than {MAX_WAITING} are in the queue");
    assert!(log.read_log(0, 10).await.unwrap().is_empty(), "reads go on");
    drop(holder);
    side.await.unwrap().unwrap();
    for (position, asker) in (1..).zip(asked) {
        let Ok(Appended::Appended { first_position, .. }) = asker.await.unwrap() else {
            panic!("whoever waited is served");
        };
        assert_eq!(first_position, position, "in the order in which they asked");
    }
    assert!(matches!(log.verify().await.unwrap(), Verdict::Whole { .. }));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_a_place_is_refused_and_the_log_goes_on() {
    let (_place, log) = open();
    let (holder, side) = hold_up(&log).await;
    let waiting = MAX_WAITING as u128;
    let asked = ask(&log, 0..waiting).await;
    let began = tokio::time::Instant::now();
    let refused = log.append(wish(waiting, None)).await;
    let Err(LogError::Unavailable(told)) = refused else { panic!("{refused:?}") };
    assert!(told.contains("nothing was added"), "{told}");
    assert_eq!(began.elapsed().as_secs(), MAX_QUEUE_WAIT.as_secs());
    // The clock stands still for the rest: only threads are waited for.
    tokio::time::resume();
    drop(holder);
    side.await.unwrap().unwrap();
    for asker in asked {
        assert!(matches!(asker.await.unwrap(), Ok(Appended::Appended { .. })));
    }
    let again = log.append(wish(waiting, None)).await.unwrap();
    let position = MAX_WAITING as u64 + 1;
    assert_eq!(
        again,
        Appended::Appended {
            first_position: position,
            last_position: position,
            last_version: position
        }
    );
}

#[tokio::test]
async fn a_file_that_may_grow_no_more_refuses_until_it_may() {
    let (_place, log) = open();
    let limit = |pages: Option<u32>| {
        log.write(move |connection| {
            let now: u32 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let limit = pages.map_or(u32::MAX, |pages| now + pages);
            connection.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(()))
        })
    };
    let noise = |number: u128| {
        let hash = |i: u128| cody_events::digest::Sha256::of(&(number * 100 + i).to_be_bytes());
        format!("\"{}\"", (0..100).map(|i| hash(i).to_string()).collect::<String>())
    };
    let (mut number, mut position) = (0, 0);
    for _round in 0..3 {
        limit(Some(20)).await.unwrap();
        let mut refusals = 0;
        while refusals < 3 {
            number += 1;
            match log.append(wish(number, Some(noise(number)))).await {
                Ok(Appended::Appended { first_position, .. }) => {
                    position += 1;
                    assert_eq!(first_position, position);
                }
                Err(LogError::Unavailable(told)) => {
                    assert!(told.contains("make room on the disk"), "{told}");
                    refusals += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        limit(None).await.unwrap();
        number += 1;
        assert!(matches!(log.append(wish(number, None)).await, Ok(Appended::Appended { .. })));
        position += 1;
    }
    assert_eq!(log.read_log(0, 1_000).await.unwrap().len() as u64, position);
    assert!(matches!(log.verify().await.unwrap(), Verdict::Whole { .. }));
}
