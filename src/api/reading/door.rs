//! The door by which the command line reads a server that is not on its machine: what it reads in a
//! data directory, one question a request. The same functions make the same words from the answers.
//! Other programs read GraphQL and downloads, whose forms are promised; these answers are for the
//! command line of the same version.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRef, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use cody_events::ids::JobId;
use cody_events::system::Scope;
use cody_projections::usage::UsageQuery;
use serde::{Deserialize, Serialize};

use super::{JobReader, NoJob, PAGE, ReadError};
use crate::api::access::{Access, Authenticated, Caller};
use crate::api::control::{ControlError, Reception};
use crate::app::{App, AppError};
use crate::job::Rejection;
use crate::plan::recipes::Written;
use crate::plan::{JobRequest, PlannedJob, Planner};
use crate::wire::Refusal;

/// The door's one route.
pub const ROUTE: &str = "/reading/v1";
/// A question is short, but for a job that is only planned.
const MAX_BODY_BYTES: usize = 4 << 20;
/// The most events, rows or payloads of one answer.
pub const MOST_EVENTS: usize = PAGE;
/// The bytes of payloads after which an answer has no further one.
pub const MOST_BYTES: usize = 1 << 20;

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Where the log ends; answered by a position.
    Head,
    /// [`JobReader::jobs`].
    Jobs { limit: u32 },
    /// [`JobReader::inbox`].
    Inbox { limit: u32 },
    /// [`JobReader::named`].
    Named { text: String },
    /// [`JobReader::glance`]; null if there is no such job.
    Glance { job: JobId },
    /// [`JobReader::usage`].
    Usage(UsageQuery),
    /// [`JobReader::uncounted`].
    Uncounted,
    /// Up to [`MOST_EVENTS`] events of a job from this version on.
    Events { job: JobId, from_version: u64, limit: usize },
    /// What jobs' events at these positions hold; null for one that has nothing. Fewer than were asked
    /// for if they are large.
    Payloads { positions: Vec<u64> },
    /// The recipes that there are.
    Recipes { repositories: Vec<String> },
    /// One of them.
    Recipe { name: String, repositories: Vec<String> },
    /// What would become of a job.
    Plan { request: Box<JobRequest> },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    No(#[from] Rejection),
    #[error("the answer could not be written as JSON")]
    Render(#[from] serde_json::Error),
    #[error("the reading was interrupted; ask again")]
    Interrupted,
}

/// What the door needs.
#[derive(Debug, Clone)]
pub struct ReadingDoor {
    pub reader: JobReader,
    pub reception: Arc<Reception>,
}

impl FromRef<ReadingDoor> for Arc<Access> {
    fn from_ref(door: &ReadingDoor) -> Self {
        Self::clone(&door.reception.access)
    }
}

/// The door's route.
pub fn router(door: ReadingDoor) -> Router {
    Router::new()
        .route(ROUTE, post(answer))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(door)
}

async fn answer(
    State(door): State<ReadingDoor>,
    Authenticated(caller): Authenticated,
    question: Result<Json<Question>, JsonRejection>,
) -> Response {
    if let Err(denied) = caller.require(Scope::Read) {
        return denied.into_response();
    }
    let Json(question) = match question {
        Ok(question) => question,
        Err(error) => return refuse(error.status(), "bad-request", error.body_text()),
    };
    match door.answer(&caller, question).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => error.into_response(),
    }
}

