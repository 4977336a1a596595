//! What usage and success say: of stories whose figures are known, and of any story compared with what
//! the other views say of it.

use std::collections::BTreeMap;

use cody_events::delivery::PrState;
use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::{By, Created, Policy, RecipeUse, TargetKind};
use cody_events::outcome::Outcome;
use cody_events::thread::{ClaudeTurn, Usage};
use cody_events::time::Day;
use cody_projections::costs::{self, CostRow};
use cody_projections::usage::{Group, MOST_ROWS, Rate, UsageKey, UsageQuery, UsageRow, over};
use cody_projections::{build, targets};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::histories::{History, Step, created, job};
use crate::{built, dump, empty, steps};

const DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// The day of a history's first events.
const FIRST: Day = Day(20_717);

fn asked(connection: &Connection, query: UsageQuery) -> Vec<UsageRow> {
    over(connection, &query).unwrap()
}

fn total(history: &History) -> UsageRow {
    let connection = built(history);
    let held = build::quarantined(&connection).unwrap();
    // Some of these stories have no conversation, which another view minds.
    assert!(held.iter().all(|one| one.projection != "usage"), "{held:?}");
    let mut rows = asked(&connection, UsageQuery::default());
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// One target, created as told, and what became of it.
fn one(kind: TargetKind, policy: Policy, steps: &[Step]) -> History {
    let mut history = History::default();
    let mut facts = Created { policy, ..created(1) };
    facts.targets[0].kind = kind;
    history.add(job(1), facts);
    for step in steps {
        history.add(job(1), step.event());
    }
    history
}

fn outcome(outcome: Outcome) -> usize {
    Outcome::ALL.iter().position(|one| *one == outcome).unwrap()
}

const fn rate(part: u64, whole: u64) -> Rate {
    Rate { part, whole }
}

#[test]
fn a_target_is_delivered_when_its_diff_went_where_it_had_to_go() {
    use TargetKind::{Github, Local, Url};
    let ready = [Step::Diff(1, 1), Step::Finish(1, outcome(Outcome::DiffReady))];
    let held = [Step::Diff(1, 1), Step::Hold(1, 1), Step::Finish(1, outcome(Outcome::Objected))];
    let bare = |how| [Step::Finish(1, outcome(how))];
    let yes = [Step::Approve(1, 1)];
    let policy = [Step::ApproveByPolicy(1, 1)];
    let no = [Step::Reject(1, 1)];
    let lost = [Step::Approve(1, 1), Step::FailDelivery(1)];
    let again = [Step::Approve(1, 1), Step::FailDelivery(1), Step::Push(1)];
    let open = [Step::Approve(1, 1), Step::Push(1), Step::Open(1, 5)];
    let closed = [Step::Approve(1, 1), Step::Open(1, 5), Step::Follow(1, 5, PrState::Closed)];
    let merged = [Step::Approve(1, 1), Step::Open(1, 5), Step::Follow(1, 5, PrState::Merged)];
    let other = [Step::Approve(1, 1), Step::Open(1, 5), Step::Follow(1, 4, PrState::Closed)];
    let cases: &[(TargetKind, Policy, &[Step], &[Step], bool)] = &[
        (Github, Policy::Review, &ready, &[], false),
        (Github, Policy::Review, &ready, &yes, true),
        (Github, Policy::Review, &ready, &no, false),
        (Github, Policy::Review, &ready, &lost, false),
        (Github, Policy::Review, &ready, &again, true),
        (Github, Policy::Review, &ready, &open, true),
        (Github, Policy::Review, &ready, &closed, false),
        (Github, Policy::Review, &ready, &merged, true),
        (Github, Policy::Review, &ready, &other, true),
        (Github, Policy::Auto, &ready, &[], false),
        (Github, Policy::Auto, &ready, &policy, true),
        (Github, Policy::PatchOnly, &ready, &[], true),
        (Github, Policy::PatchOnly, &ready, &no, false),
        (Local, Policy::Review, &ready, &[], true),
        (Url, Policy::Auto, &ready, &[], true),
        (Local, Policy::Review, &ready, &no, false),
        (Local, Policy::Review, &held, &[], false),
        (Local, Policy::Review, &held, &yes, true),
        (Github, Policy::Review, &bare(Outcome::AlreadyCompliant), &[], true),
        (Github, Policy::Review, &bare(Outcome::NotApplicable), &[], true),
        (Local, Policy::Review, &bare(Outcome::FailedChecks), &[], false),
        (Local, Policy::Review, &bare(Outcome::Cancelled), &[], false),
    ];
    for (kind, policy, end, after, delivered) in cases {
        let steps = [*end, *after].concat();
        let row = total(&one(*kind, *policy, &steps));
        assert_eq!(
            row.success_rate(),
            rate((*delivered).into(), 1),
            "{kind:?} {policy:?} {steps:?}"
        );
        let opened = steps.iter().any(|step| matches!(step, Step::Open(..)));
        assert_eq!(row.pull_request_count, u64::from(opened), "{steps:?}");
    }
}

#[test]
fn a_target_counts_once_on_the_day_of_its_last_end() {
    let mut history = one(
        TargetKind::Local,
        Policy::Review,
        &[Step::Diff(1, 1), Step::Finish(1, outcome(Outcome::DiffReady))],
    );
    history.idle += DAY;
    history.add(job(1), Step::RequestChanges(1, 1).event());
    history.add(job(1), Step::Reopen(1, false).event());
    assert_eq!(total(&history).finished_count(), 0);
    history.idle += DAY;
    history.add(job(1), Step::Diff(1, 2).event());
    history.add(job(1), Step::Finish(1, outcome(Outcome::DiffReady)).event());
    history.add(job(1), Step::Approve(1, 2).event());
    let rows = asked(&built(&history), UsageQuery { group: Group::Day, ..UsageQuery::default() });
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.key.clone(), row.success_rate(), row.accuracy(), row.approval_rate()))
        .collect();
    let day = |number| UsageKey::Day(Day(FIRST.0 + number));
    assert_eq!(
        told,
        [
            (day(0), rate(0, 0), rate(0, 0), rate(0, 0)),
            (day(1), rate(0, 0), rate(0, 1), rate(0, 1)),
            (day(2), rate(1, 1), rate(0, 0), rate(1, 1)),
        ]
    );
    assert_eq!((rows[1].repair_count(), rows[2].saved_minutes(45)), (1, 45));
    assert_eq!((rate(0, 0).per_mille(), rate(2, 3).per_mille()), (None, Some(666)));
}

