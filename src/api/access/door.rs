//! Tokens over HTTP, for the command line: list, make, revoke. Admins only.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cody_events::envelope::Door;
use cody_events::system::Scope;
use serde::{Deserialize, Serialize};

use super::{Access, Authenticated, Caller, Denied, NewToken, Token};
use crate::app::AppError;
use crate::wire::Refusal;

/// Where tokens are listed and made.
pub const TOKENS: &str = "/control/v1/tokens";
/// Where one is revoked.
pub const REVOKE: &str = "/control/v1/tokens/revoke";

/// The tokens that there are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenList {
    pub tokens: Vec<Token>,
}

/// A token that is to be good no longer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    pub token_id: String,
    #[serde(default)]
    pub reason: String,
}

/// The routes.
pub fn router(access: Arc<Access>) -> Router {
    Router::new()
        .route(TOKENS, get(list).post(create))
        .route(REVOKE, post(revoke))
        .with_state(access)
}

async fn list(State(access): State<Arc<Access>>, Authenticated(caller): Authenticated) -> Response {
    match caller.require(Scope::Admin) {
        Ok(()) => Json(TokenList { tokens: access.list() }).into_response(),
        Err(denied) => denied.into_response(),
    }
}

async fn create(
    State(access): State<Arc<Access>>,
    Authenticated(caller): Authenticated,
    wish: Result<Json<NewToken>, JsonRejection>,
) -> Response {
    let wish = match admitted(&caller, wish) {
        Ok(wish) => wish,
        Err(refused) => return refused.into_response(),
    };
    answer(access.create(wish, &caller.asker(Door::Cli)).await)
}

async fn revoke(
    State(access): State<Arc<Access>>,
    Authenticated(caller): Authenticated,
    wish: Result<Json<Revocation>, JsonRejection>,
) -> Response {
    let wish = match admitted(&caller, wish) {
        Ok(wish) => wish,
        Err(refused) => return refused.into_response(),
    };
    answer(access.revoke(&wish.token_id, &wish.reason, &caller.asker(Door::Cli)).await)
}

/// Why a wish is not looked at.
enum Refused {
    Denied(Denied),
    Unread(JsonRejection),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Denied(denied) => denied.into_response(),
            Self::Unread(error) => refuse(error.status(), "bad-request", error.body_text()),
        }
    }
}

/// What an admin wishes, if it can be read.
fn admitted<W>(caller: &Caller, wish: Result<Json<W>, JsonRejection>) -> Result<W, Refused> {
    caller.require(Scope::Admin).map_err(Refused::Denied)?;
    wish.map(|Json(wish)| wish).map_err(Refused::Unread)
}

fn answer<T: Serialize>(done: Result<T, AppError>) -> Response {
    match done {
        Ok(done) => Json(done).into_response(),
        Err(AppError::Rejected(no)) => (StatusCode::CONFLICT, Json(no)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a token could not be made or revoked");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", error.to_string())
        }
    }
}

fn refuse(status: StatusCode, code: &str, message: String) -> Response {
    (status, Json(Refusal { code: code.to_owned(), message })).into_response()
}
