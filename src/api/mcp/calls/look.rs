//! Looking at jobs: one, many, and what happened to one.

use cody_events::job::Created;
use cody_projections::jobs::JobFilter;
use cody_projections::overview::{self, JobOverview, TargetOverview};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Detail, next, of_log, target};
use crate::api::mcp::answer::{Answer, No, untrusted};
use crate::api::reading::{Glance, ReadJob, version_at};
use crate::api::words::printable;
use crate::app::Told;

/// How many rows an answer has if nobody says.
const ROWS: u32 = 20;
const MOST_ROWS: u32 = 100;
/// Characters of a prompt in a list.
const PROMPT_CHARS: usize = 160;
/// Bytes of what is told of one target.
const ABOUT_BYTES: usize = 4 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetJob {
    job_id: String,
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListJobs {
    first: Option<u32>,
    after: Option<u64>,
    repository: Option<String>,
    unfinished: Option<bool>,
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetEvents {
    job_id: String,
    #[serde(default)]
    after: u64,
    first: Option<u32>,
    target: Option<u32>,
    #[serde(default)]
    detail: Detail,
}

impl Call<'_> {
    pub(super) async fn get_job(&self, asked: Result<GetJob, No>) -> Result<Answer, No> {
        let GetJob { job_id, detail } = asked?;
        let job = self.find(&job_id).await?;
        let glance = self.office.reader.glance(job).await?;
        let (status, position) = (glance.overview.status(), glance.overview.job.position);
        let answer = Answer::new(position, next(status, job, position));
        match detail {
            Detail::Concise => {
                let targets = glance.overview.targets.iter().map(row).collect();
                Ok(answer.and(shown(&glance.overview, targets)))
            }
            Detail::Full => {
                let read = self.office.reader.read_at(glance).await?;
                let mut targets = Vec::new();
                for one in &read.overview.targets {
                    let mut row = row(one);
                    row["about"] = about(self, &read, one).await?.into();
                    targets.push(row);
                }
                let prompt = printable(read.request.prompt.trim());
                Ok(answer.and(shown(&read.overview, targets)).with("prompt", prompt))
            }
        }
    }

    pub(super) async fn list_jobs(&self, asked: Result<ListJobs, No>) -> Result<Answer, No> {
        let ListJobs { first, after, repository, unfinished, detail } = asked?;
        let first = rows(first)?;
        let position = self.office.catch_up().await?;
        let filter = JobFilter {
            repository,
            recipe: None,
            is_archived: Some(false),
            is_unfinished: unfinished.unwrap_or(false),
        };
        let limit = first.saturating_add(1);
        let app = self.office.app();
        let mut found = app.ask(move |views| overview::list(views, &filter, after, limit)).await?;
        let has_more = found.len() > first as usize;
        found.truncate(first as usize);
        let end = found.last().filter(|_| has_more).map(|job| job.job.created_position);
        let mut jobs = Vec::new();
        for job in &found {
            let request = app.payload_of::<Created>(job.job.created_position).await?;
            let prompt = request.map_or_else(|| "(removed)".to_owned(), |request| request.prompt);
            let prompt = printable(prompt.trim());
            jobs.push(json!({
                "job_id": job.job.job.to_string(),
                "status": job.status().name(),
                "created_at": job.job.created_at.to_string(),
                "target_count": job.targets.len(),
                "cost_micros": job.spent_micros(),
                "prompt": match detail {
                    Detail::Concise => prompt.chars().take(PROMPT_CHARS).collect(),
                    Detail::Full => prompt,
                },
            }));
        }
        let next = match end {
            Some(end) => format!("get_job for one of them, or list_jobs {{after: {end}}} for more"),
            None if found.is_empty() => "create_job starts one".to_owned(),
            None => "get_job for one of them".to_owned(),
        };
        Ok(Answer::new(position, next).with("jobs", jobs).with("end_cursor", end))
    }

    pub(super) async fn get_events(&self, asked: Result<GetEvents, No>) -> Result<Answer, No> {
        let GetEvents { job_id, after, first, target, detail } = asked?;
        let first = rows(first)? as usize;
        let job = self.find(&job_id).await?;
        let app = self.office.app();
        let mut version = version_at(app, job, after).await?;
        let (mut events, mut reached, mut has_more) = (Vec::new(), after, false);
        'all: loop {
            let page = crate::api::reading::page(app, job, version, u64::MAX).await?;
            let Some(last) = page.last() else { break };
            version = last.recorded.version;
            for told in &page {
                if events.len() == first {
                    has_more = true;
                    break 'all;
                }
                reached = told.recorded.position;
                if target.is_none_or(|number| is_about(told, number)) {
                    events.push(event(told, detail)?);
                }
            }
        }
        let position = self.office.app().log().head().await.map_err(of_log)?.position;
        let next = match has_more {
            true => format!("get_events {{job_id: \"{job}\", after: {reached}}} for more"),
            false => format!("wait_for_job {{job_id: \"{job}\", after: {reached}}} for news"),
        };
        Ok(Answer::new(position, next)
            .with("events", events)
            .with("after", reached)
            .with("has_more", has_more))
    }
}

