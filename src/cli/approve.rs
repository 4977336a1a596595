//! `approve`: a diff is right. Where there is a place to push to, it is delivered; targets that wait for
//! the first one go on.

use clap::Args;

use super::review_args::{ReviewArgs, named};
use super::{Context, Exit, desk, text};
use crate::api::control::Wish;

/// What `approve` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch diff latest 1 && cody-batch approve latest --target 1
  cody-batch approve 0198c5a2 --target 2 --diff 9f86d081884c7d65… --comment \"Good.\"")]
pub struct ApproveArgs {
    #[command(flatten)]
    review: ReviewArgs,
}

/// Runs the verb.
pub async fn run(context: Context, args: ApproveArgs) -> Result<Exit, anyhow::Error> {
    let review = args.review.review(&context).await?;
    let (job, words) = (review.job, named(&review));
    desk::record(&context, Wish::Approve(review)).await?;
    eprintln!("{words} is approved.");
    if desk::has_waiting(&context, job).await? {
        eprintln!(
            "Other repositories waited for it. If no server works on them, go on with: {} resume {}",
            context.program,
            text::short(&job)
        );
    }
    Ok(Exit::OK)
}
