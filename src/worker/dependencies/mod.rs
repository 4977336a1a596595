//! What a repository depends on, had before its commands lose the network: when manifests say
//! something new, their dependencies are fetched once, kept for other jobs, and shown to commands to
//! be read. What was fetched, and why something was not, is reported.
//!
//! Lock files that a fetch brings along are put in the work directory; a check's checkout gets none.

mod fetching;
mod manifests;
mod proxy;
mod shown;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cody_events::attempt::SandboxBackend;
use cody_events::digest::Sha256;
use cody_events::evidence::{Ecosystem, Fetch, FetchOutcome, FetchWords};
use cody_events::tree::{EntryMode, RepoPath};
use tokio::sync::Mutex;

use self::fetching::{Fetched, Fetcher};
use self::manifests::{MAX_FILE_BYTES, Manifests};
use self::proxy::Registry;
use self::shown::Shown;
use self::store::Store;
use super::connection::Connection;
use super::{WorkerError, blocking};
use crate::git::RecordedTree;
use crate::sandbox::{Sandbox, SandboxCommand};
use crate::tools;
use crate::wire::{FetchReport, Receipt, WorkerSettings};

/// How often the same manifests are fetched for that failed before: a registry may have been away.
const TRIES: u32 = 2;
/// Lines of a failed fetch that Claude is shown, and characters of them.
const WORDS_LINES: usize = 20;
const WORDS_CHARACTERS: usize = 2_500;
/// Hosts that Claude is told of.
const WORDS_HOSTS: usize = 5;
/// What is said where there is no room for more.
const FULL: &str = "As much is kept of dependencies as may be (`dependencies_bytes`); nothing more is \
fetched before the next worker, who begins anew.";
/// How long copying `node_modules` may take.
const COPY_TIMEOUT: Duration = Duration::from_secs(300);

/// Puts what npm installed where it looks for it. A copy, because programs keep caches in there.
const LAY_OUT: &str = r#"cd /dependencies/npm && find . -name node_modules -type d -prune |
while IFS= read -r found; do
  place=$OLDPWD/$found
  [ -d "${place%/*}" ] && rm -rf "$place" && cp -a "$found" "$place"
done"#;

/// The dependencies of one attempt.
pub(super) struct Dependencies {
    connection: Arc<Connection>,
    sandbox: Arc<Sandbox>,
    fetcher: Fetcher,
    store: Arc<Store>,
    shown: Shown,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What commands see now, by the key of its manifests.
    shown: BTreeMap<Ecosystem, Sha256>,
    reports: u32,
    /// What was told of already.
    told: BTreeSet<Sha256>,
    /// By key and count of names.
    failures: BTreeMap<(Sha256, usize), u32>,
    /// The keys of the base: where manifests are as they were, no lock file is changed.
    base: BTreeMap<Ecosystem, Sha256>,
    /// Paths of the work directory that matter.
    work_paths: BTreeSet<RepoPath>,
    /// Whose `node_modules` is in the work directory.
    in_work: Option<Sha256>,
}

/// The manifests of one ecosystem, and what came of them.
struct Provided {
    manifests: Manifests,
    key: Sha256,
    /// What was fetched, if it could be.
    result: Option<PathBuf>,
    /// What is new about it, to be told.
    news: Option<(Fetch, FetchWords)>,
    /// Lock files that are other now than the repository has them.
    locks: BTreeMap<RepoPath, Vec<u8>>,
}

impl Dependencies {
    /// Nothing is fetched yet. `dir` is the attempt's own for this.
    pub(super) async fn new(
        connection: Arc<Connection>,
        sandbox: Arc<Sandbox>,
        settings: &WorkerSettings,
        dir: PathBuf,
    ) -> Result<Self, WorkerError> {
        let (place, most_bytes) = (settings.dependencies_dir.clone(), settings.dependencies_bytes);
        let (store, shown) = blocking(move || {
            let store = Store::open(&place, most_bytes).map_err(io_at(&place))?;
            let home = store.cache(Ecosystem::Cargo).map_err(io_at(&place))?;
            let shown = Shown::new(dir.clone(), &home).map_err(io_at(&dir))?;
            Ok((store, shown))
        })
        .await?;
        let program = std::env::current_exe().map_err(io_at(Path::new("/proc/self/exe")))?;
        let registries = settings.registries.iter().map(|text| Registry::read(text)).collect();
        Ok(Self {
            connection,
            sandbox,
            fetcher: Fetcher { registries, program, most_bytes },
            store: Arc::new(store),
            shown,
            timeout: Duration::from_millis(settings.check_timeout_ms),
            state: Mutex::default(),
        })
    }