fn rows(first: Option<u32>) -> Result<u32, No> {
    match first.unwrap_or(ROWS) {
        first @ 1..=MOST_ROWS => Ok(first),
        other => Err(No::bad_arguments(format_args!("`first` is {other}; it is 1 to {MOST_ROWS}"))),
    }
}

/// A job with the rows of its targets.
fn shown(job: &JobOverview, targets: Vec<Value>) -> Value {
    json!({
        "job_id": job.job.job.to_string(),
        "status": job.status().name(),
        "cost_micros": job.spent_micros(),
        "targets": targets,
    })
}

/// A job as a resource.
pub fn job_shown(glance: &Glance) -> Value {
    let targets = glance.overview.targets.iter().map(row).collect();
    let mut job = shown(&glance.overview, targets);
    job["position"] = glance.overview.job.position.into();
    job
}

fn row(one: &TargetOverview) -> Value {
    json!({
        "number": one.target.target.0,
        "repository": printable(&one.target.repository),
        "status": one.target.status,
        "outcome": one.target.outcome,
        "delivery": one.target.delivery,
        "turns": one.turn_count,
        "cost_micros": one.cost.spent_micros(),
        "diff_hash": one.target.diff_hash,
    })
}

/// What bears a target's outcome out, what Claude says of its diff, and why it is held.
async fn about(call: &Call<'_>, job: &ReadJob, one: &TargetOverview) -> Result<String, No> {
    let (app, number) = (call.office.app(), target(one.target.target.0));
    let mut words = String::new();
    if let Some((_, diff)) = job.diff(app, number).await? {
        words.push_str(&format!("{}\n{}\n", diff.title.trim(), diff.summary.trim()));
    }
    for line in job.evidence(app, number).await? {
        words.push_str(&format!("- {}\n", line.trim()));
    }
    if let Some(reason) = job.hold(app, number).await? {
        words.push_str(&format!("Held for a person: {}\n", reason.trim()));
    }
    let end = words.floor_char_boundary(ABOUT_BYTES.min(words.len()));
    words.truncate(end);
    Ok(if words.is_empty() { String::new() } else { untrusted(&words) })
}

fn is_about(told: &Told, number: u32) -> bool {
    let facts: Result<Value, _> = serde_json::from_str(&told.recorded.facts);
    facts.is_ok_and(|facts| facts["target"] == number)
}

fn event(told: &Told, detail: Detail) -> Result<Value, No> {
    let recorded = &told.recorded;
    let mut event = json!({
        "position": recorded.position,
        "type": recorded.kind,
        "at": recorded.recorded_at.to_string(),
    });
    if detail == Detail::Full {
        event["actor"] = recorded.actor.clone().into();
        event["facts"] = serde_json::from_str(&recorded.facts)
            .map_err(|error| No::new("internal", error.to_string(), "Ask the server's owner."))?;
    }
    Ok(event)
}
