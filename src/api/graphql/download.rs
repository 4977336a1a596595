//! Links for downloads: for whoever cannot send a token with a download, such as a page.

use async_graphql::{Context, Enum, Error, ID, InputObject, SimpleObject};
use cody_events::ids::{JobId, TargetNumber};
use cody_events::system::Scope;

use super::errors::{ErrorCode, UserError};
use super::ids::GlobalId;
use super::services::{allowed, services};
use super::types::node::job_of;
use super::types::scalars::DateTime;
use crate::api::downloads::{Download, LIFE};

/// What is to be downloaded.
#[derive(Debug, InputObject)]
pub struct CreateDownloadInput {
    /// Given back as it is.
    pub client_mutation_id: Option<String>,
    /// The job's id.
    pub job_id: ID,
    /// What of it.
    pub kind: DownloadKind,
    /// The target, by its number; patches and threads are of one.
    pub target: Option<i32>,
}

/// What of a job can be downloaded.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadKind {
    /// The latest patch of a target.
    Patch,
    /// All patches, and the report, as `.tar.gz`.
    Archive,
    /// The events, one JSON object a line.
    Events,
    /// The conversations about a target, as Markdown.
    ThreadMarkdown,
    /// The conversations about a target, as JSON.
    ThreadJson,
    /// The report, as Markdown.
    Report,
}

/// What became of the wish for a link.
#[derive(Debug, SimpleObject)]
pub struct CreateDownloadPayload {
    /// As it was given.
    pub client_mutation_id: Option<String>,
    /// Below the server's address. It is good once, without a token.
    pub path: Option<String>,
    /// From when on it is no longer good.
    pub expires_at: Option<DateTime>,
    /// Why there is no link; empty if there is one.
    pub user_errors: Vec<UserError>,
}

/// Makes a link.
pub async fn create(
    context: &Context<'_>,
    input: CreateDownloadInput,
) -> Result<CreateDownloadPayload, Error> {
    let caller = allowed(context, Scope::Read)?;
    let services = services(context)?;
    let made = match wanted(context, &input).await? {
        Ok(download) => services.links.create(&download, &caller.actor).map_err(|_| UserError {
            code: ErrorCode::TooMany,
            field: None,
            message: "Too many links are waiting to be used.".to_owned(),
            next: "Use those that you have, or wait for a minute.".to_owned(),
        }),
        Err(error) => Err(error),
    };
    let life = u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX);
    let expires_at = services.reception.control.app.clock().now().plus_millis(life);
    let client_mutation_id = input.client_mutation_id;
    Ok(match made {
        Ok(path) => CreateDownloadPayload {
            client_mutation_id,
            path: Some(path),
            expires_at: Some(DateTime(expires_at)),
            user_errors: Vec::new(),
        },
        Err(error) => CreateDownloadPayload {
            client_mutation_id,
            path: None,
            expires_at: None,
            user_errors: vec![error],
        },
    })
}

async fn wanted(
    context: &Context<'_>,
    input: &CreateDownloadInput,
) -> Result<Result<Download, UserError>, Error> {
    let Some(id) = GlobalId::job(&input.job_id) else {
        return Ok(Err(UserError::not_found("jobId", "job")));
    };
    let Some(job) = job_of(context, id).await? else {
        return Ok(Err(UserError::not_found("jobId", "job")));
    };
    let numbers: Vec<TargetNumber> = job.0.targets.iter().map(|one| one.target.target).collect();
    let number = input.target.and_then(|number| u32::try_from(number).ok()).map(TargetNumber);
    let target = number.filter(|number| numbers.contains(number));
    let missing = || UserError::not_found("target", "target");
    Ok(download(input.kind, id, target).ok_or_else(missing))
}

/// The download of that kind; nothing if it needs a target and there is none.
fn download(kind: DownloadKind, job: JobId, target: Option<TargetNumber>) -> Option<Download> {
    Some(match kind {
        DownloadKind::Archive => Download::Archive { job },
        DownloadKind::Events => Download::Events { job, after: 0, payloads: true },
        DownloadKind::Report => Download::Report { job },
        DownloadKind::Patch => Download::Patch { job, target: target?, diff: None },
        DownloadKind::ThreadMarkdown => {
            Download::ThreadMarkdown { job, target: target?, thread: None }
        }
        DownloadKind::ThreadJson => Download::ThreadJson { job, target: target?, thread: None },
    })
}
