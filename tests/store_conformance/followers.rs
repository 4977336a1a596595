//! Subscriptions: everything once, in order, from any place, however slow the follower is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::clock::SystemClock;
use cody_batch::store::{Cursor, Expected, Log, LogError};

use crate::children::{as_child, say, start};
use crate::support::{Directory, SetClock, append, event, logs, open_sqlite};

/// Appends events `from..to`, forty a command.
async fn fill(log: &dyn Log, from: u64, to: u64) {
    for first in (from..to).step_by(40) {
        let events = (first..to.min(first + 40)).map(event).collect();
        log.append(append("a", Expected::Any, first.into(), events)).await.unwrap();
    }
}

#[tokio::test]
async fn a_follower_catches_up_in_pages_and_goes_on_live() {
    for (name, log, _place) in logs() {
        fill(&*log, 0, 1_234).await;
        let mut follower = log.subscribe(Cursor::START);
        let mut positions = Vec::new();
        let mut pages = Vec::new();
        while positions.len() < 1_234 {
            let page = follower.next_page().await.unwrap();
            pages.push(page.len());
            positions.extend(page.iter().map(|e| e.position));
        }
        assert_eq!(pages, [500, 500, 234], "{name}");
        assert_eq!(positions, (1..=1_234).collect::<Vec<_>>(), "{name}");
        let (next, ()) = tokio::join!(follower.next_page(), fill(&*log, 2_000, 2_001));
        assert_eq!(next.unwrap()[0].position, 1_235, "{name}");
    }
}

#[tokio::test]
async fn a_cursor_leads_back_to_every_place() {
    for (name, log, place) in logs() {
        fill(&*log, 0, 90).await;
        let mut follower = log.subscribe(Cursor::START);
        assert_eq!(follower.next_page().await.unwrap().len(), 90, "{name}");
        drop(follower);
        drop(log);
        let log = place.open(Arc::new(SetClock::new(1)));
        for position in 0..90 {
            let cursor: Cursor = Cursor::after(position).to_string().parse().unwrap();
            let page = log.subscribe(cursor).next_page().await.unwrap();
            let told: Vec<u64> = page.iter().map(|e| e.position).collect();
            assert_eq!(told, (position + 1..=90).collect::<Vec<_>>(), "{name}");
        }
    }
    assert!("7".parse::<Cursor>().is_err());
    assert!("cx".parse::<Cursor>().is_err());
}

