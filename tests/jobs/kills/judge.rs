//! Looks through what a job under siege left: its log, what Claude was asked for, files, processes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cody_batch::app::Told;
use cody_batch::store::verify::Verdict;
use cody_batch::store::{Log as _, SqliteLog};
use cody_events::digest::Sha256;
use cody_events::event::Event;
use cody_events::outcome::Outcome;

use super::siege::{Report, count};
use crate::harness::{World, processes_of};

/// How long workers of killed servers may take to see that they are not wanted. Whose server was killed
/// when the job was just done, finds no other to ask, and leaves after its lease of fifteen seconds.
const LEAVING: Duration = Duration::from_secs(20);

/// Judges the world of `seed` after its job ended; `servers_killed` is how often a server was.
pub async fn judge(world: &World, seed: u64, servers_killed: usize) -> Report {
    let told = world.events().await;
    let mut report = look_through(&told, seed);
    report.unlogged = look_at_requests(world, &told, seed);
    assert!(report.unlogged <= servers_killed, "seed {seed}: {} unlogged", report.unlogged);
    let log = SqliteLog::open_to_read(&world.path("data")).unwrap();
    assert!(matches!(log.verify().await.unwrap(), Verdict::Whole { .. }), "seed {seed}");
    report.adopted = adopted(&told, &log).await;
    drop(log);
    look_for_remains(world, seed).await;
    report
}

/// What the log must say however often it was interrupted.
fn look_through(told: &[Told], seed: u64) -> Report {
    let mut report = Report::default();
    let mut turns = BTreeMap::new();
    let (mut known, mut assumed) = (0, 0);
    for event in told.iter().map(|told| &told.event) {
        match event {
            Event::ClaudeTurn(e) => {
                let other = turns.insert((e.thread, e.turn), e.call);
                assert_eq!(other, None, "seed {seed}: turn {} is logged twice", e.turn);
                known += e.cost_micros;
            }
            Event::CallFailed(e) => {
                assumed += e.assumed_micros;
                report.orphans += usize::from(e.assumed_micros > 0);
            }
            Event::ToolsRan(e) => report.interrupted += usize::from(e.interrupted),
            Event::TargetFinished(e) => {
                assert_eq!(e.outcome, Outcome::DiffReady, "seed {seed}");
                report.tree = e.tree.unwrap().to_string();
            }
            Event::Finished(e) => assert_eq!(e.cost_micros, known + assumed, "seed {seed}"),
            _ => {}
        }
    }
    assert_eq!((count(told, "target-finished"), count(told, "finished")), (1, 1), "seed {seed}");
    report.turns = turns.len();
    report
}

/// Every response that Claude gave is logged, or charged as that of a call which nobody heard out.
/// Gives how many of the latter there are.
fn look_at_requests(world: &World, told: &[Told], seed: u64) -> usize {
    let mut logged: BTreeMap<Sha256, usize> = BTreeMap::new();
    let mut charged = logged.clone();
    let mut permits = BTreeMap::new();
    for event in told.iter().map(|told| &told.event) {
        match event {
            Event::CallPermitted(e) => {
                permits.insert((e.thread, e.turn, e.call), e.request_hash);
            }
            Event::ClaudeTurn(e) => {
                *logged.entry(permits[&(e.thread, e.turn, e.call)]).or_default() += 1;
            }
            Event::CallFailed(e) if e.assumed_micros > 0 => {
                *charged.entry(permits[&(e.thread, e.turn, e.call)]).or_default() += 1;
            }
            _ => {}
        }
    }
    let mut given: BTreeMap<Sha256, usize> = BTreeMap::new();
    for heard in world.player.heard() {
        assert_eq!(heard.status, 200, "seed {seed}: {:?}", heard.refusal);
        *given.entry(Sha256::of(&heard.body)).or_default() += 1;
    }
    let mut unlogged = 0;
    for (request, given) in &given {
        let logged = logged.get(request).copied().unwrap_or_default();
        let charged = charged.get(request).copied().unwrap_or_default();
        assert!(
            *given <= logged + charged,
            "seed {seed}: a response is neither logged nor charged"
        );
        unlogged += given - logged;
    }
    for (request, logged) in &logged {
        assert_eq!(*logged, 1, "seed {seed}");
        assert!(given.contains_key(request), "seed {seed}: a turn that nobody was asked for");
    }
    unlogged
}

/// How many times a new server found a worker of the one before at work, and it went on.
async fn adopted(told: &[Told], log: &SqliteLog) -> usize {
    let all = log.read_log(0, 10_000).await.unwrap();
    let epochs = all.iter().filter(|event| event.kind == "epoch-opened").skip(1);
    let went_on = |epoch: u64| {
        let mut open = None;
        for one in told {
            let is_after = one.recorded.position > epoch;
            match &one.event {
                Event::AttemptStarted(e) if !is_after => open = Some(e.attempt),
                Event::AttemptEnded(_) if !is_after => open = None,
                Event::RepoScanned(e) if is_after => return open == Some(e.attempt),
                Event::ChecksRan(e) if is_after => return open == Some(e.attempt),
                Event::ToolsRan(e) if is_after => return open == Some(e.attempt),
                Event::AttemptEnded(_) if is_after => return false,
                _ => {}
            }
        }
        false
    };
    epochs.filter(|epoch| went_on(epoch.position)).count()
}

/// No process, no work directory, no scratch.
async fn look_for_remains(world: &World, seed: u64) {
    let mark = world.dir.path().display().to_string();
    let started = Instant::now();
    while !processes_of(&mark).is_empty() {
        assert!(started.elapsed() < LEAVING, "seed {seed}: {:?}", processes_of(&mark));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for folder in ["data/work", "data/tmp", "tmp"] {
        let left: Vec<_> = std::fs::read_dir(world.path(folder))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "seed {seed}: {folder} holds {left:?}");
    }
}
