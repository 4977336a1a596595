//! A process that dies while it appends: whatever was answered is there afterwards, and the log is whole.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::clock::SystemClock;
use cody_batch::store::verify::Verdict;
use cody_batch::store::{Appended, Expected, Log};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::children::{acknowledge, acknowledged, as_child, start};
use crate::support::{Directory, append, cases, event, event_with, open_sqlite, read_after};

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
    let (mut acked, mut all) = (Vec::new(), Vec::new());
    let mut random = StdRng::seed_from_u64(3);
    let mut slowest = Duration::ZERO;
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
        // Anywhere between two answers, too.
        std::thread::sleep(Duration::from_micros(random.random_range(0..3_000)));
        child.kill().unwrap();
        // What was answered between the count and the kill counts as well.
        acked.extend(lines.map_while(Result::ok).filter_map(|line| acknowledged(&line)));
        child.wait().unwrap();
        let opening = Instant::now();
        let log = directory.sqlite();
        slowest = slowest.max(opening.elapsed());
        all.extend(read_after(&log, all.len() as u64).await);
    }
    assert!(slowest < Duration::from_secs(1), "an opening took {slowest:?}");
    let log = directory.sqlite();
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
    println!(
        "{} kills, {} commands answered and found, {events} events, slowest opening {slowest:?}",
        cases(20),
        acked.len()
    );
}
