//! `show`: one job at a glance, with what bears each outcome out.

use std::collections::BTreeMap;

use clap::Args;

use super::outcome_table::{json, table};
use super::reading::Reading;
use super::{Context, Exit, text};

/// What `show` takes.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The job's id, its beginning, or `latest`
    #[arg(default_value = "latest")]
    job: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: ShowArgs) -> Result<Exit, anyhow::Error> {
    let reading = Reading::open(&context).await?;
    let job = reading.read(&args.job).await?;
    let app = &reading.app;
    if args.json {
        text::put(format_args!(
            "{}\n",
            serde_json::to_string(&json(&job.overview, &BTreeMap::new()))?
        ))?;
        return Ok(Exit::OK);
    }
    text::put(format_args!("Job {}  {}\n", job.id, job.overview.status().name()))?;
    text::put(format_args!("Created {}  Model {}\n", job.created_at(), job.created.model))?;
    if !job.created.allow.is_empty() {
        let classes: Vec<&str> = job.created.allow.iter().map(|class| class.name()).collect();
        text::put(format_args!("Its diffs may touch {}\n", classes.join(", ")))?;
    }
    text::put(format_args!("\n{}\n\n", text::printable(job.request.prompt.trim())))?;
    text::put(format_args!("{}", table(&job.overview, &BTreeMap::new(), &context.program)))?;
    for target in job.state.targets.values() {
        text::put(format_args!("\n{}. {}\n", target.number, text::printable(&target.repository)))?;
        if let Some(base) = &target.base {
            text::put(format_args!(
                "   base {} ({})\n",
                &base.commit.to_string()[..12],
                text::printable(&base.branch)
            ))?;
        }
        for line in job.evidence(app, target.number).await? {
            text::put(format_args!(
                "   - {}\n",
                text::printable(line.trim()).replace('\n', "\n     ")
            ))?;
        }
        if let Some(reason) = job.hold(app, target.number).await? {
            let reason = text::printable(reason.trim()).replace('\n', "\n     ");
            text::put(format_args!("   held for a person: {reason}\n"))?;
        }
    }
    let unfinished = job.state.targets.values().any(|target| target.outcome.is_none());
    if unfinished && !job.state.cancelled {
        text::put(format_args!(
            "\nThe job is not finished. If no server works on it, go on with `{} resume {}`.\n",
            context.program,
            text::short(&job.id)
        ))?;
    }
    Ok(Exit::OK)
}
