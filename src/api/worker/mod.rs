//! The worker's door: claims, heartbeats, steps and reports. It translates and authenticates; what
//! a report means is decided by the rules, and what Claude is told by the converser.

mod claim;
mod reports;
mod steps;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use cody_events::digest::Sha256;
use cody_events::ids::RequestId;

use crate::app::{App, AppError};
use crate::converse::{ConverseError, Converser};
use crate::git::PackStore;
use crate::intake::{Intake, IntakeError};
use crate::job::RejectionCode;
use crate::store::LogError;
use crate::store::leases::Leases;
use crate::store::side::{Lease, SideTables};
use crate::wire::{BROKEN, MAX_BODY_BYTES, NOT_BELIEVED, Refusal};

/// A claim is read before it is known whose it is.
const MAX_CLAIM_BYTES: usize = 64 << 10;

/// What the door needs of the server.
#[derive(Clone)]
pub struct WorkerDoor {
    pub app: Arc<App>,
    pub side: Arc<dyn SideTables>,
    pub converser: Arc<Converser>,
    pub intake: Arc<Intake>,
    pub packs: PackStore,
    pub leases: Arc<Leases>,
    pub heartbeat_ms: u64,
    /// Whether workers look into files when they scan, as the intake then does as well.
    pub scan: bool,
    /// When each worker was given its present step, by the clock that never jumps.
    pub handed: Arc<Mutex<BTreeMap<RequestId, Duration>>>,
}

impl std::fmt::Debug for WorkerDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerDoor").finish_non_exhaustive()
    }
}

impl WorkerDoor {
    /// Notes that a worker was given a step just now.
    pub(super) fn note_handed(&self, request: RequestId) {
        self.handed().insert(request, self.app.clock().monotonic());
    }

    /// For how long a worker has had its step, which is over now; nothing if we never gave it.
    pub(super) fn handed_for(&self, request: RequestId) -> Option<Duration> {
        let since = self.handed().remove(&request)?;
        Some(self.app.clock().monotonic().saturating_sub(since))
    }

    /// The same of a step that goes on.
    pub(super) fn handed_so_far(&self, request: RequestId) -> Option<Duration> {
        let since = self.handed().get(&request).copied()?;
        Some(self.app.clock().monotonic().saturating_sub(since))
    }

    fn handed(&self) -> std::sync::MutexGuard<'_, BTreeMap<RequestId, Duration>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes below `/worker/v1`.
pub fn router(door: WorkerDoor) -> Router {
    Router::new()
        .route("/worker/v1/claim", post(claim::claim).layer(DefaultBodyLimit::max(MAX_CLAIM_BYTES)))
        .route("/worker/v1/heartbeat", post(claim::heartbeat))
        .route("/worker/v1/next", post(steps::next))
        .route("/worker/v1/tree", post(steps::tree))
        .route("/worker/v1/scan", post(reports::scan))
        .route("/worker/v1/dependencies", post(reports::dependencies))
        .route("/worker/v1/checks", post(reports::checks))
        .route("/worker/v1/tools", post(reports::tools))
        .route("/worker/v1/output", post(reports::output))
        .route("/worker/v1/end", post(reports::end))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(door)
}

/// Why a worker is refused.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error("the token is missing, unknown or no longer good")]
    Unauthorized,
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Intake(#[from] IntakeError),
    #[error(transparent)]
    Converse(#[from] ConverseError),
    #[error("the claim's `{0}` is too long, or no plain text")]
    BadClaim(&'static str),
    #[error("a block could not be written as JSON")]
    Render(#[from] serde_json::Error),
}

impl DoorError {
    /// Whether no other time would do.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::App(error) => error.is_broken(),
            Self::Log(error) => error.is_broken(),
            Self::Intake(error) => error.is_broken(),
            Self::Converse(error) => error.is_broken(),
            Self::Render(_) => true,
            Self::Unauthorized | Self::BadClaim(_) => false,
        }
    }
}

impl IntoResponse for DoorError {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "fenced"),
            Self::App(AppError::Rejected(rejection)) => {
                (StatusCode::CONFLICT, rejection.code.name())
            }
            Self::App(AppError::Fenced) => (StatusCode::CONFLICT, RejectionCode::Fenced.name()),
            Self::Intake(IntakeError::Disbelieved(_)) => (StatusCode::CONFLICT, NOT_BELIEVED),
            Self::BadClaim(_) => (StatusCode::BAD_REQUEST, "bad-claim"),
            error if error.is_broken() => {
                tracing::error!(%error, "a worker's message failed for good");
                (StatusCode::INTERNAL_SERVER_ERROR, BROKEN)
            }
            error => {
                tracing::warn!(%error, "a worker's message failed; it will come again");
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        };
        let refusal = Refusal { code: code.to_owned(), message: self.to_string() };
        (status, axum::Json(refusal)).into_response()
    }
}

/// The lease that a request's bearer token stands for.
pub(super) struct Holder(pub Lease);

impl FromRequestParts<WorkerDoor> for Holder {
    type Rejection = DoorError;

    async fn from_request_parts(parts: &mut Parts, door: &WorkerDoor) -> Result<Self, DoorError> {
        let token = crate::api::bearer(&parts.headers).ok_or(DoorError::Unauthorized)?;
        let hash = Sha256::of(token.as_bytes());
        let lease = door.leases.hear(hash).await?.ok_or(DoorError::Unauthorized)?;
        // What a request is traced as.
        let span = tracing::Span::current();
        span.record("job", tracing::field::display(lease.job));
        span.record("target", lease.target.0);
        span.record("attempt", lease.attempt.0);
        Ok(Self(lease))
    }
}
