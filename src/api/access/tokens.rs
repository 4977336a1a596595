//! Tokens are made, listed and revoked. What a token may do, and until when, is what its event says;
//! beside the log stands only the hash by which it is known again.
//!
//! The event always comes first. A crash between a token's event and its hash leaves a token that nobody
//! can use; one between a revocation and what follows it leaves nothing undone, because who starts
//! reads the events.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cody_events::digest::Sha256;
use cody_events::event::{Draft, Event};
use cody_events::job::{By, ReasonPayload};
use cody_events::system::{Scope, TokenCreated, TokenCreatedPayload, TokenRevoked};
use cody_events::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::register::{Register, Token};
use super::{Access, Scopes};
use crate::app::{App, AppError, Asker, Told};
use crate::job::{Rejection, RejectionCode};
use crate::store::side::{SideTables, TokenHash};
use crate::wire::Secret;

/// How each token begins, so that programs that look for secrets know it.
pub const PREFIX: &str = "cody_";
/// Tokens that may be good at once.
const MOST_LIVE: usize = 1_000;
/// Tokens that are good no longer and known all the same, to say why.
const MOST_DEAD: usize = 1_000;
/// Characters that a token's name may have.
const LONGEST_NAME: usize = 80;
/// Bytes of a reason.
const LONGEST_REASON: usize = 2_000;

/// A token that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What people call it; no two that are good have the same.
    pub name: String,
    pub scopes: Vec<Scope>,
    /// From when on it is no longer good; nothing means that it has to be revoked.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A token that was made. This is the only time that its text is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreatedToken {
    pub token: Secret,
    pub token_id: String,
    /// The log's position that tells of it.
    pub position: u64,
}

/// What became of a wish to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedToken {
    pub token_id: String,
    /// Whether it was good until now, or had only expired.
    pub is_new: bool,
    /// The log's position that holds it.
    pub position: u64,
}

impl Access {
    /// Makes a token, or says why not.
    pub async fn create(&self, wish: NewToken, asker: &Asker) -> Result<CreatedToken, AppError> {
        let _one_at_a_time = self.writing.lock().await;
        let now = self.app.clock().now();
        let name = wish.name.trim().to_owned();
        check(&name, &wish, now)?;
        self.words.check("The token's name", &name)?;
        self.check_room(&name, now)?;
        let mut secret = [0; 32];
        self.app.entropy().fill(&mut secret);
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
        let token_id = self.new_token_id();
        let scopes = Scopes::from_iter(wish.scopes);
        let facts = TokenCreated {
            token_id: token_id.clone(),
            scopes: scopes.iter().collect(),
            expires_at: wish.expires_at,
            by: By::Person,
        };
        let payload = TokenCreatedPayload { name: name.clone() };
        let position = self.app.record_system(Draft::with(facts, &payload)?, asker).await?;
        let token_hash = Sha256::of(text.as_bytes());
        let row = TokenHash { token_hash, token_id: token_id.clone(), last_used_at: None };
        self.side.put_token(row).await?;
        let forgotten = {
            let mut register = self.register_mut();
            register.add(
                token_hash,
                Token {
                    token_id: token_id.clone(),
                    name,
                    scopes,
                    created_at: now,
                    created_by: asker.actor.clone(),
                    expires_at: wish.expires_at,
                    revoked_at: None,
                    last_used_at: None,
                },
            );
            register.forget_dead(MOST_DEAD, now)
        };
        if !forgotten.is_empty() {
            self.side.forget_tokens(forgotten).await?;
        }
        Ok(CreatedToken { token: Secret::new(text), token_id, position })
    }

    /// Revokes a token: it is good for nothing from the moment that this is on disk.
    pub async fn revoke(
        &self,
        token_id: &str,
        reason: &str,
        asker: &Asker,
    ) -> Result<RevokedToken, AppError> {
        let _one_at_a_time = self.writing.lock().await;
        let known = self.register().get(token_id).cloned();
        let Some(token) = known else {
            return Err(no(
                RejectionCode::NoSuchToken,
                "There is no token with this id.",
                "List the tokens with `cody-batch token list`.",
            ));
        };
        if reason.len() > LONGEST_REASON {
            return Err(no(
                RejectionCode::BadToken,
                format!("A reason has at most {LONGEST_REASON} bytes."),
                "Write it shorter.",
            ));
        }
        self.words.check("The reason", reason)?;
        let token_id = token.token_id;
        if token.revoked_at.is_some() {
            let position = self.app.log().head().await?.position;
            return Ok(RevokedToken { token_id, is_new: false, position });
        }
        let facts = TokenRevoked { token_id: token_id.clone(), by: By::Person };
        let payload = ReasonPayload { reason: reason.to_owned() };
        let position = self.app.record_system(Draft::with(facts, &payload)?, asker).await?;
        let now = self.app.clock().now();
        if let Some(token) = self.register_mut().get_mut(&token_id) {
            token.revoked_at = Some(now);
        }
        self.revocations.send_replace(());
        Ok(RevokedToken { token_id, is_new: true, position })
    }

