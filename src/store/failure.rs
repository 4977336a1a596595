//! What SQLite's errors mean to whoever asked the log: whether something stored is damaged, and what
//! a person can do. What they mean to a transaction is the writer's affair.

use rusqlite::{Error, ErrorCode};

use super::LogError;

/// What is wrong with one event's row.
#[derive(Debug, thiserror::Error)]
#[error("event {position}: {what}")]
pub(super) struct DamagedRow {
    pub position: u64,
    pub what: String,
}

impl From<DamagedRow> for LogError {
    fn from(row: DamagedRow) -> Self {
        Self::Damaged { place: format!("event {}", row.position), what: row.what }
    }
}

/// The error as the log's askers see it.
pub(super) fn log_error(error: &Error) -> LogError {
    if let Error::FromSqlConversionFailure(_, _, inner) = error
        && let Some(DamagedRow { position, what }) = inner.downcast_ref()
    {
        return DamagedRow { position: *position, what: what.clone() }.into();
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            LogError::Damaged { place: "its file".to_owned(), what: error.to_string() }
        }
        _ => LogError::Unavailable(told(error)),
    }
}

/// The error, and what a person can do about it.
pub(super) fn told(error: &Error) -> String {
    match error.sqlite_error_code().and_then(remedy) {
        Some(remedy) => format!("{error} ({remedy})"),
        None => error.to_string(),
    }
}

fn remedy(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::DiskFull => Some("make room on the disk of the data directory"),
        ErrorCode::SystemIoFailure => Some(
            "see whether the disk of the data directory is full, failing or mounted read-only, \
             or a quota or limit is reached",
        ),
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            Some("check that the data directory and the files in it may be written by this user")
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Some("another program holds the file; end it")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            Some("move it away and put a backup in its place")
        }
        _ => None,
    }
}
