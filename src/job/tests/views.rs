//! What the rules know of a job and what the views show of it are two readings of one history.

use std::collections::BTreeMap;

use cody_events::digest::Sha256;
use cody_events::envelope::{Door, Recorded};
use cody_events::event::Event;
use cody_events::hash::{event_hash, log_hash};
use cody_events::ids::{CommandId, EventId, JobId};
use cody_events::outcome::ReopenReason;
use cody_events::status::TargetStatus;
use cody_events::time::Timestamp;
use cody_projections::usage::{self, UsageQuery};
use cody_projections::{build, overview};
use rusqlite::Connection;
use uuid::Uuid;

use crate::job::JobState;

/// Asserts that the views made from `events` say what `state` says, and that every event fitted.
pub fn assert_views_agree(events: &[Event], state: &JobState) {
    let job = JobId(Uuid::from_u128(7));
    let mut views = Connection::open_in_memory().unwrap();
    build::create(&mut views).unwrap();
    build::apply(&mut views, &recorded(job, events)).unwrap();
    assert_eq!(build::quarantined(&views).unwrap(), []);
    let shown = overview::find(&views, job).unwrap();
    let Some(known) = &state.job else { return assert_eq!(shown, None) };
    let shown = shown.unwrap();
    assert_eq!(
        (shown.job.is_paused, shown.job.is_cancelled, shown.job.is_finished),
        (known.paused, known.cancelled, known.finished)
    );
    assert_eq!(shown.spent_micros(), known.spent_micros());
    let total = usage::over(&views, &UsageQuery::default()).unwrap().remove(0);
    assert_eq!(total.spent_micros(), known.spent_micros());
    let outcomes = known.targets.values().filter_map(|target| target.outcome);
    let mut counted = BTreeMap::new();
    outcomes.for_each(|outcome| *counted.entry(outcome).or_default() += 1_u64);
    assert_eq!(total.outcomes, counted);
    assert_eq!(shown.targets.len(), known.targets.len());
    for (shown, known) in shown.targets.iter().zip(known.targets.values()) {
        let (row, cost) = (&shown.target, &shown.cost);
        assert_eq!((row.target, row.outcome), (known.number, known.outcome));
        assert_eq!(row.base_commit, known.base.as_ref().map(|base| base.commit));
        assert_eq!(row.tree, known.tree);
        assert_eq!(row.diff_hash, known.diff.map(|diff| diff.diff_hash));
        assert_eq!(row.delivery.awaits_person(), known.held);
        let paused = state.job.as_ref().is_some_and(|job| job.paused) || known.paused;
        let is_claimed = known.attempt().is_some();
        assert_eq!(row.status, TargetStatus::of(known.outcome, paused, is_claimed));
        // A retry counts its turns from nothing; the views tell all of them.
        let was_retried = events.iter().any(|event| {
            matches!(event, Event::TargetReopened(e)
                if e.target == known.number && e.why == ReopenReason::Retried)
        });
        match was_retried {
            true => assert!(shown.turn_count >= u64::from(known.turns)),
            false => {
                assert_eq!(shown.turn_count, u64::from(known.turns));
                assert_eq!(cost.tool_ms + cost.check_ms, known.tool_ms);
            }
        }
        assert_eq!(cost.known_micros, known.money.known_micros);
        assert_eq!(cost.assumed_micros, known.money.assumed_micros);
        assert_eq!(cost.reserved_micros, known.money.reserved_micros);
    }
}

fn recorded(job: JobId, events: &[Event]) -> Vec<Recorded> {
    let (mut previous, mut log) = (Sha256::ZERO, Sha256::ZERO);
    let mut all = Vec::new();
    for (position, event) in (1..).zip(events) {
        let command_id = CommandId(Uuid::from_u128(position.into()));
        let mut recorded = Recorded {
            position,
            stream: job.stream(),
            version: position,
            event_id: EventId::derived(command_id, 0),
            command_id,
            kind: event.kind().to_owned(),
            schema_version: event.schema_version(),
            recorded_at: Timestamp(0),
            occurred_at: Timestamp(0),
            actor: "ada".to_owned(),
            door: Door::Cli,
            causation_id: None,
            correlation_id: None,
            facts: event.facts_json().unwrap(),
            payload_len: None,
            payload_commit: None,
            event_hash: Sha256::ZERO,
            log_hash: Sha256::ZERO,
        };
        recorded.event_hash = event_hash(&previous, &recorded);
        recorded.log_hash = log_hash(&log, position, &recorded.event_hash);
        (previous, log) = (recorded.event_hash, recorded.log_hash);
        all.push(recorded);
    }
    all
}
