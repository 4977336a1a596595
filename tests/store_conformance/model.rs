//! The contract in its plainest form: a vector behind a lock. It is what the log in SQLite is
//! compared with, and shows that the contract asks for nothing that only SQLite has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cody_batch::clock::Clock;
use cody_batch::store::subscription::ReadPages;
use cody_batch::store::{
    Append, Appended, Cursor, Expected, Head, Log, LogError, MAX_EVENTS, MAX_HEADER_BYTES,
    Subscription, UniqueKey, UsedKey,
};
use cody_events::digest::Sha256;
use cody_events::envelope::{MAX_FACTS_BYTES, Recorded};
use cody_events::hash::{event_hash, log_hash, payload_commit};
use cody_events::ids::EventId;
use serde_json::Value;
use tokio::sync::watch;

use crate::support::Place;

/// The salt of all payloads here: nothing is secret in a test.
const SALT: [u8; 16] = [0; 16];

#[derive(Debug, Default)]
pub struct ModelPlace(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    epoch: u64,
    rows: Vec<(Recorded, Option<Vec<u8>>)>,
    keys: BTreeMap<(String, String), (Sha256, String, u64, u64)>,
}

impl Place for ModelPlace {
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Log> {
        let mut memory = self.0.lock().unwrap();
        memory.epoch += 1;
        let (tell_head, _) = watch::channel(memory.head());
        Arc::new(Model { memory: Arc::clone(&self.0), epoch: memory.epoch, clock, tell_head })
    }
}

struct Model {
    memory: Arc<Mutex<Memory>>,
    epoch: u64,
    clock: Arc<dyn Clock>,
    tell_head: watch::Sender<Head>,
}

struct Pages(Arc<Mutex<Memory>>);

impl Memory {
    fn head(&self) -> Head {
        self.rows.last().map_or(Head { position: 0, log_hash: Sha256::ZERO }, |(last, _)| Head {
            position: last.position,
            log_hash: last.log_hash,
        })
    }

    fn page(&self, after: u64, limit: usize) -> Vec<Recorded> {
        let from = usize::try_from(after).unwrap().min(self.rows.len());
        self.rows[from..].iter().take(limit).map(|(event, _)| event.clone()).collect()
    }

    fn find(&self, id: EventId) -> Option<&(Recorded, Option<Vec<u8>>)> {
        self.rows.iter().find(|(event, _)| event.event_id == id)
    }

    fn seen(&self, append: &Append) -> Option<Result<Appended, LogError>> {
        let found: Vec<_> =
            (0..).map_while(|i| self.find(EventId::derived(append.command_id, i))).collect();
        let (first, last) = (found.first()?, found.last()?);
        let is_same = first.0.stream == append.stream
            && found.len() == append.events.len()
            && std::iter::zip(&found, &append.events).all(|((old, payload), new)| {
                old.kind == new.kind && old.facts == new.facts && *payload == new.payload
            });
        Some(if is_same {
            Ok(Appended::Duplicate {
                first_position: first.0.position,
                last_position: last.0.position,
                stream: append.stream.clone(),
            })
        } else {
            Err(rejected("command-id-reused"))
        })
    }

    fn key_seen(&self, key: &UniqueKey) -> Option<Result<Appended, LogError>> {
        let (digest, stream, first_position, last_position) =
            self.keys.get(&(key.actor.clone(), key.key.clone()))?.clone();
        Some(if digest == key.request_digest {
            Ok(Appended::Duplicate { first_position, last_position, stream })
        } else {
            Err(rejected("key-reused"))
        })
    }
}

fn rejected(code: &'static str) -> LogError {
    LogError::Rejected { code, message: String::new() }
}

fn check(append: &Append) -> Result<(), LogError> {
    let least = usize::from(append.unique_key.is_none());
    if !(least..=MAX_EVENTS).contains(&append.events.len()) {
        return Err(rejected("event-count"));
    }
    for event in &append.events {
        if event.facts.len() > MAX_FACTS_BYTES {
            return Err(rejected("facts-too-large"));
        }
        if !serde_json::from_str(&event.facts).is_ok_and(|facts: Value| facts.is_object()) {
            return Err(rejected("facts-not-json"));
        }
        let is_json = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).is_ok();
        if !event.payload.as_ref().is_none_or(is_json) {
            return Err(rejected("payload-not-json"));
        }
    }
    let texts = |e: &cody_events::envelope::NewEvent| e.kind.len() + e.facts.len() + 160;
    let headers: usize = append.events.iter().map(texts).sum();
    let common = append.events.len() * (append.stream.len() + append.actor.len());
    match headers + common > MAX_HEADER_BYTES {
        true => Err(rejected("headers-too-large")),
        false => Ok(()),
    }
}

