//! `pause`: no new call to Claude starts; the turn in flight ends, and workers leave.

use clap::Args;
use cody_events::ids::TargetNumber;

use super::reading::Reading;
use super::{Context, Exit, desk, text};
use crate::api::control::Wish;

/// What `pause` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch pause latest
  cody-batch pause 0198c5a2 --target 2")]
pub struct PauseArgs {
    /// The job's id, its beginning, or `latest`
    job: String,
    /// One repository of it, by its number
    #[arg(long, value_name = "N")]
    target: Option<u32>,
}

/// Runs the verb.
pub async fn run(context: Context, args: PauseArgs) -> Result<Exit, anyhow::Error> {
    let job = Reading::open(&context).await?.find(&args.job).await?;
    let target = args.target.map(TargetNumber);
    let done = desk::record(&context, Wish::Pause { job, target }).await?;
    let what = match args.target {
        Some(number) => format!("Repository {number} of job {}", text::short(&job)),
        None => format!("Job {}", text::short(&job)),
    };
    let was = if done.is_new { "is paused" } else { "was paused already" };
    eprintln!("{what} {was}. Go on with: {} resume {}", context.program, text::short(&job));
    Ok(Exit::OK)
}
