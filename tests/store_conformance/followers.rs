//! Subscriptions: everything once, in order, from any place, however slow the follower is.

use std::sync::Arc;

use cody_batch::store::{Cursor, Expected, Log, LogError};

use crate::support::{SetClock, append, event, logs};

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
