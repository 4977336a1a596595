//! Asking a host for a branch's tip, and fetching it at depth 1 into a bare cache. Local
//! repositories are read where they are. Nothing of a repository's configuration is run.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cody_events::digest::{ObjectId, Sha256};
use git2::{
    AutotagOption, Cred, CredentialType, Direction, ErrorClass, ErrorCode, FetchOptions,
    RemoteCallbacks, RemoteRedirect, Repository, RepositoryInitOptions, StatusOptions,
};
use rustix::fs::{FlockOperation, flock};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::base::{object_id, oid};
use super::error::{GitError, io};
use super::locator::Locator;

/// How long a host may take to answer a connection.
const CONNECT_TIMEOUT_MS: i32 = 15_000;
/// How long a host may be silent; hosts that are at work on a pack say so every few seconds.
const SILENCE_TIMEOUT_MS: i32 = 20_000;

/// What a target's work starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub commit: ObjectId,
    pub branch: String,
}

/// How much a fetch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    pub bytes: u64,
    pub duration: Duration,
}

/// Keeps libgit2 from the machine's own configuration: no user's `insteadOf`, proxy or helper.
/// Affects the whole process; called again, it does nothing.
pub fn isolate() -> Result<(), GitError> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let done = DONE.get_or_init(|| isolate_once().map_err(|error| error.to_string()));
    done.clone().map_err(|error| GitError::Git(git2::Error::from_str(&error)))
}

#[expect(unsafe_code, reason = "libgit2's process-wide settings; set once, before any other call")]
fn isolate_once() -> Result<(), git2::Error> {
    use git2::ConfigLevel::{Global, ProgramData, System, XDG};
    git2::opts::strict_hash_verification(true);
    for level in [System, Global, XDG, ProgramData] {
        // SAFETY: no other thread uses libgit2 yet; the one initialiser is behind a lock.
        unsafe { git2::opts::set_search_path(level, "")? };
    }
    // SAFETY: as above.
    unsafe {
        git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_TIMEOUT_MS)?;
        git2::opts::set_server_timeout_in_milliseconds(SILENCE_TIMEOUT_MS)?;
    }
    Ok(())
}

/// The commit that `branch`, or else the default branch, points to now.
pub fn resolve(
    locator: &Locator,
    token: Option<&SecretString>,
    branch: Option<&str>,
) -> Result<Resolved, GitError> {
    isolate()?;
    match locator {
        Locator::Local { path } => resolve_local(path, branch),
        Locator::Remote { url, path, .. } => resolve_remote(url, path, token, branch),
    }
}

fn resolve_local(path: &Path, branch: Option<&str>) -> Result<Resolved, GitError> {
    let name = path.display().to_string();
    let repository = Repository::open(path)?;
    let reference = match branch {
        Some(branch) => repository
            .find_branch(branch, git2::BranchType::Local)
            .map_err(|_| GitError::NoBranch {
                repository: name.clone(),
                branch: branch.to_owned(),
            })?
            .into_reference(),
        None => repository.head().map_err(|error| match error.code() {
            ErrorCode::UnbornBranch | ErrorCode::NotFound => {
                GitError::Empty { repository: name.clone() }
            }
            _ => GitError::Git(error),
        })?,
    };
    let commit = reference.peel_to_commit()?.id();
    let branch = String::from_utf8_lossy(reference.shorthand_bytes()).into_owned();
    Ok(Resolved { commit: object_id(commit), branch })
}

/// How many files of the local repository at `path` have changes that are not committed.
pub fn count_uncommitted(path: &Path) -> Result<usize, GitError> {
    isolate()?;
    let repository = Repository::open(path)?;
    if repository.is_bare() {
        return Ok(0);
    }
    let mut options = StatusOptions::new();
    options.include_untracked(true).exclude_submodules(true).recurse_untracked_dirs(false);
    Ok(repository.statuses(Some(&mut options))?.len())
}

fn resolve_remote(
    url: &Url,
    name: &str,
    token: Option<&SecretString>,
    branch: Option<&str>,
) -> Result<Resolved, GitError> {
    // Where redirects may lead is a setting of the repository that asks.
    let asking = tempfile::TempDir::with_prefix("cody-asks-")
        .map_err(io("a scratch directory cannot be made", &std::env::temp_dir()))?;
    let repository = bare(asking.path())?;
    let mut remote = repository.remote_anonymous(url.as_str())?;
    let failed = |error| classify(name, &error);
    let connection =
        remote.connect_auth(Direction::Fetch, Some(callbacks(url, token)), None).map_err(failed)?;
    let empty = || GitError::Empty { repository: name.to_owned() };
    let branch = match branch {
        Some(branch) => branch.to_owned(),
        None => {
            let head = connection.default_branch().map_err(|_| empty())?;
            let head = String::from_utf8_lossy(&head).into_owned();
            head.strip_prefix("refs/heads/").ok_or_else(empty)?.to_owned()
        }
    };
    let wanted = format!("refs/heads/{branch}");
    let commit = connection
        .list()
        .map_err(failed)?
        .iter()
        .find(|head| head.name() == wanted)
        .map(git2::RemoteHead::oid)
        .ok_or_else(|| GitError::NoBranch {
            repository: name.to_owned(),
            branch: branch.clone(),
        })?;
    Ok(Resolved { commit: object_id(commit), branch })
}

