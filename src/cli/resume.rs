//! `resume`: go on with a job whose server is gone, from where the log stands.

use std::path::PathBuf;

use clap::Args;

use super::reading::Reading;
use super::run::follow;
use super::{Context, Exit};
use crate::serve::Server;

/// What `resume` takes.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The job's id, its beginning, or `latest`
    job: String,
    /// Where to leave a patch for each repository
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: ResumeArgs) -> Result<Exit, anyhow::Error> {
    let job = Reading::open(&context.config.data_dir).await?.find(&args.job).await?;
    let server = Server::start(&context.config, None).await?;
    follow(&context, &server, job, args.out.as_deref(), args.json).await
}
