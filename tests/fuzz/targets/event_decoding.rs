//! Reading events: what can be read is written and read again as the same; what cannot is an error.

#![no_main]

use cody_events::event::{Event, Facts, decode_payload};
use cody_events::{attempt, delivery, diff, evidence, job, outcome, system, thread};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
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
            payload_is_read(&kind, payload.get().as_bytes());
        }
    }
    if let Some((kind, facts)) = data.split_first() {
        let kind = Event::KINDS[usize::from(*kind) % Event::KINDS.len()];
        if let Ok(facts) = std::str::from_utf8(facts) {
            facts_are_read(kind, 1, facts);
        }
        payload_is_read(kind, facts);
    }
});

fn facts_are_read(kind: &str, schema_version: u32, facts: &str) {
    let Ok(event) = Event::decode(kind, schema_version, facts) else { return };
    let written = event.facts_json().unwrap();
    let again = Event::decode(event.kind(), event.schema_version(), &written).unwrap();
    assert_eq!(again, event);
    assert_eq!(again.facts_json().unwrap(), written);
}

macro_rules! kinds {
    ($($name:ident in $family:ident),* $(,)?) => {
        fn payload_is_read(kind: &str, bytes: &[u8]) {
            match kind {
                $(<$family::$name as Facts>::KIND => read::<$family::$name>(bytes),)*
                _ => {}
            }
        }

        /// Does not compile while a kind is missing below.
        fn _are_all(event: &Event) {
            match event {
                $(Event::$name(_) => {})*
            }
        }
    };
}

kinds! {
    Created in job,
    Paused in job,
    Resumed in job,
    Cancelled in job,
    BudgetChanged in job,
    AttemptRequested in attempt,
    AttemptStarted in attempt,
    AttemptEnded in attempt,
    RepoScanned in evidence,
    DependenciesFetched in evidence,
    ChecksRan in evidence,
    ThreadStarted in thread,
    CallPermitted in thread,
    CallFailed in thread,
    ClaudeTurn in thread,
    ToolsRan in thread,
    DiffReviewed in thread,
    DiffProduced in diff,
    DiffApproved in diff,
    DiffRejected in diff,
    ChangesRequested in diff,
    TargetHeld in diff,
    BranchPushed in delivery,
    PrOpened in delivery,
    PrUpdated in delivery,
    DeliveryFailed in delivery,
    TargetFinished in outcome,
    TargetReopened in outcome,
    Finished in outcome,
    Archived in job,
    Unarchived in job,
    PayloadRedacted in system,
    TokenCreated in system,
    TokenRevoked in system,
    SettingsChanged in system,
    EpochOpened in system,
}

fn read<F: Facts>(bytes: &[u8]) {
    let Ok(payload) = decode_payload::<F>(bytes) else { return };
    let written = serde_json::to_string(&payload).unwrap();
    let again = decode_payload::<F>(written.as_bytes()).unwrap();
    // Not every payload can be compared, but each says all that it holds.
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
}
