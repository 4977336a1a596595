//! Appends and reads: versions, conflicts, duplicates, keys, limits, order, and what survives.

use std::collections::BTreeSet;
use std::sync::Arc;

use cody_batch::store::{
    Append, Appended, Expected, Head, KEY_REUSED, LogError, UniqueKey, UsedKey,
};
use cody_events::digest::Sha256;
use cody_events::envelope::{Door, NewEvent, Recorded};
use cody_events::hash::{event_hash, log_hash};
use cody_events::ids::EventId;
use cody_events::time::Timestamp;
use uuid::Uuid;

use crate::support::{SetClock, append, command, event, event_with, logs, places, read_all};

/// A way to make another command of the same name.
type Change = fn(&mut Append);

const fn appended(first_position: u64, last_position: u64, last_version: u64) -> Appended {
    Appended::Appended { first_position, last_position, last_version }
}

#[tokio::test]
async fn an_append_happens_at_the_expected_version_or_not_at_all() {
    for (name, log, _place) in logs() {
        let steps = [
            (
                append("a", Expected::Exact(1), 1, vec![event(1)]),
                Appended::Conflict { actual_version: 0 },
            ),
            (append("a", Expected::NoStream, 2, vec![event(1), event(2)]), appended(1, 2, 2)),
            (
                append("a", Expected::NoStream, 3, vec![event(3)]),
                Appended::Conflict { actual_version: 2 },
            ),
            (
                append("a", Expected::Exact(1), 4, vec![event(3)]),
                Appended::Conflict { actual_version: 2 },
            ),
            (
                append("a", Expected::Exact(3), 5, vec![event(3)]),
                Appended::Conflict { actual_version: 2 },
            ),
            (append("b", Expected::Any, 6, vec![event(4)]), appended(3, 3, 1)),
            (append("a", Expected::Exact(2), 7, vec![event(5)]), appended(4, 4, 3)),
            (append("a", Expected::Any, 8, vec![event(6)]), appended(5, 5, 4)),
        ];
        for (step, answer) in steps {
            assert_eq!(log.append(step.clone()).await.unwrap(), answer, "{name} {step:?}");
        }
        let told: Vec<_> = read_all(&*log, 2)
            .await
            .into_iter()
            .map(|e| (e.position, e.stream, e.version, e.facts))
            .collect();
        let told: Vec<_> =
            told.iter().map(|(p, s, v, f)| (*p, s.as_str(), *v, f.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "a", 1, r#"{"number":1}"#),
                (2, "a", 2, r#"{"number":2}"#),
                (3, "b", 1, r#"{"number":4}"#),
                (4, "a", 3, r#"{"number":5}"#),
                (5, "a", 4, r#"{"number":6}"#),
            ],
            "{name}"
        );
    }
}

#[tokio::test]
async fn everything_that_was_given_is_given_back() {
    let full = Append {
        stream: "job-ü".to_owned(),
        expected: Expected::NoStream,
        command_id: command(5),
        actor: "grace \"the\" admiral\n".to_owned(),
        door: Door::Webhook,
        correlation_id: None,
        unique_key: None,
        events: vec![NewEvent {
            kind: "claude-turn".to_owned(),
            schema_version: 3,
            occurred_at: Timestamp(-5),
            facts: r#"{"ü":"\u0000", "n":1.50 }"#.to_owned(),
            payload: Some(br#"  {"b": 1.0,"a":"\u00fc"} "#.to_vec()),
            causation_id: Some(EventId(Uuid::from_u128(77))),
        }],
    };
    for (name, log, _place) in logs() {
        log.append(full.clone()).await.unwrap();
        let [told] = log.read_stream("job-ü", 1, 10).await.unwrap().try_into().unwrap();
        let given = &full.events[0];
        let expected = Recorded {
            position: 1,
            stream: full.stream.clone(),
            version: 1,
            event_id: EventId::derived(command(5), 0),
            command_id: command(5),
            kind: given.kind.clone(),
            schema_version: 3,
            recorded_at: Timestamp(1_000),
            occurred_at: Timestamp(-5),
            actor: full.actor.clone(),
            door: Door::Webhook,
            causation_id: given.causation_id,
            correlation_id: None,
            facts: given.facts.clone(),
            payload_len: Some(26),
            payload_commit: told.payload_commit,
            event_hash: told.event_hash,
            log_hash: told.log_hash,
        };
        assert_eq!(told, expected, "{name}");
        assert!(told.payload_commit.is_some());
        assert_eq!(log.payload(1).await.unwrap(), given.payload, "{name}");
        assert_eq!(log.find_event(told.event_id).await.unwrap(), Some(told), "{name}");
        assert_eq!(log.find_event(EventId(Uuid::nil())).await.unwrap(), None, "{name}");
        assert_eq!(log.payload(2).await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn payloads_of_every_size_come_back_byte_for_byte() {
    let noise = |length: usize| {
        // Hashes do not compress; a text of one letter does.
        let hashes = (0u64..).map(|i| Sha256::of(&i.to_be_bytes()).to_string());
        let text: String = hashes.take(length / 64 + 1).collect();
        format!("\"{}\"", &text[..length])
    };
    let sizes = [0, 1, 125, 126, 127, 4_000, 65_534, 65_535, 3_000_000];
    for (name, log, _place) in logs() {
        for (number, size) in (0u64..).zip(sizes) {
            let plain = format!("\"{}\"", "a".repeat(size));
            let events = vec![event_with(1, &plain), event(2), event_with(3, &noise(size))];
            log.append(append("a", Expected::Any, number.into(), events)).await.unwrap();
            let first = number * 3 + 1;
            assert_eq!(log.payload(first).await.unwrap(), Some(plain.into_bytes()), "{name}");
            assert_eq!(log.payload(first + 1).await.unwrap(), None, "{name}");
            assert_eq!(log.payload(first + 2).await.unwrap(), Some(noise(size).into()), "{name}");
        }
    }
}

#[tokio::test]
async fn a_command_sent_again_is_told_where_it_is() {
    let original = || append("a", Expected::NoStream, 1, vec![event(1), event_with(2, "[1]")]);
    let duplicate =
        Appended::Duplicate { first_position: 1, last_position: 2, stream: "a".to_owned() };
    let changes: [(&str, Change); 7] = [
        ("facts", |a| a.events[0] = event(9)),
        ("kind", |a| a.events[0].kind = "resumed".to_owned()),
        ("payload", |a| a.events[1] = event_with(2, "[2]")),
        ("a payload less", |a| a.events[1] = event(2)),
        ("a payload more", |a| a.events[0] = event_with(1, "[]")),
        ("an event less", |a| a.events.truncate(1)),
        ("an event more", |a| a.events.push(event(3))),
    ];
    for (name, log, _place) in logs() {
        assert_eq!(log.append(original()).await.unwrap(), appended(1, 2, 2), "{name}");
        // The stream has moved on; a command that is in the log is still no conflict.
        log.append(append("a", Expected::Exact(2), 2, vec![event(3)])).await.unwrap();
        for _ in 0..2 {
            assert_eq!(log.append(original()).await.unwrap(), duplicate, "{name}");
        }
        let mut later = original();
        later.events[0].occurred_at = Timestamp(99);
        later.expected = Expected::Exact(7);
        assert_eq!(log.append(later).await.unwrap(), duplicate, "{name}");
        for (what, change) in changes {
            let mut other = original();
            change(&mut other);
            let code = rejection(log.append(other).await);
            assert_eq!(code, "command-id-reused", "{name}: {what}");
        }
        let elsewhere = Append { stream: "b".to_owned(), ..original() };
        assert_eq!(rejection(log.append(elsewhere).await), "command-id-reused", "{name}");
        assert_eq!(log.head().await.unwrap().position, 3, "{name}");
    }
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_its_actor() {
    let keyed = |id: u128, actor: &str, request: &str| Append {
        unique_key: Some(UniqueKey {
            actor: actor.to_owned(),
            key: "k".to_owned(),
            request_digest: Sha256::of(request.as_bytes()),
        }),
        ..append(&format!("s{id}"), Expected::NoStream, id, vec![event(1), event(2)])
    };
    for (name, log, place) in logs() {
        assert_eq!(log.append(keyed(1, "ada", "x")).await.unwrap(), appended(1, 2, 2), "{name}");
        let first =
            Appended::Duplicate { first_position: 1, last_position: 2, stream: "s1".to_owned() };
        assert_eq!(log.append(keyed(2, "ada", "x")).await.unwrap(), first, "{name}");
        assert_eq!(rejection(log.append(keyed(3, "ada", "y")).await), "key-reused", "{name}");
        assert_eq!(log.append(keyed(4, "bob", "y")).await.unwrap(), appended(3, 4, 2), "{name}");
        // An append that did not happen does not use its key up.
        let mut conflict = keyed(5, "eve", "x");
        conflict.expected = Expected::Exact(1);
        let nothing = Appended::Conflict { actual_version: 0 };
        assert_eq!(log.append(conflict).await.unwrap(), nothing, "{name}");
        assert_eq!(log.append(keyed(6, "eve", "z")).await.unwrap(), appended(5, 6, 2), "{name}");
        drop(log);
        let log = place.open(Arc::new(SetClock::new(1)));
        assert_eq!(log.append(keyed(7, "ada", "x")).await.unwrap(), first, "{name}");
    }
}

#[tokio::test]
async fn a_key_may_be_used_for_nothing_and_is_used_then() {
    let keyed = |id: u128, request: &str, events: Vec<NewEvent>| Append {
        unique_key: Some(UniqueKey {
            actor: "ada".to_owned(),
            key: "k".to_owned(),
            request_digest: Sha256::of(request.as_bytes()),
        }),
        ..append("s", Expected::Any, id, events)
    };
    for (name, log, place) in logs() {
        log.append(append("s", Expected::Any, 1, vec![event(1)])).await.unwrap();
        log.append(append("t", Expected::Any, 2, vec![event(1), event(2)])).await.unwrap();
        let head = log.head().await.unwrap();
        // What decided that there is nothing to add has to have seen the stream as it is.
        let stale = Append { expected: Expected::Exact(9), ..keyed(3, "x", vec![]) };
        let conflict = Appended::Conflict { actual_version: 1 };
        assert_eq!(log.append(stale).await.unwrap(), conflict, "{name}");
        assert_eq!(log.find_key("ada", "k").await.unwrap(), None, "{name}");
        let nothing = Append { expected: Expected::Exact(1), ..keyed(3, "x", vec![]) };
        assert_eq!(log.append(nothing.clone()).await.unwrap(), appended(3, 3, 1), "{name}");
        let used = UsedKey {
            request_digest: Sha256::of(b"x"),
            stream: "s".to_owned(),
            first_position: 3,
            last_position: 3,
        };
        assert_eq!(log.find_key("ada", "k").await.unwrap(), Some(used.clone()), "{name}");
        log.append(append("t", Expected::Any, 4, vec![event(3)])).await.unwrap();
        let first =
            Appended::Duplicate { first_position: 3, last_position: 3, stream: "s".to_owned() };
        assert_eq!(log.append(nothing).await.unwrap(), first, "{name}");
        // Not even what would add something now does so, and another request is told that it is one.
        assert_eq!(log.append(keyed(5, "x", vec![event(2)])).await.unwrap(), first, "{name}");
        for events in [vec![], vec![event(2)]] {
            assert_eq!(rejection(log.append(keyed(6, "y", events)).await), KEY_REUSED, "{name}");
        }
        assert_eq!(log.head().await.unwrap().position, 4, "{name}");
        assert_eq!(read_all(&*log, 10).await[2].log_hash, head.log_hash, "{name}");
        drop(log);
        let log = place.open(Arc::new(SetClock::new(1)));
        assert_eq!(log.find_key("ada", "k").await.unwrap(), Some(used), "{name}");
    }
}

#[tokio::test]
async fn a_command_that_added_something_is_known_by_its_key_when_it_adds_nothing() {
    let keyed = |events: Vec<NewEvent>| Append {
        unique_key: Some(UniqueKey {
            actor: "ada".to_owned(),
            key: "k".to_owned(),
            request_digest: Sha256::of(b"x"),
        }),
        ..append("s", Expected::Any, 1, events)
    };
    for (name, log, _place) in logs() {
        let events = vec![event(1), event(2)];
        assert_eq!(log.append(keyed(events)).await.unwrap(), appended(1, 2, 2), "{name}");
        let first =
            Appended::Duplicate { first_position: 1, last_position: 2, stream: "s".to_owned() };
        assert_eq!(log.append(keyed(vec![])).await.unwrap(), first, "{name}");
    }
}

#[tokio::test]
async fn what_can_never_be_taken_is_refused_with_a_code() {
    let facts = |bytes: usize| NewEvent {
        facts: format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8)),
        ..event(0)
    };
    let many = |count: usize| (0..count).map(|_| event(0)).collect::<Vec<_>>();
    let with_facts = |text: &str| vec![NewEvent { facts: text.to_owned(), ..event(0) }];
    let cases = [
        ("event-count", many(0)),
        ("event-count", many(41)),
        ("facts-too-large", vec![event(0), facts(4097)]),
        ("facts-not-json", with_facts("")),
        ("facts-not-json", with_facts("[]")),
        ("facts-not-json", with_facts("{")),
        ("facts-not-json", with_facts("{}{}")),
        ("payload-not-json", vec![event_with(0, "")]),
        ("payload-not-json", vec![event_with(0, "{\"a\":")]),
        ("payload-not-json", vec![NewEvent { payload: Some(vec![b'"', 0xff, b'"']), ..event(0) }]),
        ("headers-too-large", (0..16).map(|_| facts(4096)).collect()),
    ];
    for (name, log, _place) in logs() {
        for (code, events) in &cases {
            let refused = log.append(append("a", Expected::Any, 1, events.clone())).await;
            assert_eq!(rejection(refused), *code, "{name} {}", events.len());
        }
        assert_eq!(log.head().await.unwrap(), Head { position: 0, log_hash: Sha256::ZERO });
        let most = append("a", Expected::Any, 1, many(40));
        assert_eq!(log.append(most).await.unwrap(), appended(1, 40, 40), "{name}");
        let largest = append("a", Expected::Any, 2, (0..15).map(|_| facts(4096)).collect());
        assert_eq!(log.append(largest).await.unwrap(), appended(41, 55, 55), "{name}");
    }
}

#[tokio::test]
async fn time_in_the_log_never_goes_back() {
    for (name, place) in places() {
        let clock = Arc::new(SetClock::new(50));
        let log = place.open(Arc::<SetClock>::clone(&clock));
        for (number, now) in (0u64..).zip([50, 70, 10, -3, 71]) {
            clock.set(now);
            log.append(append("a", Expected::Any, number.into(), vec![event(0)])).await.unwrap();
        }
        drop(log);
        let log = place.open(Arc::new(SetClock::new(60)));
        log.append(append("b", Expected::Any, 100, vec![event(0)])).await.unwrap();
        let times: Vec<i64> = read_all(&*log, 100).await.iter().map(|e| e.recorded_at.0).collect();
        assert_eq!(times, [50, 70, 70, 70, 71, 71], "{name}");
    }
}

#[tokio::test]
async fn both_chains_can_be_computed_from_what_is_read() {
    for (name, log, place) in logs() {
        for number in 0..60u64 {
            let stream = ["a", "b", "c"][usize::try_from(number * number % 3).unwrap()];
            let events = vec![event(number), event_with(number, "{}")];
            log.append(append(stream, Expected::Any, number.into(), events)).await.unwrap();
        }
        let head = log.head().await.unwrap();
        drop(log);
        let log = place.open(Arc::new(SetClock::new(1)));
        assert_eq!(log.head().await.unwrap(), head, "{name}");
        let mut streams = std::collections::BTreeMap::new();
        let mut before = Sha256::ZERO;
        for (position, told) in (1..).zip(read_all(&*log, 7).await) {
            let previous = streams.entry(told.stream.clone()).or_insert((0, Sha256::ZERO));
            assert_eq!((told.position, told.version), (position, previous.0 + 1), "{name}");
            assert_eq!(event_hash(&previous.1, &told), told.event_hash, "{name}");
            before = log_hash(&before, position, &told.event_hash);
            assert_eq!(told.log_hash, before, "{name}");
            *previous = (told.version, told.event_hash);
        }
        assert_eq!(before, head.log_hash, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_writers_on_one_stream_one_wins_each_version() {
    const WRITERS: u64 = 16;
    const EACH: u64 = 20;
    for (name, log, _place) in logs() {
        let writers = (0..WRITERS).map(|writer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let (mut version, mut won) = (0, Vec::new());
                for number in 0..EACH {
                    let number = writer * EACH + number;
                    loop {
                        let events = vec![event(number), event_with(number, "[]"), event(number)];
                        let expected = Expected::Exact(version);
                        let wish = append("one", expected, number.into(), events);
                        match log.append(wish).await.unwrap() {
                            Appended::Appended { first_position, last_version, .. } => {
                                won.push((first_position, number));
                                version = last_version;
                                break;
                            }
                            Appended::Conflict { actual_version } => {
                                assert!(actual_version > version);
                                version = actual_version;
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                }
                won
            })
        });
        let mut won = BTreeSet::new();
        for writer in writers.collect::<Vec<_>>() {
            won.extend(writer.await.unwrap());
        }
        let told: BTreeSet<(u64, u64)> = read_all(&*log, 1000)
            .await
            .chunks(3)
            .map(|three| {
                assert!(three.iter().all(|e| e.command_id == three[0].command_id), "{name}");
                assert_eq!(three[0].position, three[0].version, "{name}");
                (three[0].position, u64::try_from(three[0].command_id.0.as_u128()).unwrap())
            })
            .collect();
        assert_eq!(won, told, "{name}");
        assert_eq!(won.len() as u64, WRITERS * EACH, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_answered_sees_what_was_written() {
    for (name, log, _place) in logs() {
        let writers = (0..8u64).map(|writer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for number in 0..25u64 {
                    let id = u128::from(writer * 1_000 + number);
                    let stream = format!("s{writer}");
                    let wish = append(&stream, Expected::Exact(number), id, vec![event(number)]);
                    let Appended::Appended { last_position, .. } = log.append(wish).await.unwrap()
                    else {
                        panic!("nobody else writes this stream");
                    };
                    assert!(log.head().await.unwrap().position >= last_position);
                    let told = log.read_stream(&stream, number + 1, 10).await.unwrap();
                    assert_eq!(told.len(), 1);
                    assert_eq!(told[0].position, last_position);
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        assert_eq!(log.head().await.unwrap().position, 200, "{name}");
    }
}

/// The code of what must have been rejected.
pub fn rejection(answer: Result<Appended, LogError>) -> &'static str {
    match answer {
        Err(LogError::Rejected { code, .. }) => code,
        other => panic!("{other:?} is no rejection"),
    }
}
