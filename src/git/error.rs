//! Failures of git, by what can be done about them. Messages carry no credentials.

use std::path::{Path, PathBuf};

/// Why git could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("{repository}: the host refused the credentials; check the token and what it may read")]
    Authentication { repository: String },
    #[error("{repository}: no such repository, or the token may not see it")]
    NotFound { repository: String },
    #[error("{repository}: the host could not be reached ({what}); try again later")]
    Network { repository: String, what: String },
    #[error("{repository} has no commit yet; push one first")]
    Empty { repository: String },
    #[error("{repository} has no branch `{branch}`")]
    NoBranch { repository: String, branch: String },
    #[error("the repository is too large: {what}; raise the limit in config.toml to allow it")]
    TooBig { what: String },
    #[error("the repository holds what no honest one does: {what}")]
    Hostile { what: String },
    #[error("the work was stopped")]
    Cancelled,
    #[error("{what} at {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("git: {0}")]
    Git(#[from] git2::Error),
}

impl GitError {
    /// Whether the same may work at another time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Authentication { .. }
            | Self::NotFound { .. }
            | Self::Empty { .. }
            | Self::NoBranch { .. }
            | Self::TooBig { .. }
            | Self::Hostile { .. }
            | Self::Cancelled
            | Self::Io { .. }
            | Self::Git(_) => false,
        }
    }
}

/// Adds the place to an error of the file system.
pub(super) fn io<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> GitError + use<'a> {
    move |source| GitError::Io { what, path: path.to_owned(), source }
}
