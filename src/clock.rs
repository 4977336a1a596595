//! The only way to the time.

use std::time::Duration;

use async_trait::async_trait;
use cody_events::time::Timestamp;

/// Tells the time and waits.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock, in UTC. It may go back.
    fn now(&self) -> Timestamp;

    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
