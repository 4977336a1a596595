//! What a person does to jobs from the command line: create, pause, resume, cancel, retry. One
//! implementation, [`Control`], serves the command line when no server runs, and the server's local
//! door when one does; that door takes the credential that the server left in its data directory.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use cody_events::digest::Sha256;
use cody_events::envelope::Door;
use cody_events::event::Event;
use cody_events::ids::{CommandId, JobId, TargetNumber};
use cody_events::job::By;
use serde::{Deserialize, Serialize};

use crate::app::{App, AppError, Asker, Executed};
use crate::intake::{Intake, IntakeError};
use crate::job::state::Job;
use crate::job::{Command, Rejection, RejectionCode};
use crate::plan::{JobRequest, LimitsRequest, LocalPaths, Planner, Planning};
use crate::wire::Refusal;

/// The door's one route.
pub const ROUTE: &str = "/control/v1";
/// A job's request: a prompt and a few names.
const MAX_BODY_BYTES: usize = 4 << 20;

/// What a person wants done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// A job of these; local paths are absolute. Whoever asks names it, so that asking again, after an
    /// answer that never came, makes no second one.
    Create {
        job: JobId,
        request: Box<JobRequest>,
    },
    Pause {
        job: JobId,
        target: Option<TargetNumber>,
    },
    /// With limits, they change first.
    Resume {
        job: JobId,
        target: Option<TargetNumber>,
        limits: LimitsRequest,
    },
    Cancel {
        job: JobId,
        reason: String,
    },
    /// With limits, they change as well. Without targets, all that did not succeed.
    Retry {
        job: JobId,
        targets: Vec<TargetNumber>,
        limits: LimitsRequest,
    },
    /// Work on a job as it stands, which another process left.
    Attend {
        job: JobId,
    },
}

/// A wish and who has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Letter {
    pub actor: String,
    pub wish: Wish,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub job: JobId,
    /// Whether something was recorded; else it was so before.
    pub is_new: bool,
    /// The log's position that holds it.
    pub position: u64,
}

/// Why a wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

impl ControlError {
    /// The typed no, if it is one.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::App(AppError::Rejected(no))
            | Self::Intake(IntakeError::App(AppError::Rejected(no))) => Some(no),
            Self::App(_) | Self::Intake(_) => None,
        }
    }
}

/// Carries out wishes.
#[derive(Debug)]
pub struct Control {
    pub app: Arc<App>,
    pub intake: Arc<Intake>,
    pub planning: Planning,
}

impl Control {
    /// Carries out `wish`, or says why not. Whoever may use this may name any local path.
    pub async fn carry_out(&self, wish: Wish, asker: &Asker) -> Result<Done, ControlError> {
        match wish {
            Wish::Create { job, request } => {
                let wish = self.planner().plan(&request).map_err(AppError::from)?;
                let id = CommandId::derived(&["create", &job.to_string()]);
                let command = Command::CreateJob(Box::new(wish));
                Ok(told(job, &self.app.execute(job, id, command, asker).await?))
            }
            Wish::Pause { job, target } => {
                let reason = String::new();
                let command = Command::PauseJob { target, by: By::Person, reason };
                self.execute(job, command, asker).await
            }
            Wish::Resume { job, target, limits } => {
                let changed = self.change_limits(job, &limits, asker).await?;
                let reason = String::new();
                let command = Command::ResumeJob { target, by: By::Person, reason };
                let resumed = self.execute(job, command, asker).await?;
                Ok(Done { is_new: changed || resumed.is_new, ..resumed })
            }
            Wish::Cancel { job, reason } => {
                let done = self.intake.cancel(job, By::Person, &reason, asker).await?;
                Ok(told(job, &done))
            }
            Wish::Attend { job } => {
                let position = self.app.log().head().await.map_err(AppError::from)?.position;
                Ok(Done { job, is_new: false, position })
            }
            Wish::Retry { job, targets, limits } => {
                let state = self.state(job).await?;
                let limits = match limits.is_empty() {
                    true => None,
                    false => Some(limits.over(&state.limits).map_err(AppError::from)?),
                };
                let floor_call_micros = self.floor_call_micros(job).await?;
                let (by, reason) = (By::Person, String::new());
                let command =
                    Command::RetryTargets { targets, limits, floor_call_micros, by, reason };
                self.execute(job, command, asker).await
            }
        }
    }

