//! Conversations with Claude: what was asked, permitted, answered, and done by tools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{ObjectId, Sha256};
use crate::ids::{AttemptNumber, CallNumber, RoundNumber, TargetNumber, ThreadNumber, TurnNumber};
use crate::raw::RawJson;
use crate::tree::{Blob, ChangedEntry};

/// A conversation began; its prefix never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThreadStarted {
    pub target: TargetNumber,
    pub thread: ThreadNumber,
    pub round: RoundNumber,
    pub purpose: Purpose,
    pub parent: Option<ThreadNumber>,
    pub model: String,
    /// The SHA-256 of the payload's prefix, as bytes.
    pub prefix_hash: Sha256,
    /// The tree that the conversation starts from, or judges.
    pub tree: ObjectId,
}

/// What a conversation is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Makes the change.
    Change,
    /// Judges the change, knowing only the prompt and the diff.
    Review,
    /// Goes on with a change whose first conversation cannot.
    Fresh,
}

/// The bytes that every request of the thread starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThreadStartedPayload {
    /// One JSON object: model, system, tools, thinking, output_config.
    pub prefix: RawJson,
    pub betas: Vec<String>,
    pub first_message: RawJson,
}

/// One HTTP request to Claude may be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallPermitted {
    pub target: TargetNumber,
    pub thread: ThreadNumber,
    pub turn: TurnNumber,
    pub call: CallNumber,
    /// The SHA-256 of the request's body.
    pub request_hash: Sha256,
    pub max_tokens: u32,
    /// The worst price of what is requested.
    pub reserved_micros: u64,
    pub price_table: String,
    /// Whether this is the one call that a spent budget still allows.
    pub last: bool,
    /// What Claude is warned of, once in a thread, in the call's notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<StuckSign>,
}

/// How a conversation shows that it leads nowhere.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StuckSign {
    /// The same tools with the same input gave the same results, turn after turn.
    SameWork,
    /// Changes are made and undone and made again.
    EditUndo,
    /// For many turns, nothing changed in the tree.
    NoChange,
}

/// What the request says beyond the history: words of the harness, in a user message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallPermittedPayload {
    /// Blocks that this request appends to the last user message, or in one of their own. They
    /// enter history with the response to this call.
    pub notice: Vec<RawJson>,
}

/// A request brought no usable response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallFailed {
    pub target: TargetNumber,
    pub thread: ThreadNumber,
    pub turn: TurnNumber,
    pub call: CallNumber,
    pub class: CallClass,
    pub status: Option<u16>,
    pub request_id: Option<String>,
    pub usage: Option<Usage>,
    /// What it is taken to have cost.
    pub assumed_micros: u64,
    pub ms: u64,
}

/// Failures of a call, by what can be done about them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum CallClass {
    Overloaded,
    RateLimited,
    /// 429 without `retry-after`: the account's own cap.
    SpendCap,
    ServerError,
    Timeout,
    Idle,
    Dropped,
    /// The stream ended before the response was complete.
    Truncated,
    BadRequest,
    /// The thinking blocks are bound to another prefix or account.
    BoundElsewhere,
    ContextExceeded,
    TooLarge,
    Authentication,
    Billing,
    Permission,
    ModelGone,
    NotFound,
    Conflict,
    Malformed,
    /// The server died during the call; charged as if it had answered in full.
    Orphaned,
}

/// What the provider said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallFailedPayload {
    pub message: String,
}

/// Tokens of one response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_5m_tokens: u64,
    pub cache_write_1h_tokens: u64,
}

impl Usage {
    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            cache_write_5m_tokens: self
                .cache_write_5m_tokens
                .saturating_add(other.cache_write_5m_tokens),
            cache_write_1h_tokens: self
                .cache_write_1h_tokens
                .saturating_add(other.cache_write_1h_tokens),
        }
    }

    /// All tokens that went in, cached or not.
    pub fn input_total(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_read_tokens)
            .saturating_add(self.cache_write_5m_tokens)
            .saturating_add(self.cache_write_1h_tokens)
    }

    /// All tokens, in and out.
    pub fn total(&self) -> u64 {
        self.input_total().saturating_add(self.output_tokens)
    }
}

