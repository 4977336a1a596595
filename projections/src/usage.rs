//! Usage and success: what was spent on a day for a repository, with a model, by a recipe, and what
//! came of it. What each figure means stands in `docs/usage.md`.

mod asked;
mod figures;
mod standing;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::LazyLock;

use cody_events::delivery::PrState;
use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::By;
use cody_events::thread::Usage;
use cody_events::time::Day;
use rusqlite::{Connection, ToSql};

pub use asked::{Group, MOST_ROWS, Rate, UsageKey, UsageQuery, UsageRow, over};

use crate::{Projection, Sums, Told};
use figures::{COLUMNS, Figure, TABLES};
use standing::{Acceptance, PullRequest, Standing};

pub const PROJECTION: Projection =
    Projection { name: "usage", version: 1, tables: TABLES, apply, settle: Some(settle) };

/// What a page adds to usage, and where the targets that it is about stand.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    targets: BTreeMap<(JobId, TargetNumber), Known>,
    figures: BTreeMap<(Day, Kind), Figures>,
}

/// The number of a repository, model and recipe.
type Kind = i64;

type Figures = [i64; COLUMNS.len()];

/// A target that the page is about.
#[derive(Debug)]
struct Known {
    standing: Standing,
    is_changed: bool,
}

/// One event, and what its page counted before it.
struct Telling<'a> {
    connection: &'a Connection,
    counted: &'a mut Counted,
    told: &'a Told<'a>,
}

/// A target while one event is counted.
struct Counting<'a> {
    known: &'a mut Known,
    figures: &'a mut BTreeMap<(Day, Kind), Figures>,
    told: &'a Told<'a>,
}

impl Telling<'_> {
    /// A target, which has to be there by now.
    fn of(&mut self, target: TargetNumber) -> rusqlite::Result<Counting<'_>> {
        let job = self.told.job;
        let known = match self.counted.targets.entry((job, target)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(Known {
                standing: standing::read(self.connection, job, target)?,
                is_changed: false,
            }),
        };
        Ok(Counting { known, figures: &mut self.counted.figures, told: self.told })
    }
}

impl Counting<'_> {
    /// Counts what stays as it is, on the day of the event.
    fn add<const N: usize>(&mut self, amounts: [(Figure, u64); N]) -> rusqlite::Result<()> {
        let figures = self.figures_of(self.told.recorded.recorded_at.day());
        amounts.into_iter().try_for_each(|(figure, amount)| {
            let amount = i64::try_from(amount).map_err(|_| too_large(figure))?;
            add(figures, figure, amount)
        })
    }

    fn figures_of(&mut self, day: Day) -> &mut Figures {
        self.figures.entry((day, self.known.standing.kind)).or_insert([0; COLUMNS.len()])
    }

    /// Changes where the target stands: what it added to usage before is taken back.
    fn change(&mut self, change: impl FnOnce(&mut Standing)) -> rusqlite::Result<()> {
        let before = self.known.standing;
        change(&mut self.known.standing);
        self.known.is_changed = true;
        for (day, figure) in before.counts() {
            add(self.figures_of(day), figure, -1)?;
        }
        for (day, figure) in self.known.standing.counts() {
            add(self.figures_of(day), figure, 1)?;
        }
        Ok(())
    }

    /// A call that ended, with the usage and time that are known of it.
    fn end_call<const N: usize>(
        &mut self,
        usage: Usage,
        ms: u64,
        more: [(Figure, u64); N],
    ) -> rusqlite::Result<()> {
        self.add([
            (Figure::Input, usage.input_tokens),
            (Figure::Output, usage.output_tokens),
            (Figure::CacheRead, usage.cache_read_tokens),
            (Figure::CacheWrite5m, usage.cache_write_5m_tokens),
            (Figure::CacheWrite1h, usage.cache_write_1h_tokens),
            (Figure::ClaudeMs, ms),
        ])?;
        self.add(more)
    }

    /// The worker that held the target leaves it, and perhaps another holds it now. All of its time
    /// counts on the day on which it left.
    fn hold(&mut self, next: Option<u32>) -> rusqlite::Result<()> {
        let now = self.told.recorded.recorded_at;
        if let Some((_, since)) = self.known.standing.attempt {
            self.add([(Figure::WorkerMs, now.millis_since(since))])?;
        }
        self.known.standing.attempt = next.map(|attempt| (attempt, now));
        self.known.is_changed = true;
        Ok(())
    }

    /// A person's word on a diff. Whether the first one was a yes is counted once a target.
    fn judge(&mut self, figure: Figure, acceptance: Acceptance) -> rusqlite::Result<()> {
        self.add([(figure, 1)])?;
        if !self.known.standing.is_judged {
            let is_yes = figure == Figure::Approved;
            self.add([(Figure::FirstReviewed, 1), (Figure::FirstApproved, is_yes.into())])?;
        }
        self.change(|standing| {
            standing.is_judged = true;
            standing.acceptance = acceptance;
        })
    }

    fn approve(&mut self, by: By) -> rusqlite::Result<()> {
        match by {
            By::Person => self.judge(Figure::Approved, Acceptance::Taken),
            By::Policy | By::Budget | By::Server => {
                self.add([(Figure::ApprovedByPolicy, 1)])?;
                self.change(|standing| standing.acceptance = Acceptance::Taken)
            }
        }
    }

    /// Another pull request leaves the one before it counted as it stood.
    fn open(&mut self, number: u64) -> rusqlite::Result<()> {
        let opened = self.told.recorded.recorded_at.day();
        let is_new = self.known.standing.pull_request.is_none_or(|known| known.number != number);
        if is_new {
            self.known.standing.pull_request = None;
        }
        self.change(|standing| {
            standing.acceptance = Acceptance::Taken;
            let request = PullRequest { number, opened, state: PrState::Open };
            standing.pull_request.get_or_insert(request);
        })
    }
}

