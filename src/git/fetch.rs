//! Asking a host for a branch's tip, and fetching it at depth 1 into a bare cache. Local
//! repositories are read where they are. Nothing of a repository's configuration is run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cody_events::digest::{ObjectId, Sha256};
use git2::{
    AutotagOption, Direction, ErrorClass, ErrorCode, FetchOptions, ObjectType, RemoteCallbacks,
    RemoteRedirect, Repository, RepositoryInitOptions, StatusOptions,
};
use rustix::fs::{FlockOperation, flock};
use secrecy::SecretString;
use url::Url;

use super::base::{object_id, oid};
use super::budget::{WalkBudget, weigh};
use super::error::{GitError, io};
use super::line::{Allowance, Failure, Line};
use super::locator::Locator;
use super::settings::isolate;
use super::transport;

/// Where branches are named.
const BRANCHES: &str = "refs/heads/";
/// What a cache calls the branch that it fetched last.
const FETCHED: &str = "refs/cody-batch/fetched";
/// Limits that only what is hostile passes; those of the configuration come after.
const WHATEVER: WalkBudget = WalkBudget { files: u64::MAX, bytes: u64::MAX, file_bytes: u64::MAX };
/// What asking for branches may take; a host with a million of them sends some 70 MB.
const ASKING: Allowance = Allowance { bytes: 256 << 20, duration: Duration::from_secs(60) };

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

/// The commit that `branch`, or else the default branch, points to now.
pub fn resolve(
    locator: &Locator,
    token: Option<&SecretString>,
    branch: Option<&str>,
) -> Result<Resolved, GitError> {
    isolate()?;
    match locator {
        Locator::Local { path } => resolve_local(path, branch),
        Locator::Remote { url, .. } => {
            let host = Host::of(locator, url, token, ASKING)?;
            transport::over(&host.line, || resolve_remote(&host, branch))
        }
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
///
/// # Errors
/// [`GitError::TooBig`] and others of [`weigh`]: what cannot be worked on is not compared either.
pub fn count_uncommitted(path: &Path, budget: &WalkBudget) -> Result<usize, GitError> {
    isolate()?;
    let repository = Repository::open(path)?;
    if repository.is_bare() {
        return Ok(0);
    }
    weigh(&repository, object_id(repository.head()?.peel_to_commit()?.id()), budget)?;
    let mut options = StatusOptions::new();
    options.include_untracked(true).exclude_submodules(true).recurse_untracked_dirs(false);
    Ok(repository.statuses(Some(&mut options))?.len())
}

fn resolve_remote(host: &Host<'_>, branch: Option<&str>) -> Result<Resolved, GitError> {
    let repository = || host.name.clone();
    let mut remote = git2::Remote::create_detached(host.url.as_str())?;
    let failed = |error| host.classify(error);
    let connection = remote.connect_auth(Direction::Fetch, None, None).map_err(failed)?;
    let heads = connection.list().map_err(failed)?;
    if !heads.iter().any(|head| head.name().starts_with(BRANCHES)) {
        return Err(GitError::Empty { repository: repository() });
    }
    let branch = match branch {
        Some(branch) => branch.to_owned(),
        None => {
            let none = || GitError::NoDefaultBranch { repository: repository() };
            let head = connection.default_branch().map_err(|_| none())?;
            let head = String::from_utf8_lossy(&head).into_owned();
            head.strip_prefix(BRANCHES).ok_or_else(none)?.to_owned()
        }
    };
    let no_branch = || GitError::NoBranch { repository: repository(), branch: branch.clone() };
    let wanted = reference_of(&branch).ok_or_else(no_branch)?;
    let commit = heads
        .iter()
        .find(|head| head.name() == wanted)
        .map(git2::RemoteHead::oid)
        .ok_or_else(no_branch)?;
    Ok(Resolved { commit: object_id(commit), branch })
}

/// The full name of a branch, if it can be one: a name goes into a refspec, where `*` and `:` act.
fn reference_of(branch: &str) -> Option<String> {
    let name = format!("{BRANCHES}{branch}");
    git2::Reference::is_valid_name(&name).then_some(name)
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
    let url = match locator {
        Locator::Local { path } => return Ok(path.clone()),
        Locator::Remote { url, .. } => url,
    };
    let key = &Sha256::of(locator.identity().as_bytes()).to_string()[..32];
    let cache = caches.join(format!("{key}.git"));
    fs::create_dir_all(caches).map_err(io("a directory cannot be made", caches))?;
    let lock_path = caches.join(format!("{key}.lock"));
    let lock = File::create(&lock_path).map_err(io("a lock cannot be made", &lock_path))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| io("a lock cannot be taken", &lock_path)(error.into()))?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false);
    let repository = Repository::init_opts(&cache, &options)?;
    if repository.find_commit(oid(resolved.commit)?).is_ok() {
        return Ok(cache);
    }
    sweep(&cache)?;
    let allowance = Allowance { bytes: limits.bytes, duration: limits.duration };
    let host = Host::of(locator, url, token, allowance)?;
    let fetched = transport::over(&host.line, || fetch_remote(&host, &repository, resolved));
    if let Err(GitError::NotWhole { .. } | GitError::Hostile { .. }) = &fetched {
        // The next fetch would find the commit here and trust it.
        drop(repository);
        fs::remove_dir_all(&cache).map_err(io("a cache cannot be removed", &cache))?;
    }
    fetched.map(|()| cache)
}

