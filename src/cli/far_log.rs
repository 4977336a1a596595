//! The log of a server that is not on this machine, as far as it is read here: jobs' events and their
//! payloads, a page at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cody_events::digest::Sha256;
use cody_events::envelope::Recorded;
use cody_events::ids::{EventId, JobId};
use tokio::sync::watch;

use super::client::{Client, ClientError};
use crate::api::reading::{MOST_BYTES, MOST_EVENTS, Question};
use crate::store::subscription::ReadPages;
use crate::store::{Append, Appended, Cursor, Head, Log, LogError, Subscription, UsedKey};

/// A server's log.
#[derive(Debug)]
pub struct FarLog {
    client: Arc<Client>,
    /// What will likely be asked for next.
    near: Mutex<Near>,
}

/// The latest page and payloads, which hold at most a few megabytes.
#[derive(Debug, Default)]
struct Near {
    /// Positions of the page's events that have payloads, and how large those are.
    sizes: Vec<(u64, u64)>,
    payloads: BTreeMap<u64, Option<Vec<u8>>>,
}

impl FarLog {
    /// The log of `client`'s server.
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, near: Mutex::default() }
    }

    fn near(&self) -> std::sync::MutexGuard<'_, Near> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position asked for and those that follow it on its page, as many as one answer holds.
    fn batch(&self, position: u64) -> Vec<u64> {
        let near = self.near();
        let Some(start) = near.sizes.iter().position(|(other, _)| *other == position) else {
            return vec![position];
        };
        let mut bytes = 0;
        let fits = near.sizes[start..].iter().take(MOST_EVENTS).take_while(|(_, size)| {
            let is_first = bytes == 0;
            bytes += size;
            is_first || bytes <= MOST_BYTES as u64
        });
        fits.map(|(position, _)| *position).collect()
    }
}

#[async_trait]
impl Log for FarLog {
    async fn append(&self, _: Append) -> Result<Appended, LogError> {
        Err(not_here())
    }

    async fn read_stream(
        &self,
        stream: &str,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let job = JobId::from_stream(stream).ok_or_else(not_here)?;
        let mut events: Vec<Recorded> = Vec::new();
        // One answer may hold less than was asked for.
        while events.len() < limit {
            let from_version = from_version + events.len() as u64;
            let asked = (limit - events.len()).min(MOST_EVENTS);
            let question = Question::Events { job, from_version, limit: asked };
            let page: Vec<Recorded> = self.client.answer(&question).await.map_err(told)?;
            let goes_on = |(version, event): (u64, &Recorded)| {
                event.stream == stream && event.version == version
            };
            // A page that comes again and again would be read for ever.
            if page.len() > asked || !(from_version..).zip(&page).all(goes_on) {
                return Err(LogError::Closed(format!(
                    "the server at {} tells other events than it was asked for; do not trust it",
                    self.client.url()
                )));
            }
            let is_last = page.len() < asked;
            events.extend(page);
            if is_last {
                break;
            }
        }
        let size = |event: &Recorded| Some((event.position, event.payload_len?));
        self.near().sizes = events.iter().filter_map(size).collect();
        Ok(events)
    }

    async fn read_log(&self, _: u64, _: usize) -> Result<Vec<Recorded>, LogError> {
        Err(not_here())
    }

    async fn payload(&self, position: u64) -> Result<Option<Vec<u8>>, LogError> {
        if let Some(payload) = self.near().payloads.get(&position) {
            return Ok(payload.clone());
        }
        let positions = self.batch(position);
        let question = Question::Payloads { positions: positions.clone() };
        let payloads: Vec<Option<String>> = self.client.answer(&question).await.map_err(told)?;
        let bytes = payloads.into_iter().map(|payload| payload.map(String::into_bytes));
        let payloads: BTreeMap<_, _> = positions.into_iter().zip(bytes).collect();
        let found = payloads.get(&position).cloned().flatten();
        self.near().payloads = payloads;
        Ok(found)
    }

    async fn head(&self) -> Result<Head, LogError> {
        let position = self.client.answer(&Question::Head).await.map_err(told)?;
        Ok(Head { position, log_hash: Sha256::of(&[]) })
    }

    async fn find_event(&self, _: EventId) -> Result<Option<Recorded>, LogError> {
        Err(not_here())
    }

    async fn find_key(&self, _: &str, _: &str) -> Result<Option<UsedKey>, LogError> {
        Err(not_here())
    }

    fn subscribe(&self, cursor: Cursor) -> Subscription {
        let head = watch::Sender::new(Head { position: 0, log_hash: Sha256::of(&[]) });
        Subscription::new(cursor, Arc::new(NoPages), head.subscribe())
    }
}

/// A far log is not followed.
struct NoPages;

#[async_trait]
impl ReadPages for NoPages {
    async fn page(&self, _: u64, _: usize) -> Result<Vec<Recorded>, LogError> {
        Err(not_here())
    }
}

fn not_here() -> LogError {
    LogError::Closed("a server's log is read one job at a time".to_owned())
}

/// A server that is silent may answer later; one that says no will say it again.
fn told(error: anyhow::Error) -> LogError {
    let is_passing = error.downcast_ref().is_some_and(ClientError::is_passing);
    let words = super::text::chain(&*error);
    if is_passing { LogError::Unavailable(words) } else { LogError::Closed(words) }
}

#[cfg(test)]
mod tests {
    use super::super::client::tests::stranger;
    use super::*;

    /// The event at `version` of `job`, as a server writes it.
    fn event(job: JobId, version: u64) -> Recorded {
        let hash = Sha256::of(&[]);
        let at = cody_events::time::Timestamp(0);
        Recorded {
            position: version,
            stream: job.stream(),
            version,
            event_id: EventId(uuid::Uuid::nil()),
            command_id: cody_events::ids::CommandId(uuid::Uuid::nil()),
            kind: "archived".to_owned(),
            schema_version: 1,
            recorded_at: at,
            occurred_at: at,
            actor: "ada".to_owned(),
            door: cody_events::envelope::Door::Cli,
            causation_id: None,
            correlation_id: None,
            facts: "{}".to_owned(),
            payload_len: None,
            payload_commit: None,
            event_hash: hash,
            log_hash: hash,
        }
    }

    #[tokio::test]
    async fn events_that_were_not_asked_for_are_not_read() {
        let (job, other) = (JobId(uuid::Uuid::from_u128(7)), JobId(uuid::Uuid::from_u128(8)));
        let page = serde_json::to_string(&[event(job, 3), event(job, 4)]).unwrap();
        let (client, _) = stranger(Some((200, &page))).await;
        let log = FarLog::new(Arc::new(client));
        assert_eq!(log.read_stream(&job.stream(), 3, 9).await.unwrap().len(), 2);
        for (job, from_version, limit) in [(job, 5, 9), (job, 2, 9), (other, 3, 9), (job, 3, 1)] {
            match log.read_stream(&job.stream(), from_version, limit).await {
                Err(LogError::Closed(words)) => assert!(words.contains("do not trust"), "{words}"),
                other => panic!("{from_version} {limit}: {other:?}"),
            }
        }
    }
}
