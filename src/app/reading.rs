//! Reading back what was recorded: events, payloads, and the states that they fold into, of which the
//! latest are kept in memory. Nothing is appended here.

use std::sync::{Arc, PoisonError};

use cody_events::envelope::Recorded;
use cody_events::event::{DecodeError, Event, Facts, decode_payload};
use cody_events::ids::JobId;
use cody_events::job::Created;

use super::{App, AppError, SYSTEM};
use crate::job::JobState;

/// How many events one page of a stream's catch-up holds.
const PAGE: usize = 500;
/// How many events a look back reads at once.
const LOOK_BACK: u64 = 32;

/// One event of a job, read back.
#[derive(Debug, Clone)]
pub struct Told {
    pub recorded: Recorded,
    pub event: Event,
}

impl App {
    /// The state of `job` now; the default state if there is no such job.
    pub async fn state(&self, job: JobId) -> Result<JobState, AppError> {
        let slot = self.slot(job);
        let mut state = slot.lock().await;
        self.catch_up(job, &mut state).await?;
        Ok(state.clone())
    }

    /// Keeps the state of `job` no longer: it is done, and read again if anybody asks.
    pub fn forget(&self, job: JobId) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if states.peek(&job).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            states.pop(&job);
        }
    }

    /// The events of `job` after `version`, in order.
    pub async fn events(&self, job: JobId, version: u64) -> Result<Vec<Told>, AppError> {
        let mut events = Vec::new();
        let mut after = version;
        loop {
            let page = self.log.read_stream(&job.stream(), after + 1, PAGE).await?;
            let full = page.len() == PAGE;
            for recorded in page {
                after = recorded.version;
                events.push(told(recorded)?);
            }
            if !full {
                return Ok(events);
            }
        }
    }

    /// How `job` began, if it did: its first event, and the facts of it.
    pub async fn created(&self, job: JobId) -> Result<Option<(Recorded, Created)>, AppError> {
        let first = self.log.read_stream(&job.stream(), 1, 1).await?.into_iter().next();
        let Some(recorded) = first else { return Ok(None) };
        match Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts)? {
            Event::Created(created) => Ok(Some((recorded, created))),
            _ => Ok(None),
        }
    }

    /// The latest event of `job` that `fits`, read from the end: what is looked for is recent.
    pub async fn find_last(
        &self,
        job: JobId,
        fits: impl Fn(&Event) -> bool,
    ) -> Result<Option<Told>, AppError> {
        let mut end = self.state(job).await?.version;
        while end > 0 {
            let start = end.saturating_sub(LOOK_BACK);
            let page = self.log.read_stream(&job.stream(), start + 1, LOOK_BACK as usize).await?;
            for recorded in page.into_iter().rev().filter(|recorded| recorded.version <= end) {
                let told = told(recorded)?;
                if fits(&told.event) {
                    return Ok(Some(told));
                }
            }
            end = start;
        }
        Ok(None)
    }

    /// The payload at `position`, as the bytes that were logged; nothing if there is none.
    pub async fn payload(&self, position: u64) -> Result<Option<Vec<u8>>, AppError> {
        Ok(self.log.payload(position).await?)
    }

    /// The payload of an `F` at `position`, read; nothing if there is none or it was removed.
    pub async fn payload_of<F: Facts>(
        &self,
        position: u64,
    ) -> Result<Option<F::Payload>, AppError> {
        match self.log.payload(position).await? {
            Some(bytes) => Ok(Some(decode_payload::<F>(&bytes)?)),
            None => Ok(None),
        }
    }

    /// A page of what belongs to no job, after `version`, in order; empty when there is no more.
    pub async fn system_page(&self, version: u64) -> Result<Vec<Told>, AppError> {
        let page = self.log.read_stream(SYSTEM, version + 1, PAGE).await?;
        page.into_iter().map(|recorded| Ok(told(recorded)?)).collect()
    }

    /// The one place of a job's state. A place in use is never given up: a second one beside it would
    /// not see what is being appended.
    pub(super) fn slot(&self, job: JobId) -> Arc<tokio::sync::Mutex<JobState>> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = Arc::clone(states.get_or_insert(job, Arc::default));
        while states.len() > self.most_states.get() {
            let idle = |slot: &Arc<_>| Arc::strong_count(slot) == 1;
            let oldest = states.iter().rev().find(|(_, slot)| idle(slot)).map(|(job, _)| *job);
            let Some(oldest) = oldest else { break };
            states.pop(&oldest);
        }
        slot
    }

    /// Folds what the log has beyond `state`.
    pub(super) async fn catch_up(&self, job: JobId, state: &mut JobState) -> Result<(), AppError> {
        if self.is_sole_writer && state.version > 0 {
            return Ok(());
        }
        for told in self.events(job, state.version).await? {
            state.evolve(&told.event);
        }
        Ok(())
    }
}

fn told(recorded: Recorded) -> Result<Told, DecodeError> {
    let event = Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts)?;
    Ok(Told { recorded, event })
}
