//! Looks for secrets in what people write. All of it is recorded for good, and Claude reads some of it.

use secrecy::SecretString;

use crate::job::{Rejection, RejectionCode};
use crate::scan::secrets::{self, KnownSecrets};

/// What no text may hold: what looks like a secret, and the server's own.
#[derive(Debug, Clone, Default)]
pub struct Words {
    known: KnownSecrets,
}

impl Words {
    /// Knows the server's own secrets, whatever they look like.
    pub fn new<'a>(own: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self { known: KnownSecrets::new(own) }
    }

    /// Says no to a text with a secret in it; `what` begins the sentence that tells where.
    pub fn check(&self, what: &str, text: &str) -> Result<(), Rejection> {
        let Some(found) = secrets::find_all(text, None, &self.known).into_iter().next() else {
            return Ok(());
        };
        Err(Rejection::new(
            RejectionCode::SecretInRequest,
            format!("{what} holds what looks like a secret ({}, line {}).", found.rule, found.line),
            "Take it out, and say by what name it is known instead.",
        ))
    }
}
