//! How soon the next worker is asked for when the ones before got nowhere: what they died of, a full
//! disk for one, may pass.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use cody_events::ids::{JobId, TargetNumber};

use super::lock;
use crate::job::state::Target;

/// How long the third worker without a new turn waits; each after it twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest that one waits.
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// When workers were asked for, of the targets that wait for a new turn.
#[derive(Debug, Default)]
pub(super) struct Pace {
    asked: Mutex<BTreeMap<(JobId, TargetNumber), Asked>>,
}

/// The workers that were asked for in vain so far.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The round and the turns in it when they were.
    turns: (u64, u32),
    count: u32,
    /// When the next may be.
    due_at: Duration,
}

impl Pace {
    /// When, by the monotonic clock, the next worker may be asked for; nothing if at any time.
    pub fn due_at(&self, job: JobId, target: &Target) -> Option<Duration> {
        let asked = lock(&self.asked).get(&(job, target.number)).copied();
        asked.filter(|asked| asked.turns == turns(target)).map(|asked| asked.due_at)
    }

    /// Notes that a worker is asked for at `now`.
    pub fn asked(&self, job: JobId, target: &Target, now: Duration) {
        let mut all = lock(&self.asked);
        let before = all.get(&(job, target.number)).filter(|asked| asked.turns == turns(target));
        let count = before.map_or(0, |asked| asked.count).saturating_add(1);
        let pause = match count {
            0 | 1 => Duration::ZERO,
            more => FIRST_PAUSE.saturating_mul(1 << (more - 2).min(16)).min(LAST_PAUSE),
        };
        let asked = Asked { turns: turns(target), count, due_at: now.saturating_add(pause) };
        all.insert((job, target.number), asked);
    }

    /// A job is over.
    pub fn forget(&self, job: JobId) {
        lock(&self.asked).retain(|(of, _), _| *of != job);
    }
}

fn turns(target: &Target) -> (u64, u32) {
    (target.round.0.into(), target.turns)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cody_events::ids::JobId;
    use uuid::Uuid;

    use super::Pace;
    use crate::job::tests::a_target;

    #[test]
    fn the_second_worker_comes_at_once_and_each_later_one_waits_twice_as_long() {
        let (pace, job) = (Pace::default(), JobId(Uuid::nil()));
        let mut target = a_target();
        let mut now = Duration::from_secs(100);
        let mut waits = Vec::new();
        for _ in 0..10 {
            let since = now;
            while pace.due_at(job, &target).is_some_and(|at| at > now) {
                now += Duration::from_millis(500);
            }
            waits.push((now - since).as_secs());
            pace.asked(job, &target, now);
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        // A new turn ends the waiting, and so does the end of the job.
        target.turns += 1;
        assert_eq!(pace.due_at(job, &target), None);
        target.turns -= 1;
        pace.forget(job);
        assert_eq!(pace.due_at(job, &target), None);
    }
}
