//! Diffs: made, approved, rejected, sent back, held.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{ObjectId, Sha256};
use crate::ids::{RoundNumber, TargetNumber};
use crate::job::By;
use crate::policy::PathClass;
use crate::raw::RawJson;
use crate::shape::DiffShape;
use crate::tree::RepoPath;

/// The server derived the diff of a target from its own base and blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffProduced {
    pub target: TargetNumber,
    pub round: RoundNumber,
    pub base_commit: ObjectId,
    pub tree: ObjectId,
    pub diff_hash: Sha256,
    pub file_count: u32,
    pub added_line_count: u64,
    pub deleted_line_count: u64,
    pub byte_count: u64,
    /// Whether work stopped before the diff was judged good.
    pub partial: bool,
    /// The classes of changes that it touches, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touches: Vec<PathClass>,
    /// How often it adds what looks like a secret.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub secret_count: u32,
    /// What kind of a change it is, to be compared with other targets' diffs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<DiffShape>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The diff and what `finish` said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffProducedPayload {
    pub patch: Patch,
    pub files: Vec<ChangedFile>,
    pub title: String,
    pub summary: String,
    pub evidence: Vec<String>,
}

/// A git-format patch: text where it is UTF-8, else base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Patch {
    Text(String),
    Base64(String),
}

impl Patch {
    /// The patch with these bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(BASE64.encode(error.as_bytes())),
        }
    }

    /// The bytes of the patch.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Base64(text) => BASE64.decode(text),
        }
    }
}

/// One file of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedFile {
    pub path: RepoPath,
    pub change: FileChange,
    pub binary: bool,
    pub added_line_count: u64,
    pub deleted_line_count: u64,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    Added,
    Modified,
    Deleted,
    /// Its kind or its executable bit changed.
    ModeChanged,
}

/// What every judgement of a diff binds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgedDiff {
    pub target: TargetNumber,
    pub base_commit: ObjectId,
    pub tree: ObjectId,
    pub diff_hash: Sha256,
    pub by: By,
}

/// A person or the policy said yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DiffApproved(pub JudgedDiff);

/// A person said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DiffRejected(pub JudgedDiff);

/// A person wants it otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ChangesRequested(pub JudgedDiff);

/// The diff is kept for a person and never delivered by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TargetHeld(pub JudgedDiff);

/// A judgement in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentPayload {
    pub comment: String,
    /// The block by which Claude is told: the result of an open `finish`; nothing if it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_result: Option<RawJson>,
}