    /// What every command gets to see.
    pub(super) fn mounts(&self) -> Vec<(PathBuf, PathBuf)> {
        self.shown.mounts()
    }

    /// Variables that lead commands there. Where nothing can be fetched, what is installed on the
    /// machine stays where they find it.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        match self.sandbox.backend() {
            SandboxBackend::Bubblewrap => Shown::environment(),
            SandboxBackend::Landlock | SandboxBackend::None => Vec::new(),
        }
    }

    /// The work directory is fresh, and has what is recorded.
    pub(super) async fn begin_work(&self, recorded: &RecordedTree) -> Result<(), WorkerError> {
        let mut state = self.state.lock().await;
        state.in_work = None;
        let entries = recorded.entries()?;
        state.work_paths =
            entries.keys().filter(|path| manifests::matters(path)).cloned().collect();
        let base = recorded.base();
        let entries = base.entries()?;
        let found = manifests::find(entries.keys(), |path| {
            base.small_content(entries.get(path)?.object, MAX_FILE_BYTES).ok()?
        });
        state.base = found.iter().map(|found| (found.ecosystem, found.key())).collect();
        Ok(())
    }

    /// These paths are in the work directory as well.
    pub(super) async fn work_has(&self, paths: impl IntoIterator<Item = &RepoPath>) {
        let mut state = self.state.lock().await;
        state.work_paths.extend(paths.into_iter().filter(|path| manifests::matters(path)).cloned());
    }

    /// Has what a recorded tree depends on, for checks of its checkout at `repo`.
    pub(super) async fn provide_for_checks(
        &self,
        recorded: RecordedTree,
        repo: &Path,
        time: Duration,
    ) -> Result<(), WorkerError> {
        let found = blocking(move || {
            let entries = recorded.entries()?;
            let files = entries
                .iter()
                .filter(|(_, entry)| matches!(entry.mode, EntryMode::File | EntryMode::Executable));
            let paths = files.map(|(path, _)| path);
            Ok(manifests::find(paths, |path| {
                let entry = entries.get(path)?;
                recorded.base().small_content(entry.object, MAX_FILE_BYTES).ok()?
            }))
        })
        .await?;
        let mut state = self.state.lock().await;
        let provided = self.provide(&mut state, found, time).await?;
        if has_npm(&provided) {
            self.lay_out(repo).await?;
        }
        Ok(())
    }

    /// The same for the work directory, as it is now. What is new, for Claude.
    async fn provide_for_work(
        &self,
        root: &Path,
        wrote: &BTreeSet<RepoPath>,
        time: Duration,
    ) -> Result<Option<String>, WorkerError> {
        self.work_has(wrote).await;
        let mut state = self.state.lock().await;
        let (paths, place) = (state.work_paths.clone(), root.to_owned());
        let found = blocking(move || {
            let read = |path: &RepoPath| tools::read_file(&place, path, MAX_FILE_BYTES);
            Ok(manifests::find(&paths, read))
        })
        .await?;
        let provided = self.provide(&mut state, found, time).await?;
        let mut notes = Vec::new();
        for one in &provided {
            let mut brought = Vec::new();
            let is_as_it_was = state.base.get(&one.manifests.ecosystem) == Some(&one.key);
            for (path, content) in one.locks.iter().filter(|_| !is_as_it_was) {
                match tools::write_file(root, path, content) {
                    Ok(()) => brought.push(path.display().into_owned()),
                    Err(why) => notes.push(why),
                }
            }
            notes.extend(one.news.as_ref().map(|(fetch, words)| note(fetch, words, &brought)));
        }
        let npm = state.shown.get(&Ecosystem::Npm).copied();
        if has_npm(&provided) && state.in_work != npm {
            self.lay_out(root).await?;
            state.in_work = npm;
        }
        Ok((!notes.is_empty()).then(|| notes.join(" ")))
    }

    /// Makes commands see what belongs to `found`, fetches what is not there, and reports that.
    async fn provide(
        &self,
        state: &mut State,
        found: Vec<Manifests>,
        time: Duration,
    ) -> Result<Vec<Provided>, WorkerError> {
        for ecosystem in [Ecosystem::Npm, Ecosystem::Pip] {
            if !found.iter().any(|manifests| manifests.ecosystem == ecosystem) {
                self.show(state, ecosystem, None).map_err(io_at(self.shown.dir()))?;
            }
        }
        let mut all = Vec::new();
        let end = Instant::now().checked_add(time);
        for manifests in found {
            let left = end.map_or(time, |end| end.saturating_duration_since(Instant::now()));
            let provided = self.provide_one(state, manifests, left.min(self.timeout)).await?;
            let result = provided.result.as_deref().map(|result| (&provided.key, result));
            self.show(state, provided.manifests.ecosystem, result)
                .map_err(io_at(self.shown.dir()))?;
            all.push(provided);
        }
        let (fetches, words): (Vec<_>, Vec<_>) =
            all.iter().filter_map(|one| one.news.clone()).unzip();
        if !fetches.is_empty() {
            let report = FetchReport { number: state.reports + 1, fetches, words };
            self.connection.post::<_, Receipt>("dependencies", &report).await?;
            state.reports += 1;
        }
        Ok(all)
    }

    async fn provide_one(
        &self,
        state: &mut State,
        manifests: Manifests,
        time: Duration,
    ) -> Result<Provided, WorkerError> {
        let (ecosystem, key) = (manifests.ecosystem, manifests.key());
        let kept = self.store.result(ecosystem, &key);
        let nothing = FetchWords { output: String::new(), hosts: vec![], refused_hosts: vec![] };
        let mut fetch = Fetch {
            ecosystem,
            key,
            outcome: FetchOutcome::Cached,
            exit_code: None,
            ms: 0,
            network_bytes: 0,
            lock_changed: false,
        };
        let mut words = nothing;
        let result = match self.sandbox.backend() {
            _ if kept.is_dir() => Some(kept),
            SandboxBackend::Landlock | SandboxBackend::None => {
                fetch.outcome = FetchOutcome::NoNamespaces;
                None
            }
            SandboxBackend::Bubblewrap => {
                let failures = state.failures.entry((key, manifests.name_count())).or_default();
                if *failures >= TRIES {
                    return Ok(Provided {
                        manifests,
                        key,
                        result: None,
                        news: None,
                        locks: BTreeMap::new(),
                    });
                }
                let (fetched, result) = self.fetch(&manifests, &key, time).await?;
                // That there is no room is nothing about these manifests.
                *failures += u32::from(result.is_none() && !self.store.is_full());
                fetch.outcome =
                    if result.is_some() { FetchOutcome::Fetched } else { FetchOutcome::Failed };
                fetch.exit_code = fetched.exit_code;
                fetch.ms = fetched.ms;
                fetch.network_bytes = fetched.network_bytes;
                words = fetched.words;
                state.told.remove(&key);
                result
            }
        };
        let locks = result.as_ref().map_or_else(BTreeMap::new, |dir| other_locks(&manifests, dir));
        if !locks.is_empty() {
            fetch.lock_changed = true;
            let with_them = manifests.with_locks(&locks).key();
            self.store.also(ecosystem, &with_them, &key).map_err(io_at(self.shown.dir()))?;
            state.told.insert(with_them);
        }
        let news = state.told.insert(key).then_some((fetch, words));
        Ok(Provided { manifests, key, result, news, locks })
    }

    /// Fetches in a new directory, which becomes the result if all went well.
    async fn fetch(
        &self,
        manifests: &Manifests,
        key: &Sha256,
        time: Duration,
    ) -> Result<(Fetched, Option<PathBuf>), WorkerError> {
        if self.store.is_full() {
            return Ok((Fetched::refused(FULL), None));
        }
        let failed = io_at(self.shown.dir());
        // What a worker leaves that is killed here goes with its directory.
        let dir = tempfile::tempdir_in(self.shown.dir()).map_err(&failed)?;
        let copy = dir.path().join("copy");
        // Pip may build what a manifest names by its address, and so run it; what is shared with other
        // jobs is nothing for that.
        let cache = match manifests.ecosystem {
            Ecosystem::Pip => None,
            shared => Some(self.store.cache(shared).map_err(&failed)?),
        };
        let (place, written) = (copy.clone(), manifests.clone());
        blocking(move || {
            let written = fs::create_dir(&place).and_then(|()| written.write(&place));
            written.map_err(io_at(&place))
        })
        .await?;
        let fetched = self.fetcher.fetch(&self.sandbox, manifests, &copy, cache, time).await?;
        let (store, ecosystem, key) = (Arc::clone(&self.store), manifests.ecosystem, *key);
        let is_good = fetched.exit_code == Some(0);
        let kept = blocking(move || {
            let kept = is_good.then(|| store.keep(&copy, ecosystem, &key)).transpose();
            // Programs keep what they fetched even where they failed in the end.
            kept.and_then(|kept| store.note_bytes().map(|()| kept)).map_err(io_at(&copy))
        });
        Ok((fetched, kept.await?))
    }

    /// Lets commands see a result, or nothing of an ecosystem that could not be fetched for.
    fn show(
        &self,
        state: &mut State,
        ecosystem: Ecosystem,
        result: Option<(&Sha256, &Path)>,
    ) -> io::Result<()> {
        match result {
            Some((key, _)) => state.shown.insert(ecosystem, *key),
            None => state.shown.remove(&ecosystem),
        };
        self.shown.show(ecosystem, result.map(|(_, result)| result))
    }

    /// Puts `node_modules` where they belong in `repo`.
    async fn lay_out(&self, repo: &Path) -> Result<(), WorkerError> {
        let command = SandboxCommand {
            read_only: self.mounts(),
            ..SandboxCommand::new(LAY_OUT, repo, COPY_TIMEOUT, 10_000)
        };
        let ran = self.sandbox.run(&command).await?;
        if ran.exit_code != Some(0) {
            let output = String::from_utf8_lossy(&ran.output);
            tracing::warn!(code = ran.exit_code, %output, "node_modules could not be laid out");
        }
        Ok(())
    }
}

