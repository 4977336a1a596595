//! `cancel`: a job ends here. Workers are gone within two seconds; what was done stays in the log.

use clap::Args;

use super::reading::Reading;
use super::{Context, Exit, desk, text};
use crate::api::control::Wish;

/// What `cancel` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch cancel latest
  cody-batch cancel 0198c5a2 --reason \"wrong branch\"")]
pub struct CancelArgs {
    /// The job's id, its beginning, or `latest`
    job: String,
    /// Why, for those who read the job later
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Runs the verb.
pub async fn run(context: Context, args: CancelArgs) -> Result<Exit, anyhow::Error> {
    let job = Reading::open(&context).await?.find(&args.job).await?;
    let wish = Wish::Cancel { job, reason: args.reason };
    let done = desk::record(&context, wish).await?;
    let was = if done.is_new { "is cancelled" } else { "was cancelled already" };
    eprintln!(
        "Job {0} {was}. What it did until then: {1} show {0}",
        text::short(&job),
        context.program
    );
    Ok(Exit::OK)
}
