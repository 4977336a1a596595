//! One attempt, from claim to last word.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_events::attempt::AttemptEnd;
use cody_events::digest::ObjectId;
use cody_events::evidence::CheckPhase;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connection::{Connection, ConnectionError};
use super::dependencies::Dependencies;
use super::turns::Workplace;
use super::{WorkerArgs, WorkerError, blocking, checks, scan};
use crate::git::{self, Base};
use crate::sandbox::{Limits, Sandbox, SandboxOptions, remove_all};
use crate::wire::{
    Assignment, Claim, EndReport, Heartbeat, Receipt, Step, TreeAnswer, WorkerSecret,
    WorkerSettings,
};

/// Where the base's pack is inside the sandbox.
const PACK_INSIDE: &str = "/base-objects";
/// How long a worker that has to leave waits to be told why.
const DISMISSAL: Duration = Duration::from_secs(1);
/// How long a server may stay away before anything is claimed.
const CLAIM_PATIENCE: Duration = Duration::from_secs(15);

/// What every step of an attempt shares.
pub(super) struct Attempt {
    pub connection: Arc<Connection>,
    pub assignment: Assignment,
    pub settings: WorkerSettings,
    pub sandbox: Arc<Sandbox>,
    /// If the job has them fetched.
    pub dependencies: Option<Arc<Dependencies>>,
    /// The attempt's own directory; gone when the attempt ends.
    pub dir: PathBuf,
}

/// Claims, works and leaves.
pub(super) async fn run(args: WorkerArgs, secret: WorkerSecret) -> Result<AttemptEnd, WorkerError> {
    let dir = secret.scratch.join(args.request.to_string());
    // What a killed worker leaves is removed with its directory.
    let scratch = dir.join("tmp");
    create_dir(&scratch).await?;
    let _ = tempfile::env::override_temp_dir(&scratch);
    let sandbox = Arc::new(Sandbox::probe(&sandbox_options(&secret.settings)).await);
    let connection =
        Connection::new(args.server.clone(), secret.address_file.clone(), CLAIM_PATIENCE)?;
    let claim = Claim {
        job: args.job,
        target: args.target,
        request: args.request,
        nonce: secret.nonce,
        worker: format!("{}:{}", host(), std::process::id()),
        pid: std::process::id(),
        process_start: crate::wire::process_start(std::process::id()).unwrap_or(0),
        app_version: env!("CARGO_PKG_VERSION").to_owned(),
        image: None,
        sandbox: sandbox.backend(),
    };
    let assignment: Assignment = match connection.post("claim", &claim).await {
        Ok(assignment) => assignment,
        Err(error) => {
            remove(&dir).await;
            return Err(error.into());
        }
    };
    let patience = Duration::from_millis(assignment.lease_ms);
    let connection = Arc::new(connection.claimed(assignment.token.clone(), patience));
    let settings = secret.settings;
    let dependencies = None;
    let mut attempt = Attempt { connection, assignment, settings, sandbox, dependencies, dir };
    let (dismiss, dismissed) = watch::channel(false);
    let heart = beat(Arc::clone(&attempt.connection), attempt.assignment.heartbeat_ms, dismiss);
    let ended = match attempt.have_dependencies().await {
        Ok(()) => attempt.work(dismissed).await,
        Err(error) => Err(error),
    };
    let last_word = attempt.last_word(&ended).await;
    heart.abort();
    remove(&attempt.dir).await;
    match (ended, last_word) {
        (Ok(how), Ok(())) => Ok(how),
        (Err(error), _) => Err(error),
        (Ok(how), Err(error)) if error.is_dismissal() => Ok(how),
        (Ok(_), Err(error)) => Err(error.into()),
    }
}

impl Attempt {
    /// Works until nothing is left, or until the server says to leave. Leaving drops the step under
    /// way, and with it every process that it started.
    async fn work(&self, mut dismissed: watch::Receiver<bool>) -> Result<AttemptEnd, WorkerError> {
        tokio::select! {
            ended = self.steps() => ended,
            _ = dismissed.wait_for(|dismissed| *dismissed) => Ok(self.why_dismissed().await),
        }
    }

