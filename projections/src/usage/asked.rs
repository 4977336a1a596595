//! What can be asked of usage: figures over a period, in total or by one of the four keys, a page at
//! a time. Rates are parts of wholes; whoever shows them divides.

use std::collections::BTreeMap;

use cody_events::outcome::Outcome;
use cody_events::thread::Usage;
use cody_events::time::Day;
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, Row, ToSql};
use serde::{Deserialize, Serialize};

use super::figures::{COLUMNS, Figure};
use crate::columns::count;

/// The most rows of an answer.
pub const MOST_ROWS: u32 = 1_000;

/// By what figures are told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Group {
    /// By nothing: one row, also if there is nothing to count.
    #[default]
    Total,
    Day,
    Repository,
    Model,
    Recipe,
}

/// What is asked. The default asks for everything in one row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageQuery {
    pub group: Group,
    /// The first day.
    pub from: Option<Day>,
    /// The last day.
    pub to: Option<Day>,
    pub repository: Option<String>,
    pub model: Option<String>,
    /// An empty one asks for jobs without a recipe.
    pub recipe: Option<String>,
    /// The key of the last row that was seen; rows come in the order of their keys.
    pub after: Option<UsageKey>,
    /// How many rows at most; nothing means [`MOST_ROWS`], which no answer has more of.
    pub limit: Option<u32>,
}

/// What a row is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UsageKey {
    #[default]
    Total,
    Day(Day),
    Repository(String),
    Model(String),
    /// Nothing are jobs without a recipe; they come first.
    Recipe(Option<String>),
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub part: u64,
    pub whole: u64,
}

impl Rate {
    /// Thousandths, rounded down, so that 1000 are all; nothing of nothing.
    pub fn per_mille(self) -> Option<u64> {
        let thousandths = u128::from(self.part) * 1_000;
        thousandths.checked_div(self.whole.into()).and_then(|rate| u64::try_from(rate).ok())
    }
}

/// Usage and success of what a key stands for. The default is that of nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    pub key: UsageKey,
    pub known_micros: u64,
    pub assumed_micros: u64,
    pub usage: Usage,
    /// Calls permitted, and those of them that failed.
    pub call_count: u64,
    pub failed_call_count: u64,
    /// Responses, those of reviews as well.
    pub turn_count: u64,
    pub claude_ms: u64,
    pub tool_ms: u64,
    pub check_ms: u64,
    /// What workers that left held their targets for.
    pub worker_ms: u64,
    /// Changes sent back to Claude: by checks, by the review, by people.
    pub check_repair_count: u64,
    pub review_repair_count: u64,
    pub changes_requested_count: u64,
    /// Diffs that people approved and rejected.
    pub approved_count: u64,
    pub rejected_count: u64,
    pub approved_by_policy_count: u64,
    /// Targets of which a person judged a diff for the first time, and those of them where that was
    /// an approval.
    pub first_reviewed_count: u64,
    pub first_approved_count: u64,
    /// Finished targets that are delivered.
    pub delivered_count: u64,
    pub pull_request_count: u64,
    pub merged_count: u64,
    pub closed_count: u64,
    /// Finished targets; outcomes that none has are left out.
    pub outcomes: BTreeMap<Outcome, u64>,
}

impl UsageRow {
    /// Known and assumed together.
    pub fn spent_micros(&self) -> u64 {
        self.known_micros.saturating_add(self.assumed_micros)
    }

    /// Targets that are finished.
    pub fn finished_count(&self) -> u64 {
        self.outcomes.values().copied().fold(0, u64::saturating_add)
    }

    /// Delivered targets in which something had to be changed.
    pub fn delivered_diff_count(&self) -> u64 {
        let of = |outcome| self.outcomes.get(&outcome).copied().unwrap_or(0);
        let unchanged = of(Outcome::AlreadyCompliant).saturating_add(of(Outcome::NotApplicable));
        self.delivered_count.saturating_sub(unchanged)
    }

    /// Changes sent back to Claude, by whomever.
    pub fn repair_count(&self) -> u64 {
        self.check_repair_count
            .saturating_add(self.review_repair_count)
            .saturating_add(self.changes_requested_count)
    }

    /// Input tokens that came from the cache.
    pub fn cache_hit_rate(&self) -> Rate {
        Rate { part: self.usage.cache_read_tokens, whole: self.usage.input_total() }
    }

    /// Finished targets that are delivered.
    pub fn success_rate(&self) -> Rate {
        Rate { part: self.delivered_count, whole: self.finished_count() }
    }

    /// Targets whose first word by a person was an approval.
    pub fn accuracy(&self) -> Rate {
        Rate { part: self.first_approved_count, whole: self.first_reviewed_count }
    }

    /// Words of people that were approvals.
    pub fn approval_rate(&self) -> Rate {
        let judged = self
            .approved_count
            .saturating_add(self.rejected_count)
            .saturating_add(self.changes_requested_count);
        Rate { part: self.approved_count, whole: judged }
    }

    /// Pull requests that were merged.
    pub fn merge_rate(&self) -> Rate {
        Rate { part: self.merged_count, whole: self.pull_request_count }
    }

    /// Minutes saved, if each delivered change would have taken `each` by hand.
    pub fn saved_minutes(&self, each: u64) -> u64 {
        self.delivered_diff_count().saturating_mul(each)
    }
}

impl Group {
    /// The column of the key.
    fn column(self) -> &'static str {
        match self {
            Self::Total => "NULL",
            Self::Day => "day",
            Self::Repository => "repository",
            Self::Model => "model",
            Self::Recipe => "recipe",
        }
    }
}

