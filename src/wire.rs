//! What worker and server say to each other: JSON over HTTP, every message a POST under
//! `/worker/v1/`. The worker's token names its job, target and attempt, so no body repeats them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use cody_events::attempt::{AttemptEnd, Base, SandboxBackend};
use cody_events::digest::ObjectId;
use cody_events::evidence::{
    CheckPhase, CheckSkip, CheckedCommand, CommandOutput, Fetch, FetchWords, Language,
    RepoScannedPayload,
};
use cody_events::ids::{AttemptNumber, JobId, RequestId, TargetNumber, ThreadNumber, TurnNumber};
use cody_events::raw::RawJson;
use cody_events::thread::{Finish, FullOutput, RanTool};
use cody_events::tree::{Blob, ChangedEntry};

/// The path that every route of the protocol starts with.
pub const PREFIX: &str = "/worker/v1";
/// The largest body either side sends, in bytes: a turn's new blobs travel in one message.
pub const MAX_BODY_BYTES: usize = 512 * 1024 * 1024;

/// A secret that travels between worker and server. It is shown to whom it is meant for, and to no
/// log: its debug form has nothing of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for whoever has to say or compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What a local worker reads from its standard input, one line of JSON: never argv, never the
/// environment, both of which other processes may see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerSecret {
    /// Proves that this worker was asked for; good for one claim.
    pub nonce: Secret,
    /// Where the server leaves its address, to find it again after a restart.
    pub address_file: Option<PathBuf>,
    /// The directory in which the worker makes its own.
    pub scratch: PathBuf,
    /// What a sandbox may be given, and how tightly.
    pub settings: WorkerSettings,
}

/// How a worker works; the server's configuration decides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerSettings {
    /// Whether the scan looks into files.
    pub scan: bool,
    /// Backends of the sandbox, the first that works to be used.
    pub sandbox: Vec<SandboxBackend>,
    pub extra_mounts: Vec<PathBuf>,
    pub check_timeout_ms: u64,
    pub tool_timeout_ms: u64,
    pub output_bytes: u64,
    pub command_memory_bytes: u64,
    pub command_processes: u64,
    pub command_disk_bytes: u64,
    /// Hosts that dependencies are fetched from, where they are kept, and how much of them.
    pub registries: Vec<String>,
    pub dependencies_dir: PathBuf,
    pub dependencies_bytes: u64,
    pub new_entries_a_turn: u64,
    pub new_bytes_a_turn: u64,
    /// Files in a work directory, scratch included.
    pub max_files: u64,
}

/// `claim`: the worker's first act.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub job: JobId,
    pub target: TargetNumber,
    pub request: RequestId,
    pub nonce: Secret,
    /// Host and pid, or the container.
    pub worker: String,
    pub pid: u32,
    /// The kernel's start time of the process, which tells a reused pid apart.
    pub process_start: u64,
    pub app_version: String,
    pub image: Option<String>,
    pub sandbox: SandboxBackend,
}

/// The answer to `claim`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assignment {
    pub attempt: AttemptNumber,
    /// Bound to this attempt; every later message carries it as a bearer token.
    pub token: Secret,
    pub lease_ms: u64,
    pub heartbeat_ms: u64,
    pub repository: String,
    pub base: Base,
    /// The directory of the server's pack of the base, on the same machine.
    pub pack_dir: Option<PathBuf>,
    pub prompt: String,
    /// Whether Claude may run commands.
    pub bash: bool,
    /// Whether what the repository depends on is fetched.
    pub fetch_dependencies: bool,
    /// Whether an earlier attempt ran tools, so that its scratch is gone.
    pub took_over: bool,
}

/// The answer to `tree`: the latest recorded tree, as what differs from the base, with the contents
/// that the base does not have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TreeAnswer {
    pub tree: ObjectId,
    pub changed: Vec<ChangedEntry>,
    pub blobs: Vec<Blob>,
}

