//! How the writer fares: how long its commits take, and whether the last one failed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::histogram::{Histogram, Sizes};

/// Sizes of what a commit takes, in seconds: from a disk with a cache of its own to one that is stuck.
const BOUNDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];

/// The commits of a writer since it was opened.
#[derive(Debug)]
pub struct Commits {
    took: Histogram,
    has_failed: AtomicBool,
}

impl Default for Commits {
    fn default() -> Self {
        Self { took: Histogram::new(BOUNDS), has_failed: AtomicBool::new(false) }
    }
}

impl Commits {
    /// Notes a commit, from the first of its commands to the answer of the disk.
    pub(super) fn note(&self, took: Duration, has_failed: bool) {
        if !has_failed {
            self.took.add(took);
        }
        self.has_failed.store(has_failed, Ordering::SeqCst);
    }

    /// Whether the last commit failed.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    /// How long commits that did not fail took.
    pub fn sizes(&self) -> Sizes {
        self.took.sizes()
    }
}
