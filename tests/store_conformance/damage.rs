//! What must not happen to a log's file, and is refused or found: foreign statements, flipped
//! bytes, payloads that vanish. A second verifier, which shares no line with ours, agrees.

use std::path::Path;
use std::process::Command;

use cody_batch::store::verify::Verdict;
use cody_batch::store::{Expected, Log, SqliteLog};
use cody_events::envelope::{NewEvent, Recorded};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rusqlite::Connection;

use crate::support::{Directory, append, cases, event, event_with, read_all};

/// A log of twelve events in three streams, five of them with a payload, closed.
async fn written() -> Directory {
    let directory = Directory::new();
    let log = directory.sqlite();
    for number in 0..4u64 {
        let stream = ["job-x", "job-y"][usize::from(number % 2 == 1)];
        let long = format!(r#"{{"text":"{}"}}"#, "the payload packed ".repeat(40 + 1));
        let events = vec![event(number * 10), event_with(number * 10 + 1, &long)];
        log.append(append(stream, Expected::Any, number.into(), events)).await.unwrap();
    }
    let plain = vec![event(90), event_with(91, r#"{"text":"plain payload"}"#)];
    log.append(append("system", Expected::Any, 8, plain)).await.unwrap();
    log.append(append("system", Expected::Any, 9, vec![event(92), event(93)])).await.unwrap();
    directory
}

fn file(directory: &Directory) -> std::path::PathBuf {
    directory.path().join("log.db")
}

/// A connection without any of the settings that ours have, as an outsider would open it.
fn outsider(directory: &Directory) -> Connection {
    Connection::open(file(directory)).unwrap()
}

async fn verdict(path: &Path) -> Verdict {
    SqliteLog::open_to_read(path).unwrap().verify().await.unwrap()
}

#[tokio::test]
async fn statements_that_would_change_the_past_are_refused() {
    let directory = written().await;
    let columns = "position, stream, version, event_id, command_id, type, schema_version,
        recorded_at, occurred_at, actor, door, facts, event_hash, log_hash";
    let row = |position: &str, version: u64, id: &str| {
        format!(
            "({position}, 'job-x', {version}, {id}, x'00', 'paused', 1, 1, 1, 'a', 'cli', '{{}}',
             zeroblob(32), zeroblob(32))"
        )
    };
    let taken = "(SELECT event_id FROM events WHERE position = 1)";
    let new = "randomblob(16)";
    let mut refused: Vec<String> = [
        "UPDATE events SET facts = '{}'",
        "UPDATE OR REPLACE events SET position = 2 WHERE position = 1",
        "UPDATE OR IGNORE events SET actor = 'eve' WHERE position = 3",
        "UPDATE events SET rowid = 100 WHERE rowid = 12",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 12",
        "UPDATE payloads SET bytes = x'00'",
        "UPDATE OR REPLACE payloads SET position = 2 WHERE position = 4",
        "DELETE FROM payloads",
        "DELETE FROM payloads WHERE position = 2",
        "INSERT INTO payloads VALUES (2, 0, NULL, zeroblob(16), x'00')",
        "INSERT OR REPLACE INTO payloads VALUES (2, 0, NULL, zeroblob(16), x'00')",
        "REPLACE INTO payloads VALUES (2, 0, NULL, zeroblob(16), x'00')",
        "INSERT INTO payloads VALUES (2, 0, NULL, zeroblob(16), x'00')
         ON CONFLICT DO UPDATE SET bytes = x'00'",
        "INSERT INTO payloads VALUES (1, 0, NULL, zeroblob(16), x'00')",
        "INSERT INTO payloads VALUES (12, 0, NULL, zeroblob(16), x'00')",
        "INSERT INTO payloads VALUES (13, 0, NULL, zeroblob(16), x'00')",
    ]
    .map(str::to_owned)
    .to_vec();
    let rows = [
        row("1", 5, new),
        row("12", 5, new),
        row("14", 5, new),
        row("NULL", 5, new),
        row("-1", 5, new),
        row("13", 4, new),
        row("13", 6, new),
        row("13", 1, new),
        row("13", 5, taken),
        row("1", 1, taken),
    ];
    for row in &rows {
        for verb in ["INSERT", "INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL"]
        {
            refused.push(format!("{verb} INTO events ({columns}) VALUES {row}"));
        }
        for action in ["NOTHING", "UPDATE SET facts = '{}'"] {
            let insert = format!("INSERT INTO events ({columns}) VALUES {row}");
            refused.push(format!("{insert} ON CONFLICT DO {action}"));
        }
    }
    let before = verdict(directory.path()).await;
    for recursive in ["PRAGMA recursive_triggers = OFF", "PRAGMA recursive_triggers = ON"] {
        let connection = outsider(&directory);
        connection.execute_batch(recursive).unwrap();
        for statement in &refused {
            let answer = connection.execute(statement, []);
            assert!(answer.is_err(), "{statement} gave {answer:?}");
        }
        // The same row in its place is taken: it was the place that was refused, not the row.
        let good = format!("INSERT INTO events ({columns}) VALUES {}", row("13", 5, new));
        connection.execute_batch(&format!("BEGIN; {good}; ROLLBACK")).unwrap();
    }
    assert_eq!(verdict(directory.path()).await, before);
}

#[tokio::test]
async fn a_payload_goes_only_after_an_event_that_names_it() {
    let directory = written().await;
    let delete = "DELETE FROM payloads WHERE position = 4";
    assert!(outsider(&directory).execute(delete, []).is_err());
    let log = directory.sqlite();
    let redacted = NewEvent {
        kind: "payload-redacted".to_owned(),
        facts: r#"{"position":4,"by":"person"}"#.to_owned(),
        ..event(0)
    };
    log.append(append("job-y", Expected::Any, 100, vec![redacted])).await.unwrap();
    drop(log);
    assert_eq!(outsider(&directory).execute(delete, []).unwrap(), 1);
    assert!(outsider(&directory).execute("DELETE FROM payloads WHERE position = 2", []).is_err());
    let back = "INSERT INTO payloads VALUES (4, 0, NULL, zeroblob(16), x'00')";
    assert!(outsider(&directory).execute(back, []).is_err());
    let log = directory.sqlite();
    assert_eq!(log.payload(4).await.unwrap(), None);
    let head = log.head().await.unwrap();
    let whole =
        Verdict::Whole { events: 13, payloads: 4, removed_payloads: 1, log_hash: head.log_hash };
    assert_eq!(log.verify().await.unwrap(), whole);
    drop(log);
    assert_eq!(second_verifier(&directory), (true, format!("whole 13 4 {}", head.log_hash)));
}

#[tokio::test]
async fn what_an_owner_of_the_file_changes_is_found_where_it_is() {
    let changes = [
        (3, "UPDATE events SET facts = '{\"number\":11}' WHERE position = 3"),
        (3, "UPDATE events SET actor = 'eve' WHERE position = 3"),
        (5, "UPDATE events SET recorded_at = 0 WHERE position = 5"),
        (5, "UPDATE events SET occurred_at = occurred_at + 1 WHERE position = 5"),
        (5, "UPDATE events SET correlation_id = NULL WHERE position = 5"),
        (5, "UPDATE events SET door = 'somewhere' WHERE position = 5"),
        (5, "UPDATE events SET event_hash = zeroblob(32) WHERE position = 5"),
        (5, "UPDATE events SET log_hash = zeroblob(32) WHERE position = 5"),
        (
            4,
            "UPDATE payloads SET bytes = (SELECT bytes FROM payloads WHERE position = 10)
             WHERE position = 4",
        ),
        (4, "UPDATE payloads SET salt = zeroblob(16) WHERE position = 4"),
        (4, "UPDATE payloads SET salt = zeroblob(15) WHERE position = 4"),
        (4, "UPDATE payloads SET codec = 0 WHERE position = 4"),
        (4, "UPDATE payloads SET codec = 9 WHERE position = 4"),
        (4, "DELETE FROM payloads WHERE position = 4"),
        (3, "INSERT INTO payloads VALUES (3, 0, NULL, zeroblob(16), x'00')"),
        (0, "INSERT INTO payloads VALUES (99, 0, NULL, zeroblob(16), x'00')"),
        (4, "UPDATE events SET payload_commit = NULL WHERE position = 4"),
        (4, "UPDATE events SET payload_len = payload_len + 1 WHERE position = 4"),
        (7, "DELETE FROM events WHERE position = 7"),
        (1, "DELETE FROM events WHERE position = 1"),
        (
            3,
            "UPDATE events SET position = -position WHERE position IN (3, 4);
             UPDATE events SET position = 7 + position WHERE position < 0",
        ),
    ];
    for (position, change) in changes {
        let directory = written().await;
        let connection = outsider(&directory);
        let triggers: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for trigger in triggers {
            connection.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        connection.execute_batch(change).unwrap();
        drop(connection);
        match verdict(directory.path()).await {
            Verdict::Broken { position: found, .. } => assert_eq!(found, position, "{change}"),
            whole => panic!("{change}: {whole:?}"),
        }
        let (is_whole, told) = second_verifier(&directory);
        assert!(!is_whole, "{change}: {told}");
        assert!(told.starts_with(&format!("position {position}")), "{change}: {told}");
    }
}

/// Whatever byte of the file flips, either that is told, or all that can be read is as it was.
#[tokio::test]
async fn a_flipped_byte_is_found_or_lies_where_nothing_is() {
    let directory = written().await;
    let bytes = std::fs::read(file(&directory)).unwrap();
    let expected = everything(&directory.sqlite()).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut found = 0;
    let copy = Directory::new();
    let mut places: Vec<usize> =
        (0..cases(400)).map(|_| random.random_range(0..bytes.len())).collect();
    // Where we know what lies there, a flip has to be found.
    let known: Vec<usize> =
        [&br#"{"number":20}"#[..], b"plain payload", &expected[6].0.event_hash.0]
            .into_iter()
            .flat_map(|text| places_of(&bytes, text))
            .collect();
    assert!(known.len() >= 3);
    places.extend(&known);
    for place in places {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << random.random_range(0..8);
        std::fs::write(file(&copy), flipped).unwrap();
        let Ok(log) = SqliteLog::open_to_read(copy.path()) else {
            found += 1;
            continue;
        };
        match log.verify().await {
            Ok(Verdict::Whole { .. }) => {
                assert_eq!(everything(&log).await, expected, "byte {place}");
                assert!(!known.contains(&place), "byte {place}");
            }
            Ok(Verdict::Broken { .. }) | Err(_) => found += 1,
        }
    }
    assert!(found > known.len(), "only {found} flips lay where something is");
}

fn places_of(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    let found = bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text);
    found.flat_map(|(at, _)| [at, at + text.len() / 2]).collect()
}

/// All that can be read from a log, by each of the ways there are.
async fn everything(log: &SqliteLog) -> Vec<(Recorded, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for event in read_all(log, 5).await {
        let by_stream = log.read_stream(&event.stream, event.version, 1).await.unwrap();
        let by_id = log.find_event(event.event_id).await.unwrap();
        assert_eq!((by_stream.first(), by_id.as_ref()), (Some(&event), Some(&event)));
        let payload = log.payload(event.position).await.unwrap();
        all.push((event, payload));
    }
    all
}

#[tokio::test]
async fn a_second_verifier_written_from_the_document_agrees() {
    let directory = written().await;
    let log = SqliteLog::open_to_read(directory.path()).unwrap();
    let head = log.head().await.unwrap();
    let whole =
        Verdict::Whole { events: 12, payloads: 5, removed_payloads: 0, log_hash: head.log_hash };
    assert_eq!(log.verify().await.unwrap(), whole);
    assert_eq!(second_verifier(&directory), (true, format!("whole 12 5 {}", head.log_hash)));
}

/// Whether `tests/verify_log.py` found nothing wrong, and what it says.
fn second_verifier(directory: &Directory) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_log.py");
    let output = Command::new("python3").arg(script).arg(file(directory)).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!told.is_empty(), "the second verifier failed: {errors}");
    (output.status.success(), told.trim().to_owned())
}
