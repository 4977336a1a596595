//! The tokens that there are, in memory: made from the log and the hashes beside it, and changed with
//! them. A token without a hash was never handed out, and one without an event is none.

use std::collections::BTreeMap;

use cody_events::digest::Sha256;
use cody_events::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Denied, Scopes};

/// A token, without what makes it one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub token_id: String,
    pub name: String,
    pub scopes: Scopes,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
}

impl Token {
    /// Says no if the token is good no longer.
    pub fn check(&self, now: Timestamp) -> Result<(), Denied> {
        if self.revoked_at.is_some() {
            return Err(Denied::Revoked);
        }
        match self.expires_at {
            Some(end) if end <= now => Err(Denied::Expired),
            Some(_) | None => Ok(()),
        }
    }

    /// How the token's holder is called in events.
    pub fn actor(&self) -> String {
        format!("token:{}", self.token_id)
    }
}

/// All tokens that are known.
#[derive(Debug, Default)]
pub(super) struct Register {
    tokens: BTreeMap<String, Token>,
    ids: BTreeMap<Sha256, String>,
}

impl Register {
    pub fn add(&mut self, hash: Sha256, token: Token) {
        self.ids.insert(hash, token.token_id.clone());
        self.tokens.insert(token.token_id.clone(), token);
    }

    pub fn find(&self, hash: &Sha256) -> Option<&Token> {
        self.tokens.get(self.ids.get(hash)?)
    }

    pub fn get(&self, token_id: &str) -> Option<&Token> {
        self.tokens.get(token_id)
    }

    pub fn get_mut(&mut self, token_id: &str) -> Option<&mut Token> {
        self.tokens.get_mut(token_id)
    }

    /// Those that are good at `now`.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Token> {
        self.tokens.values().filter(move |token| token.check(now).is_ok())
    }

    /// All of them, the newest first.
    pub fn list(&self) -> Vec<Token> {
        let mut tokens: Vec<Token> = self.tokens.values().cloned().collect();
        tokens.sort_by(|a, b| (b.created_at, &b.token_id).cmp(&(a.created_at, &a.token_id)));
        tokens
    }

    /// Gives up all but the newest `most` of those that are good no longer, and says which.
    pub fn forget_dead(&mut self, most: usize, now: Timestamp) -> Vec<String> {
        let dead = self.list().into_iter().filter(|token| token.check(now).is_err());
        let forgotten: Vec<String> = dead.skip(most).map(|token| token.token_id).collect();
        for token_id in &forgotten {
            self.tokens.remove(token_id);
        }
        self.ids.retain(|_, token_id| self.tokens.contains_key(token_id));
        forgotten
    }
}
