//! A process that dies while it appends, and a disk that takes nothing more: whatever was answered
//! is there afterwards, and the log is whole.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use cody_batch::clock::SystemClock;
use cody_batch::store::side::{PackRow, SideTables as _};
use cody_batch::store::verify::Verdict;
use cody_batch::store::{Appended, Expected, Log, LogError, SqliteLog};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::time::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::children::{acknowledge, acknowledged, as_child, say, start};
use crate::support::{Directory, append, cases, event, event_with, open_sqlite, read_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs only as the child of another test"]
async fn child_appends_until_it_is_killed() {
    let Some((directory, first_id)) = as_child() else { return };
    let log = Arc::new(open_sqlite(&directory, Arc::new(SystemClock)));
    let writers = (0..4u64).map(|writer| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for number in 0.. {
                let id = first_id + number * 4 + writer;
                let long = format!("\"{}\"", "x".repeat(usize::try_from(id % 5_000).unwrap()));
                let events = vec![event(id), event_with(id, &long), event(id)];
                let stream = format!("s{}", id % 7);
                let wish = append(&stream, Expected::Any, id.into(), events);
                match log.append(wish).await.unwrap() {
                    Appended::Appended { first_position, .. } => acknowledge(id, first_position),
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing_that_was_answered() {
    let directory = Directory::new();
    let mut acked = Vec::new();
    for case in 0..u64::from(cases(20)) {
        let name = "death::child_appends_until_it_is_killed";
        let mut child = start(name, directory.path(), case * 1_000_000);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Different numbers of answers, so that the kill meets different moments.
        let enough = 1 + case * 37 % 401;
        let mut answers = 0;
        while answers < enough {
            let line = lines.next().expect("the child ended by itself").unwrap();
            acked.extend(acknowledged(&line).inspect(|_| answers += 1));
        }
        child.kill().unwrap();
        // What was answered between the count and the kill counts as well.
        acked.extend(lines.map_while(Result::ok).filter_map(|line| acknowledged(&line)));
        child.wait().unwrap();
    }
    let log = directory.sqlite();
    let all = read_all(&log, 1_000).await;
    for (id, position) in &acked {
        let three = &all[usize::try_from(position - 1).unwrap()..][..3];
        let ids: Vec<u128> = three.iter().map(|e| e.command_id.0.as_u128()).collect();
        assert_eq!(ids, [u128::from(*id); 3], "position {position}");
    }
    assert!(all.len() >= acked.len() * 3);
    assert_eq!(all.len() % 3, 0, "a command is there in part");
    let events = all.len() as u64;
    match log.verify().await.unwrap() {
        Verdict::Whole { events: found, .. } => assert_eq!(found, events),
        broken => panic!("{broken:?}"),
    }
    println!("{} kills, {} commands answered, {events} events", cases(20), acked.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs only as the child of another test"]
async fn child_runs_out_of_disk() {
    let Some((directory, first_id)) = as_child() else { return };
    let log = open_sqlite(&directory, Arc::new(SystemClock));
    let payload = format!("\"{}\"", "0123456789".repeat(20_000));
    let all = getrlimit(Resource::Fsize);
    let mut id = first_id;
    for _ in 0..3 {
        let size = std::fs::metadata(directory.join("log.db-wal")).map_or(0, |file| file.len());
        limit(size + 300_000, all);
        let mut refusals = 0;
        while refusals < 3 {
            id += 1;
            let mut events = vec![event(id), event_with(id, &noise(id)), event(id)];
            events[2].payload = Some(payload.clone().into_bytes());
            // What fails for a side table must not leave its batch without a transaction.
            let wish = append("s", Expected::Any, id.into(), events);
            let pack = PackRow { bytes: id, ..pack(&payload) };
            match tokio::join!(log.put_pack(pack), log.append(wish)).1 {
                Ok(Appended::Appended { first_position, .. }) => acknowledge(id, first_position),
                Err(LogError::Unavailable(_)) => refusals += 1,
                other => panic!("{other:?}"),
            }
            assert!(log.head().await.is_ok(), "what is there can still be read");
        }
        // There is room again: the same log goes on, without being opened anew.
        limit(u64::MAX, all);
        id += 1;
        match log.append(append("s", Expected::Any, id.into(), vec![event(id); 3])).await {
            Ok(Appended::Appended { first_position, .. }) => acknowledge(id, first_position),
            other => panic!("{other:?}"),
        }
    }
    say("done");
}

fn limit(bytes: u64, all: Rlimit) {
    let current = if bytes == u64::MAX { all.current } else { Some(bytes) };
    setrlimit(Resource::Fsize, Rlimit { current, ..all }).unwrap();
}

fn pack(repository: &str) -> PackRow {
    PackRow {
        repository: repository.to_owned(),
        base_commit: ObjectId::ZERO,
        pack_hash: Sha256::ZERO,
        bytes: 0,
        last_used_at: Timestamp(0),
    }
}

/// JSON that does not get shorter by packing.
fn noise(seed: u64) -> String {
    let hash = |i: u64| Sha256::of(&(seed * 1_000 + i).to_be_bytes());
    let hashes: String = (0..300).map(|i| hash(i).to_string()).collect();
    format!("\"{hashes}\"")
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_without_losing_anything() {
    let directory = Directory::new();
    let child = start("death::child_runs_out_of_disk", directory.path(), 0);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.lines().any(|line| line == "done"), "{told}");
    let acked: Vec<_> = told.lines().filter_map(acknowledged).collect();
    assert!(acked.len() > 3, "{told}");
    let log = SqliteLog::open_to_read(directory.path()).unwrap();
    let all = read_all(&log, 1_000).await;
    let found: Vec<_> = all
        .chunks(3)
        .map(|three| (u64::try_from(three[0].command_id.0.as_u128()).unwrap(), three[0].position))
        .collect();
    assert_eq!(found, acked);
    assert!(matches!(log.verify().await.unwrap(), Verdict::Whole { .. }));
}
