//! Tokens over GraphQL: made, listed, revoked, by admins.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};
use cody_events::envelope::Door;
use cody_events::system::Scope as Allowed;

use super::errors::{UserError, internal};
use super::ids::{GlobalId, TokenKey};
use super::services::{allowed, services};
use super::types::scalars::{DateTime, Position};
use super::types::words::Scope;
use crate::api::access::{self, NewToken};
use crate::app::AppError;

/// A token, without what makes it one.
#[derive(Debug, Clone)]
pub struct Token(pub access::Token);

/// A token, without what makes it one.
#[Object]
impl Token {
    /// The global id.
    pub async fn id(&self) -> ID {
        GlobalId::Token(TokenKey::of(&self.0.token_id)).into()
    }

    /// By which it is revoked, and named in events.
    async fn token_id(&self) -> &str {
        &self.0.token_id
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it may do.
    async fn scopes(&self) -> Vec<Scope> {
        self.0.scopes.iter().map(Scope::from).collect()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// Who made it.
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }

    /// From when on it is no longer good; nothing means that it has to be revoked.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime)
    }

    /// When it was revoked, if it was.
    async fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(DateTime)
    }

    /// When it was used last, to the minute.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(DateTime)
    }
}

/// A token that somebody wants.
#[derive(Debug, InputObject)]
pub struct CreateTokenInput {
    /// Given back as it is. A token is made once a request, whatever the key: its text cannot be shown
    /// again.
    pub client_mutation_id: Option<String>,
    /// What people call it; no two that are good have the same.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// From when on it is no longer good; without, it has to be revoked.
    pub expires_at: Option<DateTime>,
}

/// What became of the wish for a token.
#[derive(Debug, SimpleObject)]
pub struct CreateTokenPayload {
    /// As it was given.
    pub client_mutation_id: Option<String>,
    /// The token's text, which is shown once.
    pub token: Option<String>,
    /// By which it is revoked, and named in events.
    pub token_id: Option<String>,
    /// The place in the log that tells of it.
    pub position: Option<Position>,
    /// Why there is no token; empty if there is one.
    pub user_errors: Vec<UserError>,
}

/// A token to be revoked.
#[derive(Debug, InputObject)]
pub struct RevokeTokenInput {
    /// Given back as it is.
    pub client_mutation_id: Option<String>,
    /// The token's `tokenId`.
    pub token_id: String,
    /// Why, for those who read the log.
    pub reason: Option<String>,
}

/// What became of the wish to revoke a token.
#[derive(Debug, SimpleObject)]
pub struct RevokeTokenPayload {
    /// As it was given.
    pub client_mutation_id: Option<String>,
    /// The place in the log that tells of it.
    pub position: Option<Position>,
    /// Why nothing was revoked; empty if the token is good for nothing.
    pub user_errors: Vec<UserError>,
}

/// Makes a token.
pub async fn create(
    context: &Context<'_>,
    input: CreateTokenInput,
) -> Result<CreateTokenPayload, Error> {
    let caller = allowed(context, Allowed::Admin)?;
    let wish = NewToken {
        name: input.name,
        scopes: input.scopes.into_iter().map(Allowed::from).collect(),
        expires_at: input.expires_at.map(|DateTime(at)| at),
    };
    let made = services(context)?.reception.access.create(wish, &caller.asker(Door::Graphql)).await;
    let client_mutation_id = input.client_mutation_id;
    Ok(match made {
        Ok(made) => CreateTokenPayload {
            client_mutation_id,
            token: Some(made.token.expose().to_owned()),
            token_id: Some(made.token_id),
            position: Some(Position(made.position)),
            user_errors: Vec::new(),
        },
        Err(error) => CreateTokenPayload {
            client_mutation_id,
            token: None,
            token_id: None,
            position: None,
            user_errors: vec![refused(error)?],
        },
    })
}

/// Revokes a token.
pub async fn revoke(
    context: &Context<'_>,
    input: RevokeTokenInput,
) -> Result<RevokeTokenPayload, Error> {
    let caller = allowed(context, Allowed::Admin)?;
    let reason = input.reason.unwrap_or_default();
    let asker = caller.asker(Door::Graphql);
    let revoked =
        services(context)?.reception.access.revoke(&input.token_id, &reason, &asker).await;
    let client_mutation_id = input.client_mutation_id;
    Ok(match revoked {
        Ok(revoked) => RevokeTokenPayload {
            client_mutation_id,
            position: Some(Position(revoked.position)),
            user_errors: Vec::new(),
        },
        Err(error) => RevokeTokenPayload {
            client_mutation_id,
            position: None,
            user_errors: vec![refused(error)?],
        },
    })
}

fn refused(error: AppError) -> Result<UserError, Error> {
    match &error {
        AppError::Rejected(no) => Ok(no.into()),
        _ => Err(internal(error)),
    }
}
