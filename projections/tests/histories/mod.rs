//! Logs made up for tests: events with right positions, versions and hashes, of jobs that nobody ran.

mod facts;

use std::collections::BTreeMap;

use cody_events::delivery::{DeliveryFailed, DeliveryFailure, PrState};
use cody_events::diff::{ChangesRequested, DiffApproved, DiffRejected, JudgedDiff, TargetHeld};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::envelope::{Door, Recorded};
use cody_events::event::Event;
use cody_events::hash::{event_hash, log_hash};
use cody_events::ids::{AttemptNumber, CommandId, EventId, JobId, RoundNumber, TargetNumber};
use cody_events::job::{
    By, Cancelled, CheckSource, Created, CreatedTarget, Limits, Paused, Policy, Resumed,
    SharedLimits, TargetKind,
};
use cody_events::outcome::{Finished, ReopenReason, TargetReopened};
use cody_events::thread::Purpose;
use cody_events::time::Timestamp;
use uuid::Uuid;

use facts::{
    checked, ended, failed, finished, followed, judged, opened, permitted, produced, pushed, ran,
    requested, reviewed, started, thread_started, turned,
};

/// A log that is written by hand.
#[derive(Default)]
pub struct History {
    pub events: Vec<Recorded>,
    /// Microseconds that nothing happened in; the next event comes after them.
    pub idle: i64,
    streams: BTreeMap<String, (u64, Sha256)>,
}

impl History {
    /// Adds an event of a job.
    pub fn add(&mut self, job: JobId, event: impl Into<Event>) -> u64 {
        let event = event.into();
        let facts = event.facts_json().unwrap();
        self.add_raw(&job.stream(), event.kind(), event.schema_version(), facts)
    }

    /// Adds an event as another version of this program may have written it.
    pub fn add_raw(&mut self, stream: &str, kind: &str, schema: u32, facts: String) -> u64 {
        let position = self.events.len() as u64 + 1;
        let (version, previous) = self.streams.get(stream).copied().unwrap_or((0, Sha256::ZERO));
        let command_id = CommandId(Uuid::from_u128(position.into()));
        let ticks = i64::try_from(position).unwrap() * 1_000;
        let at = Timestamp(1_790_000_000_000_000 + self.idle + ticks);
        let mut recorded = Recorded {
            position,
            stream: stream.to_owned(),
            version: version + 1,
            event_id: EventId::derived(command_id, 0),
            command_id,
            kind: kind.to_owned(),
            schema_version: schema,
            recorded_at: at,
            occurred_at: at,
            actor: "ada".to_owned(),
            door: Door::Cli,
            causation_id: None,
            correlation_id: None,
            facts,
            payload_len: (kind == "call-permitted").then_some(1),
            payload_commit: None,
            event_hash: Sha256::ZERO,
            log_hash: Sha256::ZERO,
        };
        recorded.event_hash = event_hash(&previous, &recorded);
        let before = self.events.last().map_or(Sha256::ZERO, |last| last.log_hash);
        recorded.log_hash = log_hash(&before, position, &recorded.event_hash);
        self.streams.insert(stream.to_owned(), (version + 1, recorded.event_hash));
        self.events.push(recorded);
        position
    }
}

pub fn job(number: u8) -> JobId {
    JobId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number)))
}

pub fn tree(number: u8) -> ObjectId {
    ObjectId([number; 20])
}

pub fn limits(budget_micros: u64) -> Limits {
    Limits {
        budget_micros,
        job_budget_micros: None,
        max_turns: 60,
        max_tokens: None,
        max_wall_ms: None,
        max_tool_ms: None,
        max_diff_bytes: None,
        shared: SharedLimits::default(),
    }
}

