//! `events`: a job's stream, as it was logged.

use std::io::Write as _;

use clap::Args;

use super::reading::Reading;
use super::{Context, Exit};

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
    let reading = Reading::open(&context.config.data_dir).await?;
    let job = reading.find(&args.job).await?;
    let app = &reading.app;
    let mut out = std::io::stdout().lock();
    for told in app.events(job, 0).await? {
        let recorded = &told.recorded;
        if args.json {
            let payload = match recorded.payload_len {
                Some(_) => app.payload(recorded.position).await?,
                None => None,
            };
            writeln!(out, "{}", recorded.to_json(payload.as_deref())?)?;
        } else {
            writeln!(
                out,
                "{:>6}  {}  {:<18} {:<10} {}",
                recorded.version,
                &recorded.recorded_at.to_string()[11..23],
                recorded.kind,
                recorded.actor.split(':').next().unwrap_or_default(),
                brief(&recorded.facts)
            )?;
        }
    }
    Ok(Exit::OK)
}

/// The facts in one short line.
fn brief(facts: &str) -> String {
    const MOST: usize = 110;
    let text: String = facts.chars().filter(|c| !c.is_control()).take(MOST).collect();
    if text.len() < facts.len() { format!("{text}…") } else { text }
}