/// A repository on this machine that holds `resolved`: the bare cache of a remote one, below
/// `caches`, or the local one itself, which is only read.
pub fn fetch(
    locator: &Locator,
    token: Option<&SecretString>,
    resolved: &Resolved,
    caches: &Path,
    limits: &FetchLimits,
) -> Result<PathBuf, GitError> {
    isolate()?;
    let (url, name) = match locator {
        Locator::Local { path } => return Ok(path.clone()),
        Locator::Remote { url, path, .. } => (url, path),
    };
    let key = &Sha256::of(locator.identity().as_bytes()).to_string()[..32];
    let cache = caches.join(format!("{key}.git"));
    fs::create_dir_all(caches).map_err(io("a directory cannot be made", caches))?;
    let lock_path = caches.join(format!("{key}.lock"));
    let lock = File::create(&lock_path).map_err(io("a lock cannot be made", &lock_path))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| io("a lock cannot be taken", &lock_path)(error.into()))?;
    let repository = bare(&cache)?;
    if repository.find_commit(oid(resolved.commit)?).is_ok() {
        return Ok(cache);
    }
    let mut remote = repository.remote_anonymous(url.as_str())?;
    let mut callbacks = callbacks(url, token);
    let deadline = Instant::now() + limits.duration;
    let most = limits.bytes;
    let stopped = Cell::new(false);
    callbacks.transfer_progress(|progress| {
        stopped.set(progress.received_bytes() as u64 > most || Instant::now() >= deadline);
        !stopped.get()
    });
    let mut options = FetchOptions::new();
    options
        .depth(1)
        .download_tags(AutotagOption::None)
        .follow_redirects(RemoteRedirect::None)
        .remote_callbacks(callbacks);
    let branch = &resolved.branch;
    let refspec = format!("+refs/heads/{branch}:refs/heads/{branch}");
    remote.fetch(&[&refspec], Some(&mut options), None).map_err(|error| {
        if stopped.get() {
            return GitError::TooBig {
                what: format!("its fetch takes more than {most} bytes or {:?}", limits.duration),
            };
        }
        classify(name, &error)
    })?;
    if repository.find_commit(oid(resolved.commit)?).is_err() {
        let what = format!("the branch `{branch}` moved while it was fetched");
        return Err(GitError::Network { repository: name.clone(), what });
    }
    Ok(cache)
}

/// A bare repository that asks no other host than the one it was told.
fn bare(path: &Path) -> Result<Repository, GitError> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false);
    let repository = Repository::init_opts(path, &options)?;
    repository.config()?.set_bool("http.followRedirects", false)?;
    Ok(repository)
}

/// Gives the token to the job's own host, once, and to no other.
fn callbacks<'a>(url: &Url, token: Option<&'a SecretString>) -> RemoteCallbacks<'a> {
    let origin = (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
    let mut tries = 0;
    let mut callbacks = RemoteCallbacks::new();
    callbacks.credentials(move |asked, _, allowed| {
        tries += 1;
        let refused = || git2::Error::new(ErrorCode::Auth, ErrorClass::Http, "not authorised");
        let asked = Url::parse(asked).map_err(|_| refused())?;
        let is_ours =
            (asked.scheme().to_owned(), asked.host_str().map(str::to_owned), asked.port())
                == origin;
        match token {
            Some(token)
                if is_ours
                    && tries == 1
                    && allowed.contains(CredentialType::USER_PASS_PLAINTEXT) =>
            {
                Cred::userpass_plaintext("x-access-token", token.expose_secret())
            }
            _ => Err(refused()),
        }
    });
    callbacks
}

/// An error of the transport, by what can be done about it, in words without credentials.
fn classify(name: &str, error: &git2::Error) -> GitError {
    let repository = name.to_owned();
    let text = error.message();
    if error.code() == ErrorCode::Auth || text.contains("401") || text.contains("403") {
        return GitError::Authentication { repository };
    }
    if error.code() == ErrorCode::NotFound || text.contains("404") {
        return GitError::NotFound { repository };
    }
    let mut what: String = text.chars().take(200).collect();
    if what.contains('@') {
        what = "the transfer failed".to_owned();
    }
    GitError::Network { repository, what }
}
