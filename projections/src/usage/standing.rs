//! Where a target stands, as far as usage counts it: who holds it, how it ended, and what became of
//! its diff. Figures that may be taken back are computed from this, before and after an event.

use cody_events::delivery::PrState;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::{Created, Policy, TargetKind};
use cody_events::outcome::Outcome;
use cody_events::time::{Day, Timestamp};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::figures::Figure;
use crate::Told;
use crate::columns::{Id, Word, word, word_or_none};
use crate::jobs::one;

/// Where one target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Of its repository, model and recipe.
    pub kind: i64,
    /// Whether its diff goes somewhere only after somebody, or the policy, approved it.
    pub needs_approval: bool,
    /// The worker that holds it, and since when.
    pub attempt: Option<(u32, Timestamp)>,
    pub acceptance: Acceptance,
    /// How it ended, and on which day; nothing while a round is open.
    pub finished: Option<(Outcome, Day)>,
    /// Whether a person has said something of a diff of its, in any round.
    pub is_judged: bool,
    /// The latest pull request.
    pub pull_request: Option<PullRequest>,
}

/// What was said of a target's latest diff, or became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Acceptance {
    Unsaid,
    /// It waits for a person because something is wrong with it.
    Held,
    /// Approved, or on its way because it was.
    Taken,
    /// Rejected by a person, not to be had by its host, or closed there without being merged.
    Refused,
}

/// A pull request: counted on the day on which it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PullRequest {
    pub number: u64,
    pub opened: Day,
    pub state: PrState,
}

impl Standing {
    /// What the target adds to usage as it stands, and on which days.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Day, Figure)> + use<> {
        let finished = self.finished.map(|(outcome, day)| (day, Figure::of(outcome)));
        let delivered = self
            .finished
            .filter(|(outcome, _)| self.is_delivered(*outcome))
            .map(|(_, day)| (day, Figure::Delivered));
        let opened = self.pull_request.map(|request| (request.opened, Figure::PullRequests));
        let ended = self.pull_request.and_then(|request| match request.state {
            PrState::Open => None,
            PrState::Merged => Some((request.opened, Figure::Merged)),
            PrState::Closed => Some((request.opened, Figure::Closed)),
        });
        [finished, delivered, opened, ended].into_iter().flatten()
    }

    /// Whether who asked has what was asked for: nothing was to be changed, or the diff went where it
    /// had to go and was not refused there.
    fn is_delivered(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::AlreadyCompliant | Outcome::NotApplicable => true,
            Outcome::DiffReady => match self.acceptance {
                Acceptance::Taken => true,
                Acceptance::Unsaid => !self.needs_approval,
                Acceptance::Held | Acceptance::Refused => false,
            },
            // A person may take what the checks or the review did not.
            Outcome::FailedChecks
            | Outcome::Objected
            | Outcome::Refused
            | Outcome::BudgetStopped
            | Outcome::Stuck
            | Outcome::Failed
            | Outcome::Cancelled => self.acceptance == Acceptance::Taken,
        }
    }

    /// What a host says of a pull request. It is about the diff that was pushed, so it says nothing
    /// of a round that is open.
    pub(super) fn follow(&mut self, number: u64, state: PrState) {
        let Some(request) = self.pull_request.as_mut().filter(|known| known.number == number)
        else {
            return;
        };
        let was = std::mem::replace(&mut request.state, state);
        if self.finished.is_some() {
            self.acceptance = match (was, state) {
                (_, PrState::Merged) | (PrState::Closed, PrState::Open) => Acceptance::Taken,
                (_, PrState::Closed) => Acceptance::Refused,
                (PrState::Open | PrState::Merged, PrState::Open) => self.acceptance,
            };
        }
    }
}

/// The targets of a new job.
pub(super) fn insert(
    connection: &Connection,
    told: &Told<'_>,
    created: &Created,
) -> rusqlite::Result<()> {
    let recipe = created.recipe.as_ref().map_or("", |recipe| &recipe.name);
    for target in &created.targets {
        let key = params![target.repository, created.model, recipe];
        connection
            .prepare_cached(
                "INSERT INTO work_kinds (repository, model, recipe) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(key)?;
        let is_pushed = match target.kind {
            TargetKind::Github => true,
            TargetKind::Url | TargetKind::Local => false,
        };
        let needs_approval = match created.policy {
            Policy::Review | Policy::Auto => is_pushed,
            Policy::PatchOnly => false,
        };
        connection
            .prepare_cached(
                "INSERT INTO usage_targets (job, target, kind, needs_approval, acceptance, is_judged)
                 SELECT ?4, ?5, kind, ?6, ?7, 0 FROM work_kinds
                 WHERE repository = ?1 AND model = ?2 AND recipe = ?3",
            )?
            .execute(params![
                target.repository,
                created.model,
                recipe,
                Id(told.job),
                target.number.0,
                needs_approval,
                Word(Acceptance::Unsaid),
            ])
            .and_then(one)?;
    }
    Ok(())
}

/// Where a target stands, which has to be there.
pub(super) fn read(
    connection: &Connection,
    job: JobId,
    target: TargetNumber,
) -> rusqlite::Result<Standing> {
    connection
        .prepare_cached(
            "SELECT kind, needs_approval, attempt, attempt_at, acceptance, outcome, finished_day,
                 is_judged, pull_request, pull_request_day, pull_request_state
             FROM usage_targets WHERE job = ?1 AND target = ?2",
        )?
        .query_row(params![Id(job), target.0], standing)
}

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let attempt = match (row.get(2)?, row.get(3)?) {
        (Some(attempt), Some(at)) => Some((attempt, Timestamp(at))),
        _ => None,
    };
    let finished = match (word_or_none(row, 5)?, row.get(6)?) {
        (Some(outcome), Some(day)) => Some((outcome, Day(day))),
        _ => None,
    };
    let pull_request = match (row.get::<_, Option<i64>>(8)?, row.get(9)?, word_or_none(row, 10)?) {
        (Some(number), Some(day), Some(state)) => {
            Some(PullRequest { number: number.cast_unsigned(), opened: Day(day), state })
        }
        _ => None,
    };
    Ok(Standing {
        kind: row.get(0)?,
        needs_approval: row.get(1)?,
        attempt,
        acceptance: word(row, 4)?,
        finished,
        is_judged: row.get(7)?,
        pull_request,
    })
}

/// Keeps where a target stands.
pub(super) fn write(
    connection: &Connection,
    job: JobId,
    target: TargetNumber,
    standing: &Standing,
) -> rusqlite::Result<()> {
    let Standing { attempt, finished, pull_request, .. } = standing;
    connection
        .prepare_cached(
            "UPDATE usage_targets SET attempt = ?3, attempt_at = ?4, acceptance = ?5, outcome = ?6,
                 finished_day = ?7, is_judged = ?8, pull_request = ?9, pull_request_day = ?10,
                 pull_request_state = ?11
             WHERE job = ?1 AND target = ?2",
        )?
        .execute(params![
            Id(job),
            target.0,
            attempt.map(|(attempt, _)| attempt),
            attempt.map(|(_, at)| at.as_micros()),
            Word(standing.acceptance),
            finished.map(|(outcome, _)| Word(outcome)),
            finished.map(|(_, day)| day.0),
            standing.is_judged,
            pull_request.map(|request| request.number.cast_signed()),
            pull_request.map(|request| request.opened.0),
            pull_request.map(|request| Word(request.state)),
        ])
        .and_then(one)
}
