//! The door by which the command line has wishes carried out by a server, beside it or far away. The
//! credential that the server left in its data directory opens it to whoever has that; anybody else
//! needs a token, which may do here what it may do at every door.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRef, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use cody_events::envelope::Door;
use serde::{Deserialize, Serialize};

use super::{Reception, Wish};
use crate::api::access::{Access, Authenticated};
use crate::api::permission;
use crate::app::Asker;
use crate::job::{Rejection, RejectionCode};
use crate::wire::Refusal;

/// The door's one route.
pub const ROUTE: &str = "/control/v1";
/// A job's request: a prompt and a few names.
const MAX_BODY_BYTES: usize = 4 << 20;

/// A wish and who has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Letter {
    /// Heard only from whoever has the data directory; anybody else is known by their token.
    pub actor: String,
    pub wish: Wish,
}

/// What the door needs.
#[derive(Debug, Clone)]
struct ControlDoor {
    reception: Arc<Reception>,
}

/// The door's route.
pub fn router(reception: Arc<Reception>) -> Router {
    Router::new()
        .route(ROUTE, post(take))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(ControlDoor { reception })
}

impl FromRef<ControlDoor> for Arc<Access> {
    fn from_ref(door: &ControlDoor) -> Self {
        Self::clone(&door.reception.access)
    }
}

async fn take(
    State(door): State<ControlDoor>,
    Authenticated(caller): Authenticated,
    letter: Result<Json<Letter>, JsonRejection>,
) -> Response {
    let Json(letter) = match letter {
        Ok(letter) => letter,
        Err(error) => return refuse(error.status(), "bad-request", error.body_text()),
    };
    if let Err(denied) = caller.require(permission::scope_of(&letter.wish)) {
        return denied.into_response();
    }
    let asker = match caller.is_local_admin {
        true => Asker { actor: letter.actor, door: Door::Cli },
        false => caller.asker(Door::Cli),
    };
    match door.reception.receive(&caller, &asker, letter.wish, None).await {
        Ok(done) => Json(done).into_response(),
        Err(error) => match error.rejection() {
            Some(no) => (status_of(no), Json(no)).into_response(),
            None => {
                tracing::error!(%error, "a wish could not be carried out");
                let status = match error.is_passing() {
                    true => StatusCode::SERVICE_UNAVAILABLE,
                    false => StatusCode::INTERNAL_SERVER_ERROR,
                };
                refuse(status, "unavailable", error.to_string())
            }
        },
    }
}

fn status_of(no: &Rejection) -> StatusCode {
    match no.code {
        RejectionCode::Forbidden | RejectionCode::OwnJob => StatusCode::FORBIDDEN,
        RejectionCode::NoSuchJob | RejectionCode::NoSuchTarget => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    }
}

fn refuse(status: StatusCode, code: &str, message: String) -> Response {
    (status, Json(Refusal { code: code.to_owned(), message })).into_response()
}
