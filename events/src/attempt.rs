//! Worker processes at work on a target: asked for, claimed, ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{ObjectId, Sha256};
use crate::ids::{AttemptNumber, RequestId, RoundNumber, TargetNumber};

/// The dispatcher asked an executor for a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptRequested {
    pub target: TargetNumber,
    pub round: RoundNumber,
    /// The id that the worker claims with; its nonce is kept outside the log.
    pub request: RequestId,
    pub base: Base,
    pub executor: Executor,
    pub why: AttemptReason,
}

/// The commit that a target's work starts from, resolved and kept by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Base {
    pub commit: ObjectId,
    pub tree: ObjectId,
    /// The branch whose tip it was.
    pub branch: String,
    /// The pack in the server's data directory that holds it.
    pub pack: Sha256,
}

/// Where a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    Local,
    AwsBatch,
}

/// Why an attempt is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptReason {
    First,
    Lost,
    Resumed,
    Retried,
    ChangesRequested,
}

/// A worker claimed its request; its number fences all earlier attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptStarted {
    pub target: TargetNumber,
    pub attempt: AttemptNumber,
    pub request: RequestId,
    /// The worker's process: host and pid, or the container.
    pub worker: String,
    pub app_version: String,
    /// The container image, by digest; nothing for a local process.
    pub image: Option<String>,
    pub sandbox: SandboxBackend,
    pub batch_job_id: Option<String>,
    pub batch_job_try: Option<u32>,
}

/// What keeps a repository's commands away from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxBackend {
    Bubblewrap,
    Landlock,
    /// None works here: checks and `bash` are off, and diffs are held.
    None,
}

/// An attempt is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptEnded {
    pub target: TargetNumber,
    /// Nothing if the worker never claimed.
    pub attempt: Option<AttemptNumber>,
    pub request: RequestId,
    pub how: AttemptEnd,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// It was told that nothing is left to do.
    Completed,
    /// Its lease ran out.
    Lost,
    /// Its process ended without a word.
    Crashed,
    /// A later attempt took over.
    Fenced,
    /// It left because it was told to: pause, cancel, shutdown.
    Interrupted,
}

/// What the worker or its executor said at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptEndedPayload {
    pub detail: String,
}
