//! `usage`: what was spent, and what came of it. What each figure means stands in `docs/usage.md`.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use cody_events::outcome::Outcome;
use cody_events::time::Day;
use cody_projections::usage::{Group, Rate, UsageKey, UsageQuery, UsageRow};
use serde::Serialize;

use super::reading::Reading;
use super::usage_table::{summary, table};
use super::{Context, Exit, text};
use crate::store::sqlite::OpenError;

/// Nobody reads a longer table.
const MOST_PAGES: usize = 10;

/// What `usage` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cody-batch usage
      Everything that this data directory knows of, in one summary.
  cody-batch usage --by day --since 2026-11-01
      A line for each day since the first of November; days are in UTC.
  cody-batch usage --by repository --recipe upgrade-dependency
      How each repository did with one recipe.
  CODY_MINUTES_SAVED=45 cody-batch usage --by model --json
      For a program, with the time saved if each delivered change takes 45 minutes by hand.")]
pub struct UsageArgs {
    /// Tell figures apart by this [default: one summary]
    #[arg(long, value_enum, value_name = "KEY")]
    by: Option<By>,
    /// The first day, such as 2026-11-23
    #[arg(long, value_name = "DAY")]
    since: Option<Day>,
    /// The last day
    #[arg(long, value_name = "DAY")]
    until: Option<Day>,
    /// Only this repository: `owner/name`, or the last part of a local path
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Only jobs of this model
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Only jobs of this recipe; an empty one means jobs without a recipe
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// What figures can be told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Day,
    Repository,
    Model,
    Recipe,
}

/// What `usage --json` prints a line. Rates are thousandths, and null if there is nothing to count.
#[derive(Debug, Serialize)]
struct UsageJson<'a> {
    /// The day, repository, model or recipe by its name; nothing in a total.
    #[serde(flatten)]
    key: BTreeMap<&'static str, Option<String>>,
    cost_micros: u64,
    known_micros: u64,
    assumed_micros: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_5m_tokens: u64,
    cache_write_1h_tokens: u64,
    cache_hit_permille: Option<u64>,
    call_count: u64,
    failed_call_count: u64,
    turn_count: u64,
    worker_ms: u64,
    claude_ms: u64,
    tool_ms: u64,
    check_ms: u64,
    finished_count: u64,
    outcomes: &'a BTreeMap<Outcome, u64>,
    delivered_count: u64,
    delivered_diff_count: u64,
    success_permille: Option<u64>,
    first_reviewed_count: u64,
    first_approved_count: u64,
    accuracy_permille: Option<u64>,
    approved_count: u64,
    rejected_count: u64,
    changes_requested_count: u64,
    approval_permille: Option<u64>,
    approved_by_policy_count: u64,
    pull_request_count: u64,
    merged_count: u64,
    closed_count: u64,
    merge_permille: Option<u64>,
    check_repair_count: u64,
    review_repair_count: u64,
    repair_count: u64,
    /// Null unless it is configured what a change takes by hand.
    saved_minutes: Option<u64>,
}

/// Runs the verb.
pub async fn run(context: Context, args: UsageArgs) -> Result<Exit, anyhow::Error> {
    let minutes = Some(context.config.usage.minutes_saved).filter(|minutes| *minutes > 0);
    let found = match Reading::open(&context).await {
        Ok(reading) => find(&reading, &args).await?,
        // Who has no log yet has used nothing, and has done nothing wrong.
        Err(error) if matches!(error.downcast_ref(), Some(OpenError::Missing(_))) => {
            Found::default()
        }
        Err(error) => return Err(error),
    };
    if args.json {
        let rows =
            if args.by.is_some() { &found.rows[..] } else { std::slice::from_ref(&found.total) };
        for row in rows {
            text::put(format_args!("{}\n", serde_json::to_string(&json(row, minutes))?))?;
        }
    } else {
        text::put(format_args!("{}\n", period(&args)))?;
        let words = match args.by {
            Some(by) => table(by.name(), &found.rows, &found.total, minutes),
            None => summary(&found.total, minutes),
        };
        text::put(words)?;
    }
    if found.has_more {
        eprintln!("There are more rows; narrow the period or the repositories to see them.");
    }
    if found.uncounted > 0 {
        eprintln!(
            "{} not counted to the end: this version could not follow them.",
            match found.uncounted {
                1 => "1 job is".to_owned(),
                many => format!("{many} jobs are"),
            }
        );
    }
    Ok(Exit::OK)
}

