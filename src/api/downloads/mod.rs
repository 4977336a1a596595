//! What people take home of a job, made from the log: the same bytes for every door.

pub mod report;

use crate::app::AppError;

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error("it could not be written as JSON")]
    Render(#[from] serde_json::Error),
}
