//! The hashes that chain the log. Every byte that goes in is fixed here and in
//! `docs/log-format.md`; once released, neither changes.

use sha2::{Digest as _, Sha256 as Hasher};

use crate::digest::Sha256;
use crate::envelope::Recorded;

/// The bytes of salt before each payload.
pub const SALT_BYTES: usize = 16;

const EVENT_DOMAIN: &[u8] = b"cody-batch/event/1";
const LOG_DOMAIN: &[u8] = b"cody-batch/log/1";

/// `payload_commit`: a salted hash of the payload's plaintext, so that a removed short payload
/// cannot be guessed from it.
pub fn payload_commit(salt: &[u8; SALT_BYTES], plaintext: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(salt);
    hasher.update(plaintext);
    Sha256(hasher.finalize().into())
}

/// `event_hash` of `event`, which follows `previous` in its stream (32 zero bytes for the first).
/// The position, both hashes and the payload itself do not go in.
pub fn event_hash(previous: &Sha256, event: &Recorded) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(EVENT_DOMAIN);
    hasher.update(previous.as_bytes());
    text(&mut hasher, event.stream.as_bytes());
    hasher.update(event.version.to_be_bytes());
    hasher.update(event.event_id.0.as_bytes());
    hasher.update(event.command_id.0.as_bytes());
    text(&mut hasher, event.kind.as_bytes());
    hasher.update(u64::from(event.schema_version).to_be_bytes());
    hasher.update(event.recorded_at.as_micros().to_be_bytes());
    hasher.update(event.occurred_at.as_micros().to_be_bytes());
    text(&mut hasher, event.actor.as_bytes());
    text(&mut hasher, event.door.name().as_bytes());
    optional(&mut hasher, event.causation_id.as_ref().map(|id| id.0.as_bytes().as_slice()));
    optional(&mut hasher, event.correlation_id.as_ref().map(|id| id.as_bytes().as_slice()));
    text(&mut hasher, event.facts.as_bytes());
    match (&event.payload_len, &event.payload_commit) {
        (Some(length), Some(commit)) => {
            hasher.update([1]);
            hasher.update(length.to_be_bytes());
            hasher.update(commit.as_bytes());
        }
        _ => hasher.update([0]),
    }
    Sha256(hasher.finalize().into())
}

/// `log_hash` at `position`, which follows `previous` (32 zero bytes for the first).
pub fn log_hash(previous: &Sha256, position: u64, event_hash: &Sha256) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(LOG_DOMAIN);
    hasher.update(previous.as_bytes());
    hasher.update(position.to_be_bytes());
    hasher.update(event_hash.as_bytes());
    Sha256(hasher.finalize().into())
}

/// Eight bytes of length, then the bytes: no two fields run together.
fn text(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

/// A zero byte for what is absent, else a one byte and the field.
fn optional(hasher: &mut Hasher, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            hasher.update([1]);
            hasher.update(bytes);
        }
        None => hasher.update([0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Door;
    use crate::ids::{CommandId, EventId};
    use crate::time::Timestamp;
    use uuid::Uuid;

    /// The worked example of `docs/log-format.md`.
    fn example() -> Recorded {
        Recorded {
            position: 1,
            stream: "job-00000000-0000-7000-8000-000000000001".to_owned(),
            version: 1,
            event_id: EventId(Uuid::from_u128(2)),
            command_id: CommandId(Uuid::from_u128(3)),
            kind: "cancelled".to_owned(),
            schema_version: 1,
            recorded_at: Timestamp(1_795_428_000_000_000),
            occurred_at: Timestamp(1_795_428_000_000_000),
            actor: "ada".to_owned(),
            door: Door::Cli,
            causation_id: None,
            correlation_id: Some(Uuid::from_u128(1)),
            facts: r#"{"by":"person"}"#.to_owned(),
            payload_len: Some(15),
            payload_commit: Some(payload_commit(&[7; SALT_BYTES], br#"{"reason":"no"}"#)),
            event_hash: Sha256::ZERO,
            log_hash: Sha256::ZERO,
        }
    }

    #[test]
    fn the_documented_example_has_the_documented_hashes() {
        let event = example();
        let event_hash = event_hash(&Sha256::ZERO, &event);
        let log_hash = log_hash(&Sha256::ZERO, 1, &event_hash);
        let document = include_str!("../../docs/log-format.md");
        let root = crate::merkle::root(&[event_hash.as_bytes()]);
        for hash in [event.payload_commit.unwrap(), event_hash, log_hash, root] {
            assert!(document.contains(&hash.to_string()), "docs/log-format.md lacks {hash}");
        }
    }

    #[test]
    fn each_field_counts() {
        let base = event_hash(&Sha256::ZERO, &example());
        let changes: [fn(&mut Recorded); 12] = [
            |e| e.stream.push('x'),
            |e| e.version += 1,
            |e| e.event_id = EventId(Uuid::from_u128(9)),
            |e| e.command_id = CommandId(Uuid::from_u128(9)),
            |e| e.kind.push('x'),
            |e| e.schema_version += 1,
            |e| e.recorded_at.0 += 1,
            |e| e.actor.push('x'),
            |e| e.door = Door::Mcp,
            |e| e.correlation_id = None,
            |e| e.facts.push(' '),
            |e| e.payload_commit = None,
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut event = example();
            change(&mut event);
            assert_ne!(event_hash(&Sha256::ZERO, &event), base, "change {index}");
        }
        assert_ne!(event_hash(&base, &example()), base);
    }
}
