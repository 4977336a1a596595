//! How long workers have held each target, and the end of rounds that take longer than they may.
//! What was before this server is reckoned from the log; what passes under it, by a clock that
//! knows no jumps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use cody_events::attempt::AttemptEnd;
use cody_events::event::Event;
use cody_events::ids::{JobId, RoundNumber, TargetNumber};
use cody_events::outcome::{Outcome, ReopenReason};

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
    /// The round of each target then. What a new round means for its time, the log knows.
    rounds: BTreeMap<TargetNumber, RoundNumber>,
    targets: BTreeMap<TargetNumber, Duration>,
    /// Those that workers held then, whose time has passed since.
    held: BTreeSet<TargetNumber>,
}

impl WallTimes {
    /// A job is over. If it opens again, the log knows what was.
    pub fn forget(&self, job: JobId) {
        lock(&self.taken).remove(&job);
    }
}

impl Dispatcher {
    /// Ends the rounds of `job` whose time is up, and tells whether the time of others runs. What they
    /// changed is kept.
    pub(super) async fn end_late_rounds(
        &self,
        job: JobId,
        state: &Job,
    ) -> Result<bool, DispatchError> {
        let (own, shared) = (state.limits.max_wall_ms, state.limits.shared.max_wall_ms);
        if own.is_none() && shared.is_none() {
            return Ok(false);
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
        Ok(state.targets.values().any(is_held))
    }

    async fn time_taken(
        &self,
        job: JobId,
        state: &Job,
    ) -> Result<BTreeMap<TargetNumber, Duration>, DispatchError> {
        let now = self.app.clock().monotonic();
        let known = lock(&self.wall_times.taken).get(&job).cloned();
        let mut taken = known.unwrap_or_else(|| Taken { at: now, ..Taken::default() });
        let passed = now.saturating_sub(taken.at);
        for target in &taken.held {
            *taken.targets.entry(*target).or_default() += passed;
        }
        let is_new = |target: &&Target| taken.rounds.get(&target.number) != Some(&target.round);
        let new: Vec<&Target> = state.targets.values().filter(is_new).collect();
        if !new.is_empty() {
            let wall = self.app.clock().now().as_micros();
            let logged = from_log(&self.app.events(job, 0).await?, wall, self.leases.term());
            for target in new {
                let so_far = logged.get(&target.number).copied().unwrap_or_default();
                taken.targets.insert(target.number, so_far);
                taken.rounds.insert(target.number, target.round);
            }
        }
        taken.at = now;
        let held = state.targets.values().filter(|target| is_held(target));
        taken.held = held.map(|target| target.number).collect();
        let targets = taken.targets.clone();
        lock(&self.wall_times.taken).insert(job, taken);
        Ok(targets)
    }
}

fn is_held(target: &Target) -> bool {
    target.request.is_some() && target.outcome.is_none()
}

/// The time from each request for a worker to its end, or to `now` in microseconds. Of a worker that
/// was lost nobody knows when; it counts up to one lease after its last sign in the log, because its
/// server may have been gone for days when it was noted. A retry starts from nothing.
fn from_log(events: &[Told], now: i64, lease: Duration) -> BTreeMap<TargetNumber, Duration> {
    let mut taken: BTreeMap<TargetNumber, Duration> = BTreeMap::new();
    let mut held: BTreeMap<TargetNumber, Held> = BTreeMap::new();
    let length = |from: i64, to: i64| Duration::from_micros((to - from).max(0).unsigned_abs());
    for told in events {
        let at = told.recorded.recorded_at.as_micros();
        match &told.event {
            Event::AttemptRequested(e) => {
                held.insert(e.target, Held { since: at, heard_at: at });
            }
            Event::AttemptEnded(e) => {
                if let Some(held) = held.remove(&e.target) {
                    let whole = length(held.since, at);
                    let heard = length(held.since, held.heard_at) + lease;
                    let counted = match e.how {
                        AttemptEnd::Lost | AttemptEnd::Crashed => whole.min(heard),
                        AttemptEnd::Completed | AttemptEnd::Fenced | AttemptEnd::Interrupted => {
                            whole
                        }
                    };
                    *taken.entry(e.target).or_default() += counted;
                }
            }
            Event::TargetReopened(e) if e.why == ReopenReason::Retried => {
                taken.remove(&e.target);
            }
            event => {
                if let Some(held) = sign_of_life(event).and_then(|target| held.get_mut(&target)) {
                    held.heard_at = at;
                }
            }
        }
    }
    for (target, held) in held {
        *taken.entry(target).or_default() += length(held.since, now);
    }
    taken
}

/// Since when a worker has held a target, and when it was last heard of, in microseconds.
struct Held {
    since: i64,
    heard_at: i64,
}

/// The target whose worker, or the call that it waits for, was there when this was recorded.
fn sign_of_life(event: &Event) -> Option<TargetNumber> {
    match event {
        Event::AttemptStarted(e) => Some(e.target),
        Event::RepoScanned(e) => Some(e.target),
        Event::DependenciesFetched(e) => Some(e.target),
        Event::ChecksRan(e) => Some(e.target),
        Event::ThreadStarted(e) => Some(e.target),
        Event::CallPermitted(e) => Some(e.target),
        Event::ClaudeTurn(e) => Some(e.target),
        Event::ToolsRan(e) => Some(e.target),
        Event::DiffReviewed(e) => Some(e.target),
        _ => None,
    }
}
