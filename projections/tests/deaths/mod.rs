//! A build that is stopped at any instruction of any statement, by an error or by the death of its
//! process: tables and checkpoint still say the same, and it goes on to what a build that nobody
//! stopped has.
//!
//! The process that dies is this very test program, asked for the test that does nothing unless the
//! variable `CODY_BUILD_CHILD` names a file.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cody_projections::build::{self, ApplyError};
use rusqlite::Connection;

use crate::histories::History;
use crate::{dump, empty, history, story};

const CHILD: &str = "CODY_BUILD_CHILD";
const LAST: &str = "CODY_BUILD_LAST_INSTRUCTION";
/// Events a page: few, so that the builds are stopped between pages as well as inside them.
const PAGE: usize = 7;

/// Three jobs' stories, told in turns.
fn told() -> History {
    let steps = story().into_iter().flat_map(|step| (1..=3).map(move |job| (job, step.clone())));
    history(&steps.collect::<Vec<_>>())
}

fn apply_all(connection: &mut Connection, history: &History) -> Result<(), ApplyError> {
    history.events.chunks(PAGE).try_for_each(|page| build::apply(connection, page).map(|_| ()))
}

/// Calls `stop` before every instruction from the `last` on; what it answers interrupts.
fn stop_after(connection: &mut Connection, last: u64, stop: fn() -> bool) {
    let mut count = 0;
    let handler = move || {
        count += 1;
        count > last && stop()
    };
    connection.progress_handler(1, Some(handler)).unwrap();
}

/// How many instructions the whole build takes.
fn instructions(history: &History) -> u64 {
    let mut connection = empty();
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let handler = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1, Some(handler)).unwrap();
    apply_all(&mut connection, history).unwrap();
    drop(connection);
    count.load(Ordering::Relaxed)
}

/// The instructions after which to stop: `count` of them, evenly spread, or all there are.
fn points(history: &History, count: u64) -> Vec<u64> {
    let all = instructions(history);
    let count = count.min(all);
    (0..count).map(|point| point * all / count).collect()
}

/// How many points a test tries: `CODY_CASES` times `factor`, or `usual`.
fn cases(factor: u64, usual: u64) -> u64 {
    let asked = std::env::var("CODY_CASES").ok().and_then(|text| text.parse::<u64>().ok());
    asked.map_or(usual, |cases| cases * factor)
}

/// The build says the same as one that only ever saw the events up to its checkpoint, and becomes the
/// same as one that saw all. Answers where it stood.
fn goes_on(connection: &mut Connection, history: &History) -> usize {
    // The undoing of a page may have been interrupted as well; the next page begins with that.
    build::apply(connection, &[]).unwrap();
    let stands = usize::try_from(build::checkpoint(connection).unwrap().position).unwrap();
    let mut prefix = empty();
    build::apply(&mut prefix, &history.events[..stands]).unwrap();
    assert_eq!(dump(connection), dump(&prefix), "at {stands}");
    apply_all(connection, history).unwrap();
    let mut whole = empty();
    build::apply(&mut whole, &history.events).unwrap();
    assert_eq!(dump(connection), dump(&whole), "after {stands}");
    stands
}

#[test]
fn a_build_interrupted_at_any_instruction_agrees_with_its_checkpoint() {
    let history = told();
    let mut stood = std::collections::BTreeSet::new();
    let points = points(&history, cases(5, 150));
    for last in &points {
        let mut connection = empty();
        stop_after(&mut connection, *last, || true);
        let stopped = apply_all(&mut connection, &history);
        assert!(matches!(stopped, Err(ApplyError::Sqlite(_))), "{last}: {stopped:?}");
        connection.progress_handler(1, None::<fn() -> bool>).unwrap();
        stood.insert(goes_on(&mut connection, &history));
    }
    println!("{} interruptions, at {} checkpoints", points.len(), stood.len());
    assert_eq!(stood.len(), history.events.len().div_ceil(PAGE), "every page was interrupted");
}

#[test]
#[ignore = "runs only as the child of another test"]
fn child_builds_until_it_dies() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let last = std::env::var(LAST).unwrap().parse().unwrap();
    let mut connection = open(Path::new(&path));
    stop_after(&mut connection, last, || std::process::abort());
    apply_all(&mut connection, &told()).unwrap();
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", "normal").unwrap();
    connection
}

#[test]
fn a_build_whose_process_dies_at_any_instruction_agrees_with_its_checkpoint() {
    let history = told();
    let place = std::env::temp_dir().join(format!("cody-deaths-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    let mut stood = std::collections::BTreeSet::new();
    let points = points(&history, cases(1, 40));
    for last in &points {
        let path = place.join(format!("{last}.db"));
        build::create(&mut open(&path)).unwrap();
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "deaths::child_builds_until_it_dies", "--ignored"])
            .env(CHILD, &path)
            .env(LAST, last.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(ended.code(), None, "it was to be killed by its own abort");
        stood.insert(goes_on(&mut open(&path), &history));
    }
    std::fs::remove_dir_all(&place).unwrap();
    println!("{} deaths, at {} checkpoints", points.len(), stood.len());
    assert!(stood.len() > 5, "{stood:?}");
}
