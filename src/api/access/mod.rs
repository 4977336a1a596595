//! Who may come in: tokens and what they allow, by which names and how often the server may be asked,
//! and what every answer says to browsers. What a caller does then is the business of other doors.

mod caller;
mod denied;
pub mod door;
mod guard;
mod headers;
mod issuer;
mod limits;
mod names;
mod register;
mod scopes;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use axum::http::HeaderMap;
use cody_events::digest::Sha256;
use cody_events::system::Scope;
use cody_events::time::Timestamp;
use tokio::sync::watch;

pub use caller::{Authenticated, Caller};
pub use denied::Denied;
pub use guard::{Guard, guarded};
pub use issuer::Issuer;
use register::Register;
pub use register::Token;
pub use scopes::Scopes;
pub use tokens::{CreatedToken, NewToken, PREFIX, RevokedToken};

use crate::app::{App, AppError};
use crate::plan::Words;
use crate::store::side::SideTables;

/// The header in which the local admin says who sits at the command line.
pub const ACTOR_HEADER: &str = "x-cody-actor";
/// Bytes that a local admin's name may have.
const LONGEST_ACTOR: usize = 100;
/// How often a token that follows something is looked at though nothing was said of it: the wall clock,
/// by which it expires, may have jumped.
const LOOK: Duration = Duration::from_secs(12);
/// How often it is written down that a token is in use.
const USE_STEP_MS: u64 = 60_000;

/// What is known of callers. All doors of a server share one.
pub struct Access {
    app: Arc<App>,
    side: Arc<dyn SideTables>,
    /// Looks at what is recorded of tokens.
    words: Words,
    /// The SHA-256 of the credential that the server left in its data directory, if it left one.
    local_admin: Option<Sha256>,
    /// Whose tokens are good for some addresses, beside our own.
    issuer: Option<Box<Issuer>>,
    register: RwLock<Register>,
    /// Changes with each revocation, for those who are in already.
    revocations: watch::Sender<()>,
    /// Held by whoever makes or revokes a token.
    writing: tokio::sync::Mutex<()>,
}

impl Access {
    /// Reads the tokens of the log. `words` says no to names and reasons with secrets in them;
    /// `local_admin` is the credential that the server leaves for the command line on its machine.
    pub async fn open(
        app: Arc<App>,
        side: Arc<dyn SideTables>,
        words: Words,
        local_admin: Option<&str>,
    ) -> Result<Self, AppError> {
        let register = RwLock::new(tokens::read(&app, &*side).await?);
        let local_admin = local_admin.map(|credential| Sha256::of(credential.as_bytes()));
        let (revocations, writing) = (watch::Sender::new(()), tokio::sync::Mutex::default());
        Ok(Self { app, side, words, local_admin, issuer: None, register, revocations, writing })
    }

    /// The same, taking the tokens of an authorization server as well.
    pub fn with_issuer(self, issuer: Option<Issuer>) -> Self {
        Self { issuer: issuer.map(Box::new), ..self }
    }

    /// The authorization server whose tokens are taken as well.
    pub fn issuer(&self) -> Option<&Issuer> {
        self.issuer.as_deref()
    }

    /// Whose credential `bearer` is. It is looked up by its hash, so the time that this takes says
    /// nothing about it.
    pub fn authenticate(&self, bearer: &str) -> Result<Caller, Denied> {
        if bearer.is_empty() {
            return Err(Denied::Missing);
        }
        let hash = Sha256::of(bearer.as_bytes());
        if self.local_admin == Some(hash) {
            return Ok(Caller {
                actor: "local-admin".to_owned(),
                scopes: Scopes::from_iter([Scope::Admin]),
                token_id: None,
                is_local_admin: true,
            });
        }
        let now = self.app.clock().now();
        let (caller, last_used_at) = {
            let register = self.register();
            let token = register.find(&hash).ok_or(Denied::Unknown)?;
            token.check(now)?;
            let caller = Caller {
                actor: token.actor(),
                scopes: token.scopes.clone(),
                token_id: Some(token.token_id.clone()),
                is_local_admin: false,
            };
            (caller, token.last_used_at)
        };
        if last_used_at.is_none_or(|before| now.millis_since(before) >= USE_STEP_MS) {
            self.note_used(&caller, now);
        }
        Ok(caller)
    }

