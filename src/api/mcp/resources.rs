//! Jobs and what they leave as resources, each under an address of its own.

use cody_events::ids::{JobId, TargetNumber};
use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};

use super::answer::{No, untrusted};
use super::assistant::refused;
use super::office::Office;
use super::window::Window;
use crate::api::downloads::DownloadError;
use crate::api::downloads::report;
use crate::api::downloads::thread::{Talk, write_markdown};
use crate::api::graphql;
use crate::api::reading::{NoJob, ReadError, page, version_at};
use crate::api::words::printable;

const SCHEME: &str = "codybatch://";
/// Jobs that are listed; all of them can be read.
const LISTED: u32 = 20;
/// The most bytes of a text; what is longer is read by the tools, in parts.
const MOST_BYTES: usize = 256 * 1024;
/// The most events of one reading.
const MOST_EVENTS: usize = 500;

/// What an address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Schema,
    Job(JobId),
    Diff(JobId, TargetNumber),
    Thread(JobId, TargetNumber),
    Events(JobId, u64),
    Report(JobId),
}

impl Place {
    /// What `uri` names, if it names anything here.
    pub fn parse(uri: &str) -> Option<Self> {
        let path = uri.strip_prefix(SCHEME)?;
        if path == "schema.graphql" {
            return Some(Self::Schema);
        }
        let rest = path.strip_prefix("jobs/")?;
        let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let job: JobId = id.parse().ok()?;
        if let Some(query) = rest.strip_prefix("events") {
            return match query.strip_prefix("?after=") {
                Some(after) => after.parse().ok().map(|after| Self::Events(job, after)),
                None => query.is_empty().then_some(Self::Events(job, 0)),
            };
        }
        match rest {
            "" => Some(Self::Job(job)),
            "report.md" => Some(Self::Report(job)),
            _ => {
                let (number, what) = rest.strip_prefix("targets/")?.split_once('/')?;
                let target = TargetNumber(number.parse().ok()?);
                match what {
                    "diff" => Some(Self::Diff(job, target)),
                    "thread" => Some(Self::Thread(job, target)),
                    _ => None,
                }
            }
        }
    }

    /// The job that it is about; nothing if it is about none.
    pub fn job(self) -> Option<JobId> {
        match self {
            Self::Schema => None,
            Self::Job(job)
            | Self::Diff(job, _)
            | Self::Thread(job, _)
            | Self::Events(job, _)
            | Self::Report(job) => Some(job),
        }
    }
}

/// The address of a job.
pub fn job_uri(job: JobId) -> String {
    format!("{SCHEME}jobs/{job}")
}

/// The address of a target's diff.
pub fn diff_uri(job: JobId, target: TargetNumber) -> String {
    format!("{SCHEME}jobs/{job}/targets/{target}/diff")
}

/// The newest jobs, and the schema of GraphQL.
pub async fn list(office: &Office) -> Result<Vec<Resource>, No> {
    office.catch_up().await?;
    let jobs = office.reader.jobs(LISTED).await?;
    let schema = Resource::new(format!("{SCHEME}schema.graphql"), "schema.graphql")
        .with_title("GraphQL schema")
        .with_description("All that /graphql can read and do")
        .with_mime_type("text/plain");
    let job = |job: &cody_projections::overview::JobOverview| {
        let id = job.job.job;
        let repositories: Vec<String> =
            job.targets.iter().map(|one| printable(&one.target.repository)).collect();
        Resource::new(job_uri(id), id.to_string())
            .with_title(format!("Job: {}", job.status().name()))
            .with_description(repositories.join(", "))
            .with_mime_type("application/json")
    };
    Ok(jobs.iter().map(job).chain([schema]).collect())
}

/// The addresses that can be filled in.
pub fn templates() -> Vec<ResourceTemplate> {
    let template = |path: &str, name: &str, title: &str, mime: &str| {
        ResourceTemplate::new(format!("{SCHEME}jobs/{{id}}{path}"), name)
            .with_title(title)
            .with_mime_type(mime)
    };
    vec![
        template("", "job", "A job", "application/json"),
        template("/targets/{n}/diff", "diff", "The diff of one repository", "text/markdown"),
        template(
            "/targets/{n}/thread",
            "thread",
            "The conversation about one repository",
            "text/markdown",
        ),
        template("/events{?after}", "events", "The events of a job", "application/x-ndjson"),
        template("/report.md", "report", "What was asked, done, checked, spent", "text/markdown"),
    ]
}

