//! Disks and directories that take nothing more, as the kernel has them: a limit on a file's size, a
//! small disk, a directory that may not be written. A clear error, nothing answered is lost, and the
//! same open log goes on once it can.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cody_batch::clock::SystemClock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::side::{PackRow, SideTables as _};
use cody_batch::store::sqlite::OpenError;
use cody_batch::store::verify::Verdict;
use cody_batch::store::{Appended, Expected, Log, LogError, SqliteLog};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::time::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::children::{acknowledge, acknowledged, as_child, program, say, start};
use crate::support::{Directory, append, event, event_with, open_sqlite, read_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs only as the child of another test"]
async fn child_runs_out_of_disk() {
    let Some((directory, first_id)) = as_child() else { return };
    let log = open_sqlite(&directory, Arc::new(SystemClock));
    let payload = format!("\"{}\"", "0123456789".repeat(20_000));
    let all = getrlimit(Resource::Fsize);
    let mut id = first_id;
    for _ in 0..3 {
        let size = std::fs::metadata(directory.join("log.db-wal")).map_or(0, |file| file.len());
        limit(size + 300_000, all);
        let mut refusals = 0;
        while refusals < 3 {
            id += 1;
            let mut events = vec![event(id), event_with(id, &noise(id)), event(id)];
            events[2].payload = Some(payload.clone().into_bytes());
            // What fails for a side table must not leave its batch without a transaction.
            let wish = append("s", Expected::Any, id.into(), events);
            let pack = PackRow { bytes: id, ..pack(&payload) };
            match tokio::join!(log.put_pack(pack), log.append(wish)).1 {
                Ok(Appended::Appended { first_position, .. }) => acknowledge(id, first_position),
                Err(LogError::Unavailable(_)) => refusals += 1,
                other => panic!("{other:?}"),
            }
            assert!(log.head().await.is_ok(), "what is there can still be read");
        }
        // There is room again: the same log goes on, without being opened anew.
        limit(u64::MAX, all);
        id += 1;
        match log.append(append("s", Expected::Any, id.into(), vec![event(id); 3])).await {
            Ok(Appended::Appended { first_position, .. }) => acknowledge(id, first_position),
            other => panic!("{other:?}"),
        }
    }
    say("done");
}

fn limit(bytes: u64, all: Rlimit) {
    let current = if bytes == u64::MAX { all.current } else { Some(bytes) };
    setrlimit(Resource::Fsize, Rlimit { current, ..all }).unwrap();
}

fn pack(repository: &str) -> PackRow {
    PackRow {
        repository: repository.to_owned(),
        base_commit: ObjectId::ZERO,
        pack_hash: Sha256::ZERO,
        bytes: 0,
        last_used_at: Timestamp(0),
    }
}

/// JSON that does not get shorter by packing.
fn noise(seed: u64) -> String {
    let hash = |i: u64| Sha256::of(&(seed * 1_000 + i).to_be_bytes());
    let hashes: String = (0..300).map(|i| hash(i).to_string()).collect();
    format!("\"{hashes}\"")
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_without_losing_anything() {
    let directory = Directory::new();
    let child = start("no_room::child_runs_out_of_disk", directory.path(), 0);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.lines().any(|line| line == "done"), "{told}");
    let acked: Vec<_> = told.lines().filter_map(acknowledged).collect();
    assert!(acked.len() > 3, "{told}");
    let log = SqliteLog::open_to_read(directory.path()).unwrap();
    let all = read_all(&log, 1_000).await;
    let found: Vec<_> = all
        .chunks(3)
        .map(|three| (u64::try_from(three[0].command_id.0.as_u128()).unwrap(), three[0].position))
        .collect();
    assert_eq!(found, acked);
    assert!(matches!(log.verify().await.unwrap(), Verdict::Whole { .. }));
}

/// A small disk of its own, gone when it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Nothing if we may not mount one here.
    fn mount() -> Option<Self> {
        let place = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "none"])
            .arg(place.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

#[tokio::test]
async fn a_small_disk_fills_up_and_is_emptied_again() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: no small disk can be mounted here");
        return;
    };
    let (directory, ballast) = (disk.0.path().join("data"), disk.0.path().join("ballast"));
    let log = open_sqlite(&directory, Arc::new(SystemClock));
    let (mut id, mut acked, mut refused) = (0, Vec::new(), 0);
    for round in 0..3usize {
        // Whatever there is room for is taken; then somebody makes room.
        std::fs::write(&ballast, vec![0; 900_000 - round * 200_000]).unwrap();
        loop {
            id += 1;
            let wish = append("s", Expected::Any, id.into(), vec![event_with(id, &noise(id))]);
            match log.append(wish).await {
                Ok(Appended::Appended { first_position, .. }) => acked.push((id, first_position)),
                Err(LogError::Unavailable(told)) => {
                    assert!(told.contains("make room on the disk"), "{told}");
                    refused += 1;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(log.head().await.unwrap().position, acked.len() as u64, "round {round}");
        std::fs::remove_file(&ballast).unwrap();
        id += 1;
        let wish = append("s", Expected::Any, id.into(), vec![event(id)]);
        let Ok(Appended::Appended { first_position, .. }) = log.append(wish).await else {
            panic!("there is room again");
        };
        acked.push((id, first_position));
    }
    let found: Vec<_> = read_all(&log, 1_000)
        .await
        .into_iter()
        .map(|e| (u64::try_from(e.command_id.0.as_u128()).unwrap(), e.position))
        .collect();
    assert_eq!(found, acked);
    assert!(matches!(log.verify().await.unwrap(), Verdict::Whole { .. }));
    println!("a disk of 3 MiB: {} answered and found, {refused} refused", acked.len());
}

#[tokio::test]
#[ignore = "runs only as the child of another test"]
async fn child_meets_a_directory_that_may_not_be_written() {
    let Some((place, _)) = as_child() else { return };
    let open = |dir: &Path| SqliteLog::open(dir, Arc::new(SystemClock), Arc::new(SystemEntropy));
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Nothing is there yet, and nothing can be made.
    let (dir, id) = (place.join("data"), std::cell::Cell::new(0u64));
    std::fs::create_dir(&dir).unwrap();
    mode(&dir, 0o555);
    let told = open(&dir).unwrap_err();
    assert!(matches!(told, OpenError::Lock(_)), "{told:?}");
    assert!(told.to_string().contains("may be written"), "{told}");
    say(&format!("told: {told}"));
    mode(&dir, 0o700);
    let add = async |log: &SqliteLog| {
        id.set(id.get() + 1);
        let wish = append("s", Expected::Any, id.get().into(), vec![event(id.get())]);
        match log.append(wish).await {
            Ok(Appended::Appended { first_position, .. }) => assert_eq!(first_position, id.get()),
            other => panic!("{other:?}"),
        }
    };
    let log = open(&dir).unwrap();
    add(&log).await;
    // The directory closes under a log that is open: its files are, too, and it goes on.
    mode(&dir, 0o555);
    add(&log).await;
    assert_eq!(read_all(&log, 10).await.len(), 2);
    mode(&dir, 0o700);
    add(&log).await;
    drop(log);
    // A log that was closed cannot be opened, in the directory or in the file.
    for (closed, closed_mode, open_mode) in
        [(dir.clone(), 0o555, 0o700), (dir.join("log.db"), 0o444, 0o600)]
    {
        mode(&closed, closed_mode);
        let told = open(&dir).unwrap_err();
        assert!(matches!(&told, OpenError::Closed { path, .. } if *path == closed), "{told:?}");
        say(&format!("told: {told}"));
        mode(&closed, open_mode);
        let log = open(&dir).unwrap();
        add(&log).await;
    }
    let log = open(&dir).unwrap();
    assert_eq!(read_all(&log, 10).await.len(), 5);
    assert!(matches!(log.verify().await.unwrap(), Verdict::Whole { events: 5, .. }));
    say("done");
}

#[test]
fn a_directory_that_may_not_be_written_is_told_and_costs_nothing() {
    const NOBODY: u32 = 65_534;
    let place = TempDir::new().unwrap();
    let name = "no_room::child_meets_a_directory_that_may_not_be_written";
    let mut child = program(name, place.path(), 0);
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere, so somebody else has to try.
        chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        child.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    let output = child.output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() && told.is_empty() {
        println!("skipped: nobody but root may run this program here");
        return;
    }
    assert!(told.lines().any(|line| line == "done"), "{told}");
    for line in told.lines().filter(|line| line.contains("told: ")) {
        println!("{line}");
    }
}
