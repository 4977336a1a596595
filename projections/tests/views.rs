//! What the views say of a log, however its events reach them.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

mod deaths;
mod histories;
mod usage;

use cody_events::delivery::PrState;
use cody_events::digest::Sha256;
use cody_events::ids::{TargetNumber, ThreadNumber, TurnNumber};
use cody_events::outcome::Outcome;
use cody_events::status::{Delivery, JobStatus, TargetStatus};
use cody_projections::build::{self, ApplyError, Quarantined};
use cody_projections::census::{self, Census};
use cody_projections::diffs::Judgement;
use cody_projections::threads::{MessageKind, MessageRow};
use cody_projections::{ALL, diffs, jobs, overview, threads};
use histories::{History, Step, job, tree};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;

fn empty() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    build::create(&mut connection).unwrap();
    connection
}

fn built(history: &History) -> Connection {
    let mut connection = empty();
    build::apply(&mut connection, &history.events).unwrap();
    connection
}

/// Every row of every table.
fn dump(connection: &Connection) -> Vec<(String, Vec<Vec<Value>>)> {
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let read = |table: &String| {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        statement
            .query_map([], |row| (0..columns).map(|column| row.get(column)).collect())
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    };
    tables.into_iter().map(|table| (table.clone(), read(&table))).collect()
}

fn history(steps: &[(u8, Step)]) -> History {
    let mut history = History::default();
    for (number, step) in steps {
        history.add(job(*number), step.event());
    }
    history
}

/// One target's way to a diff, which is held and then approved.
fn story() -> Vec<Step> {
    vec![
        Step::Create { targets: 2 },
        Step::Request(1),
        Step::Start(1, 1),
        Step::Thread(1, 1, false),
        Step::Permit(1, 1, 1),
        Step::Fail(1, 1, 1),
        Step::Permit(1, 1, 1),
        Step::Turn(1, 1, 1),
        Step::Tools(1, 1, 1, 1),
        Step::Checks(1, true),
        Step::Permit(1, 1, 2),
        Step::Turn(1, 1, 2),
        Step::Tools(1, 1, 2, 2),
        Step::Checks(1, false),
        Step::Thread(1, 2, true),
        Step::Turn(1, 2, 1),
        Step::Review(1, false),
        Step::Diff(1, 7),
        Step::Hold(1, 7),
        Step::Finish(1, 0),
        Step::End(1),
    ]
}

#[test]
fn a_story_reads_as_it_happened() {
    let steps: Vec<(u8, Step)> = story().into_iter().map(|step| (1, step)).collect();
    let connection = built(&history(&steps));
    let told = overview::find(&connection, job(1)).unwrap().unwrap();
    assert_eq!(told.status(), JobStatus::Running);
    assert_eq!(told.job.target_count, 2);
    assert_eq!((told.job.created_position, told.job.position), (1, 21));
    let [first, second] = &told.targets[..] else { panic!("two targets") };
    assert_eq!(first.target.status, TargetStatus::Finished);
    assert_eq!(first.target.outcome, Some(Outcome::DiffReady));
    assert_eq!(first.target.delivery, Delivery::Held);
    assert_eq!(first.target.tree, Some(tree(2)));
    assert_eq!(first.target.diff_hash, Some(Sha256([7; 32])));
    assert_eq!(first.target.finish_position, Some(20));
    assert_eq!(first.turn_count, 2);
    assert_eq!(first.cost.known_micros, 300_000);
    assert_eq!(first.cost.assumed_micros, 900_000);
    assert_eq!(first.cost.reserved_micros, 0);
    assert_eq!((first.cost.call_count, first.cost.failed_call_count), (3, 1));
    assert_eq!((first.cost.tool_ms, first.cost.check_ms), (28, 80));
    assert_eq!(first.cost.usage.input_tokens, 300);
    assert_eq!(second.target.status, TargetStatus::Waiting);
    assert_eq!(told.spent_micros(), 1_200_000);
    let diff = diffs::latest(&connection, job(1), TargetNumber(1)).unwrap().unwrap();
    assert_eq!((diff.position, diff.file_count), (18, 3));
    assert_eq!(diff.judgement.unwrap().judgement, Judgement::Held);
    let conversations = threads::of_target(&connection, job(1), TargetNumber(1)).unwrap();
    assert_eq!(conversations.iter().map(|one| one.turn_count).collect::<Vec<_>>(), [2, 1]);
    let kinds: Vec<(u64, TurnNumber, MessageKind)> = messages(&connection)
        .into_iter()
        .map(|message| (message.position, message.turn, message.kind))
        .collect();
    let turn = TurnNumber;
    assert_eq!(
        kinds,
        [
            (5, turn(1), MessageKind::Notice),
            (7, turn(1), MessageKind::Notice),
            (8, turn(1), MessageKind::Response),
            (9, turn(1), MessageKind::Results),
            (10, turn(1), MessageKind::Judgement),
            (11, turn(2), MessageKind::Notice),
            (12, turn(2), MessageKind::Response),
            (13, turn(2), MessageKind::Results),
        ]
    );
}

