//! What people take home of a job, made from the log: patches, all of them with the report, events,
//! conversations. The command line makes the same bytes by the same functions.
//!
//! What follows from the log up to one event has a tag that names that event, so it is made again only
//! for who has not got it. It is made whole before it is sent, in a file if it is large, and any part of
//! it can be asked for. Events are the exception: they are sent while they are read, because a job may
//! have any number, and who broke off goes on after the last version that it has.

pub mod archive;
pub mod ndjson;
pub mod outlet;
pub mod report;
pub mod thread;

mod answer;
mod door;
mod download;
mod flow;
mod links;
mod markdown;
mod patch;
mod spool;

use std::io;

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cody_events::ids::{JobId, TargetNumber, ThreadNumber};

use super::reading::{NoJob, ReadError};
use crate::app::AppError;
use answer::refuse;

pub use door::{DownloadDoor, router};
pub use download::{Asked, BadRequest, Download};
pub use links::{LIFE, Links, TooManyLinks};
pub use patch::names_of as patch_names;

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error("repository {target} of job {job} has no such diff; leave out `diff` for its latest")]
    NoDiff { job: JobId, target: TargetNumber },
    #[error("repository {target} of job {job} has no thread {thread}")]
    NoThread { job: JobId, target: TargetNumber, thread: ThreadNumber },
    #[error("the patch was removed from job {job}")]
    Removed { job: JobId },
    #[error("the patch that job {job} has at position {position} is damaged; restore a backup")]
    Damaged { job: JobId, position: u64 },
    #[error("it could not be written as JSON")]
    Render(#[from] serde_json::Error),
    #[error("it could not be written")]
    Write(#[source] io::Error),
    #[error("too many downloads are under way; try again in a few seconds")]
    Busy,
}

/// Says who may read.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Whether whoever sent these headers may read jobs; else the answer that says no.
    async fn may_read(&self, headers: &HeaderMap) -> Result<(), Response>;
}

fn refuse_bad(bad: &BadRequest) -> Response {
    match bad {
        BadRequest::NoSuchPath => refuse(StatusCode::NOT_FOUND, "no-such-path", bad.to_string()),
        BadRequest::Parameter(_) => {
            refuse(StatusCode::BAD_REQUEST, "bad-parameter", bad.to_string())
        }
    }
}

fn refuse_error(error: &DownloadError) -> Response {
    let (status, code) = match error {
        DownloadError::Read(ReadError::NoJob(NoJob::NoTarget { .. })) => {
            (StatusCode::NOT_FOUND, "no-such-target")
        }
        DownloadError::Read(ReadError::NoJob(NoJob::Unknown(_) | NoJob::Ambiguous(..))) => {
            (StatusCode::NOT_FOUND, "no-such-job")
        }
        DownloadError::NoDiff { .. } => (StatusCode::NOT_FOUND, "no-diff"),
        DownloadError::NoThread { .. } => (StatusCode::NOT_FOUND, "no-such-thread"),
        DownloadError::Removed { .. } => (StatusCode::GONE, "removed"),
        DownloadError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        DownloadError::Write(source) if source.kind() == io::ErrorKind::FileTooLarge => {
            (StatusCode::INSUFFICIENT_STORAGE, "too-large")
        }
        DownloadError::App(error) | DownloadError::Read(ReadError::App(error))
            if error.is_passing() =>
        {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        DownloadError::Read(_)
        | DownloadError::App(_)
        | DownloadError::Damaged { .. }
        | DownloadError::Render(_)
        | DownloadError::Write(_) => (StatusCode::INTERNAL_SERVER_ERROR, "unreadable"),
    };
    if status.is_server_error() {
        tracing::error!(%error, "a download could not be made");
    }
    refuse(status, code, error.to_string())
}