#[async_trait]
impl Log for Model {
    async fn append(&self, append: Append) -> Result<Appended, LogError> {
        check(&append)?;
        let mut memory = self.memory.lock().unwrap();
        if memory.epoch != self.epoch {
            return Ok(Appended::Fenced { current_epoch: memory.epoch });
        }
        if let Some(answer) = memory.seen(&append).filter(|_| !append.events.is_empty()) {
            return answer;
        }
        if let Some(answer) = append.unique_key.as_ref().and_then(|key| memory.key_seen(key)) {
            return answer;
        }
        let in_stream = |row: &&(Recorded, _)| row.0.stream == append.stream;
        let actual_version = memory.rows.iter().filter(in_stream).count() as u64;
        let fits = match append.expected {
            Expected::NoStream => actual_version == 0,
            Expected::Exact(version) => actual_version == version,
            Expected::Any => true,
        };
        if !fits {
            return Ok(Appended::Conflict { actual_version });
        }
        let first_position = memory.head().position + 1;
        for (index, event) in append.events.iter().enumerate() {
            let previous = memory.rows.iter().rev().find(in_stream).map(|row| row.0.event_hash);
            let last = memory.rows.last().map(|row| row.0.recorded_at);
            let head = memory.head();
            let mut recorded = Recorded {
                position: head.position + 1,
                stream: append.stream.clone(),
                version: actual_version + 1 + index as u64,
                event_id: EventId::derived(append.command_id, index),
                command_id: append.command_id,
                kind: event.kind.clone(),
                schema_version: event.schema_version,
                recorded_at: last.map_or(self.clock.now(), |last| self.clock.now().max(last)),
                occurred_at: event.occurred_at,
                actor: append.actor.clone(),
                door: append.door,
                causation_id: event.causation_id,
                correlation_id: append.correlation_id,
                facts: event.facts.clone(),
                payload_len: event.payload.as_ref().map(|payload| payload.len() as u64),
                payload_commit: event.payload.as_ref().map(|bytes| payload_commit(&SALT, bytes)),
                event_hash: Sha256::ZERO,
                log_hash: Sha256::ZERO,
            };
            recorded.event_hash = event_hash(&previous.unwrap_or(Sha256::ZERO), &recorded);
            recorded.log_hash = log_hash(&head.log_hash, recorded.position, &recorded.event_hash);
            memory.rows.push((recorded, event.payload.clone()));
        }
        let last_position = memory.head().position;
        let first_position = first_position.min(last_position);
        if let Some(UniqueKey { actor, key, request_digest }) = append.unique_key {
            let first = (request_digest, append.stream, first_position, last_position);
            memory.keys.insert((actor, key), first);
        }
        self.tell_head.send_replace(memory.head());
        let last_version = actual_version + append.events.len() as u64;
        Ok(Appended::Appended { first_position, last_position, last_version })
    }

    async fn read_stream(
        &self,
        stream: &str,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let memory = self.memory.lock().unwrap();
        let rows = memory.rows.iter().map(|(event, _)| event);
        let found = rows.filter(|e| e.stream == stream && e.version >= from_version);
        Ok(found.take(limit).cloned().collect())
    }

    async fn read_log(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        Ok(self.memory.lock().unwrap().page(after, limit))
    }

    async fn payload(&self, position: u64) -> Result<Option<Vec<u8>>, LogError> {
        let memory = self.memory.lock().unwrap();
        let index = usize::try_from(position).unwrap().checked_sub(1);
        Ok(index.and_then(|index| memory.rows.get(index)?.1.clone()))
    }

    async fn head(&self) -> Result<Head, LogError> {
        Ok(self.memory.lock().unwrap().head())
    }

    async fn find_event(&self, id: EventId) -> Result<Option<Recorded>, LogError> {
        Ok(self.memory.lock().unwrap().find(id).map(|(event, _)| event.clone()))
    }

    async fn find_key(&self, actor: &str, key: &str) -> Result<Option<UsedKey>, LogError> {
        let memory = self.memory.lock().unwrap();
        let used = memory.keys.get(&(actor.to_owned(), key.to_owned())).cloned();
        Ok(used.map(|(request_digest, stream, first_position, last_position)| UsedKey {
            request_digest,
            stream,
            first_position,
            last_position,
        }))
    }

    fn subscribe(&self, cursor: Cursor) -> Subscription {
        let pages = Arc::new(Pages(Arc::clone(&self.memory)));
        Subscription::new(cursor, pages, self.tell_head.subscribe())
    }
}

#[async_trait]
impl ReadPages for Pages {
    async fn page(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        Ok(self.0.lock().unwrap().page(after, limit))
    }
}
