//! The figures that usage consists of: one column each. What they mean stands in `docs/usage.md`.

use cody_events::outcome::Outcome;

macro_rules! figures {
    ($($name:ident = $column:literal,)*) => {
        /// One figure. Its number is the place of its column.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Figure {
            $($name,)*
        }

        /// The columns, in the order of the figures.
        pub(super) const COLUMNS: &[&str] = &[$($column,)*];

        /// The statements that create the tables.
        pub(super) const TABLES: &str = concat!(
            "
CREATE TABLE work_kinds (
    kind INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    model TEXT NOT NULL,
    recipe TEXT NOT NULL,
    UNIQUE (repository, model, recipe)
) STRICT;
CREATE TABLE usage_targets (
    job BLOB NOT NULL,
    target INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    needs_approval INTEGER NOT NULL,
    attempt INTEGER,
    attempt_at INTEGER,
    acceptance TEXT NOT NULL,
    outcome TEXT,
    finished_day INTEGER,
    is_judged INTEGER NOT NULL,
    pull_request INTEGER,
    pull_request_day INTEGER,
    pull_request_state TEXT,
    PRIMARY KEY (job, target)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage (
    day INTEGER NOT NULL,
    kind INTEGER NOT NULL,
",
            $("    ", $column, " INTEGER NOT NULL,\n",)*
            "    PRIMARY KEY (day, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_kind ON usage (kind, day);
"
        );
    };
}

figures! {
    Known = "known_micros",
    Assumed = "assumed_micros",
    Input = "input_tokens",
    Output = "output_tokens",
    CacheRead = "cache_read_tokens",
    CacheWrite5m = "cache_write_5m_tokens",
    CacheWrite1h = "cache_write_1h_tokens",
    Calls = "call_count",
    FailedCalls = "failed_call_count",
    Turns = "turn_count",
    ClaudeMs = "claude_ms",
    ToolMs = "tool_ms",
    CheckMs = "check_ms",
    WorkerMs = "worker_ms",
    CheckRepairs = "check_repair_count",
    ReviewRepairs = "review_repair_count",
    ChangesRequested = "changes_requested_count",
    Approved = "approved_count",
    Rejected = "rejected_count",
    ApprovedByPolicy = "approved_by_policy_count",
    FirstReviewed = "first_reviewed_count",
    FirstApproved = "first_approved_count",
    Delivered = "delivered_count",
    PullRequests = "pull_request_count",
    Merged = "merged_count",
    Closed = "closed_count",
    DiffReady = "diff_ready_count",
    AlreadyCompliant = "already_compliant_count",
    NotApplicable = "not_applicable_count",
    FailedChecks = "failed_checks_count",
    Objected = "objected_count",
    Refused = "refused_count",
    BudgetStopped = "budget_stopped_count",
    Stuck = "stuck_count",
    Failed = "failed_count",
    Cancelled = "cancelled_count",
}

impl Figure {
    /// How many targets ended so.
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::DiffReady => Self::DiffReady,
            Outcome::AlreadyCompliant => Self::AlreadyCompliant,
            Outcome::NotApplicable => Self::NotApplicable,
            Outcome::FailedChecks => Self::FailedChecks,
            Outcome::Objected => Self::Objected,
            Outcome::Refused => Self::Refused,
            Outcome::BudgetStopped => Self::BudgetStopped,
            Outcome::Stuck => Self::Stuck,
            Outcome::Failed => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}
