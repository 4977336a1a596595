//! `request-changes`: a diff goes back. The comment is the next thing that Claude reads in the same
//! conversation; what comes of it is another diff.

use std::path::PathBuf;

use clap::Args;

use super::desk::Desk;
use super::following::follow;
use super::review_args::{ReviewArgs, named};
use super::{Context, Exit};
use crate::api::control::Wish;

/// What `request-changes` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch request-changes latest --target 1 --comment \"Use the root logger.\" --out patches")]
pub struct RequestChangesArgs {
    #[command(flatten)]
    review: ReviewArgs,
    /// Where to leave a patch for each repository
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: RequestChangesArgs) -> Result<Exit, anyhow::Error> {
    let review = args.review.review(&context).await?;
    let (job, words) = (review.job, named(&review));
    let desk = Desk::open(&context).await?;
    desk.ask(Wish::RequestChanges(review)).await?;
    eprintln!("{words} goes back to Claude.");
    follow(&context, desk, job, args.out.as_deref(), args.json).await
}