/// The answer to `heartbeat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heartbeat {
    /// The lease is renewed.
    GoOn,
    /// The worker leaves at once, and everything it started with it.
    Leave,
}

/// The answer to `next`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Scan,
    RunChecks {
        phase: CheckPhase,
        tree: ObjectId,
        commands: Vec<String>,
        /// How long all of them may take, if the job has a limit.
        time_left_ms: Option<u64>,
    },
    RunTools {
        thread: ThreadNumber,
        turn: TurnNumber,
        tools: Vec<AskedTool>,
        /// How long all of them may take, if the job has a limit.
        time_left_ms: Option<u64>,
    },
    /// Nothing yet; ask again.
    Wait,
    /// Nothing is left to do.
    Leave {
        how: AttemptEnd,
    },
}

/// A tool that Claude asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskedTool {
    pub id: String,
    pub name: String,
    pub input: RawJson,
}

/// `scan`: what the scan of the base found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanReport {
    pub base_commit: ObjectId,
    pub tree: ObjectId,
    pub languages: Vec<Language>,
    pub file_count: u64,
    pub byte_count: u64,
    pub found: RepoScannedPayload,
}

/// `checks`: how the commands went on a fresh checkout of `tree`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChecksReport {
    pub phase: CheckPhase,
    pub tree: ObjectId,
    pub cache: Option<String>,
    pub skipped: Option<CheckSkip>,
    pub results: Vec<CheckedCommand>,
    pub outputs: Vec<CommandOutput>,
    /// Whether the job's limit of tool time ended a command before its own time was up. Such checks
    /// say nothing of the tree.
    #[serde(default)]
    pub cut_short: bool,
}

/// `dependencies`: what was fetched, and what was said meanwhile, in the same order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchReport {
    /// The attempt's reports are counted from 1.
    pub number: u32,
    pub fetches: Vec<Fetch>,
    pub words: Vec<FetchWords>,
}

/// `tools`: what the tools of one response gave, all or none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolsReport {
    pub thread: ThreadNumber,
    pub turn: TurnNumber,
    pub tools: Vec<RanTool>,
    pub results: Vec<RawJson>,
    pub finish: Option<Finish>,
    pub outputs: Vec<FullOutput>,
    pub tree_before: ObjectId,
    pub tree_after: ObjectId,
    /// Between the tree before and the tree after.
    pub changed: Vec<ChangedEntry>,
    pub blobs: Vec<Blob>,
}

/// `end`: the worker's last word.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndReport {
    pub how: AttemptEnd,
    pub detail: Option<String>,
}

/// `output`: the whole output of an earlier tool call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputRequest {
    pub turn: TurnNumber,
    pub tool: String,
}

/// The answer to `output`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputAnswer {
    pub output: Option<String>,
}

/// The answer to a report: whether it was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub recorded: bool,
}

/// The code of a refusal for which no other time would do: what the server holds of the job cannot be
/// read, or there is a mistake in this program.
pub const BROKEN: &str = "broken";

/// The code of a refusal of a report that cannot be true. The attempt is over with it.
pub const NOT_BELIEVED: &str = "not-believed";

/// The body of a refusal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable code, such as `fenced`.
    pub code: String,
    pub message: String,
}

/// What a server leaves in its data directory, readable by its owner alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerAddress {
    pub url: String,
    pub pid: u32,
    /// The kernel's start time of the process.
    pub process_start: u64,
    /// Whether it stays until it is stopped, and does not end with a job of its own.
    pub stays: bool,
    /// A local admin credential, for the command line on the same machine.
    pub token: Secret,
}

/// The kernel's start time of a process, in clock ticks since boot: with the pid, it names one
/// process for good. Nothing if there is no such process.
pub fn process_start(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, and may hold anything.
    let after_name = stat.rsplit_once(") ")?.1;
    let is_zombie = after_name.starts_with('Z');
    let start = after_name.split(' ').nth(19)?.parse().ok()?;
    (!is_zombie).then_some(start)
}
