//! What an append costs, next to what it cannot cost less than: one fdatasync of the same disk, and
//! the same rows put into the same tables by SQLite alone. All in one run, in turns, because a disk
//! is fast one minute and slow the next. `cargo bench --bench append` prints the table.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to tell")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::clock::SystemClock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::sqlite::FILE;
use cody_batch::store::{Append, Appended, Expected, Log, SqliteLog};
use cody_events::envelope::{Door, NewEvent};
use cody_events::ids::CommandId;
use cody_events::time::Timestamp;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use uuid::Uuid;

const ROUNDS: usize = 5;
const SINGLES: usize = 200;
const PRODUCERS: u64 = 64;
const EACH: u64 = 50;
/// Commands that the raw insert puts into one transaction: as many as the producers that wait.
const RAW_BATCH: u64 = 64;

/// What one round found.
#[derive(Debug, Default)]
struct Round {
    sync_p50: f64,
    single_p50: f64,
    single_p99: f64,
    group_per_second: f64,
    writer_micros: f64,
    raw_per_second: f64,
    raw_micros: f64,
    verify_per_second: f64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    for (name, payload) in [("1K", payload(1_000)), ("16K", payload(16_000))] {
        let rounds: Vec<Round> = (0..ROUNDS).map(|_| runtime.block_on(round(&payload))).collect();
        print(name, &rounds);
    }
}

fn print(name: &str, rounds: &[Round]) {
    let median = |value: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("\npayloads of {name}, median of {} rounds", rounds.len());
    println!("  fdatasync of 4 KiB, p50        {:>10.0} µs", median(|r| r.sync_p50));
    println!("  single append, p50             {:>10.0} µs", median(|r| r.single_p50));
    println!("  single append, p99             {:>10.0} µs", median(|r| r.single_p99));
    println!("  single / fdatasync             {:>10.2}", median(|r| r.single_p50 / r.sync_p50));
    println!(
        "  {PRODUCERS} producers                   {:>10.0} /s",
        median(|r| r.group_per_second)
    );
    println!("  raw SQLite, {RAW_BATCH} a commit        {:>10.0} /s", median(|r| r.raw_per_second));
    println!(
        "  producers / raw                {:>10.2}",
        median(|r| r.group_per_second / r.raw_per_second)
    );
    println!("  writer's CPU an event          {:>10.1} µs", median(|r| r.writer_micros));
    println!("  raw SQLite's CPU an event      {:>10.1} µs", median(|r| r.raw_micros));
    println!("  verify                         {:>10.0} /s", median(|r| r.verify_per_second));
}