fn messages(connection: &Connection) -> Vec<MessageRow> {
    threads::messages(connection, job(1), TargetNumber(1), ThreadNumber(1), 0, 100).unwrap()
}

#[test]
fn a_retry_begins_anew_and_a_request_for_changes_goes_on() {
    for (is_retry, base, diff) in [(true, None, None), (false, Some(tree(200)), Some([7; 32]))] {
        let mut steps: Vec<(u8, Step)> = story().into_iter().map(|step| (1, step)).collect();
        steps.push((1, Step::Reopen(1, is_retry)));
        let told = overview::find(&built(&history(&steps)), job(1)).unwrap().unwrap();
        let target = &told.targets[0].target;
        assert_eq!((target.status, target.outcome), (TargetStatus::Waiting, None));
        assert_eq!((target.delivery, target.round), (Delivery::None, 2));
        assert_eq!((target.base_commit, target.diff_hash), (base, diff.map(Sha256)));
    }
}

#[test]
fn jobs_are_listed_newest_first_and_found_by_a_part_of_their_id() {
    let steps: Vec<(u8, Step)> =
        (1..=3).map(|number| (number, Step::Create { targets: 1 })).collect();
    let connection = built(&history(&steps));
    let listed = |before, limit| -> Vec<_> {
        let page = jobs::page(&connection, before, limit).unwrap();
        page.into_iter().map(|row| row.job).collect()
    };
    assert_eq!(listed(None, 2), [job(3), job(2)]);
    assert_eq!(listed(Some(job(2)), 2), [job(1)]);
    let named = |text: &str| jobs::named(&connection, text, 9).unwrap();
    assert_eq!(named("01900000-0000-7000"), [job(3), job(2), job(1)]);
    assert_eq!(named("002"), [job(2)]);
    assert_eq!(named(&job(3).to_string()), [job(3)]);
    assert_eq!(named("%"), []);
    assert_eq!(jobs::unfinished(&connection).unwrap(), [job(1), job(2), job(3)]);
}

#[test]
fn what_does_not_fit_holds_up_its_job_in_its_projection_only() {
    let mut history = history(&[
        (1, Step::Create { targets: 1 }),
        (2, Step::Create { targets: 1 }),
        // There is no diff that could be approved.
        (1, Step::Approve(1, 5)),
        (1, Step::Diff(1, 6)),
        (2, Step::Diff(1, 6)),
    ]);
    let connection = built(&history);
    assert_eq!(
        build::quarantined(&connection).unwrap(),
        [Quarantined {
            projection: "diffs".to_owned(),
            stream: job(1).stream(),
            position: 3,
            error: "Query changed 0 rows".to_owned(),
        }]
    );
    let diffs = |number| diffs::of_job(&connection, job(number)).unwrap().len();
    assert_eq!((diffs(1), diffs(2)), (0, 1));
    let told = overview::find(&connection, job(1)).unwrap().unwrap();
    assert_eq!(told.targets[0].target.diff_hash, Some(Sha256([6; 32])));

    history.add_raw(&job(2).stream(), "from-the-future", 1, "{}".to_owned());
    history.add(job(1), Step::Pause(None).event());
    let connection = built(&history);
    let held = build::quarantined(&connection).unwrap();
    assert_eq!(held.iter().filter(|one| one.stream == job(2).stream()).count(), ALL.len());
    assert_eq!(build::checkpoint(&connection).unwrap().position, 7);
}

