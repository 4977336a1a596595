//! Usage as people read it: a summary of one row, or a table of several with their total.

use cody_events::outcome::Outcome;
use cody_projections::usage::{Rate, UsageKey, UsageRow};

use super::text;

/// A longer name of a repository, model or recipe is cut.
const LONGEST_KEY: usize = 48;

const NOTHING: &str = "Nothing was counted.\n";

/// One row, a line for each thing that it says; `minutes` is what a change takes by hand.
pub fn summary(row: &UsageRow, minutes: Option<u64>) -> String {
    if *row == UsageRow::default() {
        return NOTHING.to_owned();
    }
    let mut lines = vec![
        ("Targets", targets(row)),
        ("Delivered", told(row.success_rate(), "finished targets", "nothing yet")),
        ("Accuracy", told(row.accuracy(), "first reviews by people approve", "no review yet")),
        ("Approvals", approvals(row)),
        ("Merged", told(row.merge_rate(), "pull requests", "no pull request yet")),
        ("Repairs", repairs(row)),
        ("Cost", cost(row)),
        ("Tokens", tokens(row)),
        ("Calls", calls(row)),
        ("Time", time(row)),
    ];
    if let Some(each) = minutes {
        let changes = text::counted(row.delivered_diff_count(), "delivered change");
        let saved = hours(row.saved_minutes(each));
        lines.push(("Time saved", format!("{saved}: {changes}, {each} min each by hand")));
    }
    lines.iter().map(|(name, words)| format!("{name:<11} {words}\n")).collect()
}

fn targets(row: &UsageRow) -> String {
    let finished = row.finished_count();
    let outcomes: Vec<String> = Outcome::ALL
        .into_iter()
        .filter_map(|outcome| Some(format!("{} {}", row.outcomes.get(&outcome)?, outcome.name())))
        .collect();
    match outcomes.is_empty() {
        true => "none finished".to_owned(),
        false => format!("{} finished = {}", text::grouped(finished), outcomes.join(" + ")),
    }
}

fn approvals(row: &UsageRow) -> String {
    let mut words = told(row.approval_rate(), "words of people on diffs", "no word yet");
    if row.approved_by_policy_count > 0 {
        words.push_str(&format!("; {} more by policy", row.approved_by_policy_count));
    }
    words
}

fn repairs(row: &UsageRow) -> String {
    format!(
        "{}: {} after checks, {} after a review, {} on request",
        row.repair_count(),
        row.check_repair_count,
        row.review_repair_count,
        row.changes_requested_count
    )
}

fn cost(row: &UsageRow) -> String {
    let spent = text::dollars(row.spent_micros());
    match row.assumed_micros {
        0 => spent,
        assumed => format!(
            "{spent} ({} known + {} assumed for calls that were not heard out)",
            text::dollars(row.known_micros),
            text::dollars(assumed)
        ),
    }
}

fn tokens(row: &UsageRow) -> String {
    format!(
        "{} in ({} from the cache), {} out",
        text::grouped(row.usage.input_total()),
        percent(row.cache_hit_rate()),
        text::grouped(row.usage.output_tokens)
    )
}

fn calls(row: &UsageRow) -> String {
    format!(
        "{} made, {} failed, {} answered",
        text::grouped(row.call_count),
        text::grouped(row.failed_call_count),
        text::grouped(row.turn_count)
    )
}

fn time(row: &UsageRow) -> String {
    format!(
        "workers {}, Claude {}, tools {}, checks {}",
        text::duration(row.worker_ms),
        text::duration(row.claude_ms),
        text::duration(row.tool_ms),
        text::duration(row.check_ms)
    )
}

/// `45 min`, `7 h 30 min`.
fn hours(minutes: u64) -> String {
    match minutes {
        0..60 => format!("{minutes} min"),
        _ => format!("{} h {:02} min", text::grouped(minutes / 60), minutes % 60),
    }
}

/// `3 of 4 … (75.0 %)`.
fn told(rate: Rate, what: &str, none: &str) -> String {
    match rate.whole {
        0 => none.to_owned(),
        whole => format!("{} of {whole} {what} ({})", rate.part, percent(rate)),
    }
}

/// `75.0 %`, or a dash if there is nothing to divide by.
fn percent(rate: Rate) -> String {
    rate.per_mille().map_or("-".to_owned(), |rate| format!("{}.{} %", rate / 10, rate % 10))
}

/// A line a row under the name of their key, and the total.
pub fn table(key: &str, rows: &[UsageRow], total: &UsageRow, minutes: Option<u64>) -> String {
    if rows.is_empty() {
        return NOTHING.to_owned();
    }
    let head = ["finished", "delivered", "accuracy", "merged", "cost", "in", "cached", "out"];
    let mut head: Vec<String> =
        [key].into_iter().chain(head).chain(["turns", "workers"]).map(str::to_owned).collect();
    head.extend(minutes.map(|_| "saved".to_owned()));
    let mut lines = vec![head];
    lines.extend(rows.iter().chain([total]).map(|row| cells(row, minutes)));
    aligned(&lines)
}

