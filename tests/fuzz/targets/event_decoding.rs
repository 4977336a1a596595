//! Reading events: what can be read is written and read again as the same; what cannot is an error.

#![no_main]

use cody_events::diff::DiffProduced;
use cody_events::event::{Event, Facts, decode_payload};
use cody_events::evidence::{ChecksRan, DependenciesFetched, RepoScanned};
use cody_events::job::Created;
use cody_events::thread::{ClaudeTurn, ThreadStarted, ToolsRan};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event as the examples write it.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    schema_version: u32,
    #[serde(borrow)]
    facts: &'a RawValue,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

fuzz_target!(|data: &[u8]| {
    if let Ok(Written { kind, schema_version, facts, payload }) = serde_json::from_slice(data) {
        facts_are_read(&kind, schema_version, facts.get());
        if let Some(payload) = payload {
            payload_is_read(payload.get().as_bytes());
        }
    }
    if let Some((kind, facts)) = data.split_first() {
        let kind = Event::KINDS[usize::from(*kind) % Event::KINDS.len()];
        if let Ok(facts) = std::str::from_utf8(facts) {
            facts_are_read(kind, 1, facts);
        }
        payload_is_read(facts);
    }
});

fn facts_are_read(kind: &str, schema_version: u32, facts: &str) {
    let Ok(event) = Event::decode(kind, schema_version, facts) else { return };
    let written = event.facts_json().unwrap();
    let again = Event::decode(event.kind(), event.schema_version(), &written).unwrap();
    assert_eq!(again, event);
    assert_eq!(again.facts_json().unwrap(), written);
}

fn payload_is_read(bytes: &[u8]) {
    read::<Created>(bytes);
    read::<RepoScanned>(bytes);
    read::<DependenciesFetched>(bytes);
    read::<ChecksRan>(bytes);
    read::<ThreadStarted>(bytes);
    read::<ClaudeTurn>(bytes);
    read::<ToolsRan>(bytes);
    read::<DiffProduced>(bytes);
}

fn read<F: Facts>(bytes: &[u8])
where
    F::Payload: Serialize + PartialEq + std::fmt::Debug,
{
    let Ok(payload) = decode_payload::<F>(bytes) else { return };
    let written = serde_json::to_vec(&payload).unwrap();
    assert_eq!(decode_payload::<F>(&written).unwrap(), payload);
}
