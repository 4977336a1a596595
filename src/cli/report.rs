//! `report`: a job in Markdown, to be read, attached or archived.

use clap::Args;

use super::reading::Reading;
use super::{Context, Exit, text};
use crate::api::downloads::report;

/// What `report` takes.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The job's id, its beginning, or `latest`
    #[arg(default_value = "latest")]
    job: String,
}

/// Runs the verb.
pub async fn run(context: Context, args: ReportArgs) -> Result<Exit, anyhow::Error> {
    let reading = Reading::open(&context).await?;
    let job = reading.read(&args.job).await?;
    report::write(&reading.app, &job, &mut text::Stdout).await?;
    Ok(Exit::OK)
}
