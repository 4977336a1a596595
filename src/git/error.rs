//! Failures of git, by what can be done about them. Messages carry no credentials.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why git could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("{repository}: {why}")]
    Authentication { repository: String, why: String },
    #[error("{repository}: no such repository, or the token may not see it; check the name")]
    NotFound { repository: String },
    #[error("{repository}: the host says that it is now at {to}; name it there instead")]
    Moved { repository: String, to: String },
    #[error("{repository}: the host could not be reached ({what}); try again later")]
    Network { repository: String, what: String },
    #[error(
        "{repository}: the host is too slow for the limit of {} ms; raise `fetch_timeout_ms` in \
         config.toml to allow it",
        limit.as_millis()
    )]
    TooSlow { repository: String, limit: Duration },
    #[error("{repository}: the host does not serve it as git: {what}; check the address")]
    NotGit { repository: String, what: String },
    #[error(
        "{repository}: the host's certificate is not trusted ({what}); install the certificate of \
         its authority, or name it in SSL_CERT_FILE"
    )]
    Distrusted { repository: String, what: String },
    #[error(
        "{repository}: what came from the host is damaged ({what}); try again, and check the \
         repository there with `git fsck` if it stays so"
    )]
    Damaged { repository: String, what: String },
    #[error("{repository} has no commit yet; push one first")]
    Empty { repository: String },
    #[error("{repository} has no default branch; name the branch to work on")]
    NoDefaultBranch { repository: String },
    #[error("{repository} has no branch `{branch}`; check its name, or name none for the default")]
    NoBranch { repository: String, branch: String },
    #[error("the repository is not whole: {what}; fetch what is missing, or name a whole clone")]
    NotWhole { what: String },
    #[error("the repository is too large: {what}; raise the limit in config.toml to allow it")]
    TooBig { what: String },
    #[error("the repository holds what no honest one does: {what}; it is left alone")]
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
    /// Whether the disk is full, which is nobody's fault and passes.
    pub fn lacks_room(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Io { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            // libgit2 has no code for it, and gives the words of the system.
            Self::Git(error) => ["No space left on device", "Disk quota exceeded"]
                .iter()
                .any(|words| error.message().contains(words)),
            _ => false,
        }
    }

    /// Whether the same may work at another time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Damaged { .. } => true,
            Self::Authentication { .. }
            | Self::NotFound { .. }
            | Self::Moved { .. }
            | Self::TooSlow { .. }
            | Self::NotGit { .. }
            | Self::Distrusted { .. }
            | Self::NoDefaultBranch { .. }
            | Self::NotWhole { .. }
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