/// Fails if the sum is no number of SQLite's; the events of the page are then added one by one.
fn add(figures: &mut Figures, figure: Figure, amount: i64) -> rusqlite::Result<()> {
    let sum = &mut figures[figure as usize];
    *sum = sum.checked_add(amount).ok_or_else(|| too_large(figure))?;
    Ok(())
}

fn too_large(figure: Figure) -> rusqlite::Error {
    rusqlite::Error::IntegralValueOutOfRange(figure as usize, i64::MAX)
}

fn apply(connection: &Connection, sums: &mut Sums, told: &Told<'_>) -> rusqlite::Result<()> {
    let mut telling = Telling { connection, counted: &mut sums.usage, told };
    match told.event {
        Event::Created(created) => standing::insert(connection, told, created),
        Event::AttemptStarted(e) => telling.of(e.target)?.hold(Some(e.attempt.0)),
        Event::AttemptEnded(e) => {
            let mut target = telling.of(e.target)?;
            match (target.known.standing.attempt, e.attempt) {
                (Some((held_by, _)), Some(ended)) if held_by == ended.0 => target.hold(None),
                _ => Ok(()),
            }
        }
        Event::CallPermitted(e) => telling.of(e.target)?.add([(Figure::Calls, 1)]),
        Event::ClaudeTurn(e) => {
            let more = [(Figure::Known, e.cost_micros), (Figure::Turns, 1)];
            telling.of(e.target)?.end_call(e.usage, e.ms, more)
        }
        Event::CallFailed(e) => {
            let more = [(Figure::Assumed, e.assumed_micros), (Figure::FailedCalls, 1)];
            telling.of(e.target)?.end_call(e.usage.unwrap_or_default(), e.ms, more)
        }
        Event::ToolsRan(e) => telling.of(e.target)?.add([(Figure::ToolMs, e.tool_ms())]),
        Event::DependenciesFetched(e) => {
            let ms = e.fetches.iter().map(|fetch| fetch.ms).fold(0, u64::saturating_add);
            telling.of(e.target)?.add([(Figure::CheckMs, ms)])
        }
        Event::ChecksRan(e) => {
            let ms = e.commands.iter().map(|command| command.ms).fold(0, u64::saturating_add);
            let is_repair = e.answers_finish.into();
            telling.of(e.target)?.add([(Figure::CheckMs, ms), (Figure::CheckRepairs, is_repair)])
        }
        Event::DiffReviewed(e) => {
            telling.of(e.target)?.add([(Figure::ReviewRepairs, e.answers_finish.into())])
        }
        Event::TargetFinished(e) => {
            let day = told.recorded.recorded_at.day();
            telling.of(e.target)?.change(|standing| standing.finished = Some((e.outcome, day)))
        }
        Event::TargetReopened(e) => telling.of(e.target)?.change(|standing| {
            standing.finished = None;
            standing.acceptance = Acceptance::Unsaid;
        }),
        event => deliver(&mut telling, event),
    }
}

/// What becomes of a diff after it was made.
fn deliver(telling: &mut Telling<'_>, event: &Event) -> rusqlite::Result<()> {
    match event {
        Event::TargetHeld(e) => {
            telling.of(e.0.target)?.change(|standing| standing.acceptance = Acceptance::Held)
        }
        Event::DiffApproved(e) => telling.of(e.0.target)?.approve(e.0.by),
        Event::DiffRejected(e) => {
            telling.of(e.0.target)?.judge(Figure::Rejected, Acceptance::Refused)
        }
        Event::ChangesRequested(e) => {
            telling.of(e.0.target)?.judge(Figure::ChangesRequested, Acceptance::Refused)
        }
        Event::BranchPushed(e) => {
            telling.of(e.target)?.change(|standing| standing.acceptance = Acceptance::Taken)
        }
        Event::DeliveryFailed(e) => {
            telling.of(e.target)?.change(|standing| standing.acceptance = Acceptance::Refused)
        }
        Event::PrOpened(e) => telling.of(e.target)?.open(e.number),
        Event::PrUpdated(e) => {
            telling.of(e.target)?.change(|standing| standing.follow(e.number, e.state))
        }
        _ => Ok(()),
    }
}

/// Adds what a page counted to a row, which is made if it is not there.
static ADD: LazyLock<String> = LazyLock::new(|| {
    let places: Vec<String> = (1..=COLUMNS.len() + 2).map(|place| format!("?{place}")).collect();
    let added: Vec<String> =
        COLUMNS.iter().map(|column| format!("{column} = {column} + excluded.{column}")).collect();
    format!(
        "INSERT INTO usage VALUES ({}) ON CONFLICT (day, kind) DO UPDATE SET {}",
        places.join(", "),
        added.join(", ")
    )
});

fn settle(connection: &Connection, sums: &Sums) -> rusqlite::Result<()> {
    for ((job, target), known) in &sums.usage.targets {
        if known.is_changed {
            standing::write(connection, *job, *target, &known.standing)?;
        }
    }
    if sums.usage.figures.is_empty() {
        return Ok(());
    }
    let mut add = connection.prepare_cached(&ADD)?;
    for ((day, kind), figures) in &sums.usage.figures {
        let mut values: Vec<&dyn ToSql> = vec![&day.0, kind];
        values.extend(figures.iter().map(|amount| amount as &dyn ToSql));
        add.execute(&values[..])?;
    }
    Ok(())
}