    /// Whose credential `bearer` is at `path`, where tokens of an authorization server may be good too.
    pub async fn authenticate_at(&self, path: &str, bearer: &str) -> Result<Caller, Denied> {
        let issuer = self.issuer.as_deref().filter(|_| issuer::may_be_one(bearer));
        match issuer.and_then(|issuer| Some((issuer, issuer.resource(path)?))) {
            Some((issuer, resource)) => {
                issuer.recognise(bearer, resource, self.app.clock().monotonic()).await
            }
            None => self.authenticate(bearer),
        }
    }

    /// Waits until `bearer` is good no longer at `path`: until it is revoked, or expires. What is open for
    /// whoever showed it ends then.
    pub async fn ended_at(&self, path: &str, bearer: &str) {
        let mut revocations = self.revocations.subscribe();
        loop {
            // From here on, so that a revocation after this look is not missed.
            revocations.mark_unchanged();
            let caller = match self.authenticate_at(path, bearer).await {
                Ok(caller) => Some(caller),
                // Nothing was said against it.
                Err(Denied::IssuerAway) => None,
                Err(_) => return,
            };
            let left = caller.and_then(|caller| self.left(&caller));
            let pause = left.map_or(LOOK, |left| left.min(LOOK));
            tokio::select! {
                // The sender is in `self`.
                _ = revocations.changed() => {}
                () = self.app.clock().sleep(pause) => {}
            }
        }
    }

    /// The same for our own tokens, which are good everywhere.
    pub async fn ended(&self, bearer: &str) {
        self.ended_at("", bearer).await;
    }

    /// How long the caller's token is good; nothing if it has no end.
    fn left(&self, caller: &Caller) -> Option<Duration> {
        let end = self.register().get(caller.token_id.as_deref()?)?.expires_at?;
        let ms = end.millis_since(self.app.clock().now());
        // A part of a millisecond is waited for as a whole one.
        Some(Duration::from_millis(ms + 1))
    }

    /// Whose request for `path` has these headers.
    pub async fn identify_at(&self, path: &str, headers: &HeaderMap) -> Result<Caller, Denied> {
        let bearer = super::bearer(headers).unwrap_or_default();
        let caller = self.authenticate_at(path, bearer).await?;
        Ok(Self::named(caller, headers))
    }

    /// The same where our own tokens alone are good.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let caller = self.authenticate(super::bearer(headers).unwrap_or_default())?;
        Ok(Self::named(caller, headers))
    }

    /// The local admin may say who it is.
    fn named(caller: Caller, headers: &HeaderMap) -> Caller {
        let named = headers.get(ACTOR_HEADER).filter(|_| caller.is_local_admin);
        match named.and_then(|name| name.to_str().ok()).map(str::trim) {
            Some(name) if !name.is_empty() && name.len() <= LONGEST_ACTOR => {
                Caller { actor: name.to_owned(), ..caller }
            }
            Some(_) | None => caller,
        }
    }

    /// Writes down that a token is in use, while its holder goes on.
    fn note_used(&self, caller: &Caller, now: Timestamp) {
        let Some(token_id) = caller.token_id.clone() else { return };
        if let Some(token) = self.register_mut().get_mut(&token_id) {
            token.last_used_at = Some(now);
        }
        let side = Arc::clone(&self.side);
        tokio::spawn(async move {
            if let Err(error) = side.note_token_used(token_id, now).await {
                tracing::debug!(%error, "when a token was last used is not written down");
            }
        });
    }

    fn register(&self) -> RwLockReadGuard<'_, Register> {
        self.register.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn register_mut(&self) -> RwLockWriteGuard<'_, Register> {
        self.register.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}
