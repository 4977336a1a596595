//! `inbox`: what waits for a person.

use clap::Args;
use cody_events::digest::Sha256;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::status::Delivery;
use cody_events::time::Timestamp;
use cody_projections::targets::TargetRow;
use serde::Serialize;

use super::reading::Reading;
use super::{Context, Exit, text};
use crate::clock::{Clock as _, SystemClock};
use crate::store::sqlite::OpenError;

/// What `inbox` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch inbox
  cody-batch inbox --json | jq -r .diff_hash")]
pub struct InboxArgs {
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// What `inbox --json` prints a line.
#[derive(Debug, Serialize)]
struct InboxJson<'a> {
    job_id: JobId,
    target: TargetNumber,
    repository: &'a str,
    delivery: Delivery,
    diff_hash: Option<Sha256>,
    /// Since when it waits.
    finished_at: Option<Timestamp>,
}

/// Runs the verb.
pub async fn run(context: Context, args: InboxArgs) -> Result<Exit, anyhow::Error> {
    let waiting = match Reading::open(&context).await {
        Ok(reading) => reading.inbox(args.limit).await?,
        // Who has no log yet has nothing that waits, and has done nothing wrong.
        Err(error) if matches!(error.downcast_ref(), Some(OpenError::Missing(_))) => Vec::new(),
        Err(error) => return Err(error),
    };
    if args.json {
        for row in &waiting {
            text::put(format_args!("{}\n", serde_json::to_string(&json(row))?))?;
        }
        return Ok(Exit::OK);
    }
    let Some(first) = waiting.first() else {
        text::put("Nothing waits for you.\n")?;
        return Ok(Exit::OK);
    };
    let now = SystemClock.now();
    let width = waiting.iter().map(|row| row.repository.chars().count()).max().unwrap_or(0);
    let width = width.min(40);
    for row in &waiting {
        let since = row.finished_at.map_or(0, |at| now.millis_since(at));
        text::put(format_args!(
            "{}  {:>2}  {:<width$}  {:<17}  for {}\n",
            text::short(&row.job),
            row.target,
            text::printable(&row.repository),
            row.delivery.name(),
            text::duration(since),
        ))?;
    }
    let (program, job, target) = (&context.program, text::short(&first.job), first.target);
    text::put(format_args!(
        "\nLook at the first:  {program} diff {job} {target}\n\
         Then say:           {program} approve {job} --target {target}  (or request-changes, or reject)\n"
    ))?;
    Ok(Exit::OK)
}

fn json(row: &TargetRow) -> InboxJson<'_> {
    InboxJson {
        job_id: row.job,
        target: row.target,
        repository: &row.repository,
        delivery: row.delivery,
        diff_hash: row.diff_hash,
        finished_at: row.finished_at,
    }
}