/// What is at `uri`.
pub async fn read(office: &Office, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let unknown = || {
        let data = serde_json::json!({ "uri": uri });
        ErrorData::resource_not_found("There is nothing at this address.", Some(data))
    };
    let place = Place::parse(uri).ok_or_else(unknown)?;
    office.catch_up().await.map_err(refused)?;
    let found = match place {
        Place::Schema => Ok((graphql::sdl(), "text/plain")),
        Place::Job(job) => job_json(office, job).await,
        Place::Diff(job, target) => diff(office, job, target).await,
        Place::Thread(job, target) => thread(office, job, target).await,
        Place::Events(job, after) => events(office, job, after).await,
        Place::Report(job) => whole_report(office, job).await,
    };
    let (text, mime) = match found {
        Ok(found) => found,
        Err(DownloadError::Read(ReadError::NoJob(_)) | DownloadError::NoDiff { .. }) => {
            return Err(unknown());
        }
        Err(error) => return Err(refused(error.into())),
    };
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(mime)]))
}

type Found = Result<(String, &'static str), DownloadError>;

async fn job_json(office: &Office, job: JobId) -> Found {
    let glance = office.reader.glance(job).await?;
    Ok((super::calls::job_shown(&glance).to_string(), "application/json"))
}

async fn diff(office: &Office, job: JobId, target: TargetNumber) -> Found {
    let read = office.reader.read(job).await?;
    read.target(target.0).map_err(ReadError::from)?;
    let Some((_, payload)) = read.diff(office.app(), target).await? else {
        return Err(DownloadError::NoDiff { job, target });
    };
    let position = read.diff_facts(target).map_or(0, |(position, _)| position);
    let damaged = |_| DownloadError::Damaged { job, position };
    let patch = payload.patch.bytes().map_err(damaged)?;
    let patch = String::from_utf8_lossy(&patch);
    let end = patch.floor_char_boundary(MOST_BYTES.min(patch.len()));
    let mut text = untrusted(&patch[..end]);
    if end < patch.len() {
        text.push_str(&format!("\nThere is more: call get_diff with offset {end}.\n"));
    }
    Ok((text, "text/markdown"))
}

async fn thread(office: &Office, job: JobId, target: TargetNumber) -> Found {
    let glance = office.reader.glance(job).await?;
    let targets = &glance.overview.targets;
    let number = target.0;
    let found = targets.iter().find(|one| one.target.target == target);
    let no = NoJob::NoTarget { job, number, count: targets.len() };
    let repository = found.ok_or(ReadError::from(no))?.target.repository.clone();
    let (thread, until) = (None, glance.stand.version);
    let talk = Talk { job, target, repository: &repository, thread, until };
    let mut window = Window::new(0, MOST_BYTES);
    let written = write_markdown(office.app(), talk, &mut window).await;
    window.check(written)?;
    let (text, next) = window.end();
    let mut text = untrusted(&text);
    if let Some(next) = next {
        text.push_str(&format!("\nThere is more: call get_thread with offset {next}.\n"));
    }
    Ok((text, "text/markdown"))
}

async fn whole_report(office: &Office, job: JobId) -> Found {
    let read = office.reader.read(job).await?;
    let mut window = Window::new(0, MOST_BYTES);
    let written = report::write(office.app(), &read, &mut window).await;
    window.check(written)?;
    let (mut text, next) = window.end();
    if next.is_some() {
        text.push_str("\nThere is more: download the report.\n");
    }
    Ok((text, "text/markdown"))
}

/// Envelopes without payloads, one a line.
async fn events(office: &Office, job: JobId, after: u64) -> Found {
    office.reader.glance(job).await?;
    let app = office.app();
    let mut version = version_at(app, job, after).await?;
    let (mut text, mut count) = (String::new(), 0);
    while count < MOST_EVENTS && text.len() < MOST_BYTES {
        let page = page(app, job, version, u64::MAX).await?;
        let Some(last) = page.last() else { break };
        version = last.recorded.version;
        for told in page.iter().take(MOST_EVENTS - count) {
            text.push_str(&told.recorded.to_json(None)?);
            text.push('\n');
            count += 1;
        }
    }
    Ok((text, "application/x-ndjson"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_what_there_is_and_nothing_else() {
        let id = "0198c5a2-0000-7000-8000-000000000001";
        let job: JobId = id.parse().unwrap();
        let at = |path: &str| Place::parse(&format!("codybatch://jobs/{id}{path}"));
        assert_eq!(at(""), Some(Place::Job(job)));
        assert_eq!(at("/targets/2/diff"), Some(Place::Diff(job, TargetNumber(2))));
        assert_eq!(at("/targets/2/thread"), Some(Place::Thread(job, TargetNumber(2))));
        assert_eq!(at("/events"), Some(Place::Events(job, 0)));
        assert_eq!(at("/events?after=7"), Some(Place::Events(job, 7)));
        assert_eq!(at("/report.md"), Some(Place::Report(job)));
        assert_eq!(Place::parse("codybatch://schema.graphql"), Some(Place::Schema));
        for path in
            ["/", "/x", "/targets/x/diff", "/targets/1", "/events?after=", "/eventsx", "/.."]
        {
            assert!(at(path).is_none() || path == "/", "{path}");
        }
        assert!(Place::parse("file:///etc/passwd").is_none());
        assert_eq!(Place::parse(&diff_uri(job, TargetNumber(2))), at("/targets/2/diff"));
    }
}
