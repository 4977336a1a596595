//! Checks a log against its own hashes, from the bytes up: every payload, every chain, every
//! number. What it cannot see is a log that was cut off or rewritten as a whole; anchors do that.

use std::collections::BTreeMap;

use cody_events::digest::Sha256;
use cody_events::hash::{SALT_BYTES, event_hash, log_hash, payload_commit};

use super::sqlite::{read_log, stored_payload};
use super::{LogError, SqliteLog};

/// How many events are held at once.
const PAGE: usize = 500;

/// What a check of the whole log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is as it was written.
    Whole { events: u64, payloads: u64, removed_payloads: u64, log_hash: Sha256 },
    /// The first place that is not.
    Broken { position: u64, what: String },
}

impl SqliteLog {
    /// Reads the whole log and hashes it again. Memory grows with the number of streams only.
    pub async fn verify(&self) -> Result<Verdict, LogError> {
        let mut check = Check::default();
        loop {
            let after = check.position;
            let found = self
                .read(move |connection| {
                    let page = read_log(connection, after, PAGE)?;
                    let mut rows = Vec::with_capacity(page.len());
                    for event in page {
                        let payload = match event.payload_commit {
                            Some(_) => stored_payload(connection, event.position)?,
                            None => None,
                        };
                        rows.push((event, payload));
                    }
                    Ok(rows)
                })
                .await?;
            if found.is_empty() {
                return Ok(Verdict::Whole {
                    events: check.position,
                    payloads: check.payloads,
                    removed_payloads: check.removed,
                    log_hash: check.log_hash,
                });
            }
            for (event, payload) in found {
                let position = check.position + 1;
                if let Err(what) = check.next(event, payload) {
                    return Ok(Verdict::Broken { position, what });
                }
            }
        }
    }
}

struct Check {
    position: u64,
    log_hash: Sha256,
    streams: BTreeMap<String, (u64, Sha256)>,
    payloads: u64,
    removed: u64,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            position: 0,
            log_hash: Sha256::ZERO,
            streams: BTreeMap::new(),
            payloads: 0,
            removed: 0,
        }
    }
}

impl Check {
    fn next(
        &mut self,
        event: cody_events::envelope::Recorded,
        payload: Option<super::sqlite::StoredPayload>,
    ) -> Result<(), String> {
        let position = self.position + 1;
        if event.position != position {
            return Err(format!("position {position} is missing; {} follows", event.position));
        }
        let (version, previous) =
            self.streams.get(&event.stream).copied().unwrap_or((0, Sha256::ZERO));
        if event.version != version + 1 {
            return Err(format!("version {} follows {version} in {}", event.version, event.stream));
        }
        if let Some(commit) = event.payload_commit {
            match payload {
                Some(stored) => {
                    let salt: [u8; SALT_BYTES] = stored
                        .salt
                        .as_slice()
                        .try_into()
                        .map_err(|_| "the salt is cut".to_owned())?;
                    let plaintext =
                        stored.plaintext(position).map_err(|error| error.to_string())?;
                    if payload_commit(&salt, &plaintext) != commit {
                        return Err("the payload is not what was written".to_owned());
                    }
                    self.payloads += 1;
                }
                None => self.removed += 1,
            }
        }
        if event_hash(&previous, &event) != event.event_hash {
            return Err("the event's hash does not fit its content".to_owned());
        }
        let log_hash = log_hash(&self.log_hash, position, &event.event_hash);
        if log_hash != event.log_hash {
            return Err("the log's hash does not fit".to_owned());
        }
        self.streams.insert(event.stream, (event.version, event.event_hash));
        self.position = position;
        self.log_hash = log_hash;
        Ok(())
    }
}