#[tokio::test]
async fn a_cursor_from_beyond_the_end_is_no_cursor_of_this_log() {
    for (name, log, _place) in logs() {
        fill(&*log, 0, 3).await;
        let answer = log.subscribe(Cursor::after(4)).next_page().await;
        assert!(
            matches!(answer, Err(LogError::Rejected { code: "cursor-unknown", .. })),
            "{name} {answer:?}"
        );
        let mut at_the_end = log.subscribe(Cursor::after(3));
        let (next, ()) = tokio::join!(at_the_end.next_page(), fill(&*log, 50, 51));
        assert_eq!(next.unwrap()[0].position, 4, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn followers_of_every_pace_get_everything_while_it_is_written() {
    const EVENTS: u64 = 3_000;
    for (name, log, _place) in logs() {
        let followers = (0..6u64).map(|pace| {
            let mut follower = log.subscribe(Cursor::START);
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut told = Vec::new();
                while (told.len() as u64) < EVENTS {
                    // The slower it is, the more it lets the log run ahead before it looks again.
                    let ahead = EVENTS.min(told.len() as u64 + pace * 200);
                    while log.head().await.unwrap().position < ahead {
                        tokio::task::yield_now().await;
                    }
                    told.extend(follower.next_page().await.unwrap().iter().map(|e| e.position));
                }
                assert_eq!(told, (1..=EVENTS).collect::<Vec<_>>());
            })
        });
        let followers: Vec<_> = followers.collect();
        let writers = (0..4u64).map(|writer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { fill(&*log, writer * 10_000, writer * 10_000 + 750).await })
        });
        for task in writers.collect::<Vec<_>>().into_iter().chain(followers) {
            task.await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[tokio::test]
async fn a_closed_log_ends_its_followers() {
    for (name, log, _place) in logs() {
        fill(&*log, 0, 1).await;
        let mut follower = log.subscribe(Cursor::START);
        drop(log);
        assert_eq!(follower.next_page().await.unwrap().len(), 1, "{name}");
        assert!(matches!(follower.next_page().await, Err(LogError::Unavailable(_))), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn followers_that_leave_and_come_back_miss_nothing() {
    const EVENTS: u64 = 4_000;
    for (name, log, _place) in logs() {
        let followers = (0..20u64).map(|follower| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let (mut told, mut visits) = (Vec::new(), 0u64);
                // All that is kept between two visits is the cursor, as text.
                let mut cursor = Cursor::START.to_string();
                while (told.len() as u64) < EVENTS {
                    let mut subscription = log.subscribe(cursor.parse().unwrap());
                    visits += 1;
                    if (visits + follower).is_multiple_of(3) {
                        // Leaves while it waits, at no moment of its choosing.
                        let next = subscription.next_page();
                        let Ok(page) = tokio::time::timeout(Duration::ZERO, next).await else {
                            tokio::task::yield_now().await;
                            continue;
                        };
                        told.extend(page.unwrap().iter().map(|e| e.position));
                    } else {
                        told.extend(
                            subscription.next_page().await.unwrap().iter().map(|e| e.position),
                        );
                    }
                    cursor = subscription.cursor().to_string();
                }
                assert_eq!(told, (1..=EVENTS).collect::<Vec<_>>());
                visits
            })
        });
        let followers: Vec<_> = followers.collect();
        fill(&*log, 0, EVENTS).await;
        let mut visits = 0;
        for follower in followers {
            visits += follower.await.unwrap();
        }
        println!("{name}: 20 followers of {EVENTS} events, {visits} visits");
    }
}

/// A number from what the kernel says of this process.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs only as the child of another test"]
async fn child_has_a_thousand_followers() {
    const FOLLOWERS: usize = 1_000;
    const PARTS: u64 = 20;
    let Some((directory, _)) = as_child() else { return };
    let log = open_sqlite(&directory, Arc::new(SystemClock));
    fill(&log, 0, 500).await;
    let before = status("VmRSS");
    // All have seen all, and wait.
    let mut followers: Vec<_> = (0..FOLLOWERS).map(|_| log.subscribe(Cursor::after(500))).collect();
    let idle = status("VmRSS") - before;
    // Events come while nobody looks. What a follower has not fetched is kept for none of them.
    for part in 1..=PARTS {
        fill(&log, part * 1_000, part * 1_000 + 1_000).await;
    }
    let behind = status("VmRSS") - before;
    // All at once want what they missed; a few read it to the end, the others leave.
    let last = 500 + PARTS * 1_000;
    let began = Instant::now();
    let woken = followers.drain(..).enumerate().map(|(number, mut follower)| {
        tokio::spawn(async move {
            let mut next = 501;
            while next <= last {
                for event in follower.next_page().await.unwrap() {
                    assert_eq!(event.position, next);
                    next += 1;
                }
                if number % 20 != 0 {
                    return;
                }
            }
        })
    });
    let woken: Vec<_> = woken.collect();
    let mut threads = status("Threads");
    for follower in woken {
        follower.await.unwrap();
        threads = threads.max(status("Threads"));
    }
    let (caught_up, took) = (status("VmHWM") - before, began.elapsed());
    say(&format!(
        "{FOLLOWERS} followers: {idle} kB idle, {behind} kB while {} events came, {caught_up} kB at \
         most while they caught up in {took:.1?}, on {threads} threads",
        PARTS * 1_000
    ));
    assert!(idle < 4_000, "{idle} kB");
    assert!(behind < 40_000, "{behind} kB");
    assert!(caught_up < 80_000, "{caught_up} kB");
    // A few more than may read at once, while one ends as another begins.
    assert!(threads < 64, "{threads} threads");
    // One that waits and is woken, a thousand times over.
    let idle: Vec<_> = (0..FOLLOWERS)
        .map(|_| {
            let mut follower = log.subscribe(Cursor::after(last));
            tokio::spawn(async move { follower.next_page().await.unwrap()[0].position })
        })
        .collect();
    tokio::task::yield_now().await;
    fill(&log, 900_000, 900_001).await;
    let began = Instant::now();
    for follower in idle {
        assert_eq!(follower.await.unwrap(), last + 1);
    }
    say(&format!("one event reached {FOLLOWERS} who waited in {:.1?}", began.elapsed()));
    say("done");
}

#[test]
fn a_thousand_idle_followers_cost_next_to_nothing() {
    // In a process of its own, whose memory no other test uses.
    let directory = Directory::new();
    let child = start("followers::child_has_a_thousand_followers", directory.path(), 0);
    let told = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(told.lines().any(|line| line == "done"), "{told}");
    for line in told.lines().filter(|line| line.contains("follow") || line.contains("reached")) {
        println!("{line}");
    }
}