async fn round(payload: &str) -> Round {
    let place = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut round = Round { sync_p50: sync(place.path()), ..Round::default() };
    let log: Arc<SqliteLog> = Arc::new(open(&place.path().join("log")));
    let mut singles = Vec::with_capacity(SINGLES);
    for number in 0..SINGLES as u64 {
        let wish = wish("single", number, payload);
        let start = Instant::now();
        append(&log, wish).await;
        singles.push(start.elapsed());
    }
    (round.single_p50, round.single_p99) = (part(&mut singles, 0.5), part(&mut singles, 0.99));
    let cpu = thread_cpu("log-writer");
    let start = Instant::now();
    let producers = (0..PRODUCERS).map(|producer| {
        let (log, payload) = (Arc::clone(&log), payload.to_owned());
        tokio::spawn(async move {
            let stream = format!("job-{producer}");
            for number in 0..EACH {
                let number = 1_000_000 * (producer + 1) + number;
                append(&log, wish(&stream, number, &payload)).await;
            }
        })
    });
    for producer in producers.collect::<Vec<_>>() {
        producer.await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
    let count = (PRODUCERS * EACH) as f64;
    round.group_per_second = count / start.elapsed().as_secs_f64();
    round.writer_micros = micros(thread_cpu("log-writer") - cpu) / count;
    let start = Instant::now();
    log.verify().await.unwrap();
    round.verify_per_second = (count + 200.0) / start.elapsed().as_secs_f64();
    drop(log);
    let (elapsed, cpu) = raw(&place.path().join("raw"), payload);
    round.raw_per_second = count / elapsed.as_secs_f64();
    round.raw_micros = micros(cpu) / count;
    round
}

fn open(dir: &Path) -> SqliteLog {
    SqliteLog::open(dir, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap()
}

/// The median time of writing 4 KiB at the end of a file, durably.
fn sync(dir: &Path) -> f64 {
    let mut file = File::create(dir.join("sync")).unwrap();
    let mut times = Vec::with_capacity(SINGLES);
    for _ in 0..SINGLES {
        let start = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(start.elapsed());
    }
    part(&mut times, 0.5)
}

/// The rows that the producers caused, put into the same tables by SQLite alone: same triggers and
/// indexes, no checks, no hashes, payloads packed before.
fn raw(dir: &Path, payload: &str) -> (Duration, Duration) {
    drop(open(dir));
    let mut connection = Connection::open(dir.join(FILE)).unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    let packed = zstd::bulk::compress(payload.as_bytes(), 3).unwrap();
    let (start, cpu) = (Instant::now(), own_cpu());
    for first in (0..PRODUCERS * EACH).step_by(usize::try_from(RAW_BATCH).unwrap()) {
        let transaction = connection.transaction().unwrap();
        for number in first..first + RAW_BATCH {
            let (stream, version) = (number % PRODUCERS, number / PRODUCERS + 1);
            let position = number.cast_signed() + 1;
            let id = Uuid::from_u128(u128::from(number) << 64 | 0xffff);
            transaction
                .prepare_cached(
                    "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?4, 'claude-turn', 1, 1, 1, 'converser',
                     'server', NULL, ?4, ?5, ?6, ?7, ?7, ?7)",
                )
                .unwrap()
                .execute(params![
                    position,
                    format!("job-{stream}"),
                    version.cast_signed(),
                    id.as_bytes(),
                    facts(number),
                    i64::try_from(payload.len()).unwrap(),
                    [7u8; 32]
                ])
                .unwrap();
            transaction
                .prepare_cached("INSERT INTO payloads VALUES (?1, 1, NULL, ?2, ?3)")
                .unwrap()
                .execute(params![position, [7u8; 16], packed])
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    (start.elapsed(), own_cpu() - cpu)
}

async fn append(log: &SqliteLog, wish: Append) {
    assert!(matches!(log.append(wish).await.unwrap(), Appended::Appended { .. }));
}

fn wish(stream: &str, number: u64, payload: &str) -> Append {
    Append {
        stream: stream.to_owned(),
        expected: Expected::Any,
        command_id: CommandId(Uuid::from_u128(number.into())),
        actor: "converser".to_owned(),
        door: Door::Server,
        correlation_id: Some(Uuid::from_u128(1)),
        unique_key: None,
        events: vec![NewEvent {
            kind: "claude-turn".to_owned(),
            schema_version: 1,
            occurred_at: Timestamp(0),
            facts: facts(number),
            payload: Some(payload.as_bytes().to_vec()),
            causation_id: None,
        }],
    }
}

fn facts(number: u64) -> String {
    format!(
        r#"{{"target":1,"thread":1,"turn":{number},"stop_reason":"tool_use","input_tokens":{number},"output_tokens":812,"cost_micros":12345,"ms":4321}}"#
    )
}

/// JSON that packs about as well as a turn does.
fn payload(bytes: usize) -> String {
    let words = (0u64..).map(|i| format!("word{} {:x} ", i % 97, i * 2_654_435_761));
    let mut text = String::new();
    for word in words {
        text.push_str(&word);
        if text.len() >= bytes {
            break;
        }
    }
    format!(r#"{{"text":"{}"}}"#, &text[..bytes])
}

/// The time below which `share` of `times` lie, in microseconds.
fn part(times: &mut [Duration], share: f64) -> f64 {
    times.sort();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below a few hundred"
    )]
    let index = ((times.len() - 1) as f64 * share) as usize;
    micros(times[index])
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The processor time of the thread with this name, or of none.
fn thread_cpu(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    tasks.into_iter().filter(named).map(|task| cpu_of(&task)).sum()
}

fn own_cpu() -> Duration {
    cpu_of(Path::new("/proc/thread-self"))
}

fn cpu_of(task: &Path) -> Duration {
    let text = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
