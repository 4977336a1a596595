//! What a wrong clock does to a log: its times stand still until the clock is right again, and never
//! go back. Order is by position, whatever the times say.

use std::sync::Arc;

use cody_batch::store::Expected;

use crate::support::{SetClock, append, event, places, read_all};

const HOUR: i64 = 3_600 * 1_000_000;
const YEAR: i64 = 365 * 24 * HOUR;
const START: i64 = 1_790_000_000_000_000;

#[tokio::test]
async fn a_clock_that_jumps_or_stops_changes_no_order() {
    // What the clock shows at each append, and what the log makes of it.
    let shown_and_recorded = [
        (START, START),
        (START + 5, START + 5),
        (START + 5 - HOUR, START + 5),
        (START + 6 - HOUR, START + 5),
        (START + HOUR, START + HOUR),
        (START + HOUR + YEAR, START + HOUR + YEAR),
        (START + HOUR + 7, START + HOUR + YEAR),
        (0, START + HOUR + YEAR),
        (START + HOUR + YEAR + 1, START + HOUR + YEAR + 1),
    ];
    for (name, place) in places() {
        let (mut number, mut times) = (0u64, Vec::new());
        for reopened in 0..2 {
            let clock = Arc::new(SetClock::new(0));
            let log = place.open(Arc::<SetClock>::clone(&clock));
            for (shown, recorded) in shown_and_recorded {
                clock.set(shown);
                let stream = ["a", "b"][usize::try_from(number % 2).unwrap()];
                let events = vec![event(number), event(number + 1)];
                log.append(append(stream, Expected::Any, number.into(), events)).await.unwrap();
                let last = START + HOUR + YEAR + 1;
                times.extend([if reopened == 0 { recorded } else { last }; 2]);
                number += 2;
            }
            // Frozen: the clock shows the same for as long as anybody looks.
            for _ in 0..100 {
                log.append(append("a", Expected::Any, number.into(), vec![event(number)]))
                    .await
                    .unwrap();
                times.push(*times.last().unwrap());
                number += 1;
            }
        }
        let log = place.open(Arc::new(SetClock::new(START)));
        let all = read_all(&*log, 1_000).await;
        let told: Vec<i64> = all.iter().map(|e| e.recorded_at.0).collect();
        assert_eq!(told, times, "{name}");
        let facts: Vec<String> = all.into_iter().map(|e| e.facts).collect();
        let given: Vec<String> = (0..number).map(|number| event(number).facts).collect();
        assert_eq!(facts, given, "{name}: what was taken later stands later");
    }
}
