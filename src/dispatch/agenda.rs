//! Which jobs are looked at next, and whose target gets the next worker. It is told what happened and
//! what time it is, and does nothing itself. A job that nothing happens to costs an entry here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use cody_events::ids::{JobId, TargetNumber};

/// The jobs of a dispatcher.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    jobs: BTreeMap<JobId, Entry>,
    /// Jobs that something happened to, in the order in which it did.
    woken: VecDeque<JobId>,
    /// Jobs that are looked at when it is time.
    due: BTreeSet<(Duration, JobId)>,
    /// Jobs with targets that wait for a worker.
    waiting: BTreeMap<JobId, Waiting>,
    /// The last place in the line that was given.
    last_place: u64,
    /// Which job was looked at last for no reason.
    swept: Option<JobId>,
}

#[derive(Debug, Default)]
struct Entry {
    is_woken: bool,
    due_at: Option<Duration>,
}

/// The targets of a job that wait for a worker.
#[derive(Debug)]
struct Waiting {
    /// Its place in the line: of jobs with as many workers, the one with the lowest goes first.
    place: u64,
    targets: BTreeSet<TargetNumber>,
}

/// What a look at a job came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Targets that could begin now.
    pub ready: BTreeSet<TargetNumber>,
    /// When it has to be looked at again, whatever happens; nothing if only news can change a thing.
    pub due_at: Option<Duration>,
}

impl Look {
    /// Has the job looked at again at `at`, or before.
    pub fn again_at(&mut self, at: Duration) {
        self.due_at = Some(self.due_at.map_or(at, |due_at| due_at.min(at)));
    }
}

impl Agenda {
    /// Takes care of `job` from now on.
    pub fn take(&mut self, job: JobId) {
        self.jobs.entry(job).or_default();
        self.wake(job);
    }

    /// Something happened to `job`. That is nothing to us if it is not one of ours.
    pub fn wake(&mut self, job: JobId) {
        if let Some(entry) = self.jobs.get_mut(&job)
            && !entry.is_woken
        {
            entry.is_woken = true;
            self.woken.push_back(job);
        }
    }

