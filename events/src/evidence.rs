//! What was found out about a tree: the scan of the base, and checks run on recorded trees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{ObjectId, Sha256};
use crate::ids::{AttemptNumber, TargetNumber};
use crate::raw::RawJson;
use crate::tree::RepoPath;

/// The base was scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepoScanned {
    pub target: TargetNumber,
    pub attempt: AttemptNumber,
    pub base_commit: ObjectId,
    pub tree: ObjectId,
    pub pack: Sha256,
    pub default_branch: String,
    /// At most 32, largest first.
    pub languages: Vec<Language>,
    pub file_count: u64,
    pub byte_count: u64,
    /// How many check commands the scan found.
    pub check_count: u32,
}

/// One language's share of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Language {
    pub name: String,
    pub file_count: u64,
    pub byte_count: u64,
}

/// What the repository's files say; data, never instructions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepoScannedPayload {
    pub manifests: Vec<Manifest>,
    pub checks: Vec<FoundCheck>,
    pub candidates: Vec<Candidate>,
    pub instruction_files: Vec<RepoPath>,
    /// The block of text about the repository that opens a thread.
    pub context: String,
}

/// A file that tells how the repository is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub path: RepoPath,
    pub build_system: String,
}

/// A command that probably checks the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundCheck {
    pub command: String,
    pub why: String,
}

/// A file that is probably relevant to the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    pub path: RepoPath,
    /// Thousandths; only the order means something.
    pub score_milli: u64,
    pub why: String,
}

/// What a repository depends on was fetched, or why it was not, before its commands lost the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DependenciesFetched {
    pub target: TargetNumber,
    pub attempt: AttemptNumber,
    /// The attempt's reports of fetches are counted from 1.
    pub number: u32,
    /// Each ecosystem once.
    pub fetches: Vec<Fetch>,
}

/// How the dependencies of one ecosystem were had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    pub ecosystem: Ecosystem,
    /// Of the manifests and all else that decides what is fetched.
    pub key: Sha256,
    pub outcome: FetchOutcome,
    /// Nothing if no program ran, or a limit ended it.
    pub exit_code: Option<i32>,
    pub ms: u64,
    /// Bytes that went through the proxy, both ways.
    pub network_bytes: u64,
    /// Whether the lock file that belongs to the manifests is another than the tree had.
    pub lock_changed: bool,
}

/// Who resolves dependencies.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Ecosystem {
    Cargo,
    Npm,
    Pip,
}

impl std::fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Pip => "pip",
        })
    }
}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FetchOutcome {
    Fetched,
    /// An earlier job fetched for the same manifests.
    Cached,
    Failed,
    /// The sandbox of this machine has no network of its own to let a proxy into.
    NoNamespaces,
}

/// What was said and asked during fetches, in the order of the facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DependenciesFetchedPayload {
    pub fetches: Vec<FetchWords>,
}

/// The words of one fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FetchWords {
    /// The end of what the program printed.
    pub output: String,
    /// Hosts that were reached.
    pub hosts: Vec<String>,
    /// Hosts that were asked for and are not allowed.
    pub refused_hosts: Vec<String>,
}

/// Checks ran, or were left out for a reason, on a fresh checkout of one tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChecksRan {
    pub target: TargetNumber,
    pub attempt: AttemptNumber,
    pub tree: ObjectId,
    pub phase: CheckPhase,
    pub image: Option<String>,
    /// The name of the build cache used; nothing means cold.
    pub cache: Option<String>,
    /// At most 32, in the order they ran.
    pub commands: Vec<CheckedCommand>,
    pub skipped: Option<CheckSkip>,
    /// How the change stands after this phase; nothing for a baseline.
    pub verdict: Option<CheckVerdict>,
    /// Whether the payload answers the open `finish`, so that the conversation goes on.
    pub answers_finish: bool,
}

/// When checks run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum CheckPhase {
    /// On the base, before any change.
    Baseline,
    /// On the tree of the first `finish`.
    After,
    /// On the tree of a later `finish`, after feedback.
    Repair,
}

/// One command's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckedCommand {
    /// The exit code; nothing if a signal or the time limit ended it.
    pub exit_code: Option<i32>,
    pub timed_out: bool,
    pub ms: u64,
}

impl CheckedCommand {
    /// Whether the command said yes.
    pub fn passed(&self) -> bool {
        self.exit_code == Some(0) && !self.timed_out
    }
}

/// Why no command ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckSkip {
    /// No command was given and none was found.
    NoCommands,
    /// No sandbox works on the worker's machine.
    NoSandbox,
    /// The same commands ran on the same tree before.
    SameTree,
    /// The claim was refused before any command was worth running.
    ClaimRefused,
}

/// What checks say about a change, compared with the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckVerdict {
    Passed,
    /// Nothing broke, but what failed before the change fails still.
    StillFailing,
    /// A command that must pass does not.
    Failed,
    /// Nothing could be run, and that is said.
    Unchecked,
    /// `finish` claimed what the tree or its evidence does not bear out.
    Refused,
}

/// The commands and what they printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChecksRanPayload {
    pub commands: Vec<CommandOutput>,
    /// The result that this gives to an open `finish`; nothing if it stays open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_result: Option<RawJson>,
}

/// One command and its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandOutput {
    pub command: String,
    pub output: String,
}
