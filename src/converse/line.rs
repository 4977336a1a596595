//! Who is next when the targets of a job wait for money of its shared budget: first come, first
//! served, so that none starves while others spend what becomes free.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cody_events::ids::{JobId, TargetNumber};

/// The waiting targets of each job.
#[derive(Debug, Clone, Default)]
pub struct Line {
    waiting: Arc<Mutex<BTreeMap<JobId, VecDeque<TargetNumber>>>>,
}

/// A place in the line, given up when dropped.
#[derive(Debug)]
pub struct Place {
    line: Line,
    job: JobId,
    target: TargetNumber,
}

impl Line {
    /// Whether nobody of the job came before `target`.
    pub fn is_first(&self, job: JobId, target: TargetNumber) -> bool {
        self.lock().get(&job).and_then(VecDeque::front).is_none_or(|first| *first == target)
    }

    /// Puts `target` at the line's end.
    pub fn join(&self, job: JobId, target: TargetNumber) -> Place {
        self.lock().entry(job).or_default().push_back(target);
        Place { line: self.clone(), job, target }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, VecDeque<TargetNumber>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.line.lock();
        if let Some(line) = waiting.get_mut(&self.job) {
            line.retain(|target| *target != self.target);
            if line.is_empty() {
                waiting.remove(&self.job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served_within_a_job() {
        let line = Line::default();
        let (one, other) = (JobId(uuid::Uuid::nil()), JobId(uuid::Uuid::max()));
        let [first, second] = [TargetNumber(2), TargetNumber(1)];
        assert!(line.is_first(one, second));
        let waits = line.join(one, first);
        let also = line.join(one, second);
        assert!(line.is_first(one, first) && !line.is_first(one, second));
        assert!(line.is_first(other, second));
        drop(waits);
        assert!(line.is_first(one, second));
        drop(also);
        assert!(line.lock().is_empty());
    }
}
