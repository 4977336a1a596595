//! How long workers may be silent. Who holds what is a row beside the log; when they were last heard
//! is kept in memory, by a clock that knows no jumps: a server that starts gives each a full term.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cody_events::digest::Sha256;
use cody_events::ids::RequestId;

use super::LogError;
use super::side::{Lease, SideTables};
use crate::clock::Clock;

/// How long a worker may take from its start to its claim, if the term is shorter.
const CLAIM_TERM: Duration = Duration::from_secs(60);

/// The leases of all workers of a server.
pub struct Leases {
    side: Arc<dyn SideTables>,
    clock: Arc<dyn Clock>,
    term: Duration,
    deadlines: Mutex<BTreeMap<RequestId, Duration>>,
}

impl Leases {
    /// Leases that last `term` after each sign of life.
    pub fn new(side: Arc<dyn SideTables>, clock: Arc<dyn Clock>, term: Duration) -> Self {
        Self { side, clock, term, deadlines: Mutex::default() }
    }

    /// How long a worker may be silent.
    pub fn term(&self) -> Duration {
        self.term
    }

    /// A worker was started, and is to claim `request`.
    pub fn expect(&self, request: RequestId) {
        self.set(request, self.term.max(CLAIM_TERM));
    }

    /// A worker claimed: writes its lease, in place of an earlier one of the same request.
    pub async fn grant(&self, lease: Lease) -> Result<(), LogError> {
        let request = lease.request;
        self.side.put_lease(lease).await?;
        self.set(request, self.term);
        Ok(())
    }

    /// The lease that a token stands for; asking with it is a sign of life.
    pub async fn hear(&self, token_hash: Sha256) -> Result<Option<Lease>, LogError> {
        let lease = self.side.find_lease(token_hash).await?;
        if let Some(lease) = &lease {
            self.set(lease.request, self.term);
        }
        Ok(lease)
    }

    /// Whether the worker of `request` was silent for too long.
    pub fn has_expired(&self, request: RequestId) -> bool {
        let now = self.clock.monotonic();
        self.deadlines().get(&request).is_some_and(|deadline| *deadline < now)
    }

    /// Ends a request: its token is good for nothing from now on.
    pub async fn forget(&self, request: RequestId) -> Result<(), LogError> {
        self.side.forget_request(request).await?;
        self.deadlines().remove(&request);
        Ok(())
    }

    fn set(&self, request: RequestId, term: Duration) {
        let deadline = self.clock.monotonic().saturating_add(term);
        self.deadlines().insert(request, deadline);
    }

    fn deadlines(&self) -> std::sync::MutexGuard<'_, BTreeMap<RequestId, Duration>> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases").field("term", &self.term).finish_non_exhaustive()
    }
}
