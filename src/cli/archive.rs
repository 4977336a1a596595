//! `archive`: lists of jobs leave a finished one out, or have it again.

use clap::Args;

use super::reading::Reading;
use super::{Context, Exit, desk, text};
use crate::api::control::Wish;

/// What `archive` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch archive 0198c5a2
  cody-batch archive 0198c5a2 --undo")]
pub struct ArchiveArgs {
    /// The job's id, its beginning, or `latest`
    job: String,
    /// Have lists show it again
    #[arg(long)]
    undo: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: ArchiveArgs) -> Result<Exit, anyhow::Error> {
    let job = Reading::open(&context).await?.find(&args.job).await?;
    desk::record(&context, Wish::Archive { job, archived: !args.undo }).await?;
    let now = if args.undo { "is in lists again" } else { "is archived" };
    eprintln!("Job {} {now}.", text::short(&job));
    Ok(Exit::OK)
}
