//! What belongs to no job: the server's epochs, tokens, settings; and the removal of payloads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::By;
use crate::time::Timestamp;

/// A payload is to be removed from the log's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PayloadRedacted {
    pub position: u64,
    pub by: By,
}

/// A bearer token was made; its hash is kept outside the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCreated {
    pub token_id: String,
    pub scopes: Vec<Scope>,
    /// From when on it is no longer good; nothing means that it has to be revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    pub by: By,
}

/// What a token may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    Read,
    Run,
    Approve,
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Run, Self::Approve, Self::Admin];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }
}

/// What a person calls a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCreatedPayload {
    pub name: String,
}

/// A token is no longer good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoked {
    pub token_id: String,
    pub by: By,
}

/// The server's owner changed settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChanged {
    /// The names of the settings, at most 32.
    pub settings: Vec<String>,
    pub by: By,
}

/// The settings' new values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChangedPayload {
    pub values: std::collections::BTreeMap<String, String>,
}

/// A server opened the log; it alone writes from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EpochOpened {
    pub epoch: u64,
    pub app_version: String,
    pub sqlite_version: Option<String>,
}