    /// A heartbeat may bring the word that a target is finished before the worker has asked what is
    /// next; then nobody interrupted it.
    async fn why_dismissed(&self) -> AttemptEnd {
        match tokio::time::timeout(DISMISSAL, self.next()).await {
            Ok(Ok(Step::Leave { how })) => how,
            _ => AttemptEnd::Interrupted,
        }
    }

    /// Makes ready to fetch, if the job wants that.
    async fn have_dependencies(&mut self) -> Result<(), WorkerError> {
        if self.assignment.fetch_dependencies {
            let (connection, sandbox) = (Arc::clone(&self.connection), Arc::clone(&self.sandbox));
            let dir = self.dir.join("dependencies");
            let made = Dependencies::new(connection, sandbox, &self.settings, dir).await?;
            self.dependencies = Some(Arc::new(made));
        }
        Ok(())
    }

    /// The base's pack on this machine, and the commit in it.
    pub(super) fn pack(&self) -> Result<(PathBuf, ObjectId), WorkerError> {
        let pack = self.assignment.pack_dir.clone().ok_or_else(|| {
            WorkerError::Stopped("the server gave no pack of the base".to_owned())
        })?;
        Ok((pack, self.assignment.base.commit))
    }

    /// The latest recorded tree.
    pub(super) async fn tree(&self) -> Result<TreeAnswer, WorkerError> {
        Ok(self.connection.post("tree", &serde_json::json!({})).await?)
    }

    /// What commands may read beside the repository: the base's pack, for the throw-away `.git`, and
    /// dependencies that were fetched.
    pub(super) fn visible(&self) -> Vec<(PathBuf, PathBuf)> {
        let pack = self.assignment.pack_dir.iter();
        let pack = pack.map(|pack| (pack.clone(), PathBuf::from(PACK_INSIDE)));
        let dependencies = self.dependencies.iter().flat_map(|dependencies| dependencies.mounts());
        pack.chain(dependencies).collect()
    }

