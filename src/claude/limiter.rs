//! One gate for all calls to one server: so many at once, and none while the server wants quiet.
//! Spends no money and repeats nothing.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::rate_limits::RateLimits;

/// The gate. Clones share it.
#[derive(Debug, Clone)]
pub struct Limiter {
    slots: Arc<Semaphore>,
    quiet_until: Arc<Mutex<Option<Instant>>>,
    longest_hold: Duration,
}

/// The right to have one call under way; dropping it lets the next caller in.
#[derive(Debug)]
pub struct Admission {
    _slot: OwnedSemaphorePermit,
}

impl Limiter {
    /// At most `calls` at once. A server that asks for more quiet than `longest_hold` is asked
    /// again after that.
    pub fn new(calls: usize, longest_hold: Duration) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(calls.clamp(1, Semaphore::MAX_PERMITS))),
            quiet_until: Arc::default(),
            longest_hold,
        }
    }

    /// Waits for a free slot and for quiet to end.
    pub async fn admit(&self) -> Admission {
        loop {
            let slot = Arc::clone(&self.slots).acquire_owned().await;
            match (slot, self.wait()) {
                (Ok(slot), None) => return Admission { _slot: slot },
                // The slot goes back meanwhile, so that calls under way can end in peace.
                (_, Some(wait)) => tokio::time::sleep(wait).await,
                // The semaphore lives as long as we do and is never closed.
                (Err(_), None) => tokio::task::yield_now().await,
            }
        }
    }

    /// How much quiet is left.
    pub fn wait(&self) -> Option<Duration> {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Learns from the headers of an answer, good or bad. Quiet is only ever prolonged.
    pub fn learn(&self, limits: &RateLimits) {
        if let Some(hold) = limits.hold() {
            let until = Instant::now() + hold.min(self.longest_hold);
            let mut quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
            *quiet = Some(quiet.map_or(until, |old| old.max(until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::rate_limits::Limit;

    fn retry_after(seconds: u64) -> RateLimits {
        RateLimits { retry_after: Some(Duration::from_secs(seconds)), ..RateLimits::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_demanded_wait_holds_every_caller_for_exactly_that_long() {
        let limiter = Limiter::new(4, Duration::from_secs(600));
        let start = Instant::now();
        limiter.learn(&retry_after(8));
        // A later, shorter demand does not shorten the quiet.
        limiter.learn(&retry_after(3));
        let (first, second) = tokio::join!(limiter.admit(), limiter.admit());
        assert_eq!(start.elapsed(), Duration::from_secs(8));
        drop((first, second));
        limiter.admit().await;
        assert_eq!(start.elapsed(), Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_limit_holds_until_its_reset_and_no_longer_than_bearable() {
        let limiter = Limiter::new(1, Duration::from_secs(60));
        let spent = |seconds| RateLimits {
            input_tokens: Limit {
                limit: Some(100),
                remaining: Some(0),
                reset_after: Some(Duration::from_secs(seconds)),
            },
            ..RateLimits::default()
        };
        limiter.learn(&spent(5));
        assert_eq!(limiter.wait(), Some(Duration::from_secs(5)));
        limiter.learn(&spent(86_400));
        assert_eq!(limiter.wait(), Some(Duration::from_secs(60)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_than_slots() {
        let limiter = Limiter::new(1, Duration::from_secs(60));
        let held = limiter.admit().await;
        let second = tokio::time::timeout(Duration::from_secs(5), limiter.admit()).await;
        assert!(second.is_err());
        drop(held);
        limiter.admit().await;
    }
}
