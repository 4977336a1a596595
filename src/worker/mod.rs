//! The worker: a process that holds one target for one attempt. It fetches, scans, runs tools and
//! checks, and reports; it never talks to Claude, and what it reports is a claim.
//!
//! Its whole life is a loop: ask the server for the next step, do it, report. Whatever it knows it
//! learned from the claim, so the next worker can take over anywhere.

mod attempt;
mod checks;
mod connection;
mod dependencies;
mod scan;
mod turns;

use std::path::PathBuf;

use cody_events::attempt::AttemptEnd;
use cody_events::ids::{JobId, RequestId, TargetNumber};

use crate::wire::WorkerSecret;

pub use connection::ConnectionError;

/// What a worker is told on its command line.
#[derive(Debug, Clone)]
pub struct WorkerArgs {
    pub server: String,
    pub job: JobId,
    pub target: TargetNumber,
    pub request: RequestId,
}

/// Why a worker left before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("{0}")]
    Git(#[from] crate::git::GitError),
    #[error("the sandbox failed: {0}")]
    Sandbox(#[from] crate::sandbox::SandboxError),
    #[error("{what} at {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a step of the worker stopped: {0}")]
    Stopped(String),
}

impl WorkerError {
    /// Whether the disk is full, which is nobody's fault and passes.
    fn lacks_room(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Git(error) => error.lacks_room(),
            Self::Io { source, .. }
            | Self::Sandbox(crate::sandbox::SandboxError::Start(source)) => {
                matches!(source.kind(), StorageFull | QuotaExceeded)
            }
            Self::Connection(_) | Self::Sandbox(_) | Self::Stopped(_) => false,
        }
    }
}

/// Works on one target until nothing is left to do, the lease is gone, or the server stays away.
pub async fn run(args: WorkerArgs, secret: WorkerSecret) -> Result<AttemptEnd, WorkerError> {
    attempt::run(args, secret).await
}

/// Runs `work` on a thread that may block.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, WorkerError> + Send + 'static,
) -> Result<R, WorkerError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| WorkerError::Stopped(error.to_string()))?
}

/// An error and what it rests on, in one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
