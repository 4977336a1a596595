//! A job in Markdown, to be read, attached or archived.

use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, ChecksRan, DependenciesFetched, FetchOutcome};
use cody_events::outcome::Outcome;

use super::DownloadError;
use crate::api::reading::ReadJob;
use crate::api::words;
use crate::app::App;
use crate::job::state::Target;

/// The report of `job`.
pub async fn report(app: &App, job: &ReadJob) -> Result<String, DownloadError> {
    let mut out = format!("# Job {}\n\n", job.id);
    for line in job.request.prompt.trim().lines() {
        out.push_str(&format!("> {}\n", words::printable(line)));
    }
    out.push_str(&format!(
        "\n**{}** · {} · {} · created {} UTC · took {}\n\n",
        job.overview.status().name(),
        job.created.model,
        words::spending(&job.overview),
        &job.created_at().to_string()[..19].replace('T', " "),
        words::duration(job.latest_at.millis_since(job.created_at())),
    ));
    out.push_str("| # | repository | outcome | turns | repairs | cost | diff |\n|---|---|---|---|---|---|---|\n");
    for target in job.state.targets.values() {
        let diff = match job.diff(app, target.number).await? {
            Some((facts, _)) => format!(
                "{}, +{} −{}",
                words::counted(u64::from(facts.file_count), "file"),
                facts.added_line_count,
                facts.deleted_line_count
            ),
            None => "none".to_owned(),
        };
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {diff} |\n",
            target.number,
            words::printable(&target.repository),
            target.outcome.map_or("unfinished", Outcome::name),
            target.turns,
            target.repairs,
            words::dollars(target.money.spent_micros()),
        ));
    }
    for target in job.state.targets.values() {
        section(app, job, target, &mut out).await?;
    }
    out.push_str(&format!(
        "\n---\n{} in the log; the last one's hash is `{}`.\n",
        words::counted(job.stand.version, "event"),
        job.stand.event_hash
    ));
    Ok(out)
}

async fn section(
    app: &App,
    job: &ReadJob,
    target: &Target,
    out: &mut String,
) -> Result<(), DownloadError> {
    out.push_str(&format!("\n## {}. {}\n\n", target.number, words::printable(&target.repository)));
    if let Some(base) = &target.base {
        out.push_str(&format!(
            "Base `{}` of `{}`.\n\n",
            base.commit,
            words::printable(&base.branch)
        ));
    }
    if let Some((facts, payload)) = job.diff(app, target.number).await? {
        if !payload.title.is_empty() {
            out.push_str(&format!("**{}**\n\n", words::printable(&payload.title)));
        }
        if !payload.summary.is_empty() {
            out.push_str(&format!("{}\n\n", words::printable(payload.summary.trim())));
        }
        out.push_str("| file | change | lines |\n|---|---|---|\n");
        for file in &payload.files {
            let lines = match file.binary {
                true => "binary".to_owned(),
                false => format!("+{} −{}", file.added_line_count, file.deleted_line_count),
            };
            out.push_str(&format!(
                "| `{}` | {} | {lines} |\n",
                words::printable(&file.path.display()).replace('|', "\\|"),
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
            out.push_str(&format!("- {}\n", words::printable(line.trim()).replace('\n', " ")));
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
) -> Result<(), DownloadError> {
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
            let hosts = |hosts: &[String]| words::printable(&hosts.join(", ")).replace('|', "\\|");
            rows.push_str(&format!(
                "| {} | {how} | {} | {} | {} |\n",
                fetch.ecosystem,
                words.map_or_else(String::new, |words| hosts(&words.hosts)),
                words.map_or_else(String::new, |words| hosts(&words.refused_hosts)),
                words::duration(fetch.ms)
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
) -> Result<(), DownloadError> {
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
                words::printable(&command.command).replace('|', "\\|"),
                words::duration(result.ms)
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