    /// Every token that is known, the newest first.
    pub fn list(&self) -> Vec<Token> {
        self.register().list()
    }

    /// Whether there is a token that is good.
    pub fn has_live_tokens(&self) -> bool {
        let now = self.app.clock().now();
        self.register().live(now).next().is_some()
    }

    /// Says no if there is no room for one more token, or none of this name.
    fn check_room(&self, name: &str, now: Timestamp) -> Result<(), AppError> {
        let register = self.register();
        if register.live(now).any(|token| token.name == name) {
            return Err(no(
                RejectionCode::TokenNameTaken,
                "A token that is good has this name.",
                "Choose another name, or revoke that token first.",
            ));
        }
        if register.live(now).count() >= MOST_LIVE {
            return Err(no(
                RejectionCode::TooManyTokens,
                format!("There are {MOST_LIVE} tokens already."),
                "Revoke some that nobody uses.",
            ));
        }
        Ok(())
    }

    fn new_token_id(&self) -> String {
        loop {
            let mut bytes = [0; 6];
            self.app.entropy().fill(&mut bytes);
            let token_id = format!("tok_{}", hex::encode(bytes));
            if self.register().get(&token_id).is_none() {
                return token_id;
            }
        }
    }
}

/// The tokens that the log in `app` tells of and `side` knows again.
pub(super) async fn read(app: &App, side: &dyn SideTables) -> Result<Register, AppError> {
    let hashes = side.list_tokens().await?;
    let mut hashes: BTreeMap<String, TokenHash> =
        hashes.into_iter().map(|hash| (hash.token_id.clone(), hash)).collect();
    let mut register = Register::default();
    let mut version = 0;
    loop {
        let page = app.system_page(version).await?;
        let Some(last) = page.last() else { break };
        version = last.recorded.version;
        for told in page {
            match &told.event {
                Event::TokenCreated(created) => {
                    if let Some(hash) = hashes.remove(&created.token_id) {
                        let token = token(app, &told, created, hash.last_used_at).await?;
                        register.add(hash.token_hash, token);
                    }
                }
                Event::TokenRevoked(revoked) => {
                    if let Some(token) = register.get_mut(&revoked.token_id) {
                        token.revoked_at = Some(told.recorded.recorded_at);
                    }
                }
                // Nothing else in this stream is about tokens.
                _ => {}
            }
        }
    }
    for token_id in hashes.keys() {
        tracing::warn!(token_id, "a token that no event tells of is not taken");
    }
    Ok(register)
}

async fn token(
    app: &App,
    told: &Told,
    created: &TokenCreated,
    last_used_at: Option<Timestamp>,
) -> Result<Token, AppError> {
    let payload = app.payload_of::<TokenCreated>(told.recorded.position).await?;
    Ok(Token {
        token_id: created.token_id.clone(),
        name: payload.map_or_else(|| "(removed)".to_owned(), |payload| payload.name),
        scopes: created.scopes.iter().copied().collect(),
        created_at: told.recorded.recorded_at,
        created_by: told.recorded.actor.clone(),
        expires_at: created.expires_at,
        revoked_at: None,
        last_used_at,
    })
}

/// Says no to what is no token.
fn check(name: &str, wish: &NewToken, now: Timestamp) -> Result<(), AppError> {
    let bad = |message: &str, next_step: &str| no(RejectionCode::BadToken, message, next_step);
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control)
    {
        return Err(bad(
            "A token's name is a line of 1 to 80 characters.",
            "Name it after whoever will use it, such as `dashboard`.",
        ));
    }
    if wish.scopes.is_empty() || wish.scopes.len() > Scope::ALL.len() {
        return Err(bad(
            "A token needs one to four scopes.",
            "Give one or more of read, run, approve, admin.",
        ));
    }
    if wish.expires_at.is_some_and(|end| end <= now) {
        return Err(bad("The token would have expired already.", "Give a time that is to come."));
    }
    Ok(())
}

fn no(code: RejectionCode, message: impl Into<String>, next_step: &str) -> AppError {
    Rejection::new(code, message, next_step).into()
}
