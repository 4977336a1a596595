//! What an append costs, next to what it cannot cost less than: one fdatasync of the same disk, and
//! the same rows put into the same tables by SQLite alone. All in one run, in turns, because a disk
//! is fast one minute and slow the next. `cargo bench --bench append` prints the table.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to tell")]

mod measure;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::clock::SystemClock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::sqlite::FILE;
use cody_batch::store::verify::Verdict;
use cody_batch::store::{Append, Appended, Expected, Log, SqliteLog};
use cody_events::envelope::{Door, NewEvent};
use cody_events::ids::{CommandId, EventId};
use cody_events::time::Timestamp;
use measure::{
    median, micros, number, own_cpu, print, print_at_least, print_at_most, print_load, process_cpu,
    thread_cpu,
};
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

const ROUNDS: usize = 7;
const SINGLES: usize = 200;
const PRODUCERS: u64 = 64;
/// Producers whose commands share commits of about a hundred.
const MANY: u64 = 100;
const EACH: u64 = 60;

/// What one round found, in microseconds or a second.
#[derive(Debug, Default)]
struct Round {
    sync_p50: f64,
    raw_single_p50: f64,
    single_p50: f64,
    single_p99: f64,
    group_per_second: f64,
    raw_per_second: f64,
    raw_micros: f64,
    writer_micros: f64,
    askers_micros: f64,
    zstd_micros: f64,
    verify_micros: f64,
    integrity_micros: f64,
    hash_micros: f64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (name, payload, cpu_aim) in [("1K", payload(1_000), 16.0), ("16K", payload(16_000), 42.0)] {
        print_load();
        let rounds: Vec<Round> = (0..ROUNDS).map(|_| runtime.block_on(round(&payload))).collect();
        print_table(name, &rounds, cpu_aim);
    }
    print_load();
}

fn print_table(name: &str, rounds: &[Round], cpu_aim: f64) {
    let of = |value: fn(&Round) -> f64| median(rounds, value);
    println!("\npayloads of {name}, medians of {} interleaved rounds", rounds.len());
    let sync = of(|r| r.sync_p50);
    print("fdatasync of 4 KiB, p50", sync, "µs");
    print("SQLite alone, one a commit, p50", of(|r| r.raw_single_p50), "µs");
    print_at_most("single append, p50", of(|r| r.single_p50), "µs", 1.4 * sync + 30.0);
    print("single append, p99", of(|r| r.single_p99), "µs");
    print("single append / SQLite alone", of(|r| r.single_p50 / r.raw_single_p50), "");
    print(&format!("{PRODUCERS} producers"), of(|r| r.group_per_second), "/s");
    print(&format!("SQLite alone, {PRODUCERS} a commit"), of(|r| r.raw_per_second), "/s");
    print_at_least(
        "producers / SQLite alone",
        of(|r| r.group_per_second / r.raw_per_second),
        "",
        0.8,
    );
    let gain = of(|r| r.group_per_second * r.single_p50 / 1e6);
    match sync < 1_000.0 {
        true => print("producers / single (aim 40 from 1 ms a sync on)", gain, ""),
        false => print_at_least("producers / single", gain, "", 40.0),
    }
    print("SQLite alone, CPU an event", of(|r| r.raw_micros), "µs");
    print_at_most(
        &format!("writer's CPU an event, {MANY} producers"),
        of(|r| r.writer_micros),
        "µs",
        cpu_aim,
    );
    print("askers' CPU an event (checks, commitment, zstd)", of(|r| r.askers_micros), "µs");
    print("of which zstd", of(|r| r.zstd_micros), "µs");
    print("verify, CPU an event", of(|r| r.verify_micros), "µs");
    print("reading and hashing the same bytes, CPU an event", of(|r| r.hash_micros), "µs");
    print("integrity_check, which verify does as well", of(|r| r.integrity_micros), "µs");
    let hashing = of(|r| r.hash_micros / (r.verify_micros - r.integrity_micros));
    print_at_least("reading and hashing / verify without that", hashing, "", 0.85);
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
    let mut raw = Raw::open(&place.path().join("raw"), payload);
    round.raw_single_p50 = raw.singles();
    let start = Instant::now();
    produce(&log, PRODUCERS, payload).await;
    round.group_per_second = number(PRODUCERS * EACH) / start.elapsed().as_secs_f64();
    let (start, cpu) = (Instant::now(), own_cpu());
    raw.groups();
    round.raw_per_second = number(PRODUCERS * EACH) / start.elapsed().as_secs_f64();
    round.raw_micros = micros(own_cpu() - cpu) / number(PRODUCERS * EACH);
    let (writer, all) = (thread_cpu("log-writer"), process_cpu());
    produce(&log, MANY, payload).await;
    let writer = thread_cpu("log-writer") - writer;
    round.writer_micros = micros(writer) / number(MANY * EACH);
    round.askers_micros = micros(process_cpu() - all - writer) / number(MANY * EACH);
    round.zstd_micros = zstd_cpu(payload);
    let (events, cpu) = (log.head().await.unwrap().position, process_cpu());
    assert!(matches!(log.verify().await.unwrap(), Verdict::Whole { .. }));
    round.verify_micros = micros(process_cpu() - cpu) / number(events);
    round.integrity_micros = micros(integrity(&place.path().join("log"))) / number(events);
    round.hash_micros = micros(hash_all(&place.path().join("log"))) / number(events);
    round
}

