//! The dispatcher's loop: what it looks at and when, and whose target gets a free place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cody_events::event::Event;
use cody_events::ids::JobId;
use cody_events::outcome::Outcome;

use super::agenda::Look;
use super::{DispatchError, Dispatcher, Watched, lock};
use crate::job::MAX_FRUITLESS_LOSSES;
use crate::job::state::{Job, Target};
use crate::store::Cursor;

/// How often the dispatcher looks at workers, and at jobs whose time runs.
const TICK: Duration = Duration::from_millis(100);
/// How often it looks while the log takes nothing, and while there is nothing to do.
const SLOW_TICK: Duration = Duration::from_secs(1);
/// How long it waits for more news after the first.
const GATHERING: Duration = Duration::from_millis(5);
/// Jobs that are looked at between two looks at the workers.
const MOST_LOOKS: usize = 64;

impl Dispatcher {
    /// Looks after its jobs for ever. Errors are logged, and tried again at the next look.
    pub async fn run(self: Arc<Self>) {
        if let Err(error) = self.adopt().await {
            tracing::error!(%error, "workers of an earlier server could not be adopted");
        }
        let mut swept_at = self.app.clock().monotonic();
        loop {
            let is_well = self.watch().await;
            let now = self.app.clock().monotonic();
            if now.saturating_sub(swept_at) >= SLOW_TICK {
                lock(&self.agenda).sweep();
                swept_at = now;
            }
            self.look().await;
            self.start_workers().await;
            let ms = self.app.clock().monotonic().as_millis();
            self.looked_at_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.rest(is_well).await;
        }
    }

    /// Waits until there is something to do.
    async fn rest(&self, is_well: bool) {
        let clock = self.app.clock();
        if !is_well {
            return clock.sleep(SLOW_TICK).await;
        }
        let (has_news, due_at) = {
            let agenda = lock(&self.agenda);
            (agenda.has_news(), agenda.next_due())
        };
        if has_news {
            // More than one round looks at.
            return tokio::task::yield_now().await;
        }
        let longest = if lock(&self.watched).is_empty() { SLOW_TICK } else { TICK };
        let until_due = due_at.map(|due_at| due_at.saturating_sub(clock.monotonic()));
        tokio::select! {
            () = self.woken.notified() => clock.sleep(GATHERING).await,
            () = clock.sleep(until_due.unwrap_or(longest).min(longest)) => {}
        }
    }

    /// Looks at the jobs that something happened to, and those whose time has come.
    async fn look(self: &Arc<Self>) {
        for _ in 0..MOST_LOOKS {
            let now = self.app.clock().monotonic();
            let next = lock(&self.agenda).next_look(now);
            let Some(job) = next else { return };
            match self.look_at(job).await {
                Ok(Some(look)) => lock(&self.agenda).looked(job, look),
                Ok(None) => self.let_go(job),
                Err(error) => {
                    tracing::error!(%job, %error, "a job could not be looked after");
                    let again = Look { due_at: Some(now + SLOW_TICK), ..Look::default() };
                    lock(&self.agenda).looked(job, again);
                }
            }
        }
    }

    /// Takes no more care of a job that is over.
    fn let_go(&self, job: JobId) {
        if lock(&self.agenda).let_go(job) {
            self.wall_times.forget(job);
            self.pace.forget(job);
            self.app.forget(job);
        }
    }

    /// Starts workers until as many are at work as may be, of each job in its turn.
    async fn start_workers(self: &Arc<Self>) {
        while !self.is_stopping.load(Ordering::SeqCst) {
            let at_work: Vec<JobId> = {
                let preparing = lock(&self.preparing);
                let watched = lock(&self.watched);
                // One whose process is being started is in both.
                let is_counted = |watched: &&Watched| {
                    watched.process.is_some() || !preparing.contains(&(watched.job, watched.target))
                };
                let watched = watched.values().filter(is_counted).map(|watched| watched.job);
                preparing.iter().map(|(job, _)| *job).chain(watched).collect()
            };
            if at_work.len() >= self.options.parallel {
                return;
            }
            let workers = |job| at_work.iter().filter(|other| **other == job).count();
            let next = lock(&self.agenda).next_worker(workers);
            let Some((job, number)) = next else { return };
            match self.app.state(job).await {
                Ok(state) => {
                    let Some(state) = state.job else { continue };
                    if let Some(target) = state.targets.get(&number)
                        && self.is_ready(job, &state, target)
                    {
                        self.prepare(job, target.clone());
                    }
                }
                Err(error) => {
                    tracing::error!(%job, target = %number, %error, "no worker could be asked for");
                    let again = self.app.clock().monotonic() + SLOW_TICK;
                    lock(&self.agenda).looked(job, Look { due_at: Some(again), ..Look::default() });
                    return;
                }
            }
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
                let Some(job) = JobId::from_stream(&recorded.stream) else { continue };
                let is_work = matches!(
                    Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts),
                    Ok(Event::Created(_)
                        | Event::Resumed(_)
                        | Event::TargetReopened(_)
                        | Event::DiffApproved(_))
                );
                match is_work {
                    true => self.take(job),
                    false => self.wake(job),
                }
            }
        }
    }

    /// Does for each target of `job` what is due, and tells which could begin; nothing if no more is to
    /// be done for the job. What one target lacks keeps no other waiting.
    async fn look_at(&self, job: JobId) -> Result<Option<Look>, DispatchError> {
        let state = self.app.state(job).await?;
        let Some(job_state) = state.job else { return Ok(None) };
        if (job_state.finished || job_state.cancelled) && !self.has_workers(job) {
            return Ok(None);
        }
        let mut look = Look::default();
        let mut looked = Ok(());
        for target in job_state.targets.values() {
            looked = self.look_at_target(job, &job_state, target, &mut look).await.and(looked);
        }
        if self.end_late_rounds(job, &job_state).await? {
            look.again_at(self.app.clock().monotonic() + TICK);
        }
        if let Err(error) = looked {
            tracing::error!(%job, %error, "a job could not be looked after");
            look.again_at(self.app.clock().monotonic() + SLOW_TICK);
        }
        Ok(Some(look))
    }

    async fn look_at_target(
        &self,
        job: JobId,
        state: &Job,
        target: &Target,
        look: &mut Look,
    ) -> Result<(), DispatchError> {
        self.end_unknown(job, target).await?;
        if !self.is_ready(job, state, target) {
            return Ok(());
        }
        if target.fruitless_losses >= MAX_FRUITLESS_LOSSES {
            let reason = format!(
                "{MAX_FRUITLESS_LOSSES} workers in a row were lost without a new turn; see the \
                 ended attempts."
            );
            self.intake.conclude(job, target.number, Outcome::Failed, vec![reason]).await?;
        } else {
            match self.pace.due_at(job, target) {
                Some(at) if at > self.app.clock().monotonic() => look.again_at(at),
                Some(_) | None => {
                    look.ready.insert(target.number);
                }
            }
        }
        Ok(())
    }

    /// Whether `target` waits for a worker, and for nothing else.
    fn is_ready(&self, job: JobId, state: &Job, target: &Target) -> bool {
        target.outcome.is_none()
            && target.request.is_none()
            && !state.paused
            && !state.cancelled
            && !target.paused
            && !state.waits_for_pilot(target.number)
            && !lock(&self.preparing).contains(&(job, target.number))
    }
}