impl UsageKey {
    /// What it is a key of.
    pub fn group(&self) -> Group {
        match self {
            Self::Total => Group::Total,
            Self::Day(_) => Group::Day,
            Self::Repository(_) => Group::Repository,
            Self::Model(_) => Group::Model,
            Self::Recipe(_) => Group::Recipe,
        }
    }
}

impl ToSql for UsageKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Total => ToSqlOutput::Owned(Value::Null),
            Self::Day(day) => ToSqlOutput::from(day.0),
            Self::Repository(text) | Self::Model(text) => ToSqlOutput::from(text.as_str()),
            Self::Recipe(recipe) => ToSqlOutput::from(recipe.as_deref().unwrap_or_default()),
        })
    }
}

/// Conditions with their values, in the order of their numbers.
#[derive(Default)]
struct Conditions<'a> {
    texts: Vec<String>,
    values: Vec<&'a dyn ToSql>,
}

impl<'a> Conditions<'a> {
    fn add(&mut self, left: &str, value: Option<&'a dyn ToSql>) {
        if let Some(value) = value {
            self.values.push(value);
            self.texts.push(format!("{left} ?{}", self.values.len()));
        }
    }
}

/// The rows that `query` asks for, in the order of their keys. There are more if there are as many
/// as its limit.
///
/// A key of another grouping than the query's leaves nothing out.
pub fn over(connection: &Connection, query: &UsageQuery) -> rusqlite::Result<Vec<UsageRow>> {
    let after = query.after.as_ref().filter(|key| key.group() == query.group);
    if after == Some(&UsageKey::Total) {
        return Ok(Vec::new());
    }
    let (from, to) = (query.from.map(|day| day.0), query.to.map(|day| day.0));
    let column = query.group.column();
    let mut conditions = Conditions::default();
    conditions.add("day >=", from.as_ref().map(|day| day as _));
    conditions.add("day <=", to.as_ref().map(|day| day as _));
    conditions.add("repository =", query.repository.as_ref().map(|text| text as _));
    conditions.add("model =", query.model.as_ref().map(|text| text as _));
    conditions.add("recipe =", query.recipe.as_ref().map(|text| text as _));
    conditions.add(&format!("{column} >"), after.map(|key| key as _));
    let wanted = match conditions.texts.join(" AND ") {
        none if none.is_empty() => none,
        some => format!("WHERE {some}"),
    };
    let by = match query.group {
        Group::Total => String::new(),
        Group::Day | Group::Repository | Group::Model | Group::Recipe => {
            format!("GROUP BY {column} ORDER BY {column}")
        }
    };
    let sums: Vec<String> =
        COLUMNS.iter().map(|column| format!("COALESCE(SUM({column}), 0)")).collect();
    let limit = query.limit.unwrap_or(MOST_ROWS).min(MOST_ROWS);
    connection
        .prepare_cached(&format!(
            "SELECT {}, {column} FROM usage JOIN work_kinds USING (kind) {wanted} {by} LIMIT {limit}",
            sums.join(", ")
        ))?
        .query_map(&conditions.values[..], |row| read(row, query.group))?
        .collect()
}

fn read(row: &Row<'_>, group: Group) -> rusqlite::Result<UsageRow> {
    let of = |figure: Figure| count(row, figure as usize);
    let mut outcomes = BTreeMap::new();
    for outcome in Outcome::ALL {
        match of(Figure::of(outcome))? {
            0 => {}
            some => {
                outcomes.insert(outcome, some);
            }
        }
    }
    Ok(UsageRow {
        key: key(row, group)?,
        known_micros: of(Figure::Known)?,
        assumed_micros: of(Figure::Assumed)?,
        usage: Usage {
            input_tokens: of(Figure::Input)?,
            output_tokens: of(Figure::Output)?,
            cache_read_tokens: of(Figure::CacheRead)?,
            cache_write_5m_tokens: of(Figure::CacheWrite5m)?,
            cache_write_1h_tokens: of(Figure::CacheWrite1h)?,
        },
        call_count: of(Figure::Calls)?,
        failed_call_count: of(Figure::FailedCalls)?,
        turn_count: of(Figure::Turns)?,
        claude_ms: of(Figure::ClaudeMs)?,
        tool_ms: of(Figure::ToolMs)?,
        check_ms: of(Figure::CheckMs)?,
        worker_ms: of(Figure::WorkerMs)?,
        check_repair_count: of(Figure::CheckRepairs)?,
        review_repair_count: of(Figure::ReviewRepairs)?,
        changes_requested_count: of(Figure::ChangesRequested)?,
        approved_count: of(Figure::Approved)?,
        rejected_count: of(Figure::Rejected)?,
        approved_by_policy_count: of(Figure::ApprovedByPolicy)?,
        first_reviewed_count: of(Figure::FirstReviewed)?,
        first_approved_count: of(Figure::FirstApproved)?,
        delivered_count: of(Figure::Delivered)?,
        pull_request_count: of(Figure::PullRequests)?,
        merged_count: of(Figure::Merged)?,
        closed_count: of(Figure::Closed)?,
        outcomes,
    })
}

fn key(row: &Row<'_>, group: Group) -> rusqlite::Result<UsageKey> {
    let column = COLUMNS.len();
    Ok(match group {
        Group::Total => UsageKey::Total,
        Group::Day => UsageKey::Day(Day(row.get(column)?)),
        Group::Repository => UsageKey::Repository(row.get(column)?),
        Group::Model => UsageKey::Model(row.get(column)?),
        Group::Recipe => {
            let recipe: String = row.get(column)?;
            UsageKey::Recipe(Some(recipe).filter(|name| !name.is_empty()))
        }
    })
}