fn fetch_remote(
    host: &Host<'_>,
    repository: &Repository,
    resolved: &Resolved,
) -> Result<(), GitError> {
    let branch = &resolved.branch;
    let from = reference_of(branch).ok_or_else(|| GitError::NoBranch {
        repository: host.name.clone(),
        branch: branch.clone(),
    })?;
    let mut remote = repository.remote_anonymous(host.url.as_str())?;
    let mut callbacks = RemoteCallbacks::new();
    callbacks.transfer_progress(|_| host.line.has_time());
    let mut options = FetchOptions::new();
    options
        .depth(1)
        .download_tags(AutotagOption::None)
        .follow_redirects(RemoteRedirect::None)
        .remote_callbacks(callbacks);
    // One name for every branch: `a` and `a/b` cannot stand beside each other.
    let refspec = format!("+{from}:{FETCHED}");
    remote.fetch(&[&refspec], Some(&mut options), None).map_err(|error| host.classify(error))?;
    let commit = oid(resolved.commit)?;
    let odd =
        |what: String| Err(GitError::Hostile { what: format!("the branch `{branch}`: {what}") });
    match repository.odb()?.read_header(commit) {
        Ok((_, ObjectType::Commit)) => match repository.find_commit(commit) {
            Ok(_) => weigh(repository, resolved.commit, &WHATEVER).map(|_| ()),
            Err(error) => odd(format!("its commit cannot be read: {}", error.message())),
        },
        Ok((_, kind)) => odd(format!("it points to a {kind}, not to a commit")),
        Err(_) => {
            let what = format!("the branch `{branch}` moved while it was fetched");
            Err(GitError::Network { repository: host.name.clone(), what })
        }
    }
}

/// Removes what a fetch that was killed left: half packs, and locks of git's own. The caller holds
/// the cache's lock, so that nobody works on them.
fn sweep(cache: &Path) -> Result<(), GitError> {
    let is_left = |place: &str, path: &Path| {
        let kind = path.extension().unwrap_or_default();
        match place {
            "objects/pack" => kind != "pack" && kind != "idx",
            _ => kind == "lock",
        }
    };
    for place in ["objects/pack", "refs/cody-batch", "."] {
        let Ok(entries) = fs::read_dir(cache.join(place)) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_file() && is_left(place, &path) {
                fs::remove_file(&path).map_err(io("what is left cannot be removed", &path))?;
            }
        }
    }
    Ok(())
}

/// A repository's host, as one call talks to it.
struct Host<'a> {
    url: &'a Url,
    name: String,
    line: Arc<Line>,
    /// With its port, if that is not the usual one.
    host: String,
}

impl<'a> Host<'a> {
    fn of(
        locator: &Locator,
        url: &'a Url,
        token: Option<&SecretString>,
        allowance: Allowance,
    ) -> Result<Self, GitError> {
        let name = locator.display_name();
        let host = locator.host().unwrap_or_default().to_owned();
        let line = Line::new(url, token, allowance).map_err(|failure| match failure {
            Failure::Away(what) => GitError::Network { repository: name.clone(), what },
            other => GitError::Network { repository: name.clone(), what: format!("{other:?}") },
        })?;
        Ok(Self { url, name, line, host })
    }

    /// What to say where a token is wanted and none was given for this host.
    fn wanting(&self) -> String {
        let also = match self.host.as_str() {
            // Where the token goes if nothing else is said.
            "github.com" => String::new(),
            host => format!(", with CODY_TOKEN_HOST={host}"),
        };
        format!(
            "no such repository, or one that wants a token; set CODY_GITHUB_TOKEN (or GITHUB_TOKEN) \
             to one that may read it{also}"
        )
    }

    /// An error by what can be done about it: the line knows best why it failed.
    fn classify(&self, error: git2::Error) -> GitError {
        let repository = self.name.clone();
        let Some(failure) = self.line.failure() else {
            if matches!(error.class(), ErrorClass::Os | ErrorClass::Filesystem) {
                // A full disk here is not the host's fault.
                return GitError::Git(error);
            }
            let what = self.line.fit(error.message());
            return match what.strip_prefix("remote error: ") {
                Some(said) => GitError::NotGit { repository, what: format!("it says: {said}") },
                None => GitError::Damaged { repository, what },
            };
        };
        match failure {
            Failure::TokenNeeded => GitError::Authentication { repository, why: self.wanting() },
            Failure::TokenRefused => {
                let why = "the host refused the token; check that it is valid and what it may read";
                GitError::Authentication { repository, why: why.to_owned() }
            }
            Failure::NotFound => GitError::NotFound { repository },
            Failure::Moved(to) => GitError::Moved { repository, to },
            Failure::TooMuch(most) => {
                GitError::TooBig { what: format!("its fetch takes more than {most} bytes") }
            }
            Failure::TooSlow(limit) => GitError::TooSlow { repository, limit },
            Failure::NotGit(what) => GitError::NotGit { repository, what },
            Failure::Distrusted(what) => GitError::Distrusted { repository, what },
            Failure::Away(what) => GitError::Network { repository, what },
        }
    }
}
