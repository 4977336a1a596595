//! Commands that arrive several times, and answers that nobody waits for: each command is in the log
//! once, and whoever asks again is told the same place.

use std::collections::BTreeMap;
use std::sync::Arc;

use cody_batch::store::{Append, Appended, Expected};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::support::{SetClock, append, cases, event, event_with, places, read_all};

fn wish(id: u64) -> Append {
    let events = vec![event(id), event_with(id, &format!("[{id}]"))];
    append(&format!("s{}", id % 5), Expected::Any, id.into(), events)
}

/// Where an answer says that its command stands.
fn place_of(answer: &Appended) -> u64 {
    match answer {
        Appended::Appended { first_position, .. } | Appended::Duplicate { first_position, .. } => {
            *first_position
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_sent_up_to_five_times_is_there_once_also_if_answers_are_lost() {
    let commands = u64::from(cases(200));
    for (name, place) in places() {
        let log = place.open(Arc::new(SetClock::new(1)));
        let mut random = StdRng::seed_from_u64(5);
        let mut deliveries = Vec::new();
        for id in 0..commands {
            for _ in 0..random.random_range(1..=5) {
                deliveries.push((id, random.random_bool(0.4)));
            }
        }
        // In an order of their own, so that commands overtake one another.
        for index in (1..deliveries.len()).rev() {
            deliveries.swap(index, random.random_range(0..=index));
        }
        let (mut heard, mut lost) = (Vec::new(), 0);
        for (id, is_lost) in &deliveries {
            let (id, log) = (*id, Arc::clone(&log));
            let asked = tokio::spawn(async move { (id, log.append(wish(id)).await.unwrap()) });
            if *is_lost {
                // Given up at whatever point it has reached: before, in or after the queue.
                tokio::task::yield_now().await;
                asked.abort();
                lost += 1;
            } else {
                heard.push(asked);
            }
        }
        let mut places: BTreeMap<u64, u64> = BTreeMap::new();
        let mut appended = 0;
        for asked in heard {
            let (id, answer) = asked.await.unwrap();
            appended += usize::from(matches!(answer, Appended::Appended { .. }));
            let first = *places.entry(id).or_insert(place_of(&answer));
            assert_eq!(place_of(&answer), first, "{name}: command {id}");
        }
        for id in 0..commands {
            let answer = log.append(wish(id)).await.unwrap();
            let first = *places.entry(id).or_insert(place_of(&answer));
            assert_eq!(place_of(&answer), first, "{name}: command {id}");
        }
        drop(log);
        let log = place.open(Arc::new(SetClock::new(1)));
        for (id, first) in &places {
            let again = log.append(wish(*id)).await.unwrap();
            let duplicate = Appended::Duplicate {
                first_position: *first,
                last_position: first + 1,
                stream: format!("s{}", id % 5),
            };
            assert_eq!(again, duplicate, "{name}");
        }
        let all = read_all(&*log, 1_000).await;
        assert_eq!(all.len() as u64, commands * 2, "{name}: each once");
        println!(
            "{name}: {commands} commands, {} deliveries, {lost} answers dropped, {appended} heard first",
            deliveries.len()
        );
    }
}