/// Claude answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaudeTurn {
    pub target: TargetNumber,
    pub thread: ThreadNumber,
    pub turn: TurnNumber,
    pub call: CallNumber,
    pub stop_reason: StopReason,
    /// Whether later requests of the thread carry this response.
    pub in_history: bool,
    /// How many tools it asks for; none is run unless it enters history.
    pub tool_count: u32,
    pub usage: Usage,
    pub cost_micros: u64,
    pub ms: u64,
    pub request_id: Option<String>,
}

/// Why Claude stopped.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    EndTurn,
    MaxTokens,
    StopSequence,
    ToolUse,
    PauseTurn,
    Refusal,
    ModelContextWindowExceeded,
    /// One that this version does not know; the payload has its name.
    Unknown,
}

/// The response, verbatim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaudeTurnPayload {
    pub content: Vec<RawJson>,
    pub stop_reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_details: Option<RawJson>,
}

/// The tools of a turn ran, all or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolsRan {
    pub target: TargetNumber,
    pub attempt: AttemptNumber,
    pub thread: ThreadNumber,
    pub turn: TurnNumber,
    pub tool_count: u32,
    /// Each tool, in order; empty if there are more than 16, which then stand in the payload.
    pub tools: Vec<RanTool>,
    /// The SHA-256 of the whole list as JSON.
    pub tools_hash: Sha256,
    pub tree_before: ObjectId,
    pub tree_after: ObjectId,
    pub changed_count: u32,
    pub blob_bytes: u64,
    /// What `finish` claims, if it was called rightly.
    pub finish: Option<FinishOutcome>,
    /// The tools began twice and were never seen to end: their outcome is unknown.
    pub interrupted: bool,
    /// The SHA-256 of names, inputs and results without ids and times: the same work has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_hash: Option<Sha256>,
    /// Milliseconds of all tools together, if the facts have no room for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
}

impl ToolsRan {
    /// Milliseconds that the tools took together.
    pub fn tool_ms(&self) -> u64 {
        let listed = self.tools.iter().fold(0, |sum: u64, tool| sum.saturating_add(tool.ms));
        self.total_ms.unwrap_or(listed)
    }
}

/// One tool call of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RanTool {
    /// Claude's id of the call.
    pub id: String,
    pub name: ToolName,
    pub is_error: bool,
    pub ms: u64,
}

/// The tools that exist.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ToolName {
    #[serde(rename = "str_replace_based_edit_tool")]
    Edit,
    #[serde(rename = "bash")]
    Bash,
    #[serde(rename = "list_files")]
    ListFiles,
    #[serde(rename = "search_files")]
    SearchFiles,
    #[serde(rename = "finish")]
    Finish,
    /// A name that Claude made up.
    #[serde(rename = "unknown")]
    Unknown,
}

/// What `finish` claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FinishOutcome {
    Changed,
    AlreadyCompliant,
    NotApplicable,
    Cannot,
}

/// What the tools gave, and how the tree changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolsRanPayload {
    /// The `tool_result` blocks, in order, all but `finish`'s.
    pub results: Vec<RawJson>,
    /// The paths that differ between the tree before and the tree after.
    pub changed: Vec<ChangedEntry>,
    /// Contents that no earlier event and not the base has.
    pub blobs: Vec<Blob>,
    /// The whole output of results that were cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<FullOutput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
    /// Every tool, if the facts have no room for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<RanTool>,
}

/// The whole output of one tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullOutput {
    pub id: String,
    pub output: String,
}

/// A valid call of `finish`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// The id of the call, which some later event answers.
    pub id: String,
    pub outcome: FinishOutcome,
    pub title: String,
    pub summary: String,
    pub evidence: Vec<String>,
}

/// The independent review gave its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffReviewed {
    pub target: TargetNumber,
    pub thread: ThreadNumber,
    pub turn: TurnNumber,
    pub tree: ObjectId,
    pub verdict: ReviewVerdict,
    /// Whether the payload answers the open `finish`, so that the conversation goes on.
    pub answers_finish: bool,
}

/// What a review says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewVerdict {
    Accept,
    Object,
}

/// The review in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffReviewedPayload {
    pub summary: String,
    pub reasons: Vec<String>,
    /// The result that this gives to the open `finish`; nothing if the work ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_result: Option<RawJson>,
}
