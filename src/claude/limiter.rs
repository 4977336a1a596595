//! One gate for all calls to one server. It lets few through at once and more while all goes well,
//! fewer when the server has too many; it spreads what is left of a limit before it is used up, and
//! keeps the quiet that the server asks for. Spends no money and repeats nothing.
//!
//! Limits are of a model, so models do not wait for one another. Whoever came first goes first.

mod firsts;
mod line;
mod pace;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cody_events::digest::Sha256;
use cody_events::thread::Usage;
use tokio::time::Instant;

use super::failure::CallError;
use super::rate_limits::RateLimits;
use line::{Line, Place};

pub use firsts::LONGEST_LEAD;

/// The gate. Clones share it.
#[derive(Debug, Clone)]
pub struct Limiter {
    line: Arc<Mutex<Line>>,
}

/// The right to have one call under way; dropping it ends the call for the gate. Tell it what comes
/// of the call: the gate learns from that.
#[derive(Debug)]
pub struct Admission {
    limiter: Limiter,
    call: u64,
    has_waited: bool,
}

/// The server has forbidden calls for longer than anybody should wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the provider demanded a wait that lasts {} seconds more, longer than a call is held open; retry the target after that",
    left.as_secs_f64().ceil()
)]
pub struct LongQuiet {
    /// How long it lasts from now.
    pub left: Duration,
}

impl Limiter {
    /// At most `calls` at once, of all models together. Demanded quiet of up to `longest_hold` is
    /// waited for, longer quiet refuses those who come; a limit that says it will be full again
    /// later than that is tried after it.
    pub fn new(calls: usize, longest_hold: Duration) -> Self {
        Self { line: Arc::new(Mutex::new(Line::new(calls.max(1), longest_hold))) }
    }

    /// Waits until a call to `model` may start. `prefix` is the hash of what its request shares with
    /// others (model, system, tools): the first with a prefix goes alone, until its response began,
    /// it failed, or [`LONGEST_LEAD`] is over. Dropping the future leaves the line.
    pub async fn admit(&self, model: &str, prefix: Sha256) -> Result<Admission, LongQuiet> {
        let (call, wake) = self.lock().join(model, prefix);
        let mut admission = Admission { limiter: self.clone(), call, has_waited: false };
        loop {
            let place = self.lock().place(call, Instant::now());
            match place {
                Place::UnderWay => return Ok(admission),
                Place::Refused(left) => return Err(LongQuiet { left }),
                Place::Waiting(None) => wake.notified().await,
                Place::Waiting(Some(until)) => {
                    // Woken or not, the next round looks again.
                    let _ = tokio::time::timeout_at(until, wake.notified()).await;
                }
            }
            admission.has_waited = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Whether the gate was shut at first, so that the caller's knowledge may be old.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// The headers of the answer came.
    pub fn heard(&self, limits: &RateLimits) {
        self.limiter.lock().heard(self.call, limits, Instant::now());
    }

    /// The response began: others with its prefix can read the cache.
    pub fn began(&self) {
        self.limiter.lock().began(self.call, Instant::now());
    }

    /// The call ended with a response.
    pub fn succeeded(self, usage: &Usage) {
        self.limiter.lock().succeeded(self.call, usage, Instant::now());
    }

    /// The call ended without one.
    pub fn failed(self, error: &CallError) {
        let mut line = self.limiter.lock();
        line.failed(self.call, error.class, error.retry_after, Instant::now());
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.limiter.lock().leave(self.call, Instant::now());
    }
}
