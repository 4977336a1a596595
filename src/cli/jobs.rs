//! `jobs`: the list, newest first.

use std::collections::BTreeMap;

use clap::Args;
use cody_events::job::Created;

use super::outcome_table::json;
use super::reading::Reading;
use super::{Context, Exit, text};
use crate::store::sqlite::OpenError;

/// What `jobs` takes.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: JobsArgs) -> Result<Exit, anyhow::Error> {
    let reading = match Reading::open(&context).await {
        Ok(reading) => reading,
        // Who has no log yet has no jobs, and has done nothing wrong.
        Err(error) if matches!(error.downcast_ref(), Some(OpenError::Missing(_))) => {
            return none_yet(&context, &args);
        }
        Err(error) => return Err(error),
    };
    let jobs = reading.jobs(args.limit).await?;
    if jobs.is_empty() {
        return none_yet(&context, &args);
    }
    for overview in jobs {
        if args.json {
            let json = json(&overview, &BTreeMap::new());
            text::put(format_args!("{}\n", serde_json::to_string(&json)?))?;
            continue;
        }
        let created = overview.job.created_position;
        let request = reading.app.payload_of::<Created>(created).await?;
        let prompt = request.map_or_else(|| "(removed)".to_owned(), |request| request.prompt);
        let prompt = prompt.trim().lines().next().unwrap_or_default();
        let prompt: String = text::printable(prompt).chars().take(60).collect();
        text::put(format_args!(
            "{}  {:<15}  {:>14}  {:>8}  {}  {prompt}\n",
            text::short(&overview.job.job),
            overview.status().name(),
            text::repositories(overview.targets.len()),
            text::dollars(overview.spent_micros()),
            &overview.job.created_at.to_string()[..16].replace('T', " "),
        ))?;
    }
    Ok(Exit::OK)
}

fn none_yet(context: &Context, args: &JobsArgs) -> Result<Exit, anyhow::Error> {
    if !args.json {
        text::put(format_args!(
            "No job yet. Start with `{0} demo`, or `{0} run --help`.\n",
            context.program
        ))?;
    }
    Ok(Exit::OK)
}
