//! What the log means: disposable tables and the questions they answer. Synchronous, without clock
//! or chance, so that the same events give the same tables wherever and whenever they are read.
//!
//! A projection is one file: its tables, how an event changes them, and what can be asked. It keeps
//! facts and positions of payloads, never their text. A new one is one file and one line in [`ALL`].

#![forbid(unsafe_code)]

pub mod build;
pub mod costs;
pub mod diffs;
pub mod jobs;
pub mod targets;
pub mod threads;
pub mod usage;

pub mod census;
pub mod overview;

mod columns;

use cody_events::envelope::Recorded;
use cody_events::event::Event;
use cody_events::ids::JobId;

/// What a question is asked of, and what comes back: whoever asks need not know which database it is.
pub use rusqlite::{Connection, Result as Answer};

/// One reading of the log.
#[derive(Debug)]
pub struct Projection {
    pub name: &'static str,
    /// Raised when the tables or their meaning change; older builds are then made anew.
    pub version: u32,
    /// The statements that create its tables.
    pub tables: &'static str,
    /// Changes the tables for one event, or adds to what is changed at the end of its page. An error
    /// quarantines the event's job here.
    pub apply: fn(&Connection, &mut Sums, &Told<'_>) -> rusqlite::Result<()>,
    /// Writes its part of the sums.
    pub settle: Option<fn(&Connection, &Sums) -> rusqlite::Result<()>>,
}

/// What the events of a page add up to. A page has many events of few jobs, so rows that nearly every
/// event changes are written once a page; nothing reads them before.
#[derive(Debug, Default)]
pub struct Sums {
    jobs: jobs::Latest,
    threads: threads::Turns,
    costs: costs::Spent,
    usage: usage::Counted,
}

/// An event of a job, as projections see it.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub job: JobId,
    pub recorded: &'a Recorded,
    pub event: &'a Event,
}

impl Told<'_> {
    /// The event's position as SQLite keeps numbers.
    fn position(&self) -> i64 {
        self.recorded.position.cast_signed()
    }

    /// When it was recorded, in microseconds since 1970.
    fn at(&self) -> i64 {
        self.recorded.recorded_at.as_micros()
    }
}

/// Every projection.
pub const ALL: &[&Projection] = &[
    &jobs::PROJECTION,
    &targets::PROJECTION,
    &threads::PROJECTION,
    &diffs::PROJECTION,
    &costs::PROJECTION,
    &usage::PROJECTION,
];
