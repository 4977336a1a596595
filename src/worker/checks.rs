//! Checks make evidence about a tree from that tree: each phase runs in a fresh checkout of the
//! recorded tree, which is thrown away after. Only the build cache outlives it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cody_events::attempt::SandboxBackend;
use cody_events::digest::ObjectId;
use cody_events::evidence::{CheckPhase, CheckSkip, CheckedCommand, CommandOutput};

use super::attempt::{Attempt, TimeLeft, create_dir, remove};
use super::{WorkerError, blocking};
use crate::git::{self, Base, RecordedTree};
use crate::sandbox::SandboxCommand;
use crate::scan::revealed;
use crate::wire::{ChecksReport, Receipt};

/// The name that the target's build cache has in the log.
const CACHE: &str = "target";

/// Runs `commands` on a fresh checkout of `tree` and reports how they went.
pub(super) async fn run(
    attempt: &Attempt,
    phase: CheckPhase,
    tree: ObjectId,
    commands: Vec<String>,
    time_left: TimeLeft,
) -> Result<(), WorkerError> {
    let skipped = match attempt.sandbox.backend() {
        _ if commands.is_empty() => Some(CheckSkip::NoCommands),
        SandboxBackend::None => Some(CheckSkip::NoSandbox),
        SandboxBackend::Bubblewrap | SandboxBackend::Landlock => None,
    };
    let mut report = ChecksReport {
        phase,
        tree,
        cache: None,
        skipped,
        results: Vec::new(),
        outputs: Vec::new(),
        cut_short: false,
    };
    if skipped.is_none() {
        let dir = dir(attempt);
        let cache = attempt.dir.join("cache");
        report.cache = cache.exists().then(|| CACHE.to_owned());
        create_dir(&cache).await?;
        let ran = run_commands(attempt, tree, &commands, &dir, &cache, time_left).await;
        if phase != CheckPhase::Baseline {
            remove(&dir).await;
        }
        let ran = ran?;
        report.cut_short = ran.cut_short;
        (report.results, report.outputs) = (ran.results, ran.outputs);
    }
    attempt.connection.post::<_, Receipt>("checks", &report).await?;
    Ok(())
}

/// How the commands of one phase went.
#[derive(Debug, Default)]
struct RanChecks {
    results: Vec<CheckedCommand>,
    outputs: Vec<CommandOutput>,
    cut_short: bool,
}

async fn run_commands(
    attempt: &Attempt,
    tree: ObjectId,
    commands: &[String],
    dir: &Path,
    cache: &Path,
    time_left: TimeLeft,
) -> Result<RanChecks, WorkerError> {
    let mut all = RanChecks::default();
    let recorded = check_out(attempt, tree, dir).await?;
    if let Some(dependencies) = &attempt.dependencies {
        let time = time_left.at_most(Duration::MAX);
        dependencies.provide_for_checks(recorded, &dir.join("repo"), time).await?;
    }
    let git_dir = attempt.git_dir(&dir.join("git")).await?;
    let usual = Duration::from_millis(attempt.settings.check_timeout_ms);
    for command in commands {
        let timeout = time_left.at_most(usual);
        let output_cap = attempt.settings.output_bytes;
        let check = SandboxCommand {
            git_dir: Some(git_dir.clone()),
            read_only: attempt.visible(),
            cache: Some(cache.to_owned()),
            env: check_environment().into_iter().chain(attempt.environment()).collect(),
            ..SandboxCommand::new(command, dir.join("repo"), timeout, output_cap)
        };
        let ran = attempt.sandbox.run(&check).await?;
        all.results.push(CheckedCommand {
            exit_code: ran.exit_code,
            timed_out: ran.timed_out,
            ms: ran.ms,
        });
        let mut output = revealed(&String::from_utf8_lossy(&ran.output)).into_owned();
        if let Some(limit) = ran.exceeded {
            output.push_str(&format!("\n[killed with all that it started: {limit}]"));
        }
        all.outputs.push(CommandOutput { command: command.clone(), output });
        if ran.timed_out && timeout < usual {
            all.cut_short = true;
            break;
        }
    }
    Ok(all)
}

/// Build tools put what they can reuse where it outlives the checkout.
fn check_environment() -> Vec<(String, String)> {
    [("CARGO_TARGET_DIR", "/cache/cargo"), ("PYTHONDONTWRITEBYTECODE", "1"), ("CI", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// Where checks find their checkout. What the baseline's leave is removed by who goes on.
pub(super) fn dir(attempt: &Attempt) -> PathBuf {
    attempt.dir.join("check")
}

/// A fresh checkout of `tree`, made from recorded entries and blobs alone.
async fn check_out(
    attempt: &Attempt,
    tree: ObjectId,
    dir: &Path,
) -> Result<RecordedTree, WorkerError> {
    let (pack, commit) = attempt.pack()?;
    let repo = dir.join("repo");
    let is_base = attempt.assignment.base.tree == tree;
    let recorded_tree = if is_base { None } else { Some(attempt.tree().await?) };
    blocking(move || {
        let mut recorded = RecordedTree::at_base(Base::open(&pack, commit)?)?;
        if let Some(latest) = recorded_tree {
            recorded.apply(&latest.changed, &latest.blobs)?;
        }
        if recorded.tree_id()? != tree {
            return Err(WorkerError::Stopped(format!("the recorded changes do not make {tree}")));
        }
        git::checkout(&recorded, &repo)?;
        Ok(recorded)
    })
    .await
}
