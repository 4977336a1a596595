//! What usage and success say of stories whose figures are known.

mod any_story;

use cody_events::delivery::PrState;
use cody_events::event::Event;
use cody_events::ids::JobId;
use cody_events::job::{Created, Policy, RecipeUse, TargetKind};
use cody_events::outcome::Outcome;
use cody_events::thread::ClaudeTurn;
use cody_events::time::Day;
use cody_projections::build;
use cody_projections::usage::{Group, MOST_ROWS, Rate, UsageKey, UsageQuery, UsageRow, over};
use rusqlite::Connection;

use crate::histories::{History, Step, created, job};
use crate::{built, empty};

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

/// What is created, how its target ends, what is said afterwards, and whether it is then delivered.
type Case<'a> = (TargetKind, Policy, &'a [Step], &'a [Step], bool);

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
    // What becomes of an old pull request says nothing of a round that was open meanwhile.
    let old =
        [&open[..], &[Step::Reopen(1, true), Step::Follow(1, 5, PrState::Closed)], &ready].concat();
    let cases: &[Case<'_>] = &[
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
        (Github, Policy::PatchOnly, &ready, &old, true),
        (Github, Policy::Review, &ready, &old, false),
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
fn who_sent_a_change_back_and_who_let_it_pass_is_told_apart() {
    let row = total(&one(
        TargetKind::Github,
        Policy::Auto,
        &[
            Step::Checks(1, true),
            Step::Checks(1, true),
            Step::Checks(1, false),
            Step::Review(1, true),
            Step::Review(1, false),
            Step::Diff(1, 1),
            Step::Finish(1, outcome(Outcome::DiffReady)),
            Step::ApproveByPolicy(1, 1),
        ],
    ));
    let repairs = (row.check_repair_count, row.review_repair_count, row.changes_requested_count);
    assert_eq!((repairs, row.repair_count()), ((2, 1, 0), 3));
    assert_eq!((row.approved_by_policy_count, row.approved_count), (1, 0));
    assert_eq!((row.accuracy(), row.approval_rate()), (rate(0, 0), rate(0, 0)));
    assert_eq!((row.check_ms, row.cache_hit_rate()), (120, rate(0, 0)));
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
    for number in 0..=MOST_ROWS {
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
                assert!(seen.len() <= count, "a row came twice");
            }
            assert_eq!(seen.len(), count, "{group:?} {limit:?}");
            assert!(seen.is_sorted_by(|a, b| a.key < b.key));
            assert_eq!(seen.iter().map(|row| row.call_count).sum::<u64>(), 1_001);
        }
    }
}
