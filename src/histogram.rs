//! How long things took, counted in a few sizes: what anybody may add to at any time, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Durations, counted by their size.
#[derive(Debug)]
pub struct Histogram {
    /// The upper ends of the sizes in seconds, in their order; what is longer than all has a size of its
    /// own.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

/// What a histogram had counted at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    /// The upper end of each size in seconds, the last one without an end, and how many fell into it.
    pub counts: Vec<(f64, u64)>,
    pub sum_seconds: f64,
}

impl Histogram {
    /// A histogram with these sizes.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_micros: AtomicU64::new(0) }
    }

    /// Counts one that took so long.
    pub fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub fn sizes(&self) -> Sizes {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Sizes {
            counts: bounds.zip(counts).collect(),
            sum_seconds: Duration::from_micros(self.sum_micros.load(Ordering::Relaxed))
                .as_secs_f64(),
        }
    }
}

impl Sizes {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_falls_into_the_smallest_size_that_holds_it() {
        let histogram = Histogram::new(&[0.001, 0.1]);
        for micros in [0, 1_000, 1_001, 100_000, 100_001, 5_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        let sizes = histogram.sizes();
        assert_eq!(sizes.counts, [(0.001, 2), (0.1, 2), (f64::INFINITY, 2)]);
        assert_eq!((sizes.count(), sizes.sum_seconds), (6, 5.202_002));
    }
}