    /// Variables that lead commands to those dependencies.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        self.dependencies.as_ref().map_or_else(Vec::new, |dependencies| dependencies.environment())
    }

    /// Makes a throw-away `.git` at `dir`.
    pub(super) async fn git_dir(&self, dir: &Path) -> Result<PathBuf, WorkerError> {
        let (pack, commit) = self.pack()?;
        let place = dir.to_owned();
        let visible = self.sandbox.inside(&pack, Path::new(PACK_INSIDE));
        blocking(move || {
            let base = Base::open(&pack, commit)?;
            git::synthetic_git_dir(&base, &pack, &visible, &place)?;
            Ok(())
        })
        .await?;
        Ok(dir.to_owned())
    }

    /// The work directory of the turns, and only then an end of what the baseline's checks left:
    /// where many files were just removed, some file systems are slow to make as many.
    async fn settle_in(&self) -> Result<Workplace, WorkerError> {
        let place = Workplace::prepare(self).await;
        remove(&checks::dir(self)).await;
        place
    }

    async fn next(&self) -> Result<Step, ConnectionError> {
        self.connection.post("next", &serde_json::json!({})).await
    }

    async fn steps(&self) -> Result<AttemptEnd, WorkerError> {
        create_dir(&self.dir).await?;
        let mut workplace: Option<Workplace> = None;
        let mut is_next_claudes = false;
        loop {
            let step: Step = match std::mem::take(&mut is_next_claudes) {
                false => self.next().await?,
                // Claude thinks for longer than a checkout takes.
                true => {
                    let (place, step) = tokio::join!(self.settle_in(), self.next());
                    workplace = Some(place?);
                    step?
                }
            };
            let reported = match step {
                Step::Wait => continue,
                Step::Leave { how } => return Ok(how),
                Step::Scan => scan::scan(self).await,
                Step::RunChecks { phase, tree, commands, time_left_ms } => {
                    is_next_claudes = phase == CheckPhase::Baseline;
                    checks::run(self, phase, tree, commands, TimeLeft::new(time_left_ms)).await
                }
                Step::RunTools { thread, turn, tools, time_left_ms } => {
                    // A turn is only ever rerun in a fresh directory.
                    let mut place = match workplace.take() {
                        Some(place) => place,
                        None => Workplace::prepare(self).await?,
                    };
                    let ran =
                        place.run(self, thread, turn, &tools, TimeLeft::new(time_left_ms)).await;
                    if ran.is_ok() {
                        workplace = Some(place);
                    }
                    ran
                }
            };
            match reported {
                Ok(()) => {}
                Err(WorkerError::Connection(ConnectionError::Refused { code, .. }))
                    if code == "out-of-order" =>
                {
                    workplace = None
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn last_word(
        &self,
        ended: &Result<AttemptEnd, WorkerError>,
    ) -> Result<(), ConnectionError> {
        let report = match ended {
            Ok(how) => EndReport { how: *how, detail: None },
            Err(WorkerError::Connection(error)) if error.is_dismissal() => {
                EndReport { how: AttemptEnd::Fenced, detail: None }
            }
            Err(error) => {
                // A full disk passes, and is not held against the target.
                let how = match error.lacks_room() {
                    true => AttemptEnd::Interrupted,
                    false => AttemptEnd::Crashed,
                };
                EndReport { how, detail: Some(super::error_chain(error)) }
            }
        };
        self.connection.post::<_, Receipt>("end", &report).await.map(|_| ())
    }
}

/// When the commands of one step have to be done, if their job limits them.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLeft(Option<Instant>);

impl TimeLeft {
    fn new(left_ms: Option<u64>) -> Self {
        Self(left_ms.map(|ms| Instant::now() + Duration::from_millis(ms)))
    }

    /// What a command may take that usually may take `usual`.
    pub fn at_most(self, usual: Duration) -> Duration {
        let left = self.0.map(|end| end.saturating_duration_since(Instant::now()));
        left.map_or(usual, |left| left.min(usual))
    }

    pub fn end(self) -> Option<Instant> {
        self.0
    }
}

fn sandbox_options(settings: &WorkerSettings) -> SandboxOptions {
    SandboxOptions {
        backends: settings.sandbox.clone(),
        extra_mounts: settings.extra_mounts.clone(),
        limits: Limits {
            memory_bytes: settings.command_memory_bytes,
            processes: settings.command_processes,
            disk_bytes: settings.command_disk_bytes,
        },
        ..SandboxOptions::default()
    }
}

/// Keeps the lease alive beside whatever the worker does; a long build is no lost worker.
fn beat(
    connection: Arc<Connection>,
    every_ms: u64,
    dismiss: watch::Sender<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(every_ms)).await;
            let answer = connection.post::<_, Heartbeat>("heartbeat", &serde_json::json!({})).await;
            match answer {
                Ok(Heartbeat::GoOn) => {}
                Ok(Heartbeat::Leave) | Err(_) => {
                    dismiss.send_replace(true);
                    return;
                }
            }
        }
    })
}

/// The name of this machine, as far as it is plain text.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain: String = name.chars().filter(char::is_ascii_graphic).take(100).collect();
    if plain.is_empty() { "localhost".to_owned() } else { plain }
}

pub(super) async fn create_dir(path: &Path) -> Result<(), WorkerError> {
    tokio::fs::create_dir_all(path).await.map_err(|source| WorkerError::Io {
        what: "a directory cannot be made",
        path: path.to_owned(),
        source,
    })
}

/// Removes a directory that may hold what commands left behind; what stays is swept at the next start.
pub(super) async fn remove(path: &Path) {
    let place = path.to_owned();
    let removed = tokio::task::spawn_blocking(move || remove_all(&place)).await;
    if let Ok(Err(error)) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %path.display(), %error, "a work directory could not be removed");
    }
}