/// Appends [`EACH`] events for each of `producers` at the same time.
async fn produce(log: &Arc<SqliteLog>, producers: u64, payload: &str) {
    let tasks = (0..producers).map(|producer| {
        let (log, payload) = (Arc::clone(log), payload.to_owned());
        tokio::spawn(async move {
            let stream = format!("job-{producers}-{producer}");
            for number in 0..EACH {
                let number = 1_000_000 * (producers * 1_000 + producer) + number;
                append(&log, wish(&stream, number, &payload)).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// What packing `payload` costs.
fn zstd_cpu(payload: &str) -> f64 {
    const TIMES: u64 = 2_000;
    let mut packer = zstd::bulk::Compressor::new(3).unwrap();
    let cpu = own_cpu();
    for _ in 0..TIMES {
        packer.compress(payload.as_bytes()).unwrap();
    }
    micros(own_cpu() - cpu) / number(TIMES)
}

fn integrity(dir: &Path) -> Duration {
    let connection = Connection::open(dir.join(FILE)).unwrap();
    let cpu = own_cpu();
    connection.query_row("PRAGMA integrity_check(1)", [], |_| Ok(())).unwrap();
    own_cpu() - cpu
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The time it takes to read every row in `dir`, unpack every payload, and hash what the three hashes
/// of an event cover: what a verifier cannot do without.
fn hash_all(dir: &Path) -> Duration {
    let connection = Connection::open(dir.join(FILE)).unwrap();
    let mut unpacker = zstd::bulk::Decompressor::new().unwrap();
    let cpu = own_cpu();
    let mut statement = connection
        .prepare(
            "SELECT e.*, p.salt, p.bytes FROM events e JOIN payloads p ON p.position = e.position
             ORDER BY e.position",
        )
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    let (mut stream, mut log) = ([0; 32], [0; 32]);
    while let Some(row) = rows.next().unwrap() {
        let bytes = |column: usize| row.get_ref(column).unwrap().as_bytes().unwrap_or(&[]);
        let plain = unpacker.decompress(bytes(19), 20_000).unwrap();
        let commit = digest(&[bytes(18), &plain]);
        let header: Vec<&[u8]> = [1, 3, 4, 5, 9, 10, 13]
            .into_iter()
            .map(bytes)
            .chain([&stream[..], &[0; 96], &commit])
            .collect();
        stream = digest(&header);
        log = digest(&[&log, &stream, &[0; 24]]);
    }
    std::hint::black_box(log);
    own_cpu() - cpu
}

/// The same rows in the same tables, with their triggers and indexes, by SQLite alone: no checks, no
/// hashes, payloads packed before.
struct Raw {
    connection: Connection,
    packed: Vec<u8>,
    length: i64,
    rows: u64,
    versions: BTreeMap<String, i64>,
}

impl Raw {
    fn open(dir: &Path, payload: &str) -> Self {
        drop(open(dir));
        let connection = Connection::open(dir.join(FILE)).unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        Self {
            connection,
            packed: zstd::bulk::compress(payload.as_bytes(), 3).unwrap(),
            length: i64::try_from(payload.len()).unwrap(),
            rows: 0,
            versions: BTreeMap::new(),
        }
    }

    fn singles(&mut self) -> f64 {
        let mut times = Vec::with_capacity(SINGLES);
        for _ in 0..SINGLES {
            let start = Instant::now();
            self.insert("single");
            times.push(start.elapsed());
        }
        part(&mut times, 0.5)
    }

    /// What the producers append, in as many commits.
    fn groups(&mut self) {
        for _ in 0..EACH {
            self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            for producer in 0..PRODUCERS {
                self.insert(&format!("job-{producer}"));
            }
            self.connection.execute_batch("COMMIT").unwrap();
        }
    }

    fn insert(&mut self, stream: &str) {
        let alone = self.connection.is_autocommit();
        if alone {
            self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        self.rows += 1;
        let version = self.versions.entry(stream.to_owned()).or_default();
        *version += 1;
        let command = CommandId(Uuid::from_u128(self.rows.into()));
        // An id as the log's: in no order, so that the index is met anywhere.
        let id = EventId::derived(command, 0);
        self.connection
            .prepare_cached(
                "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, 'claude-turn', 1, 1, 1, 'converser',
                 'server', NULL, ?5, ?6, ?7, ?8, ?8, ?8)",
            )
            .unwrap()
            .execute(params![
                self.rows.cast_signed(),
                stream,
                *version,
                id.0.as_bytes(),
                command.0.as_bytes(),
                facts(self.rows),
                self.length,
                [7u8; 32]
            ])
            .unwrap();
        self.connection
            .prepare_cached("INSERT INTO payloads VALUES (?1, 1, NULL, ?2, ?3)")
            .unwrap()
            .execute(params![self.rows.cast_signed(), [7u8; 16], self.packed])
            .unwrap();
        if alone {
            self.connection.execute_batch("COMMIT").unwrap();
        }
    }
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
