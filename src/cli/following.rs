//! Watching a job to its end, telling how it went, leaving the patches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::outcome::Outcome;

use super::desk::Desk;
use super::outcome_table::{json, table};
use super::progress::Progress;
use super::reading::ReadJob;
use super::{Context, Exit, text};
use crate::api::control::Wish;
use crate::api::downloads::patch_names;
use crate::app::App;
use crate::job::state::Job;

/// How often it is looked whether others are done.
const LOOK: Duration = Duration::from_millis(150);
/// How long cancelled workers may take to be gone.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// Watches `job` to its end and tells how it went.
pub async fn follow(
    context: &Context,
    mut desk: Desk,
    job: JobId,
    out: Option<&Path>,
    as_json: bool,
) -> Result<Exit, anyhow::Error> {
    if watch(context, &mut desk, job).await? == Watched::Left {
        eprintln!(
            "\nThe server goes on with it. Stop it with: {} cancel {}",
            context.program,
            text::short(&job)
        );
        return Ok(Exit::OK);
    }
    let (read, app) = desk.read(job).await?;
    let patches = match out {
        Some(dir) => write_patches(&app, &read, dir).await?,
        None => BTreeMap::new(),
    };
    if as_json {
        text::put(format_args!("{}\n", serde_json::to_string(&json(&read.overview, &patches))?))?;
    } else {
        text::put(format_args!("\n{}", table(&read.overview, &patches, &context.program)))?;
        text::put(format_args!(
            "\nRead more:\n  {0} thread {1} 1\n  {0} report {1}\n",
            context.program,
            text::short(&job)
        ))?;
    }
    wait_for_others(&desk, job).await;
    Ok(exit(&read.state))
}

/// Jobs of other terminals that this process's server works on are not left in the lurch.
async fn wait_for_others(desk: &Desk, job: JobId) {
    let count = desk.others_than(job);
    if count == 0 {
        return;
    }
    eprintln!(
        "\nWaiting for {} that other terminals left to this server; Ctrl-C leaves it to them.",
        text::counted(count as u64, "job")
    );
    let done = async {
        while desk.others_than(job) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = done => {}
        // Asked to go is asked to go; whoever watches them goes on with them.
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// How watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    ToTheEnd,
    /// The person has seen enough, and another process does the work.
    Left,
    /// The server that did the work is no more.
    Alone,
}

/// Shows progress until every target has an outcome. A job whose server goes away is gone on with
/// here.
async fn watch(context: &Context, desk: &mut Desk, job: JobId) -> Result<Watched, anyhow::Error> {
    let state = desk.eyes().await?.state(job).await?;
    let Some(job_state) = &state.job else { return Ok(Watched::ToTheEnd) };
    let mut progress = Progress::new(job_state, context.is_terminal);
    loop {
        match watch_with(desk, job, &mut progress).await? {
            Watched::Alone => {
                (*desk, _) = desk.succeed(context, Wish::Attend { job }).await?;
                eprintln!(
                    "The server is gone; {} goes on with the job.",
                    match desk {
                        Desk::Own(_) => "this process",
                        Desk::Other(_) | Desk::Far(_) => "the next one",
                    }
                );
            }
            ended => {
                progress.end();
                let gone = async {
                    while desk.has_workers(job) {
                        tokio::time::sleep(LOOK / 3).await;
                    }
                };
                // Workers that leave by themselves have said all; the next server sweeps up.
                let _ = tokio::time::timeout(CANCEL_PATIENCE, gone).await;
                return Ok(ended);
            }
        }
    }
}

/// Watches through one server. Ctrl-C cancels a job whose server is this process, and only stops
/// watching one of another's.
async fn watch_with(
    desk: &Desk,
    job: JobId,
    progress: &mut Progress,
) -> Result<Watched, anyhow::Error> {
    let eyes = desk.eyes().await?;
    let mut interrupts = 0;
    loop {
        let state = tokio::select! {
            state = eyes.state(job) => state?,
            _ = tokio::signal::ctrl_c(), if matches!(desk, Desk::Far(_)) => return Ok(Watched::Left),
        };
        progress.show(&state);
        if state.job.as_ref().is_none_or(Job::is_at_rest) {
            return Ok(Watched::ToTheEnd);
        }
        if !desk.is_alive() {
            return Ok(Watched::Alone);
        }
        tokio::select! {
            () = tokio::time::sleep(eyes.pause()) => {}
            _ = tokio::signal::ctrl_c(), if interrupts == 0 => {
                interrupts += 1;
                if matches!(desk, Desk::Other(_) | Desk::Far(_)) {
                    return Ok(Watched::Left);
                }
                eprintln!("\nCancelling: workers are stopped, what was done stays in the log.");
                let reason = "interrupted at the terminal".to_owned();
                desk.ask(Wish::Cancel { job, reason }).await?;
            }
        }
    }
}

/// What a script learns of the job, by the log itself: cancelled before budget before failed.
pub fn exit(job: &Job) -> Exit {
    let outcomes = || job.targets.values().filter_map(|target| target.outcome);
    if job.cancelled || outcomes().any(|outcome| outcome == Outcome::Cancelled) {
        Exit(130)
    } else if outcomes().any(|outcome| outcome == Outcome::BudgetStopped) {
        Exit(3)
    } else if outcomes().any(|outcome| !outcome.is_success()) {
        Exit(1)
    } else {
        Exit::OK
    }
}

/// Leaves a patch for each target that has a diff.
pub async fn write_patches(
    app: &App,
    job: &ReadJob,
    dir: &Path,
) -> Result<BTreeMap<TargetNumber, PathBuf>, anyhow::Error> {
    let dir = std::path::absolute(dir)?;
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let mut patches = BTreeMap::new();
    for (target, file) in patch_names(job) {
        let Some((_, payload)) = job.diff(app, target).await? else { continue };
        let bytes = payload.patch.bytes().context("the recorded patch is damaged")?;
        let path = dir.join(file);
        std::fs::write(&path, bytes)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        patches.insert(target, path);
    }
    Ok(patches)
}