impl ReadingDoor {
    async fn answer(
        &self,
        caller: &Caller,
        question: Question,
    ) -> Result<serde_json::Value, Unanswered> {
        let (reader, app) = (&self.reader, &self.reader.app);
        let most = u32::try_from(MOST_EVENTS).unwrap_or(u32::MAX);
        match &question {
            Question::Jobs { .. }
            | Question::Inbox { .. }
            | Question::Named { .. }
            | Question::Glance { .. }
            | Question::Usage(_)
            | Question::Uncounted => {
                // What was written before somebody asked is in the answer, unless the views hang.
                let head = app.log().head().await.map_err(AppError::from)?.position;
                reader.views.at_least(head).await;
            }
            Question::Head
            | Question::Events { .. }
            | Question::Payloads { .. }
            | Question::Recipes { .. }
            | Question::Recipe { .. }
            | Question::Plan { .. } => {}
        }
        let value = match question {
            Question::Head => told(app.log().head().await.map_err(AppError::from)?.position),
            Question::Jobs { limit } => told(reader.jobs(limit.min(most)).await?),
            Question::Inbox { limit } => told(reader.inbox(limit.min(most)).await?),
            Question::Named { text } => told(reader.named(&text).await?),
            Question::Glance { job } => match reader.glance(job).await {
                Ok(glance) => told(glance),
                Err(ReadError::NoJob(NoJob::Unknown(_))) => Ok(serde_json::Value::Null),
                Err(error) => return Err(error.into()),
            },
            Question::Usage(query) => told(reader.usage(query).await?),
            Question::Uncounted => told(reader.uncounted().await?),
            Question::Events { job, from_version, limit } => {
                let limit = limit.min(MOST_EVENTS);
                // No version is so large, and arithmetic on it would go round.
                let from_version = from_version.min(u64::MAX / 2);
                let page = app.log().read_stream(&job.stream(), from_version, limit).await;
                told(page.map_err(AppError::from)?)
            }
            Question::Payloads { positions } => told(payloads(app, &positions).await?),
            Question::Recipes { repositories } => {
                let planner = self.planner(caller, move |planner| planner.recipes(&repositories));
                told(planner.await?.iter().map(Written::listed).collect::<Vec<_>>())
            }
            Question::Recipe { name, repositories } => {
                let found =
                    self.planner(caller, move |planner| planner.recipe(&name, &repositories));
                told(Written::of(&found.await?))
            }
            Question::Plan { request } => {
                told(PlannedJob::of(&self.reception.planned(caller, *request).await?))
            }
        };
        Ok(value?)
    }

    /// What the planner of `caller` says; it looks at the disk.
    async fn planner<R: Send + 'static>(
        &self,
        caller: &Caller,
        ask: impl FnOnce(&Planner<'_>) -> Result<R, Rejection> + Send + 'static,
    ) -> Result<R, Unanswered> {
        let control = Arc::clone(&self.reception.control);
        let paths = self.reception.local_paths(caller);
        let asked = tokio::task::spawn_blocking(move || ask(&control.planner(paths)));
        Ok(asked.await.map_err(|_| Unanswered::Interrupted)??)
    }
}

fn told(answer: impl Serialize) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(answer)
}

/// The payloads at `positions`, until they are many or large. Those of no job are nobody's to read here.
async fn payloads(app: &App, positions: &[u64]) -> Result<Vec<Option<String>>, AppError> {
    let (mut payloads, mut bytes) = (Vec::new(), 0);
    for position in positions.iter().take(MOST_EVENTS) {
        let event = app.log().read_log(position.saturating_sub(1), 1).await?.pop();
        let is_of_job = |stream: &str| JobId::from_stream(stream).is_some();
        let payload = match event.filter(|event| is_of_job(&event.stream)) {
            Some(event) => app.payload(event.position).await?,
            None => None,
        };
        // Payloads are JSON, and so they are text.
        let payload = payload.and_then(|bytes| String::from_utf8(bytes).ok());
        bytes += payload.as_ref().map_or(0, String::len);
        payloads.push(payload);
        if bytes >= MOST_BYTES {
            break;
        }
    }
    Ok(payloads)
}

impl Unanswered {
    /// Whether another time would do.
    fn is_passing(&self) -> bool {
        match self {
            Self::Read(ReadError::App(error)) | Self::App(error) => error.is_passing(),
            Self::Control(error) => error.is_passing(),
            Self::Read(ReadError::Views(_)) | Self::Interrupted => true,
            Self::Read(ReadError::NoJob(_)) | Self::No(_) | Self::Render(_) => false,
        }
    }
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        let no = match &self {
            Self::No(no) => Some(no),
            Self::Control(error) => error.rejection(),
            Self::Read(_) | Self::App(_) | Self::Render(_) | Self::Interrupted => None,
        };
        if let Some(no) = no {
            return (StatusCode::CONFLICT, Json(no)).into_response();
        }
        tracing::error!(error = %self, "a question could not be answered");
        // Whoever watches asks again after the first, and gives up after the second.
        match self.is_passing() {
            true => refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", self.to_string()),
            false => refuse(StatusCode::INTERNAL_SERVER_ERROR, "broken", self.to_string()),
        }
    }
}

fn refuse(status: StatusCode, code: &str, message: String) -> Response {
    (status, Json(Refusal { code: code.to_owned(), message })).into_response()
}
