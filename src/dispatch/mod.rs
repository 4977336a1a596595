//! Asks for workers and watches over them: pins bases, requests attempts, ends those whose worker
//! is gone, and rounds whose time is up. It is woken by the log and by time, carries no state that
//! the log has not, and may be woken twice for the same thing. A job that nothing happens to costs
//! nothing.

mod agenda;
mod bases;
mod executor;
mod looking;
mod pace;
mod starting;
mod wall_time;
mod watchdog;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cody_events::attempt::AttemptEnd;
use cody_events::ids::{CommandId, JobId, RequestId, TargetNumber};
use tokio::sync::Notify;

use crate::app::{App, AppError, Asker};
use crate::git::{FetchLimits, PackStore, WalkBudget};
use crate::intake::Intake;
use crate::job::Command;
use crate::job::state::Target;
use crate::store::LogError;
use crate::store::leases::Leases;
use crate::store::side::{Process, SideTables};
use crate::wire::WorkerSettings;
use agenda::Agenda;
use pace::Pace;
use wall_time::WallTimes;

pub use executor::{LocalExecutor, is_alive};

/// How workers are asked for.
#[derive(Debug, Clone)]
pub struct DispatchOptions {
    /// Workers at work at once.
    pub parallel: usize,
    pub data_dir: PathBuf,
    pub allowed_hosts: Vec<String>,
    pub github_token: Option<secrecy::SecretString>,
    /// The one host that is shown the token.
    pub token_host: String,
    pub fetch_limits: FetchLimits,
    pub walk_budget: WalkBudget,
    pub worker: WorkerSettings,
}

/// Asks for workers.
pub struct Dispatcher {
    app: Arc<App>,
    side: Arc<dyn SideTables>,
    leases: Arc<Leases>,
    intake: Arc<Intake>,
    packs: PackStore,
    executor: LocalExecutor,
    options: DispatchOptions,
    wall_times: WallTimes,
    pace: Pace,
    agenda: Mutex<Agenda>,
    /// Told when something is new on the agenda.
    woken: Notify,
    /// Whether no more workers are to be started.
    is_stopping: AtomicBool,
    /// When it last looked, in milliseconds of the monotonic clock.
    looked_at_ms: AtomicU64,
    /// Targets whose base is being fetched or whose worker is being started.
    preparing: Mutex<BTreeSet<(JobId, TargetNumber)>>,
    /// Requests whose worker this server watches.
    watched: Mutex<BTreeMap<RequestId, Watched>>,
}

/// A request and the process that serves it.
#[derive(Debug, Clone, Copy)]
struct Watched {
    job: JobId,
    target: TargetNumber,
    process: Option<Process>,
    /// When, by the monotonic clock, its request was first seen to be over.
    over_since: Option<Duration>,
}

/// What a dispatcher has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchFigures {
    /// Jobs that it takes care of.
    pub jobs: usize,
    /// Targets that would begin if there were more workers.
    pub ready: usize,
    /// Targets whose base is being fetched or whose worker is being started.
    pub starting: usize,
    /// Workers that may be alive.
    pub workers: usize,
    /// How long ago it looked last.
    pub looked_for: Duration,
}

/// Why the dispatcher could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Git(#[from] crate::git::GitError),
    #[error(transparent)]
    Intake(#[from] crate::intake::IntakeError),
    #[error(transparent)]
    Locator(#[from] crate::git::BadLocator),
    #[error("a worker could not be started")]
    Start(#[source] std::io::Error),
    #[error("the job's request is gone from the log")]
    Gone,
    #[error("the work was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Dispatcher {
    /// A dispatcher that starts local workers.
    pub fn new(
        app: Arc<App>,
        side: Arc<dyn SideTables>,
        leases: Arc<Leases>,
        intake: Arc<Intake>,
        packs: PackStore,
        executor: LocalExecutor,
        options: DispatchOptions,
    ) -> Self {
        Self {
            app,
            side,
            leases,
            intake,
            packs,
            executor,
            options,
            wall_times: WallTimes::default(),
            pace: Pace::default(),
            agenda: Mutex::default(),
            woken: Notify::new(),
            is_stopping: AtomicBool::new(false),
            looked_at_ms: AtomicU64::new(0),
            preparing: Mutex::default(),
            watched: Mutex::default(),
        }
    }

    /// Takes care of `job` from now on, until it is finished.
    pub fn take(&self, job: JobId) {
        lock(&self.agenda).take(job);
        self.woken.notify_one();
    }

    /// Looks at `job` soon, if it is taken care of.
    fn wake(&self, job: JobId) {
        lock(&self.agenda).wake(job);
        self.woken.notify_one();
    }

    /// Starts no more workers. Those at work are watched on.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    /// What it has to do, in figures.
    pub fn figures(&self) -> DispatchFigures {
        let (jobs, ready) = {
            let agenda = lock(&self.agenda);
            (agenda.job_count(), agenda.ready_count())
        };
        let now = self.app.clock().monotonic();
        let looked_at = Duration::from_millis(self.looked_at_ms.load(Ordering::Relaxed));
        DispatchFigures {
            jobs,
            ready,
            starting: lock(&self.preparing).len(),
            workers: lock(&self.watched).values().filter(|one| one.process.is_some()).count(),
            looked_for: now.saturating_sub(looked_at),
        }
    }

    /// The jobs that have workers, or are about to.
    pub fn busy_jobs(&self) -> BTreeSet<JobId> {
        let preparing = lock(&self.preparing).iter().map(|(job, _)| *job).collect::<Vec<_>>();
        lock(&self.watched).values().map(|watched| watched.job).chain(preparing).collect()
    }

    /// Whether a worker of `job` may still be alive, or is about to be.
    pub fn has_workers(&self, job: JobId) -> bool {
        lock(&self.preparing).iter().any(|(of, _)| *of == job)
            || lock(&self.watched).values().any(|watched| watched.job == job)
    }

    /// Ends a request that nobody here knows of: it got into the log when the log was said to take
    /// nothing, and no worker was started for it.
    async fn end_unknown(&self, job: JobId, target: &Target) -> Result<(), DispatchError> {
        let Some(open) = &target.request else { return Ok(()) };
        // In this order, in which it goes from the one to the other, and in which all take the locks.
        let is_known = lock(&self.preparing).contains(&(job, target.number))
            || lock(&self.watched).contains_key(&open.request);
        if is_known {
            return Ok(());
        }
        let detail = Some("no worker was started for it".to_owned());
        self.end(job, target.number, open.request, AttemptEnd::Crashed, detail).await
    }

    /// Records the end of an attempt and forgets its worker.
    async fn end(
        &self,
        job: JobId,
        target: TargetNumber,
        request: RequestId,
        how: AttemptEnd,
        detail: Option<String>,
    ) -> Result<(), DispatchError> {
        let command = Command::EndAttempt { target, request, how, detail };
        let id = CommandId::derived(&["end", &request.to_string()]);
        self.app.execute(job, id, command, &dispatcher()).await?;
        self.leases.forget(request).await?;
        lock(&self.watched).remove(&request);
        self.executor.sweep(request, how).await;
        // The job may be over now, and a place is free.
        self.wake(job);
        Ok(())
    }
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher").field("options", &self.options).finish_non_exhaustive()
    }
}

fn dispatcher() -> Asker {
    Asker::room("dispatcher")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