#[test]
fn what_comes_before_its_job_fits_in_no_page() {
    let history = history(&[
        (1, Step::Permit(1, 1, 1)),
        (1, Step::Create { targets: 1 }),
        (2, Step::Create { targets: 1 }),
    ]);
    let mut one_by_one = empty();
    for event in &history.events {
        build::apply(&mut one_by_one, std::slice::from_ref(event)).unwrap();
    }
    let at_once = built(&history);
    assert_eq!(dump(&at_once), dump(&one_by_one));
    let held = build::quarantined(&at_once).unwrap();
    let held: Vec<(&str, u64)> =
        held.iter().map(|one| (one.projection.as_str(), one.position)).collect();
    assert_eq!(held, [("costs", 1), ("jobs", 1), ("threads", 1), ("usage", 1)]);
}

#[test]
fn a_gap_and_another_log_are_refused() {
    let history = history(&[
        (1, Step::Create { targets: 1 }),
        (1, Step::Pause(None)),
        (1, Step::Resume(None)),
    ]);
    let mut connection = empty();
    build::apply(&mut connection, &history.events[..1]).unwrap();
    let gap = build::apply(&mut connection, &history.events[2..]);
    assert!(matches!(gap, Err(ApplyError::Gap { at: 1, next: 3 })), "{gap:?}");
    let mut forged = history.events[1].clone();
    forged.event_hash = Sha256([1; 32]);
    let other = build::apply(&mut connection, &[forged]);
    assert!(matches!(other, Err(ApplyError::OtherLog { position: 2 })), "{other:?}");
    build::apply(&mut connection, &history.events[1..]).unwrap();
    assert_eq!(build::checkpoint(&connection).unwrap().position, 3);
}

#[test]
fn a_build_of_other_projections_is_told_apart() {
    let connection = empty();
    assert!(build::is_current(&connection).unwrap());
    connection.execute("UPDATE projections SET version = 0 WHERE name = 'jobs'", []).unwrap();
    assert!(!build::is_current(&connection).unwrap());
    assert!(!build::is_current(&Connection::open_in_memory().unwrap()).unwrap());
}

fn delivery() -> impl Strategy<Value = Step> {
    let (target, number) = (1..3u32, 1..3u64);
    let state = prop_oneof![Just(PrState::Open), Just(PrState::Merged), Just(PrState::Closed)];
    prop_oneof![
        (target.clone(), 0..3u8).prop_map(|(t, h)| Step::ApproveByPolicy(t, h)),
        (target.clone(), 0..3u8).prop_map(|(t, h)| Step::Reject(t, h)),
        (target.clone(), 0..3u8).prop_map(|(t, h)| Step::RequestChanges(t, h)),
        target.clone().prop_map(Step::Push),
        (target.clone(), number.clone()).prop_map(|(t, n)| Step::Open(t, n)),
        (target.clone(), number, state).prop_map(|(t, n, s)| Step::Follow(t, n, s)),
        target.prop_map(Step::FailDelivery),
    ]
}

