//! The ids of the domain: a type each, so that none can stand where another belongs.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: expected a UUID such as 0198c5a2-6d1e-7c3b-9f00-3a1b2c4d5e6f")]
pub struct BadId {
    kind: &'static str,
    text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(with = "String", extend("format" = "uuid"))]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| BadId { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

uuid_id!(
    /// One request: prompt, policy, targets. A UUIDv7, so ids sort by the time of creation.
    JobId,
    "job id"
);
uuid_id!(
    /// One wish, made by whoever asks; the same id sent twice is the same wish.
    CommandId,
    "command id"
);
uuid_id!(
    /// One event; derived from the command that caused it and its index among that command's events.
    EventId,
    "event id"
);
uuid_id!(
    /// One request for an attempt; the worker proves with its nonce that it was meant.
    RequestId,
    "attempt request id"
);

impl JobId {
    /// The name of this job's stream in the log: `job-<id>`.
    pub fn stream(self) -> String {
        format!("job-{self}")
    }

    /// The job whose stream has this name, if it is a job's.
    pub fn from_stream(stream: &str) -> Option<Self> {
        stream.strip_prefix("job-")?.parse().ok()
    }
}

impl CommandId {
    /// Derives the id of a command from the parts that make it the same wish, so that a restarted
    /// asker repeats the wish instead of making a second one.
    pub fn derived(parts: &[&str]) -> Self {
        Self(derived_uuid("cody-batch/command/1", parts))
    }
}

impl EventId {
    /// The id of the event at `index` among those that `command` caused.
    pub fn derived(command: CommandId, index: usize) -> Self {
        Self(derived_uuid("cody-batch/event-id/1", &[&command.to_string(), &index.to_string()]))
    }
}

/// A UUIDv8 from SHA-256 over length-prefixed parts.
fn derived_uuid(domain: &str, parts: &[&str]) -> Uuid {
    use sha2::{Digest as _, Sha256};
    let mut hasher = Sha256::new();
    hasher.update(domain.as_bytes());
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The first one.
            pub const FIRST: Self = Self(1);

            /// The one after this.
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// One repository inside a job, from 1.
    TargetNumber
);
number!(
    /// From (re)opening a target to its outcome, from 1.
    RoundNumber
);
number!(
    /// One worker process at work on a target, from 1; it fences every other.
    AttemptNumber
);
number!(
    /// One conversation with Claude for a target, from 1.
    ThreadNumber
);
number!(
    /// One Claude response in a thread, from 1, dense, across attempts.
    TurnNumber
);
number!(
    /// One HTTP request for a turn, from 1; retries are calls of the same turn.
    CallNumber
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_wish_has_the_same_id_and_parts_do_not_run_together() {
        assert_eq!(CommandId::derived(&["a", "b"]), CommandId::derived(&["a", "b"]));
        assert_ne!(CommandId::derived(&["ab", ""]), CommandId::derived(&["a", "b"]));
        let command = CommandId::derived(&["x"]);
        assert_ne!(EventId::derived(command, 0), EventId::derived(command, 1));
    }

    #[test]
    fn a_stream_name_leads_back_to_its_job() {
        let job = JobId(Uuid::from_u128(7));
        assert_eq!(JobId::from_stream(&job.stream()), Some(job));
        assert_eq!(JobId::from_stream("system"), None);
    }
}
