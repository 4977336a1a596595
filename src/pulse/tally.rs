//! What happened since the server started, added up from the log. It is what a log says, so a figure
//! here and the events of a job agree; a server that starts begins at nothing, as counters may.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cody_events::attempt::AttemptEnd;
use cody_events::event::Event;
use cody_events::outcome::Outcome;
use cody_events::thread::{CallClass, Usage};

use crate::histogram::Histogram;

/// Sizes of what a call to Claude takes, in seconds.
const BOUNDS: &[f64] = &[0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// What happened.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub events: u64,
    pub jobs_created: u64,
    pub attempts_requested: u64,
    pub attempts_started: u64,
    pub attempts_ended: BTreeMap<&'static str, u64>,
    pub turns: u64,
    pub usage: Usage,
    pub known_micros: u64,
    pub assumed_micros: u64,
    pub calls_permitted: u64,
    pub calls_failed: BTreeMap<String, u64>,
    /// How long calls took that were answered.
    pub calls_took: Arc<Histogram>,
    pub targets_finished: BTreeMap<&'static str, u64>,
    pub reviews: BTreeMap<&'static str, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let ends = [
            AttemptEnd::Completed,
            AttemptEnd::Lost,
            AttemptEnd::Crashed,
            AttemptEnd::Fenced,
            AttemptEnd::Interrupted,
        ];
        Self {
            events: 0,
            jobs_created: 0,
            attempts_requested: 0,
            attempts_started: 0,
            attempts_ended: ends.into_iter().map(|how| (name_of(how), 0)).collect(),
            turns: 0,
            usage: Usage::default(),
            known_micros: 0,
            assumed_micros: 0,
            calls_permitted: 0,
            calls_failed: BTreeMap::new(),
            calls_took: Arc::new(Histogram::new(BOUNDS)),
            targets_finished: Outcome::ALL.into_iter().map(|one| (one.name(), 0)).collect(),
            reviews: ["approved", "rejected", "changes-requested"].map(|one| (one, 0)).into(),
        }
    }
}

impl Tally {
    /// Adds an event; one that this version cannot read counts as an event and no more.
    pub fn add(&mut self, event: Option<&Event>) {
        self.events += 1;
        match event {
            Some(Event::Created(_)) => self.jobs_created += 1,
            Some(Event::AttemptRequested(_)) => self.attempts_requested += 1,
            Some(Event::AttemptStarted(_)) => self.attempts_started += 1,
            Some(Event::AttemptEnded(e)) => {
                *self.attempts_ended.entry(name_of(e.how)).or_default() += 1;
            }
            Some(Event::CallPermitted(_)) => self.calls_permitted += 1,
            Some(Event::ClaudeTurn(e)) => {
                self.turns += 1;
                self.usage = self.usage.plus(&e.usage);
                self.known_micros = self.known_micros.saturating_add(e.cost_micros);
                self.calls_took.add(Duration::from_millis(e.ms));
            }
            Some(Event::CallFailed(e)) => {
                self.usage = self.usage.plus(&e.usage.unwrap_or_default());
                self.assumed_micros = self.assumed_micros.saturating_add(e.assumed_micros);
                *self.calls_failed.entry(word_of(e.class)).or_default() += 1;
            }
            Some(Event::TargetFinished(e)) => {
                *self.targets_finished.entry(e.outcome.name()).or_default() += 1;
            }
            Some(Event::DiffApproved(_)) => self.add_review("approved"),
            Some(Event::DiffRejected(_)) => self.add_review("rejected"),
            Some(Event::ChangesRequested(_)) => self.add_review("changes-requested"),
            _ => {}
        }
    }

    fn add_review(&mut self, verdict: &'static str) {
        *self.reviews.entry(verdict).or_default() += 1;
    }
}

fn name_of(how: AttemptEnd) -> &'static str {
    match how {
        AttemptEnd::Completed => "completed",
        AttemptEnd::Lost => "lost",
        AttemptEnd::Crashed => "crashed",
        AttemptEnd::Fenced => "fenced",
        AttemptEnd::Interrupted => "interrupted",
    }
}

/// The class as it stands in the log.
fn word_of(class: CallClass) -> String {
    match serde_json::to_value(class) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => "other".to_owned(),
    }
}
