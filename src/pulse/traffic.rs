//! What the doors serve: requests by what they were about and how they were answered, and whoever
//! follows something. Words of callers are no part of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::histogram::{Histogram, Sizes};

/// Sizes of what a request takes, in seconds; the longest wait for Claude or for news.
const BOUNDS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What a request is about, from its path alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteClass {
    Worker,
    Control,
    Graphql,
    Mcp,
    Jobs,
    Webhooks,
    Operations,
    Other,
}

impl RouteClass {
    /// The class of a path.
    pub fn of(path: &str) -> Self {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        match first {
            "worker" => Self::Worker,
            "control" => Self::Control,
            "graphql" => Self::Graphql,
            "mcp" => Self::Mcp,
            "jobs" => Self::Jobs,
            "webhooks" => Self::Webhooks,
            "healthz" | "readyz" | "metrics" => Self::Operations,
            _ => Self::Other,
        }
    }

    /// Its name in figures and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Control => "control",
            Self::Graphql => "graphql",
            Self::Mcp => "mcp",
            Self::Jobs => "jobs",
            Self::Webhooks => "webhooks",
            Self::Operations => "operations",
            Self::Other => "other",
        }
    }
}

/// What the doors served so far.
#[derive(Debug, Default)]
pub struct Traffic {
    classes: Mutex<BTreeMap<RouteClass, Class>>,
    open: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Class {
    statuses: BTreeMap<u16, u64>,
    took: Histogram,
}

/// The requests of one class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Requests {
    pub class: RouteClass,
    /// How many were answered with each status.
    pub statuses: BTreeMap<u16, u64>,
    /// How long they took until their answer began.
    pub took: Sizes,
}

/// Somebody follows something, until this is dropped.
#[derive(Debug)]
pub struct OpenSubscription(Arc<AtomicUsize>);

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Counts a request.
    pub fn note(&self, class: RouteClass, status: u16, took: Duration) {
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Class { statuses: BTreeMap::new(), took: Histogram::new(BOUNDS) };
        let class = classes.entry(class).or_insert_with(new);
        *class.statuses.entry(status).or_default() += 1;
        class.took.add(took);
    }

    /// Counts somebody who follows something.
    pub fn subscribe(&self) -> OpenSubscription {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenSubscription(Arc::clone(&self.open))
    }

    /// How many follow something now.
    pub fn open_subscriptions(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The requests so far, by class.
    pub(super) fn requests(&self) -> Vec<Requests> {
        let classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = |(class, counted): (&RouteClass, &Class)| Requests {
            class: *class,
            statuses: counted.statuses.clone(),
            took: counted.took.sizes(),
        };
        classes.iter().map(requests).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_class_and_a_strangers_path_is_no_label() {
        let cases = [
            ("/worker/v1/next", RouteClass::Worker),
            ("/control/v1", RouteClass::Control),
            ("/graphql", RouteClass::Graphql),
            ("/jobs/1/report.md", RouteClass::Jobs),
            ("/readyz", RouteClass::Operations),
            ("/metrics", RouteClass::Operations),
            ("/wp-login.php", RouteClass::Other),
            ("/", RouteClass::Other),
        ];
        for (path, expected) in cases {
            assert_eq!(RouteClass::of(path), expected, "{path}");
        }
    }

    #[test]
    fn a_subscription_counts_until_it_is_dropped() {
        let traffic = Traffic::default();
        let (first, _second) = (traffic.subscribe(), traffic.subscribe());
        assert_eq!(traffic.open_subscriptions(), 2);
        drop(first);
        assert_eq!(traffic.open_subscriptions(), 1);
    }
}