fn cells(row: &UsageRow, minutes: Option<u64>) -> Vec<String> {
    let mut cells = vec![
        name(&row.key),
        text::grouped(row.finished_count()),
        percent(row.success_rate()),
        percent(row.accuracy()),
        percent(row.merge_rate()),
        text::dollars(row.spent_micros()),
        text::grouped(row.usage.input_total()),
        percent(row.cache_hit_rate()),
        text::grouped(row.usage.output_tokens),
        text::grouped(row.turn_count),
        text::duration(row.worker_ms),
    ];
    cells.extend(minutes.map(|each| hours(row.saved_minutes(each))));
    cells
}

fn name(key: &UsageKey) -> String {
    let name = match key {
        UsageKey::Total => "total".to_owned(),
        UsageKey::Day(day) => day.to_string(),
        UsageKey::Repository(name) | UsageKey::Model(name) => text::printable(name),
        UsageKey::Recipe(name) => name.as_deref().map_or("(none)".to_owned(), text::printable),
    };
    match name.char_indices().nth(LONGEST_KEY) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// The first column to the left, all others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            match column {
                0 => out.push_str(&format!("{cell:<width$}")),
                _ => out.push_str(&format!("  {cell:>width$}")),
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use cody_events::thread::Usage;
    use cody_events::time::Day;
    use expect_test::expect;

    use super::*;

    fn row(key: UsageKey) -> UsageRow {
        UsageRow {
            key,
            known_micros: 1_230_000,
            assumed_micros: 270_000,
            usage: Usage {
                input_tokens: 1_000,
                output_tokens: 4_567,
                cache_read_tokens: 120_000,
                cache_write_5m_tokens: 5_000,
                cache_write_1h_tokens: 0,
            },
            call_count: 12,
            failed_call_count: 1,
            turn_count: 11,
            claude_ms: 61_000,
            tool_ms: 900,
            check_ms: 4_200,
            worker_ms: 65_000,
            check_repair_count: 1,
            review_repair_count: 0,
            changes_requested_count: 1,
            approved_count: 2,
            rejected_count: 0,
            approved_by_policy_count: 1,
            first_reviewed_count: 3,
            first_approved_count: 2,
            delivered_count: 4,
            pull_request_count: 3,
            merged_count: 1,
            closed_count: 0,
            outcomes: [(Outcome::DiffReady, 4), (Outcome::NotApplicable, 1), (Outcome::Stuck, 1)]
                .into(),
        }
    }

    #[test]
    fn a_summary_says_what_rates_are_of() {
        let begun = UsageRow { call_count: 1, ..UsageRow::default() };
        expect![[r#"
            Targets     6 finished = 4 diff-ready + 1 not-applicable + 1 stuck
            Delivered   4 of 6 finished targets (66.6 %)
            Accuracy    2 of 3 first reviews by people approve (66.6 %)
            Approvals   2 of 3 words of people on diffs (66.6 %); 1 more by policy
            Merged      1 of 3 pull requests (33.3 %)
            Repairs     2: 1 after checks, 0 after a review, 1 on request
            Cost        $1.50 ($1.23 known + $0.2700 assumed for calls that were not heard out)
            Tokens      126,000 in (95.2 % from the cache), 4,567 out
            Calls       12 made, 1 failed, 11 answered
            Time        workers 1 min 05 s, Claude 1 min 01 s, tools 900 ms, checks 4.2 s
            Time saved  4 h 30 min: 3 delivered changes, 90 min each by hand
        "#]]
        .assert_eq(&summary(&row(UsageKey::Total), Some(90)));
        expect![[r#"
            Targets     none finished
            Delivered   nothing yet
            Accuracy    no review yet
            Approvals   no word yet
            Merged      no pull request yet
            Repairs     0: 0 after checks, 0 after a review, 0 on request
            Cost        $0.0000
            Tokens      0 in (- from the cache), 0 out
            Calls       1 made, 0 failed, 0 answered
            Time        workers 0 ms, Claude 0 ms, tools 0 ms, checks 0 ms
        "#]]
        .assert_eq(&summary(&begun, None));
        assert_eq!(summary(&UsageRow::default(), Some(90)), NOTHING);
    }

    #[test]
    fn a_table_has_a_line_a_key_and_a_total() {
        let hostile = UsageKey::Repository(format!("a\u{1b}[2J{}", "x".repeat(60)));
        let rows = [row(UsageKey::Day(Day(20_780))), row(UsageKey::Recipe(None)), row(hostile)];
        expect![[r#"
            day                                                finished  delivered  accuracy  merged     cost       in  cached    out  turns     workers       saved
            2026-11-23                                                6     66.6 %    66.6 %  33.3 %    $1.50  126,000  95.2 %  4,567     11  1 min 05 s  4 h 30 min
            (none)                                                    6     66.6 %    66.6 %  33.3 %    $1.50  126,000  95.2 %  4,567     11  1 min 05 s  4 h 30 min
            a<U+001B>[2Jxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…         6     66.6 %    66.6 %  33.3 %    $1.50  126,000  95.2 %  4,567     11  1 min 05 s  4 h 30 min
            total                                                     0          -         -       -  $0.0000        0       -      0      0        0 ms       0 min
        "#]].assert_eq(&table("day", &rows, &UsageRow::default(), Some(90)));
        assert_eq!(table("day", &[], &UsageRow::default(), None), NOTHING);
    }
}
