//! `events`: a job's stream, as it was logged.

use clap::Args;

use super::reading::Reading;
use super::{Context, Exit, text};
use crate::api::downloads::ndjson::{self, Extract};
use crate::api::reading::page;

/// What `events` takes.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// The job's id, its beginning, or `latest`
    #[arg(default_value = "latest")]
    job: String,
    /// Print one JSON envelope a line, with facts and payload
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: EventsArgs) -> Result<Exit, anyhow::Error> {
    let reading = Reading::open(&context).await?;
    let job = reading.find(&args.job).await?;
    let app = &reading.app;
    if args.json {
        let extract = Extract { job, after: 0, until: u64::MAX, payloads: true };
        ndjson::write(app, extract, &mut text::Stdout).await?;
        return Ok(Exit::OK);
    }
    let mut after = 0;
    loop {
        let page = page(app, job, after, u64::MAX).await?;
        let Some(last) = page.last() else { return Ok(Exit::OK) };
        after = last.recorded.version;
        for told in &page {
            let recorded = &told.recorded;
            let actor = recorded.actor.split(':').next().unwrap_or_default();
            text::put(format_args!(
                "{:>6}  {}  {:<18} {:<10} {}\n",
                recorded.version,
                &recorded.recorded_at.to_string()[11..23],
                text::printable(&recorded.kind),
                // It is what somebody's machine calls them.
                text::printable(actor),
                text::printable(&brief(&recorded.facts))
            ))?;
        }
    }
}

/// The facts in one short line.
fn brief(facts: &str) -> String {
    const MOST: usize = 110;
    let text: String = facts.chars().filter(|c| !c.is_control()).take(MOST).collect();
    if text.len() < facts.len() { format!("{text}…") } else { text }
}
