//! Who asks, and what they may do.

use cody_events::system::Scope;

/// What a caller may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes {
    pub read: bool,
    pub run: bool,
    pub approve: bool,
    pub admin: bool,
}

impl Scopes {
    /// Whether they include `scope`: `admin` implies all, `run` and `approve` imply `read`.
    pub fn allows(self, scope: Scope) -> bool {
        self.admin
            || match scope {
                Scope::Read => self.read || self.run || self.approve,
                Scope::Run => self.run,
                Scope::Approve => self.approve,
                Scope::Admin => false,
            }
    }
}

/// Whoever asks.
#[derive(Debug, Clone)]
pub struct Caller {
    pub actor: String,
    pub scopes: Scopes,
    pub token_id: Option<String>,
    pub is_local_admin: bool,
}

/// Who holds which token.
#[derive(Debug, Default)]
pub struct Access {}

/// Why a caller is turned away.
#[derive(Debug)]
pub enum Denied {
    Missing,
}

impl Access {
    /// The caller whose token `bearer` is.
    pub async fn authenticate(&self, _bearer: &str) -> Result<Caller, Denied> {
        Err(Denied::Missing)
    }
}

impl axum::response::IntoResponse for Denied {
    fn into_response(self) -> axum::response::Response {
        axum::http::StatusCode::UNAUTHORIZED.into_response()
    }
}
