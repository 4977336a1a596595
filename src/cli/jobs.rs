//! `jobs`: the list, newest first.

use std::collections::BTreeMap;

use clap::Args;

use super::outcome_table::json;
use super::reading;
use super::{Context, Exit, text};

/// What `jobs` takes.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: JobsArgs) -> Result<Exit, anyhow::Error> {
    let app = reading::open(&context.config.data_dir)?;
    let ids = reading::job_ids(&app).await?;
    if ids.is_empty() && !args.json {
        text::put(format_args!(
            "No job yet. Start with `cody-batch demo`, or `cody-batch run --help`.\n"
        ))?;
    }
    for id in ids.into_iter().rev().take(args.limit) {
        let job = reading::read(&app, id).await?;
        if args.json {
            text::put(format_args!("{}\n", serde_json::to_string(&json(&job, &BTreeMap::new()))?))?;
            continue;
        }
        let prompt = job.request.prompt.lines().next().unwrap_or_default();
        let prompt: String = text::printable(prompt).chars().take(60).collect();
        let repositories = match job.state.targets.len() {
            1 => "1 repository".to_owned(),
            many => format!("{many} repositories"),
        };
        text::put(format_args!(
            "{}  {:<13}  {:>14}  {:>8}  {}  {prompt}\n",
            text::short(&id),
            job.status(),
            repositories,
            text::dollars(job.state.spent_micros()),
            &job.created_at().to_string()[..16].replace('T', " "),
        ))?;
    }
    Ok(Exit::OK)
}
