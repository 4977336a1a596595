//! `reject`: a diff is not taken.

use clap::Args;

use super::review_args::{ReviewArgs, named};
use super::{Context, Exit, desk, text};
use crate::api::control::Wish;

/// What `reject` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch reject latest --target 1 --comment \"We keep the old logger.\"")]
pub struct RejectArgs {
    #[command(flatten)]
    review: ReviewArgs,
}

/// Runs the verb.
pub async fn run(context: Context, args: RejectArgs) -> Result<Exit, anyhow::Error> {
    let review = args.review.review(&context).await?;
    let (job, words) = (review.job, named(&review));
    desk::record(&context, Wish::Reject(review)).await?;
    eprintln!(
        "{words} is rejected. For another: {0} request-changes {1} --comment …, or {0} retry {1}",
        context.program,
        text::short(&job)
    );
    Ok(Exit::OK)
}