#[test]
fn a_merge_counts_where_its_pull_request_was_opened_and_another_request_leaves_it_there() {
    let mut history = one(
        TargetKind::Github,
        Policy::Review,
        &[
            Step::Diff(1, 1),
            Step::Finish(1, 0),
            Step::Approve(1, 1),
            Step::Open(1, 5),
            Step::Open(1, 5),
        ],
    );
    history.idle += DAY;
    history.add(job(1), Step::Follow(1, 5, PrState::Merged).event());
    history.add(job(1), Step::Reopen(1, true).event());
    history.add(job(1), Step::Finish(1, 0).event());
    history.add(job(1), Step::Open(1, 6).event());
    history.add(job(1), Step::Follow(1, 6, PrState::Closed).event());
    history.add(job(1), Step::Follow(1, 6, PrState::Open).event());
    let rows = asked(&built(&history), UsageQuery { group: Group::Day, ..UsageQuery::default() });
    let told: Vec<_> = rows.iter().map(|row| (row.merge_rate(), row.success_rate())).collect();
    assert_eq!(told, [(rate(1, 1), rate(0, 0)), (rate(0, 1), rate(1, 1))]);
    assert_eq!(rows[1].closed_count, 0);
}

#[test]
fn workers_are_counted_while_they_hold_a_target() {
    let ms = |history: &mut History, step: Step, later: i64| {
        history.idle += later * 1_000;
        history.add(job(1), step.event());
    };
    let mut history = one(TargetKind::Local, Policy::Review, &[]);
    ms(&mut history, Step::Start(1, 1), 0);
    ms(&mut history, Step::Leave(1, 7), 50);
    ms(&mut history, Step::Leave(1, 1), 48);
    ms(&mut history, Step::Leave(1, 1), 1_000);
    assert_eq!(total(&history).worker_ms, 100);
    // One that was taken over from without a word, and one that holds it still.
    ms(&mut history, Step::Start(1, 2), 1_000);
    ms(&mut history, Step::Start(1, 3), 19);
    ms(&mut history, Step::End(1), 500);
    assert_eq!(total(&history).worker_ms, 120);
}

/// Jobs of two models and recipes, one of them of three repositories, a day apart.
fn varied() -> History {
    let mut history = History::default();
    let recipe = |name: &str| {
        let digest = cody_events::digest::Sha256::ZERO;
        Some(RecipeUse { name: name.to_owned(), digest })
    };
    let jobs = [
        (created(3), recipe("bump")),
        (Created { model: "claude-small".to_owned(), ..created(1) }, None),
        (created(2), recipe("bump")),
    ];
    for (number, (facts, recipe)) in (1..).zip(jobs) {
        let targets = facts.targets.len();
        history.add(job(number), Created { recipe, ..facts });
        for target in 1..=u32::try_from(targets).unwrap() {
            let Event::ClaudeTurn(turn) = Step::Turn(target, 1, 1).event() else { panic!() };
            history.add(job(number), ClaudeTurn { cost_micros: 1 << (number * 3), ..turn });
        }
        history.idle += DAY;
    }
    history
}

