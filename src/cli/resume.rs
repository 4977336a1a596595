//! `resume`: go on with a job that was paused, stopped by a limit, or left by its server, from where
//! the log stands.

use std::path::PathBuf;

use clap::Args;
use cody_events::ids::TargetNumber;

use super::desk::Desk;
use super::following::follow;
use super::limits::LimitArgs;
use super::reading::Reading;
use super::{Context, Exit};
use crate::api::control::Wish;
use crate::job::{Rejection, RejectionCode};

/// What `resume` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch resume latest
      Go on after a pause, or after the server was stopped.
  cody-batch resume 0198c5a2 --budget-usd 8 --out patches
      Go on with what a spent budget stopped, in the same conversation.")]
pub struct ResumeArgs {
    /// The job's id, its beginning, or `latest`
    job: String,
    /// One repository that was paused by itself, by its number
    #[arg(long, value_name = "N")]
    target: Option<u32>,
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
pub async fn run(context: Context, args: ResumeArgs) -> Result<Exit, anyhow::Error> {
    let job = Reading::open(&context).await?.find(&args.job).await?;
    let desk = Desk::open(&context).await?;
    let limits = args.limits.request();
    let is_plain = limits.is_empty() && args.target.is_none();
    let target = args.target.map(TargetNumber);
    match desk.ask(Wish::Resume { job, target, limits }).await {
        Ok(_) => {}
        // The server was stopped after the last word of the job; there is only the result to tell.
        Err(error) if is_plain && is_over(&error) => {
            desk.ask(Wish::Attend { job }).await?;
        }
        Err(error) => return Err(error),
    }
    follow(&context, desk, job, args.out.as_deref(), args.json).await
}

fn is_over(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Rejection>().is_some_and(|no| {
        no.code == RejectionCode::JobFinished || no.code == RejectionCode::JobCancelled
    })
}
