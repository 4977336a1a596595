//! Power cuts and disks that fail. `shim.c`, loaded into a child, writes down what the child asks of its
//! disk; [`disk`] rebuilds from that what a power cut may leave; and what was acknowledged before the
//! cut has to be there. A kill shows none of this: what a dead process wrote, the kernel still has.
//!
//! That the test would find a loss is tested too: with fewer syncs, or a disk that ignores them.

mod disk;
mod faults;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use cody_batch::clock::SystemClock;
use cody_batch::store::verify::Verdict;
use cody_batch::store::{Appended, Expected, Log, SqliteLog};
use cody_events::digest::Sha256;
use disk::{Disk, Syncs};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::children::{acknowledged, as_child, program};
use crate::support::{append, cases, event, event_with, open_sqlite, read_all};

/// The shim, compiled by the C compiler that SQLite was compiled with as well.
static SHIM: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let place = TempDir::new().unwrap();
    let library = place.path().join("shim.so");
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store_conformance/power_loss/shim.c");
    let compiled = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-pthread", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(compiled.success(), "cc could not compile {}", source.display());
    (place, library)
});

/// The child `name` on a disk that is watched.
fn watched(name: &str, directory: &Path, journal: &Path) -> Command {
    let mut command = program(name, directory, 0);
    command
        .env("CODY_DISK_FAULT", journal.with_file_name("fault"))
        .env("LD_PRELOAD", &SHIM.1)
        .env("CODY_DISK", directory)
        .env("CODY_DISK_JOURNAL", journal);
    command
}

/// What the command `id` puts into the log.
fn events_of(id: u64) -> Vec<cody_events::envelope::NewEvent> {
    let hashes = 1 + id % 60;
    let text: String =
        (0..hashes).map(|i| Sha256::of(&(id * 1_000 + i).to_be_bytes()).to_string()).collect();
    vec![event(id), event_with(id, &format!("\"{text}\"")), event(id)]
}

/// Appends 4 producers' commands, `from..to`, and writes each answer into `acks`.
async fn burst(log: &Arc<SqliteLog>, acks: &File, from: u64, to: u64) {
    let producers = (0..4).map(|producer| {
        let (log, mut acks) = (Arc::clone(log), acks.try_clone().unwrap());
        tokio::spawn(async move {
            for id in (from..to).filter(|id| id % 4 == producer) {
                let wish = append(&format!("s{}", id % 7), Expected::Any, id.into(), events_of(id));
                let Appended::Appended { first_position, .. } = log.append(wish).await.unwrap()
                else {
                    panic!("a new command is appended");
                };
                acks.write_all(format!("acked {id} {first_position}\n").as_bytes()).unwrap();
            }
        })
    });
    for producer in producers.collect::<Vec<_>>() {
        producer.await.unwrap();
    }
}

/// Waits until the WAL has been copied into the file, after which it begins anew.
async fn until_copied(directory: &Path, before: SystemTime) {
    let changed = || std::fs::metadata(directory.join("log.db")).unwrap().modified().unwrap();
    while changed() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs only as the child of another test"]
async fn child_appends_in_bursts() {
    let Some((directory, _)) = as_child() else { return };
    let acks = File::options().append(true).create(true).open(directory.join("acks")).unwrap();
    let mut id = 0;
    for _session in 0..2 {
        let log = Arc::new(open_sqlite(&directory, Arc::new(SystemClock)));
        for _burst in 0..4 {
            let path = directory.join("log.db");
            let before = std::fs::metadata(path).unwrap().modified().unwrap();
            burst(&log, &acks, id, id + 60).await;
            id += 60;
            until_copied(&directory, before).await;
        }
        burst(&log, &acks, id, id + 20).await;
        id += 20;
    }
}

/// The same tables and rows by SQLite alone, with a sync at a checkpoint only.
#[test]
#[ignore = "runs only as the child of another test"]
fn child_appends_without_syncs() {
    let Some((directory, _)) = as_child() else { return };
    drop(open_sqlite(&directory, Arc::new(SystemClock)));
    let mut acks = File::options().append(true).create(true).open(directory.join("acks")).unwrap();
    let connection = Connection::open(directory.join("log.db")).unwrap();
    connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
    for id in 0..200i64 {
        let row = "INSERT INTO events VALUES (?1, 's', ?1, ?2, ?2, 'paused', 1, 1, 1, 'ada', 'cli',
            NULL, NULL, '{}', NULL, NULL, zeroblob(32), zeroblob(32))";
        let uuid = u128::try_from(id).unwrap().to_be_bytes();
        connection.execute(row, rusqlite::params![id + 1, uuid]).unwrap();
        acks.write_all(format!("acked {id} {}\n", id + 1).as_bytes()).unwrap();
    }
}