/// What the views said.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<UsageRow>,
    total: UsageRow,
    has_more: bool,
    uncounted: usize,
}

async fn find(reading: &Reading, args: &UsageArgs) -> Result<Found, anyhow::Error> {
    let query = UsageQuery {
        from: args.since,
        to: args.until,
        repository: args.repository.clone(),
        model: args.model.clone(),
        recipe: args.recipe.clone(),
        ..UsageQuery::default()
    };
    let mut found = Found { uncounted: reading.uncounted().await?, ..Found::default() };
    found.total = reading.usage(query.clone()).await?.pop().unwrap_or_default();
    let Some(by) = args.by else { return Ok(found) };
    found.has_more = true;
    for _ in 0..MOST_PAGES {
        let after = found.rows.last().map(|row| row.key.clone());
        let page = reading.usage(UsageQuery { group: by.group(), after, ..query.clone() }).await?;
        if page.is_empty() {
            found.has_more = false;
            break;
        }
        found.rows.extend(page);
    }
    Ok(found)
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Repository => "repository",
            Self::Model => "model",
            Self::Recipe => "recipe",
        }
    }

    fn group(self) -> Group {
        match self {
            Self::Day => Group::Day,
            Self::Repository => Group::Repository,
            Self::Model => Group::Model,
            Self::Recipe => Group::Recipe,
        }
    }
}

fn period(args: &UsageArgs) -> String {
    match (args.since, args.until) {
        (None, None) => "All days".to_owned(),
        (Some(since), None) => format!("Since {since}, days in UTC"),
        (None, Some(until)) => format!("Until {until}, days in UTC"),
        (Some(since), Some(until)) => format!("{since} to {until}, days in UTC"),
    }
}

fn json(row: &UsageRow, minutes: Option<u64>) -> UsageJson<'_> {
    let key = match &row.key {
        UsageKey::Total => None,
        UsageKey::Day(day) => Some(("day", Some(day.to_string()))),
        UsageKey::Repository(name) => Some(("repository", Some(name.clone()))),
        UsageKey::Model(name) => Some(("model", Some(name.clone()))),
        UsageKey::Recipe(name) => Some(("recipe", name.clone())),
    };
    UsageJson {
        key: key.into_iter().collect(),
        cost_micros: row.spent_micros(),
        known_micros: row.known_micros,
        assumed_micros: row.assumed_micros,
        input_tokens: row.usage.input_tokens,
        output_tokens: row.usage.output_tokens,
        cache_read_tokens: row.usage.cache_read_tokens,
        cache_write_5m_tokens: row.usage.cache_write_5m_tokens,
        cache_write_1h_tokens: row.usage.cache_write_1h_tokens,
        cache_hit_permille: Rate::per_mille(row.cache_hit_rate()),
        call_count: row.call_count,
        failed_call_count: row.failed_call_count,
        turn_count: row.turn_count,
        worker_ms: row.worker_ms,
        claude_ms: row.claude_ms,
        tool_ms: row.tool_ms,
        check_ms: row.check_ms,
        finished_count: row.finished_count(),
        outcomes: &row.outcomes,
        delivered_count: row.delivered_count,
        delivered_diff_count: row.delivered_diff_count(),
        success_permille: Rate::per_mille(row.success_rate()),
        first_reviewed_count: row.first_reviewed_count,
        first_approved_count: row.first_approved_count,
        accuracy_permille: Rate::per_mille(row.accuracy()),
        approved_count: row.approved_count,
        rejected_count: row.rejected_count,
        changes_requested_count: row.changes_requested_count,
        approval_permille: Rate::per_mille(row.approval_rate()),
        approved_by_policy_count: row.approved_by_policy_count,
        pull_request_count: row.pull_request_count,
        merged_count: row.merged_count,
        closed_count: row.closed_count,
        merge_permille: Rate::per_mille(row.merge_rate()),
        check_repair_count: row.check_repair_count,
        review_repair_count: row.review_repair_count,
        repair_count: row.repair_count(),
        saved_minutes: minutes.map(|each| row.saved_minutes(each)),
    }
}