#[test]
fn figures_are_told_apart_and_narrowed_down_by_every_key() {
    let connection = {
        let mut connection = empty();
        for event in &varied().events {
            // Conversations are another view's business.
            build::apply(&mut connection, std::slice::from_ref(event)).unwrap();
        }
        connection
    };
    let spent = |query: UsageQuery| -> Vec<(UsageKey, u64)> {
        let rows = asked(&connection, query);
        rows.into_iter().map(|row| (row.key.clone(), row.spent_micros())).collect()
    };
    let by = |group| UsageQuery { group, ..UsageQuery::default() };
    let text = str::to_owned;
    let day = |number| UsageKey::Day(Day(FIRST.0 + number));
    let app = |number| UsageKey::Repository(format!("acme/app-{number}"));
    let model = |name| UsageKey::Model(text(name));
    let recipe = |name: Option<&str>| UsageKey::Recipe(name.map(text));
    assert_eq!(spent(by(Group::Total)), [(UsageKey::Total, 24 + 64 + 1024)]);
    assert_eq!(spent(by(Group::Day)), [(day(0), 24), (day(1), 64), (day(2), 1024)]);
    assert_eq!(
        spent(by(Group::Repository)),
        [(app(1), 8 + 64 + 512), (app(2), 8 + 512), (app(3), 8)]
    );
    assert_eq!(
        spent(by(Group::Model)),
        [(model("claude-small"), 64), (model("claude-test"), 1048)]
    );
    assert_eq!(spent(by(Group::Recipe)), [(recipe(None), 64), (recipe(Some("bump")), 1048)]);

    let first = UsageQuery { to: Some(Day(FIRST.0)), ..by(Group::Repository) };
    assert_eq!(spent(first), [(app(1), 8), (app(2), 8), (app(3), 8)]);
    let later = UsageQuery { from: Some(Day(FIRST.0 + 1)), ..by(Group::Total) };
    assert_eq!(spent(later), [(UsageKey::Total, 1088)]);
    let of_one = UsageQuery { repository: Some(text("acme/app-1")), ..by(Group::Day) };
    assert_eq!(spent(of_one), [(day(0), 8), (day(1), 64), (day(2), 512)]);
    let of_model = UsageQuery { model: Some(text("claude-small")), ..by(Group::Recipe) };
    assert_eq!(spent(of_model), [(recipe(None), 64)]);
    let without = UsageQuery { recipe: Some(String::new()), ..by(Group::Day) };
    assert_eq!(spent(without), [(day(1), 64)]);
    let nothing = UsageQuery { repository: Some(text("acme/none")), ..by(Group::Total) };
    assert_eq!(spent(nothing), [(UsageKey::Total, 0)]);
}

#[test]
fn pages_follow_one_another_and_are_never_larger_than_allowed() {
    let mut history = History::default();
    for number in 0..=u32::try_from(MOST_ROWS).unwrap() {
        let mut facts = created(1);
        facts.targets[0].repository = format!("acme/app-{number:05}");
        history.add(JobId(uuid::Uuid::from_u128(u128::from(number) + 1)), facts);
        let permit = Step::Permit(1, 1, 1);
        let job = JobId(uuid::Uuid::from_u128(u128::from(number) + 1));
        history.add(job, Step::Thread(1, 1, false).event());
        history.add(job, permit.event());
    }
    let connection = built(&history);
    for (group, count) in [(Group::Repository, 1_001), (Group::Day, 1), (Group::Total, 1)] {
        for limit in [Some(7), Some(u32::MAX), None] {
            let mut query = UsageQuery { group, limit, ..UsageQuery::default() };
            let mut seen = Vec::new();
            loop {
                let rows = asked(&connection, query.clone());
                assert!(rows.len() <= limit.unwrap_or(MOST_ROWS).min(MOST_ROWS) as usize);
                let Some(last) = rows.last() else { break };
                query.after = Some(last.key.clone());
                seen.extend(rows);
            }
            assert_eq!(seen.len(), count, "{group:?} {limit:?}");
            assert!(seen.is_sorted_by(|a, b| a.key < b.key));
            assert_eq!(seen.iter().map(|row| row.call_count).sum::<u64>(), 1_001);
        }
    }
}

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