/// The events of these stories, each about one target and small numbers.
#[derive(Debug, Clone)]
pub enum Step {
    Create { targets: u32 },
    Pause(Option<u32>),
    Resume(Option<u32>),
    Cancel,
    Request(u32),
    Start(u32, u32),
    End(u32),
    Leave(u32, u32),
    Thread(u32, u32, bool),
    Permit(u32, u32, u32),
    Turn(u32, u32, u32),
    Fail(u32, u32, u32),
    Tools(u32, u32, u32, u8),
    Checks(u32, bool),
    Review(u32, bool),
    Diff(u32, u8),
    Approve(u32, u8),
    ApproveByPolicy(u32, u8),
    Reject(u32, u8),
    RequestChanges(u32, u8),
    Hold(u32, u8),
    Push(u32),
    Open(u32, u64),
    Follow(u32, u64, PrState),
    FailDelivery(u32),
    Finish(u32, usize),
    Reopen(u32, bool),
    FinishJob,
}

impl Step {
    pub fn event(&self) -> Event {
        match self.clone() {
            Self::Create { targets } => created(targets).into(),
            Self::Pause(target) => {
                Paused { target: target.map(TargetNumber), by: By::Person }.into()
            }
            Self::Resume(target) => {
                Resumed { target: target.map(TargetNumber), by: By::Person }.into()
            }
            Self::Cancel => Cancelled { by: By::Person }.into(),
            Self::Request(target) => requested(target).into(),
            Self::Start(target, attempt) => started(target, attempt).into(),
            Self::End(target) => ended(target, None).into(),
            Self::Leave(target, attempt) => ended(target, Some(AttemptNumber(attempt))).into(),
            Self::Thread(target, thread, is_review) => thread_started(
                target,
                thread,
                if is_review { Purpose::Review } else { Purpose::Change },
            )
            .into(),
            Self::Permit(target, thread, turn) => permitted(target, thread, turn).into(),
            Self::Turn(target, thread, turn) => turned(target, thread, turn).into(),
            Self::Fail(target, thread, turn) => failed(target, thread, turn).into(),
            Self::Tools(target, thread, turn, after) => ran(target, thread, turn, after).into(),
            Self::Checks(target, answers) => checked(target, answers).into(),
            Self::Review(target, answers) => reviewed(target, answers).into(),
            Self::Diff(target, hash) => produced(target, hash).into(),
            Self::Approve(target, hash) => DiffApproved(judged(target, hash)).into(),
            Self::ApproveByPolicy(target, hash) => {
                DiffApproved(JudgedDiff { by: By::Policy, ..judged(target, hash) }).into()
            }
            Self::Reject(target, hash) => DiffRejected(judged(target, hash)).into(),
            Self::RequestChanges(target, hash) => ChangesRequested(judged(target, hash)).into(),
            Self::Hold(target, hash) => TargetHeld(judged(target, hash)).into(),
            Self::Push(target) => pushed(target).into(),
            Self::Open(target, number) => opened(target, number).into(),
            Self::Follow(target, number, state) => followed(target, number, state).into(),
            Self::FailDelivery(target) => {
                DeliveryFailed { target: TargetNumber(target), class: DeliveryFailure::Permission }
                    .into()
            }
            Self::Finish(target, outcome) => finished(target, outcome).into(),
            Self::Reopen(target, is_retry) => TargetReopened {
                target: TargetNumber(target),
                round: RoundNumber(2),
                why: if is_retry { ReopenReason::Retried } else { ReopenReason::ChangesRequested },
                by: By::Person,
            }
            .into(),
            Self::FinishJob => Finished { targets: Vec::new(), cost_micros: 0 }.into(),
        }
    }
}

pub fn created(targets: u32) -> Created {
    Created {
        targets: (1..=targets)
            .map(|number| CreatedTarget {
                number: TargetNumber(number),
                kind: TargetKind::Github,
                repository: format!("acme/app-{number}"),
            })
            .collect(),
        policy: Policy::Review,
        limits: limits(5_000_000),
        model: "claude-test".to_owned(),
        effort: None,
        checks: CheckSource::Detected,
        bash: true,
        skip_review: false,
        fetch_dependencies: false,
        pilot: false,
        recipe: None,
        allow: Vec::new(),
        app_version: "0.1.0".to_owned(),
    }
}