    /// Lays new limits over the job's; whether that changed anything.
    async fn change_limits(
        &self,
        job: JobId,
        limits: &LimitsRequest,
        asker: &Asker,
    ) -> Result<bool, ControlError> {
        if limits.is_empty() {
            return Ok(false);
        }
        let state = self.state(job).await?;
        let limits = limits.over(&state.limits).map_err(AppError::from)?;
        let floor_call_micros = self.floor_call_micros(job).await?;
        let (by, reason) = (By::Person, String::new());
        let command = Command::ChangeLimits { limits, floor_call_micros, by, reason };
        Ok(self.execute(job, command, asker).await?.is_new)
    }

    /// The worst price of the smallest call of a job.
    async fn floor_call_micros(&self, job: JobId) -> Result<u64, ControlError> {
        let state = self.state(job).await?;
        let created = self.app.events(job, 0).await?.into_iter().next();
        let prompt_bytes = match created {
            Some(told) if matches!(told.event, Event::Created(_)) => told.recorded.payload_len,
            Some(_) | None => None,
        };
        let prompt_bytes = usize::try_from(prompt_bytes.unwrap_or_default()).unwrap_or(usize::MAX);
        Ok(self.planner().floor_call_micros(&state.model, prompt_bytes))
    }

    async fn state(&self, job: JobId) -> Result<Job, ControlError> {
        let unknown = || {
            AppError::Rejected(Rejection::new(
                RejectionCode::NoSuchJob,
                "There is no job with this id.",
                "List the jobs with `cody-batch jobs`.",
            ))
        };
        Ok(self.app.state(job).await?.job.ok_or_else(unknown)?)
    }

    async fn execute(
        &self,
        job: JobId,
        command: Command,
        asker: &Asker,
    ) -> Result<Done, ControlError> {
        let id = self.app.new_command_id();
        Ok(told(job, &self.app.execute(job, id, command, asker).await?))
    }

    fn planner(&self) -> Planner<'_> {
        self.planning.planner(self.app.clock().now().date(), LocalPaths::Any)
    }
}

fn told(job: JobId, done: &Executed) -> Done {
    Done { job, is_new: done.is_new, position: done.position }
}

/// What the door needs.
#[derive(Clone)]
pub struct ControlDoor {
    pub control: Arc<Control>,
    /// Takes care of a job from now on. A job that another process left may be asked to go on when
    /// nothing about it changes in the log.
    pub take: Arc<dyn Fn(JobId) + Send + Sync>,
    /// The SHA-256 of the credential that the server left in its data directory.
    pub token_hash: Sha256,
}

impl std::fmt::Debug for ControlDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlDoor").finish_non_exhaustive()
    }
}

/// The door's route.
pub fn router(door: ControlDoor) -> Router {
    Router::new()
        .route(ROUTE, post(take))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(door)
}

async fn take(
    State(door): State<ControlDoor>,
    headers: HeaderMap,
    letter: Result<Json<Letter>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let token = super::bearer(&headers).unwrap_or_default();
    if Sha256::of(token.as_bytes()) != door.token_hash {
        let message = "the credential is not the one that this server left".to_owned();
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized", message);
    }
    let Json(letter) = match letter {
        Ok(letter) => letter,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "bad-request", error.body_text()),
    };
    let asker = Asker { actor: letter.actor, door: Door::Cli };
    match door.control.carry_out(letter.wish, &asker).await {
        Ok(done) => {
            (door.take)(done.job);
            Json(done).into_response()
        }
        Err(error) => match error.rejection() {
            Some(no) => (StatusCode::CONFLICT, Json(no)).into_response(),
            None => {
                tracing::error!(%error, "a wish could not be carried out");
                refuse(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", error.to_string())
            }
        },
    }
}

fn refuse(status: StatusCode, code: &str, message: String) -> Response {
    (status, Json(Refusal { code: code.to_owned(), message })).into_response()
}