    /// The job to look at next at `now`: one that is due, or that something happened to.
    pub fn next_look(&mut self, now: Duration) -> Option<JobId> {
        let due = self.due.first().filter(|(at, _)| *at <= now).map(|(_, job)| *job);
        // One that is due may be woken as well; then it is looked at twice, which does no harm.
        let job = match due {
            Some(job) => job,
            None => {
                let job = self.woken.pop_front()?;
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.is_woken = false;
                }
                job
            }
        };
        self.forget_due(job);
        Some(job)
    }

    /// Notes what a look at `job` came to.
    pub fn looked(&mut self, job: JobId, look: Look) {
        self.forget_due(job);
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        entry.due_at = look.due_at;
        self.due.extend(look.due_at.map(|at| (at, job)));
        if look.ready.is_empty() {
            self.waiting.remove(&job);
        } else if let Some(waiting) = self.waiting.get_mut(&job) {
            waiting.targets = look.ready;
        } else {
            let place = self.next_place();
            self.waiting.insert(job, Waiting { place, targets: look.ready });
        }
    }

    /// Nothing is left to do for `job`, unless something happened to it since it was looked at.
    pub fn let_go(&mut self, job: JobId) -> bool {
        if self.jobs.get(&job).is_some_and(|entry| entry.is_woken) {
            return false;
        }
        self.forget_due(job);
        self.waiting.remove(&job);
        self.jobs.remove(&job);
        true
    }

    /// Who gets the next worker: a target of the job that has the fewest `workers`, and of several such
    /// jobs of the one that has waited longest since it got one.
    pub fn next_worker(
        &mut self,
        workers: impl Fn(JobId) -> usize,
    ) -> Option<(JobId, TargetNumber)> {
        let rank = |(job, waiting): &(&JobId, &Waiting)| (workers(**job), waiting.place);
        let job = *self.waiting.iter().min_by_key(rank)?.0;
        let place = self.next_place();
        let waiting = self.waiting.get_mut(&job)?;
        waiting.place = place;
        let target = waiting.targets.pop_first();
        if waiting.targets.is_empty() {
            self.waiting.remove(&job);
        }
        target.map(|target| (job, target))
    }

    /// Wakes one job for no reason, each in its turn: should a wake-up ever be missed, this finds out.
    pub fn sweep(&mut self) {
        let after = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.jobs.range((after, Bound::Unbounded)).next().map(|(job, _)| *job);
        let next = next.or_else(|| self.jobs.keys().next().copied());
        self.swept = next;
        if let Some(job) = next {
            self.wake(job);
        }
    }

    /// Whether something happened that nobody looked at yet.
    pub fn has_news(&self) -> bool {
        !self.woken.is_empty()
    }

    /// When the next job is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Jobs that are taken care of.
    pub fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// Targets that could begin if there were more workers.
    pub fn ready_count(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.targets.len()).sum()
    }

    fn forget_due(&mut self, job: JobId) {
        if let Some(at) = self.jobs.get_mut(&job).and_then(|entry| entry.due_at.take()) {
            self.due.remove(&(at, job));
        }
    }

    fn next_place(&mut self) -> u64 {
        self.last_place += 1;
        self.last_place
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn job(number: u128) -> JobId {
        JobId(Uuid::from_u128(number))
    }

    fn look(targets: u32) -> Look {
        Look { ready: (1..=targets).map(TargetNumber).collect(), due_at: None }
    }

    /// An agenda with jobs that were looked at and found to have so many targets that wait.
    fn agenda(targets: &[u32]) -> Agenda {
        let mut agenda = Agenda::default();
        for (number, count) in (1..).zip(targets) {
            agenda.take(job(number));
            assert_eq!(agenda.next_look(NOW), Some(job(number)));
            agenda.looked(job(number), look(*count));
        }
        agenda
    }

    /// Whose targets get the workers when one at a time is free and each takes as long as all others,
    /// with `parallel` at work.
    fn order(agenda: &mut Agenda, parallel: usize) -> Vec<u128> {
        let mut at_work: VecDeque<JobId> = VecDeque::new();
        let mut order = Vec::new();
        loop {
            if at_work.len() == parallel {
                at_work.pop_front();
            }
            let workers = |job| at_work.iter().filter(|other| **other == job).count();
            let Some((next, _)) = agenda.next_worker(workers) else { return order };
            at_work.push_back(next);
            order.push(next.0.as_u128());
        }
    }

    #[test]
    fn a_job_with_many_targets_starves_no_other() {
        let order = order(&mut agenda(&[6, 2, 2]), 2);
        assert_eq!(order, [1, 2, 3, 1, 2, 3, 1, 1, 1, 1]);
    }

    #[test]
    fn a_job_with_fewer_workers_goes_first_and_then_the_one_that_waited_longest() {
        let mut agenda = agenda(&[3, 3, 3]);
        let first = |agenda: &mut Agenda, workers: [usize; 3]| {
            let of = |job: JobId| workers[usize::try_from(job.0.as_u128()).unwrap() - 1];
            agenda.next_worker(of).map(|(job, target)| (job.0.as_u128(), target.0))
        };
        assert_eq!(first(&mut agenda, [2, 1, 1]), Some((2, 1)));
        assert_eq!(first(&mut agenda, [2, 2, 1]), Some((3, 1)));
        // Job 1 has waited longest of all that have as many.
        assert_eq!(first(&mut agenda, [2, 2, 2]), Some((1, 1)));
        assert_eq!(first(&mut agenda, [2, 2, 2]), Some((2, 2)));
        // A late one has waited least.
        agenda.take(job(4));
        assert_eq!(agenda.next_look(NOW), Some(job(4)));
        agenda.looked(job(4), look(1));
        assert_eq!(agenda.next_worker(|_| 0), Some((job(3), TargetNumber(2))));
    }

    #[test]
    fn only_what_something_happened_to_is_looked_at() {
        let mut agenda = agenda(&[0, 0, 1]);
        assert_eq!((agenda.next_look(NOW), agenda.has_news()), (None, false));
        agenda.wake(job(2));
        agenda.wake(job(2));
        agenda.wake(job(9));
        assert_eq!(agenda.next_look(NOW), Some(job(2)));
        assert_eq!(agenda.next_look(NOW), None);
    }

    #[test]
    fn a_job_is_looked_at_again_when_it_is_due_and_not_before() {
        let mut agenda = agenda(&[0]);
        agenda.wake(job(1));
        assert_eq!(agenda.next_look(NOW), Some(job(1)));
        let mut look = look(0);
        look.again_at(NOW + Duration::from_secs(9));
        look.again_at(NOW + Duration::from_secs(5));
        agenda.looked(job(1), look);
        assert_eq!(agenda.next_due(), Some(NOW + Duration::from_secs(5)));
        assert_eq!(agenda.next_look(NOW + Duration::from_secs(4)), None);
        assert_eq!(agenda.next_look(NOW + Duration::from_secs(5)), Some(job(1)));
        assert_eq!(agenda.next_due(), None);
    }

    #[test]
    fn what_happens_during_a_look_is_not_lost() {
        let mut agenda = agenda(&[0]);
        agenda.wake(job(1));
        assert_eq!(agenda.next_look(NOW), Some(job(1)));
        agenda.take(job(1));
        assert!(!agenda.let_go(job(1)));
        assert_eq!(agenda.next_look(NOW), Some(job(1)));
        assert!(agenda.let_go(job(1)));
        assert_eq!((agenda.next_look(NOW), agenda.job_count()), (None, 0));
    }

    #[test]
    fn a_missed_wake_up_is_found_sooner_or_later() {
        let mut agenda = agenda(&[0, 0, 0]);
        let mut swept = Vec::new();
        for _ in 0..5 {
            agenda.sweep();
            swept.extend(agenda.next_look(NOW).map(|job| job.0.as_u128()));
        }
        assert_eq!(swept, [1, 2, 3, 1, 2]);
    }
}
