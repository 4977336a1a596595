//! A job in Markdown, to be read, attached or archived: what was asked, done, checked, spent and
//! decided. Everything in it follows from the log up to one event, so the same stand of a job gives
//! the same bytes.

mod asked;
mod checked;
mod decided;
mod spent;

use cody_events::diff::{DiffProduced, DiffProducedPayload, FileChange};
use cody_events::outcome::Outcome;
use cody_events::time::Timestamp;
use cody_projections::overview::TargetOverview;

use super::DownloadError;
use super::markdown::{code, code_cell, inline, prose};
use super::outlet::Outlet;
use crate::api::reading::ReadJob;
use crate::api::words;
use crate::app::App;
use crate::job::state::Target;

/// Writes the report of `job`.
pub async fn write(app: &App, job: &ReadJob, out: &mut dyn Outlet) -> Result<(), DownloadError> {
    put(out, &head(job)).await?;
    put(out, &asked::section(job)).await?;
    put(out, &done(job)).await?;
    put(out, &spent::section(job)).await?;
    put(out, &decided::section(app, job).await?).await?;
    for target in job.state.targets.values() {
        put(out, &details(app, job, target).await?).await?;
        put(out, &checked::section(app, job, target).await?).await?;
        put(out, &evidence(app, job, target).await?).await?;
    }
    let end = format!(
        "\n---\n{} in the log; the last one's hash is `{}`.\n",
        words::counted(job.stand.version, "event"),
        job.stand.event_hash
    );
    put(out, &end).await
}

async fn put(out: &mut dyn Outlet, text: &str) -> Result<(), DownloadError> {
    out.put(text.as_bytes()).await.map_err(DownloadError::Write)
}

/// An instant to the second.
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

fn head(job: &ReadJob) -> String {
    format!(
        "# Job {}\n\n{}\n**{}** · {} · {} · created {} UTC · took {}\n",
        job.id,
        prose(&job.request.prompt),
        job.overview.status().name(),
        inline(&job.created.model),
        words::spending(&job.overview),
        moment(job.created_at()),
        words::duration(job.latest_at.millis_since(job.created_at())),
    )
}

/// A row a target: how it ended, and with what.
fn done(job: &ReadJob) -> String {
    let mut out =
        "\n## Done\n\n| # | repository | outcome | delivery | turns | repairs | cost | diff |\n\
                   |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for target in job.state.targets.values() {
        let diff = match job.diff_facts(target.number) {
            Some((_, facts)) => size(facts),
            None => "none".to_owned(),
        };
        let row = overview(job, target);
        let delivery = match row.map(|row| (row.target.delivery, &row.target.pull_request)) {
            Some((delivery, Some(pr))) => format!("{}, #{}", delivery.name(), pr.number),
            Some((delivery, None)) => delivery.name().to_owned(),
            None => String::new(),
        };
        out.push_str(&format!(
            "| {} | {} | {} | {delivery} | {} | {} | {} | {diff} |\n",
            target.number,
            inline(&target.repository),
            target.outcome.map_or("unfinished", Outcome::name),
            row.map_or(u64::from(target.turns), |row| row.turn_count),
            target.repairs,
            words::dollars(target.money.spent_micros()),
        ));
    }
    out
}

fn overview<'a>(job: &'a ReadJob, target: &Target) -> Option<&'a TargetOverview> {
    job.overview.targets.iter().find(|one| one.target.target == target.number)
}

fn size(facts: &DiffProduced) -> String {
    format!(
        "{}, +{} −{}",
        words::counted(u64::from(facts.file_count), "file"),
        facts.added_line_count,
        facts.deleted_line_count
    )
}

/// What was done in one repository.
async fn details(app: &App, job: &ReadJob, target: &Target) -> Result<String, DownloadError> {
    let mut out = format!("\n## {}. {}\n\n", target.number, inline(&target.repository));
    if let Some(base) = &target.base {
        out.push_str(&format!("Base `{}` of {}.\n\n", base.commit, code(&base.branch)));
    }
    let pull_request = overview(job, target).and_then(|row| row.target.pull_request.as_ref());
    if let Some(pull_request) = pull_request {
        out.push_str(&format!(
            "Pull request #{}: {}\n\n",
            pull_request.number,
            code(&pull_request.url)
        ));
    }
    let Some((_, facts)) = job.diff_facts(target.number) else { return Ok(out) };
    match job.diff(app, target.number).await? {
        Some((_, payload)) => out.push_str(&words_of(&payload)),
        None => out.push_str("What the diff said was removed.\n\n"),
    }
    out.push_str(&format!(
        "The patch, of {}, has the SHA-256 `{}`.{}\n\n",
        size(facts),
        facts.diff_hash,
        if facts.partial { " It is partial." } else { "" }
    ));
    Ok(out)
}

/// The title, the summary and the files of a diff.
fn words_of(payload: &DiffProducedPayload) -> String {
    let mut out = String::new();
    if !payload.title.trim().is_empty() {
        out.push_str(&format!("**{}**\n\n", inline(&payload.title)));
    }
    if !payload.summary.trim().is_empty() {
        out.push_str(&format!("{}\n", prose(&payload.summary)));
    }
    if !payload.files.is_empty() {
        out.push_str("| file | change | lines |\n|---|---|---|\n");
    }
    for file in &payload.files {
        let lines = match file.binary {
            true => "binary".to_owned(),
            false => format!("+{} −{}", file.added_line_count, file.deleted_line_count),
        };
        let change = match file.change {
            FileChange::Added => "added",
            FileChange::Modified => "modified",
            FileChange::Deleted => "deleted",
            FileChange::ModeChanged => "mode-changed",
        };
        out.push_str(&format!("| {} | {change} | {lines} |\n", code_cell(&file.path.display())));
    }
    out.push('\n');
    out
}

/// What bears the outcome out.
async fn evidence(app: &App, job: &ReadJob, target: &Target) -> Result<String, DownloadError> {
    let lines = job.evidence(app, target.number).await?;
    if lines.is_empty() {
        return Ok(String::new());
    }
    let mut out = "Evidence:\n\n".to_owned();
    for line in lines {
        out.push_str(&format!("- {}\n", inline(&line)));
    }
    Ok(out)
}
