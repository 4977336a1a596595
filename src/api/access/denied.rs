//! Why a caller is sent away, as RFC 6750 wants it told.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use cody_events::system::Scope;

use crate::wire::Refusal;

/// A caller who is not known, or may not do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "This needs a token, and none came. Send `Authorization: Bearer …`; `cody-batch token create` makes one."
    )]
    Missing,
    #[error("The token is not one of this server's. `cody-batch token list` shows those that are.")]
    Unknown,
    #[error("The token has expired. Make another with `cody-batch token create`.")]
    Expired,
    #[error(
        "The access token was made for another address. Ask the authorization server for one with the \
         `resource` that this server's metadata names."
    )]
    ForAnother,
    #[error("The authorization server does not answer, so the token cannot be judged. Try again.")]
    IssuerAway,
    #[error("The token was revoked. Make another with `cody-batch token create`.")]
    Revoked,
    #[error(
        "The token may not do this: it needs the scope `{scope}`. Ask for one with this scope.",
        scope = .0.name()
    )]
    LacksScope(Scope),
}

impl Denied {
    /// A stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "token-missing",
            Self::Unknown => "token-unknown",
            Self::Expired => "token-expired",
            Self::Revoked => "token-revoked",
            Self::ForAnother => "token-audience",
            Self::IssuerAway => "issuer-away",
            Self::LacksScope(_) => "scope-missing",
        }
    }

    /// The status, and the challenge of `WWW-Authenticate`.
    pub fn challenge(self) -> (StatusCode, &'static str) {
        match self {
            // Who brings nothing is told of no error (RFC 6750, section 3.1).
            Self::Missing => (StatusCode::UNAUTHORIZED, r#"Bearer realm="cody-batch""#),
            Self::IssuerAway => (StatusCode::SERVICE_UNAVAILABLE, r#"Bearer realm="cody-batch""#),
            Self::Unknown | Self::Expired | Self::Revoked | Self::ForAnother => {
                (StatusCode::UNAUTHORIZED, r#"Bearer realm="cody-batch", error="invalid_token""#)
            }
            Self::LacksScope(scope) => (StatusCode::FORBIDDEN, insufficient(scope)),
        }
    }
}

fn insufficient(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => r#"Bearer realm="cody-batch", error="insufficient_scope", scope="read""#,
        Scope::Run => r#"Bearer realm="cody-batch", error="insufficient_scope", scope="run""#,
        Scope::Approve => {
            r#"Bearer realm="cody-batch", error="insufficient_scope", scope="approve""#
        }
        Scope::Admin => r#"Bearer realm="cody-batch", error="insufficient_scope", scope="admin""#,
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let (status, challenge) = self.challenge();
        let refusal = Refusal { code: self.code().to_owned(), message: self.to_string() };
        let challenge = [(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))];
        (status, challenge, Json(refusal)).into_response()
    }
}
