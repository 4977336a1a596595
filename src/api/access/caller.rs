//! Whoever sends a request, once they are known.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use cody_events::envelope::Door;
use cody_events::system::Scope;

use super::{Access, Denied, Scopes};
use crate::api::downloads::Gate;
use crate::app::Asker;

/// Somebody who showed a credential that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As events name them: `token:<token_id>`, `oauth:<subject>`, or the person at the command line of
    /// this machine.
    pub actor: String,
    pub scopes: Scopes,
    /// Of a token of this server's.
    pub token_id: Option<String>,
    /// Whether the credential is the one that the server left in its data directory.
    pub is_local_admin: bool,
}

impl Caller {
    /// Says no unless the caller's scopes allow what needs `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.allows(scope) { Ok(()) } else { Err(Denied::LacksScope(scope)) }
    }

    /// Whose requests are counted as one's.
    pub(super) fn holder(&self) -> &str {
        self.token_id.as_deref().unwrap_or(&self.actor)
    }

    /// The same, as whoever wishes something through `door`.
    pub fn asker(&self, door: Door) -> Asker {
        Asker { actor: self.actor.clone(), door }
    }
}

/// Who a request comes from, as the guard found out.
#[derive(Debug, Clone)]
pub(super) struct Identity(pub Result<Caller, Denied>);

/// The caller of a request that needs one.
#[derive(Debug, Clone)]
pub struct Authenticated(pub Caller);

impl<S> FromRequestParts<S> for Authenticated
where
    S: Send + Sync,
    Arc<Access>: FromRef<S>,
{
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        let known = parts.extensions.get::<Identity>().cloned();
        let Identity(identity) = known
            .unwrap_or_else(|| Identity(Arc::<Access>::from_ref(state).identify(&parts.headers)));
        identity.map(Self)
    }
}

#[async_trait]
impl Gate for Access {
    async fn may_read(&self, headers: &HeaderMap) -> Result<(), Response> {
        let known = self.identify(headers).and_then(|caller| caller.require(Scope::Read));
        known.map_err(IntoResponse::into_response)
    }
}
