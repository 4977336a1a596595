//! `retry`: repositories that did not succeed start over, with a new conversation at their branch's
//! present commit.

use std::path::PathBuf;

use clap::Args;
use cody_events::ids::TargetNumber;

use super::desk::Desk;
use super::following::follow;
use super::limits::LimitArgs;
use super::reading::Reading;
use super::{Context, Exit};
use crate::api::control::Wish;

/// What `retry` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch retry latest --out patches
  cody-batch retry 0198c5a2 --target 2 --budget-usd 8")]
pub struct RetryArgs {
    /// The job's id, its beginning, or `latest`
    job: String,
    /// A repository, by its number (repeat for more) [default: all that did not succeed]
    #[arg(long = "target", value_name = "N")]
    targets: Vec<u32>,
    /// Where to leave a patch for each repository
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Runs the verb.
pub async fn run(context: Context, args: RetryArgs) -> Result<Exit, anyhow::Error> {
    let job = Reading::open(&context).await?.find(&args.job).await?;
    let desk = Desk::open(&context).await?;
    let targets = args.targets.iter().copied().map(TargetNumber).collect();
    desk.ask(Wish::Retry { job, targets, limits: args.limits.request() }).await?;
    follow(&context, desk, job, args.out.as_deref(), args.json).await
}