/// Runs `child` to its end, then cuts the power `cuts` times at random points of what it did. `check`
/// looks at what each cut left, with what had been acknowledged by then.
fn cut_power(child: &str, syncs: Syncs, cuts: u32, mut check: impl FnMut(&Path, &[(u64, u64)])) {
    let place = TempDir::new().unwrap();
    let (directory, journal) = (place.path().join("data"), place.path().join("journal"));
    std::fs::create_dir(&directory).unwrap();
    let ended = watched(child, &directory, &journal).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    let records = disk::records(&journal);
    let begun = records.iter().filter(|record| record.begins_wal()).count();
    println!("{child}: {} things asked of the disk, the WAL begun {begun} times", records.len());
    let mut random = StdRng::seed_from_u64(11);
    let mut points: Vec<usize> =
        (0..cuts).map(|_| random.random_range(0..=records.len())).collect();
    points.sort_unstable();
    let mut points = points.into_iter().peekable();
    let mut disk = Disk::new(syncs);
    let count = records.len();
    let mut records = records.into_iter();
    for done in 0..=count {
        while points.next_if_eq(&done).is_some() {
            let left = TempDir::new().unwrap();
            disk.cut_power(left.path(), &mut random);
            let acked: Vec<_> = disk.acknowledged().lines().filter_map(acknowledged).collect();
            check(left.path(), &acked);
        }
        if let Some(record) = records.next() {
            disk.take(record);
        }
    }
}

/// Everything that was acknowledged is in the log in `directory`, which is whole and goes on.
async fn goes_on(directory: &Path, acked: &[(u64, u64)]) -> Result<u64, String> {
    let log = SqliteLog::open(
        directory,
        Arc::new(SystemClock),
        Arc::new(cody_batch::entropy::SystemEntropy),
    )
    .map_err(|error| format!("{error}: {error:?}"))?;
    let all = read_all(&log, 1_000).await;
    for (id, position) in acked {
        let first = usize::try_from(position - 1).unwrap();
        let three = all.get(first..first + 3).ok_or(format!("{id} at {position} is lost"))?;
        for (told, given) in std::iter::zip(three, events_of(*id)) {
            let is_it = told.command_id.0.as_u128() == u128::from(*id) && told.facts == given.facts;
            let payload = log.payload(told.position).await.map_err(|error| error.to_string())?;
            if !is_it || payload != given.payload {
                return Err(format!("{id} at {position} is another"));
            }
        }
    }
    let events = all.len() as u64;
    match log.verify().await {
        Ok(Verdict::Whole { events: found, .. }) if found == events => {}
        other => return Err(format!("{other:?}")),
    }
    let next = append("after", Expected::NoStream, 1 << 100, vec![event(0)]);
    match log.append(next).await {
        Ok(Appended::Appended { first_position, .. }) if first_position == events + 1 => Ok(events),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_answered() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut cuts, mut answered, mut unanswered) = (0u32, 0, 0);
    cut_power("power_loss::child_appends_in_bursts", Syncs::Obeyed, cases(60), |left, acked| {
        let events = runtime.block_on(goes_on(left, acked)).unwrap_or_else(|lost| {
            panic!("cut {cuts}, after {} answers: {lost}", acked.len());
        });
        cuts += 1;
        answered += acked.len();
        unanswered += events / 3 - acked.len() as u64;
    });
    println!(
        "{cuts} power cuts, {answered} answered commands looked for and found, \
         {unanswered} more were there unanswered"
    );
    assert!(answered > 0);
}

#[test]
fn a_disk_that_ignores_syncs_is_found_out() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut cuts, mut losses) = (0u32, 0u32);
    cut_power("power_loss::child_appends_in_bursts", Syncs::Ignored, 20, |left, acked| {
        cuts += 1;
        losses += u32::from(runtime.block_on(goes_on(left, acked)).is_err());
    });
    println!("syncs ignored: {losses} of {cuts} power cuts lost what was answered");
    assert!(losses > cuts / 2, "{losses} of {cuts}");
}

#[test]
fn a_log_without_a_sync_a_commit_is_found_out() {
    let (mut cuts, mut losses, mut lost) = (0u32, 0u32, 0);
    cut_power("power_loss::child_appends_without_syncs", Syncs::Obeyed, 60, |left, acked| {
        cuts += 1;
        let count = |connection: &Connection| {
            connection.query_row("SELECT COUNT(*) FROM events", [], |row| row.get::<_, i64>(0))
        };
        let there = Connection::open(left.join("log.db")).and_then(|c| count(&c)).unwrap_or(0);
        let missing = acked.len().saturating_sub(usize::try_from(there).unwrap());
        losses += u32::from(missing > 0);
        lost += missing;
    });
    println!("synchronous=NORMAL: {losses} of {cuts} power cuts lost {lost} answered commands");
    assert!(losses > cuts / 3, "{losses} of {cuts}");
}
