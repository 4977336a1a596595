//! `report`: a job in Markdown, to be read, attached or archived.

use clap::Args;
use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, ChecksRan, DependenciesFetched, FetchOutcome};
use cody_events::outcome::Outcome;

use super::outcome_table::spending;
use super::reading::{ReadJob, Reading};
use super::{Context, Exit, text};
use crate::app::App;
use crate::job::state::Target;

/// What `report` takes.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The job's id, its beginning, or `latest`
    #[arg(default_value = "latest")]
    job: String,
}

/// Runs the verb.
pub async fn run(context: Context, args: ReportArgs) -> Result<Exit, anyhow::Error> {
    let reading = Reading::open(&context.config.data_dir).await?;
    let job = reading.read(&args.job).await?;
    let app = &reading.app;
    text::put(format_args!("{}", report(app, &job).await?))?;
    Ok(Exit::OK)
}

/// The report of `job`.
pub async fn report(app: &App, job: &ReadJob) -> Result<String, anyhow::Error> {
    let mut out = format!("# Job {}\n\n", job.id);
    for line in job.request.prompt.trim().lines() {
        out.push_str(&format!("> {}\n", text::printable(line)));
    }
    out.push_str(&format!(
        "\n**{}** · {} · {} · created {} UTC · took {}\n\n",
        job.overview.status().name(),
        job.created.model,
        spending(&job.overview),
        &job.created_at().to_string()[..19].replace('T', " "),
        text::duration(job.latest_at().millis_since(job.created_at())),
    ));
    out.push_str("| # | repository | outcome | turns | repairs | cost | diff |\n|---|---|---|---|---|---|---|\n");
    for target in job.state.targets.values() {
        let diff = match job.diff(app, target.number).await? {
            Some((facts, _)) => format!(
                "{}, +{} −{}",
                text::counted(u64::from(facts.file_count), "file"),
                facts.added_line_count,
                facts.deleted_line_count
            ),
            None => "none".to_owned(),
        };
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {diff} |\n",
            target.number,
            text::printable(&target.repository),
            target.outcome.map_or("unfinished", Outcome::name),
            target.turns,
            target.repairs,
            text::dollars(target.money.spent_micros()),
        ));
    }
    for target in job.state.targets.values() {
        section(app, job, target, &mut out).await?;
    }
    let head =
        job.events.last().map(|told| told.recorded.event_hash.to_string()).unwrap_or_default();
    out.push_str(&format!(
        "\n---\n{} in the log; the last one's hash is `{head}`.\n",
        text::counted(job.events.len() as u64, "event")
    ));
    Ok(out)
}

async fn section(
    app: &App,
    job: &ReadJob,
    target: &Target,
    out: &mut String,
) -> Result<(), anyhow::Error> {
    out.push_str(&format!("\n## {}. {}\n\n", target.number, text::printable(&target.repository)));
    if let Some(base) = &target.base {
        out.push_str(&format!(
            "Base `{}` of `{}`.\n\n",
            base.commit,
            text::printable(&base.branch)
        ));
    }
    if let Some((facts, payload)) = job.diff(app, target.number).await? {
        if !payload.title.is_empty() {
            out.push_str(&format!("**{}**\n\n", text::printable(&payload.title)));
        }
        if !payload.summary.is_empty() {
            out.push_str(&format!("{}\n\n", text::printable(payload.summary.trim())));
        }
        out.push_str("| file | change | lines |\n|---|---|---|\n");
        for file in &payload.files {
            let lines = match file.binary {
                true => "binary".to_owned(),
                false => format!("+{} −{}", file.added_line_count, file.deleted_line_count),
            };
            out.push_str(&format!(
                "| `{}` | {} | {lines} |\n",
                text::printable(&file.path.display()).replace('|', "\\|"),
                serde_json::to_value(file.change)?.as_str().unwrap_or_default()
            ));
        }
        let partial = if facts.partial { " It is partial." } else { "" };
        out.push_str(&format!("\nThe patch's SHA-256 is `{}`.{partial}\n\n", facts.diff_hash));
    }
    dependencies(app, job, target, out).await?;
    checks(app, job, target, out).await?;
    let evidence = job.evidence(app, target.number).await?;
    if !evidence.is_empty() {
        out.push_str("Evidence:\n\n");
        for line in evidence {
            out.push_str(&format!("- {}\n", text::printable(line.trim()).replace('\n', " ")));
        }
    }
    Ok(())
}

/// Every fetch of dependencies, and the hosts that it reached or was refused.
async fn dependencies(
    app: &App,
    job: &ReadJob,
    target: &Target,
    out: &mut String,
) -> Result<(), anyhow::Error> {
    let mut rows = String::new();
    for told in &job.events {
        let Event::DependenciesFetched(facts) = &told.event else { continue };
        if facts.target != target.number {
            continue;
        }
        let payload = app.payload_of::<DependenciesFetched>(told.recorded.position).await?;
        let words = payload.iter().flat_map(|payload| &payload.fetches).map(Some);
        for (fetch, words) in facts.fetches.iter().zip(words.chain(std::iter::repeat(None))) {
            let how = match fetch.outcome {
                FetchOutcome::Fetched => "fetched",
                FetchOutcome::Cached => "from an earlier fetch",
                FetchOutcome::Failed => "failed",
                FetchOutcome::NoNamespaces => "not possible in this sandbox",
            };
            let hosts = |hosts: &[String]| text::printable(&hosts.join(", ")).replace('|', "\\|");
            rows.push_str(&format!(
                "| {} | {how} | {} | {} | {} |\n",
                fetch.ecosystem,
                words.map_or_else(String::new, |words| hosts(&words.hosts)),
                words.map_or_else(String::new, |words| hosts(&words.refused_hosts)),
                text::duration(fetch.ms)
            ));
        }
    }
    if !rows.is_empty() {
        out.push_str("| dependencies | result | hosts reached | hosts refused | time |\n|---|---|---|---|---|\n");
        out.push_str(&rows);
        out.push('\n');
    }
    Ok(())
}

/// Every run of the checks, a row a command.
async fn checks(
    app: &App,
    job: &ReadJob,
    target: &Target,
    out: &mut String,
) -> Result<(), anyhow::Error> {
    let mut rows = String::new();
    for told in &job.events {
        let Event::ChecksRan(facts) = &told.event else { continue };
        if facts.target != target.number {
            continue;
        }
        let phase = match facts.phase {
            CheckPhase::Baseline => "before",
            CheckPhase::After => "after",
            CheckPhase::Repair => "after repair",
        };
        let Some(payload) = app.payload_of::<ChecksRan>(told.recorded.position).await? else {
            continue;
        };
        for (command, result) in payload.commands.iter().zip(&facts.commands) {
            let how = match (result.timed_out, result.exit_code) {
                (true, _) => "timed out".to_owned(),
                (false, Some(0)) => "passes".to_owned(),
                (false, Some(code)) => format!("fails ({code})"),
                (false, None) => "killed".to_owned(),
            };
            rows.push_str(&format!(
                "| {phase} | `{}` | {how} | {} |\n",
                text::printable(&command.command).replace('|', "\\|"),
                text::duration(result.ms)
            ));
        }
    }
    if !rows.is_empty() {
        out.push_str("| checks | command | result | time |\n|---|---|---|---|\n");
        out.push_str(&rows);
        out.push('\n');
    }
    Ok(())
}
