//! Asks for workers and watches over them: pins bases, requests attempts, ends those whose worker
//! is gone, and rounds whose time is up. It is woken by the log and by time, carries no state that
//! the log has not, and may be woken twice for the same thing.

mod bases;
mod executor;
mod pace;
mod wall_time;
mod watchdog;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cody_events::attempt::{AttemptEnd, Base, Executor as ExecutorKind};
use cody_events::digest::Sha256;
use cody_events::event::Event;
use cody_events::ids::{CommandId, JobId, RequestId, TargetNumber};
use cody_events::outcome::Outcome;

use crate::app::{App, AppError, Asker};
use crate::git::{FetchLimits, PackStore, WalkBudget};
use crate::intake::Intake;
use crate::job::state::{Job, Target};
use crate::job::{Command, MAX_FRUITLESS_LOSSES};
use crate::store::leases::Leases;
use crate::store::side::{ClaimNonce, Process, SideTables};
use crate::store::{Cursor, LogError};
use crate::wire::WorkerSettings;
use pace::Pace;
use wall_time::WallTimes;

pub use executor::{LocalExecutor, is_alive};

/// How often the dispatcher looks even if nothing woke it.
const TICK: Duration = Duration::from_millis(100);
/// How often it looks while the log takes nothing.
const SLOW_TICK: Duration = Duration::from_secs(1);

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
    jobs: Mutex<BTreeSet<JobId>>,
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
            jobs: Mutex::default(),
            preparing: Mutex::default(),
            watched: Mutex::default(),
        }
    }

    /// Takes care of `job` from now on, until it is finished.
    pub fn take(&self, job: JobId) {
        lock(&self.jobs).insert(job);
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

    /// Looks after its jobs for ever. Errors are logged, and tried again at the next look.
    pub async fn run(self: Arc<Self>) {
        if let Err(error) = self.adopt().await {
            tracing::error!(%error, "workers of an earlier server could not be adopted");
        }
        loop {
            let mut is_well = true;
            let jobs: Vec<JobId> = lock(&self.jobs).iter().copied().collect();
            for job in jobs {
                if let Err(error) = self.look_at(job).await {
                    tracing::error!(%job, %error, "a job could not be looked after");
                    is_well = false;
                }
            }
            is_well &= self.watch().await;
            self.app.clock().sleep(if is_well { TICK } else { SLOW_TICK }).await;
        }
    }

    /// Takes care of every job that is created or opened again after `cursor`, for ever.
    pub async fn follow(self: Arc<Self>, cursor: Cursor) {
        let mut news = self.app.log().subscribe(cursor);
        loop {
            let Ok(page) = news.next_page().await else {
                self.app.clock().sleep(SLOW_TICK).await;
                continue;
            };
            for recorded in page {
                let is_work = matches!(
                    Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts),
                    Ok(Event::Created(_)
                        | Event::Resumed(_)
                        | Event::TargetReopened(_)
                        | Event::DiffApproved(_))
                );
                if let (true, Some(job)) = (is_work, JobId::from_stream(&recorded.stream)) {
                    self.take(job);
                }
            }
        }
    }

    /// Does for each target of `job` what is due. What one target lacks keeps no other waiting.
    async fn look_at(self: &Arc<Self>, job: JobId) -> Result<(), DispatchError> {
        let state = self.app.state(job).await?;
        let Some(job_state) = state.job else { return Ok(()) };
        if (job_state.finished || job_state.cancelled) && !self.has_workers(job) {
            lock(&self.jobs).remove(&job);
            self.wall_times.forget(job);
            self.pace.forget(job);
            self.app.forget(job);
            return Ok(());
        }
        let mut looked = Ok(());
        for target in job_state.targets.values() {
            looked = self.look_at_target(job, &job_state, target).await.and(looked);
        }
        self.end_late_rounds(job, &job_state).await.and(looked)
    }

    async fn look_at_target(
        self: &Arc<Self>,
        job: JobId,
        state: &Job,
        target: &Target,
    ) -> Result<(), DispatchError> {
        self.end_unknown(job, target).await?;
        let is_waiting = target.outcome.is_none()
            && target.request.is_none()
            && !state.paused
            && !state.cancelled
            && !target.paused
            && !state.waits_for_pilot(target.number);
        if !is_waiting {
            return Ok(());
        }
        if target.fruitless_losses >= MAX_FRUITLESS_LOSSES {
            let reason = format!(
                "{MAX_FRUITLESS_LOSSES} workers in a row were lost without a new turn; see the \
                 ended attempts."
            );
            self.intake.conclude(job, target.number, Outcome::Failed, vec![reason]).await?;
        } else if self.pace.is_due(job, target, self.app.clock().monotonic()) {
            self.prepare(job, target.clone());
        }
        Ok(())
    }

    /// Ends a request that nobody here knows of: it got into the log when the log was said to take
    /// nothing, and no worker was started for it.
    async fn end_unknown(&self, job: JobId, target: &Target) -> Result<(), DispatchError> {
        let Some(open) = &target.request else { return Ok(()) };
        let is_known = lock(&self.watched).contains_key(&open.request)
            || lock(&self.preparing).contains(&(job, target.number));
        if is_known {
            return Ok(());
        }
        let detail = Some("no worker was started for it".to_owned());
        self.end(job, target.number, open.request, AttemptEnd::Crashed, detail).await
    }

    /// Pins the base and starts a worker, beside everything else.
    fn prepare(self: &Arc<Self>, job: JobId, target: Target) {
        let key = (job, target.number);
        {
            let mut preparing = lock(&self.preparing);
            let busy = preparing.len() + lock(&self.watched).len();
            if busy >= self.options.parallel || !preparing.insert(key) {
                return;
            }
        }
        self.pace.asked(job, &target, self.app.clock().monotonic());
        let dispatcher = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = dispatcher.request(job, &target).await {
                tracing::warn!(%job, target = %target.number, %error, "no worker could be asked for");
                if let Err(error) = dispatcher.give_up(job, &target, &error).await {
                    tracing::error!(%job, target = %target.number, %error, "and that not recorded");
                }
            }
            lock(&dispatcher.preparing).remove(&key);
        });
    }

    async fn request(&self, job: JobId, target: &Target) -> Result<(), DispatchError> {
        let base = match &target.base {
            Some(base) => base.clone(),
            None => self.pin(job, target).await?,
        };
        let now = self.app.clock().now();
        let request = RequestId(self.app.entropy().uuid_v7(now));
        let nonce = self.app.entropy().secret();
        let row = ClaimNonce {
            request,
            job,
            target: target.number,
            nonce_hash: Sha256::of(nonce.as_bytes()),
            process: None,
            requested_at: now,
        };
        self.side.put_nonce(row.clone()).await?;
        if let Err(error) = self.record_request(job, target, base, request).await {
            // A nonce that stays behind is good for nothing, and is found by the next server.
            let _ = self.leases.forget(request).await;
            return Err(error);
        }
        let watched = Watched { job, target: target.number, process: None, over_since: None };
        lock(&self.watched).insert(request, watched);
        self.leases.expect(request);
        let settings = &self.options.worker;
        match self.executor.start(job, target.number, request, &nonce, settings).await {
            Ok(process) => {
                // It is watched from here on, whether or not its row can be written.
                if let Some(watched) = lock(&self.watched).get_mut(&request) {
                    watched.process = Some(process);
                }
                Ok(self.side.put_nonce(ClaimNonce { process: Some(process), ..row }).await?)
            }
            Err(error) => {
                // Should its end not get into the log now, a request that nobody knows is ended later.
                lock(&self.watched).remove(&request);
                let detail = error.to_string();
                self.end(job, target.number, request, AttemptEnd::Crashed, Some(detail)).await?;
                Err(DispatchError::Start(error))
            }
        }
    }

    async fn record_request(
        &self,
        job: JobId,
        target: &Target,
        base: Base,
        request: RequestId,
    ) -> Result<(), DispatchError> {
        let command = Command::RequestAttempt {
            target: target.number,
            base,
            executor: ExecutorKind::Local,
            why: target.next_attempt,
            request,
        };
        let id = CommandId::derived(&["request", &request.to_string()]);
        self.app.execute(job, id, command, &dispatcher()).await?;
        Ok(())
    }

    /// A base that cannot be had ends the target; a worker that cannot be started is a loss.
    async fn give_up(
        &self,
        job: JobId,
        target: &Target,
        error: &DispatchError,
    ) -> Result<(), DispatchError> {
        let reason = match error {
            // A full disk passes, and the job with it.
            DispatchError::Git(error) if error.lacks_room() => return Ok(()),
            DispatchError::Git(error) => format!("The repository could not be fetched: {error}."),
            DispatchError::Locator(error) => format!("The repository could not be found: {error}."),
            DispatchError::Intake(_) | DispatchError::Gone | DispatchError::Interrupted(_) => {
                format!("The target could not be started: {error}.")
            }
            DispatchError::App(_) | DispatchError::Log(_) | DispatchError::Start(_) => {
                return Ok(());
            }
        };
        Ok(self.intake.conclude(job, target.number, Outcome::Failed, vec![reason]).await?)
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
