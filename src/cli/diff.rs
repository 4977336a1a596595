//! `diff`: a repository's patch, byte for byte.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use cody_events::ids::TargetNumber;

use super::reading::Reading;
use super::{Context, Exit, text};

/// What `diff` takes.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cody-batch diff latest 1 | git apply --index")]
pub struct DiffArgs {
    /// The job's id, its beginning, or `latest`
    #[arg(default_value = "latest")]
    job: String,
    /// The repository's number in the job
    #[arg(default_value_t = 1)]
    target: u32,
}

/// Runs the verb.
pub async fn run(context: Context, args: DiffArgs) -> Result<Exit, anyhow::Error> {
    let reading = Reading::open(&context).await?;
    let job = reading.read(&args.job).await?;
    let app = &reading.app;
    let target = job.target(args.target)?;
    match job.diff(app, TargetNumber(args.target)).await? {
        Some((_, payload)) => {
            let bytes = payload.patch.bytes().context("the recorded patch is damaged")?;
            std::io::stdout().lock().write_all(&bytes)?;
            Ok(Exit::OK)
        }
        None => {
            eprintln!(
                "{} has no diff: {}.",
                text::printable(&target.repository),
                target.outcome.map_or("it is not finished", |outcome| outcome.name())
            );
            Ok(Exit(1))
        }
    }
}