fn steps() -> impl Strategy<Value = Vec<(u8, Step)>> {
    let target = 1..3u32;
    let whose = prop::option::of(1..3u32);
    let step = prop_oneof![
        1 => (1..3u32).prop_map(|targets| Step::Create { targets }),
        1 => whose.clone().prop_map(Step::Pause),
        1 => whose.prop_map(Step::Resume),
        1 => Just(Step::Cancel),
        2 => target.clone().prop_map(Step::Request),
        2 => (target.clone(), 1..4u32).prop_map(|(t, a)| Step::Start(t, a)),
        1 => target.clone().prop_map(Step::End),
        1 => (target.clone(), 1..4u32).prop_map(|(t, a)| Step::Leave(t, a)),
        3 => (target.clone(), 1..3u32, any::<bool>()).prop_map(|(t, n, r)| Step::Thread(t, n, r)),
        3 => (target.clone(), 1..3u32, 1..4u32).prop_map(|(t, n, u)| Step::Permit(t, n, u)),
        3 => (target.clone(), 1..3u32, 1..4u32).prop_map(|(t, n, u)| Step::Turn(t, n, u)),
        1 => (target.clone(), 1..3u32, 1..4u32).prop_map(|(t, n, u)| Step::Fail(t, n, u)),
        3 => (target.clone(), 1..3u32, 1..4u32, 0..4u8)
            .prop_map(|(t, n, u, a)| Step::Tools(t, n, u, a)),
        1 => (target.clone(), any::<bool>()).prop_map(|(t, a)| Step::Checks(t, a)),
        1 => (target.clone(), any::<bool>()).prop_map(|(t, a)| Step::Review(t, a)),
        2 => (target.clone(), 0..3u8).prop_map(|(t, h)| Step::Diff(t, h)),
        1 => (target.clone(), 0..3u8).prop_map(|(t, h)| Step::Approve(t, h)),
        1 => (target.clone(), 0..3u8).prop_map(|(t, h)| Step::Hold(t, h)),
        1 => delivery(),
        2 => (target.clone(), 0..10usize).prop_map(|(t, o)| Step::Finish(t, o)),
        1 => (target, any::<bool>()).prop_map(|(t, r)| Step::Reopen(t, r)),
        1 => Just(Step::FinishJob),
    ];
    // Most stories begin as they should; the rest of each is in any order.
    (prop::collection::vec((0..3u8, step), 0..60), any::<bool>()).prop_map(|(mut rest, proper)| {
        if proper {
            rest.splice(0..0, (0..3).map(|number| (number, Step::Create { targets: 2 })));
        }
        rest
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("CODY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64),
        ..ProptestConfig::default()
    })]

    #[test]
    fn pages_of_any_size_given_any_number_of_times_make_the_same_views(
        steps in steps(),
        cuts in prop::collection::vec((1..9usize, 0..5usize), 1..40),
    ) {
        let history = history(&steps);
        let whole = built(&history);
        let mut connection = empty();
        let mut at = 0;
        for (size, back) in cuts.into_iter().cycle() {
            if at == history.events.len() {
                break;
            }
            let from = at.saturating_sub(back);
            at = (at + size).min(history.events.len());
            build::apply(&mut connection, &history.events[from..at]).unwrap();
        }
        prop_assert_eq!(dump(&connection), dump(&whole));
    }

    #[test]
    fn a_page_that_was_cut_short_leaves_nothing_behind(steps in steps(), at in 0..60usize) {
        let history = history(&steps);
        let at = at.min(history.events.len());
        let mut connection = empty();
        build::apply(&mut connection, &history.events[..at]).unwrap();
        let before = dump(&connection);
        // The database gives out in the middle of the page.
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
        if build::apply(&mut connection, &history.events[at..]).is_err() {
            prop_assert_eq!(dump(&connection), before);
        }
        connection.execute_batch("PRAGMA max_page_count = 1000000").unwrap();
        build::apply(&mut connection, &history.events[at..]).unwrap();
        prop_assert_eq!(dump(&connection), dump(&built(&history)));
    }

    #[test]
    fn a_census_counts_what_each_job_says_of_itself(steps in steps()) {
        let connection = built(&history(&steps));
        let mut expected = Census::default();
        for job in overview::page(&connection, None, 100).unwrap() {
            if !job.targets.is_empty() {
                *expected.jobs.entry(job.status()).or_default() += 1;
            }
            for one in job.targets {
                *expected.targets.entry(one.target.status).or_default() += 1;
                *expected.deliveries.entry(one.target.delivery).or_default() += 1;
            }
        }
        let mut streams: Vec<String> =
            build::quarantined(&connection).unwrap().into_iter().map(|one| one.stream).collect();
        streams.sort();
        streams.dedup();
        expected.quarantined_jobs = streams.len() as u64;
        prop_assert_eq!(census::take(&connection).unwrap(), expected);
    }
}
