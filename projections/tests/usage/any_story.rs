//! Any story: usage adds up to what the other views say of it, in whatever pages it is told.

use std::collections::BTreeMap;

use cody_events::event::Event;
use cody_events::ids::TargetNumber;
use cody_events::job::By;
use cody_events::outcome::Outcome;
use cody_events::thread::Usage;
use cody_events::time::Day;
use cody_projections::costs::{self, CostRow};
use cody_projections::usage::{Group, UsageKey, UsageQuery, UsageRow};
use cody_projections::{build, targets};
use proptest::prelude::*;
use rusqlite::Connection;

use super::{DAY, asked};
use crate::histories::{History, Step, job};
use crate::{built, dump, empty, steps};

/// The three jobs of a story with the days on which its steps happen.
fn days(steps: &[(u8, Step)], idle: &[u8]) -> History {
    let mut history = History::default();
    for number in 0..3 {
        history.add(job(number), Step::Create { targets: 2 }.event());
    }
    let steps = steps.iter().filter(|(_, step)| !matches!(step, Step::Create { .. }));
    for ((number, step), idle) in steps.zip(idle.iter().cycle()) {
        history.idle += i64::from(*idle) * DAY / 5;
        history.add(job(*number), step.event());
    }
    history
}

/// What is spent, as costs have it, and nothing in flight.
fn spent(row: &UsageRow) -> CostRow {
    CostRow {
        known_micros: row.known_micros,
        assumed_micros: row.assumed_micros,
        reserved_micros: 0,
        usage: row.usage,
        call_count: row.call_count,
        failed_call_count: row.failed_call_count,
        turn_count: row.turn_count,
        claude_ms: row.claude_ms,
        tool_ms: row.tool_ms,
        check_ms: row.check_ms,
    }
}

fn add(sum: &mut CostRow, more: &CostRow) {
    let usage = |of: fn(&Usage) -> u64| of(&sum.usage) + of(&more.usage);
    *sum = CostRow {
        known_micros: sum.known_micros + more.known_micros,
        assumed_micros: sum.assumed_micros + more.assumed_micros,
        reserved_micros: 0,
        usage: Usage {
            input_tokens: usage(|u| u.input_tokens),
            output_tokens: usage(|u| u.output_tokens),
            cache_read_tokens: usage(|u| u.cache_read_tokens),
            cache_write_5m_tokens: usage(|u| u.cache_write_5m_tokens),
            cache_write_1h_tokens: usage(|u| u.cache_write_1h_tokens),
        },
        call_count: sum.call_count + more.call_count,
        failed_call_count: sum.failed_call_count + more.failed_call_count,
        turn_count: sum.turn_count + more.turn_count,
        claude_ms: sum.claude_ms + more.claude_ms,
        tool_ms: sum.tool_ms + more.tool_ms,
        check_ms: sum.check_ms + more.check_ms,
    };
}

/// How many targets ended in which way on which day, as the view of targets has it.
fn ends(connection: &Connection) -> BTreeMap<(Day, Outcome), u64> {
    let mut ends = BTreeMap::new();
    for number in 0..3 {
        for target in targets::of_job(connection, job(number)).unwrap() {
            if let (Some(outcome), Some(at)) = (target.outcome, target.finished_at) {
                *ends.entry((at.day(), outcome)).or_default() += 1;
            }
        }
    }
    ends
}

/// How many targets a person said something of, and of how many that was a yes at first.
fn first_words(history: &History) -> (u64, u64) {
    let mut first: BTreeMap<(String, TargetNumber), bool> = BTreeMap::new();
    for recorded in &history.events {
        let event = Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts);
        let (target, is_yes) = match event.unwrap() {
            Event::DiffApproved(e) if e.0.by == By::Person => (e.0.target, true),
            Event::DiffRejected(e) => (e.0.target, false),
            Event::ChangesRequested(e) => (e.0.target, false),
            _ => continue,
        };
        first.entry((recorded.stream.clone(), target)).or_insert(is_yes);
    }
    (first.len() as u64, first.values().filter(|yes| **yes).count() as u64)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("CODY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64),
        ..ProptestConfig::default()
    })]

    #[test]
    fn usage_in_any_grouping_adds_up_to_what_the_other_views_say(
        steps in steps(),
        idle in prop::collection::vec(0..4u8, 1..20),
        cuts in prop::collection::vec(1..9usize, 1..20),
    ) {
        let history = days(&steps, &idle);
        let connection = built(&history);
        let held = build::quarantined(&connection).unwrap();
        prop_assert!(held.iter().all(|one| one.projection != "usage" && one.projection != "costs"));
        let mut costs = CostRow::default();
        for number in 0..3 {
            add(&mut costs, &costs::of_job(&connection, job(number)).unwrap().unwrap());
        }
        let is_told = held.iter().all(|one| one.projection != "targets");
        for group in [Group::Total, Group::Day, Group::Repository, Group::Model, Group::Recipe] {
            let rows = asked(&connection, UsageQuery { group, ..UsageQuery::default() });
            let mut sum = CostRow::default();
            rows.iter().for_each(|row| add(&mut sum, &spent(row)));
            prop_assert_eq!(sum, costs);
            let all = |of: fn(&UsageRow) -> u64| rows.iter().map(of).sum::<u64>();
            let words = (all(|row| row.first_reviewed_count), all(|row| row.first_approved_count));
            prop_assert_eq!(words, first_words(&history));
            for row in &rows {
                prop_assert!(row.delivered_count <= row.finished_count());
                prop_assert!(row.merged_count + row.closed_count <= row.pull_request_count);
            }
            if is_told && group == Group::Day {
                let told = rows.iter().flat_map(|row| {
                    let UsageKey::Day(day) = row.key else { panic!("{row:?}") };
                    row.outcomes.iter().map(move |(outcome, count)| ((day, *outcome), *count))
                });
                prop_assert_eq!(told.collect::<BTreeMap<_, _>>(), ends(&connection));
            }
        }
        let (mut paged, mut at) = (empty(), 0);
        for size in cuts.into_iter().cycle() {
            if at == history.events.len() {
                break;
            }
            let to = (at + size).min(history.events.len());
            build::apply(&mut paged, &history.events[at..to]).unwrap();
            at = to;
        }
        prop_assert_eq!(dump(&paged), dump(&connection));
    }
}
