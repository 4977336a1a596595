//! How long workers have held each target, and the end of rounds that take longer than they may.
//! What was before this server is reckoned from the log; what passes under it, by a clock that
//! knows no jumps.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::outcome::Outcome;

use super::{DispatchError, Dispatcher, lock};
use crate::app::Told;
use crate::job::state::{Job, Target};

/// The time that targets of jobs with a limit have taken.
#[derive(Debug, Default)]
pub(super) struct WallTimes {
    taken: Mutex<BTreeMap<JobId, Taken>>,
}

#[derive(Debug, Clone, Default)]
struct Taken {
    /// When it was last added to.
    at: Duration,
    targets: BTreeMap<TargetNumber, Duration>,
}

impl WallTimes {
    /// A job is over. If it opens again, the log knows what was.
    pub fn forget(&self, job: JobId) {
        lock(&self.taken).remove(&job);
    }
}

impl Dispatcher {
    /// Ends the rounds of `job` whose time is up. What they changed is kept.
    pub(super) async fn end_late_rounds(
        &self,
        job: JobId,
        state: &Job,
    ) -> Result<(), DispatchError> {
        let (own, shared) = (state.limits.max_wall_ms, state.limits.shared.max_wall_ms);
        if own.is_none() && shared.is_none() {
            return Ok(());
        }
        let taken = self.time_taken(job, state).await?;
        let all: Duration = taken.values().sum();
        for target in state.targets.values().filter(|target| target.outcome.is_none()) {
            let one = taken.get(&target.number).copied().unwrap_or_default();
            let late = [(own, one, "this target"), (shared, all, "all targets together")]
                .into_iter()
                .find(|(most, taken, _)| most.is_some_and(|most| taken.as_millis() >= most.into()));
            let Some((most, taken, whose)) = late else { continue };
            let reason = format!(
                "The time is up: workers held {whose} for {} s, and may for {} s.",
                taken.as_secs(),
                most.unwrap_or_default() / 1_000
            );
            self.intake.conclude(job, target.number, Outcome::BudgetStopped, vec![reason]).await?;
        }
        Ok(())
    }

    async fn time_taken(
        &self,
        job: JobId,
        state: &Job,
    ) -> Result<BTreeMap<TargetNumber, Duration>, DispatchError> {
        let now = self.app.clock().monotonic();
        let known = lock(&self.wall_times.taken).get(&job).cloned();
        let mut taken = match known {
            Some(taken) => taken,
            None => {
                let wall = self.app.clock().now();
                let targets = from_log(&self.app.events(job, 0).await?, wall.as_micros());
                Taken { at: now, targets }
            }
        };
        let passed = now.saturating_sub(taken.at);
        taken.at = now;
        for target in state.targets.values().filter(|target| is_held(target)) {
            *taken.targets.entry(target.number).or_default() += passed;
        }
        let targets = taken.targets.clone();
        lock(&self.wall_times.taken).insert(job, taken);
        Ok(targets)
    }
}

fn is_held(target: &Target) -> bool {
    target.request.is_some() && target.outcome.is_none()
}

/// The time from each request for a worker to its end, or to `now` in microseconds. A retry starts
/// from nothing.
fn from_log(events: &[Told], now: i64) -> BTreeMap<TargetNumber, Duration> {
    let mut taken: BTreeMap<TargetNumber, Duration> = BTreeMap::new();
    let mut since: BTreeMap<TargetNumber, i64> = BTreeMap::new();
    let length = |from: i64, to: i64| Duration::from_micros((to - from).max(0).unsigned_abs());
    for told in events {
        let at = told.recorded.recorded_at.as_micros();
        match &told.event {
            Event::AttemptRequested(e) => {
                since.insert(e.target, at);
            }
            Event::AttemptEnded(e) => {
                if let Some(from) = since.remove(&e.target) {
                    *taken.entry(e.target).or_default() += length(from, at);
                }
            }
            Event::TargetReopened(e) if e.why == cody_events::outcome::ReopenReason::Retried => {
                taken.remove(&e.target);
            }
            _ => {}
        }
    }
    for (target, from) in since {
        *taken.entry(target).or_default() += length(from, now);
    }
    taken
}