#[async_trait]
impl tools::Dependencies for Dependencies {
    async fn keep_up(
        &self,
        root: &Path,
        wrote: &BTreeSet<RepoPath>,
        time: Duration,
    ) -> Option<String> {
        match self.provide_for_work(root, wrote, time).await {
            Ok(note) => note,
            Err(error) => {
                tracing::error!(
                    error = super::error_chain(&error),
                    "dependencies were not fetched"
                );
                Some(
                    "[Dependencies could not be looked after; commands see the old ones.]"
                        .to_owned(),
                )
            }
        }
    }
}

impl std::fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dependencies").field("fetcher", &self.fetcher).finish_non_exhaustive()
    }
}

/// What Claude is told of a fetch.
fn note(fetch: &Fetch, words: &FetchWords, brought: &[String]) -> String {
    let ecosystem = fetch.ecosystem;
    let mut text = match fetch.outcome {
        FetchOutcome::Fetched | FetchOutcome::Cached => {
            format!("[Dependencies: what the manifests of {ecosystem} name now is there, offline.")
        }
        FetchOutcome::NoNamespaces => format!(
            "[Dependencies: nothing can be fetched for {ecosystem} on this machine; only what is \
             installed is there."
        ),
        FetchOutcome::Failed => {
            let lines: Vec<&str> = words.output.trim_end().lines().collect();
            let last = lines[lines.len().saturating_sub(WORDS_LINES)..].join(" | ");
            let over = last.chars().count().saturating_sub(WORDS_CHARACTERS);
            let last: String = last.chars().skip(over).collect();
            format!(
                "[Dependencies: what the manifests of {ecosystem} name now could not be fetched: {last}"
            )
        }
    };
    if !brought.is_empty() {
        text.push_str(&format!(" Brought in line with them: {}.", brought.join(", ")));
    }
    if !words.refused_hosts.is_empty() {
        let most = words.refused_hosts.len().min(WORDS_HOSTS);
        let hosts = words.refused_hosts[..most].join(", ");
        text.push_str(&format!(" Hosts that nothing may be fetched from here: {hosts}."));
    }
    text.push(']');
    text
}

/// Lock files of a result that differ from what the repository has.
fn other_locks(manifests: &Manifests, result: &Path) -> BTreeMap<RepoPath, Vec<u8>> {
    let mut other = BTreeMap::new();
    for (path, content) in manifests.locks() {
        let now = tools::read_file(result, path, MAX_FILE_BYTES);
        if let Some(now) = now.filter(|now| now != content) {
            other.insert(path.clone(), now);
        }
    }
    other
}

fn has_npm(provided: &[Provided]) -> bool {
    provided.iter().any(|one| one.manifests.ecosystem == Ecosystem::Npm && one.result.is_some())
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> WorkerError {
    let path = path.to_owned();
    move |source| WorkerError::Io {
        what: "dependencies cannot be kept",
        path: path.clone(),
        source,
    }
}
