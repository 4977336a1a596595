//! One example of every event as it stands in the log, and the JSON Schema of each. Both are
//! committed: what was once written must be read for ever, by us and by others.
//!
//! `CODY_UPDATE=1 cargo test -p cody-events` writes the files anew. When the shape of a released
//! kind changes, its schema version rises, the old example is kept as `<kind>@<version>.json`, and
//! an upcaster makes it today's.

#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

#[path = "golden/delivered.rs"]
mod delivered;
#[path = "golden/made.rs"]
mod made;
#[path = "golden/started.rs"]
mod started;
#[path = "golden/talked.rs"]
mod talked;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cody_events::digest::{ObjectId, Sha256};
use cody_events::envelope::MAX_FACTS_BYTES;
use cody_events::event::{Event, EventSchema, Facts, NoPayload, decode_payload, schemas};
use cody_events::raw::RawJson;
use cody_events::tree::RepoPath;
use serde_json::{Map, Value, json};

/// An example of one kind.
#[derive(Debug)]
pub struct Golden {
    event: Event,
    payload: Option<Value>,
    /// Reads a payload as the kind's type and renders it again.
    reread: fn(&[u8]) -> Value,
}

/// An example with a payload.
pub fn with<F: Facts>(facts: F, payload: &F::Payload) -> Golden {
    let payload = serde_json::to_value(payload).unwrap();
    Golden { payload: Some(payload), ..of(facts) }
}

/// An example of a kind that has none.
pub fn bare<F: Facts<Payload = NoPayload>>(facts: F) -> Golden {
    of(facts)
}

fn of<F: Facts>(facts: F) -> Golden {
    let reread = |bytes: &[u8]| serde_json::to_value(decode_payload::<F>(bytes).unwrap()).unwrap();
    Golden { event: facts.into(), payload: None, reread }
}

pub fn object(number: u8) -> ObjectId {
    ObjectId([number; 20])
}

pub fn hash(number: u8) -> Sha256 {
    Sha256([number; 32])
}

pub fn path(text: &str) -> RepoPath {
    RepoPath::new(text).unwrap()
}

pub fn raw(value: Value) -> RawJson {
    RawJson::render(&value).unwrap()
}

fn all() -> Vec<Golden> {
    [started::all(), talked::all(), made::all(), delivered::all()].into_iter().flatten().collect()
}

impl Golden {
    fn facts(&self) -> Value {
        serde_json::from_str(&self.event.facts_json().unwrap()).unwrap()
    }

    fn to_json(&self) -> Value {
        let mut file = Map::new();
        file.insert("type".to_owned(), json!(self.event.kind()));
        file.insert("schema_version".to_owned(), json!(self.event.schema_version()));
        file.insert("facts".to_owned(), self.facts());
        if let Some(payload) = &self.payload {
            file.insert("payload".to_owned(), payload.clone());
        }
        Value::Object(file)
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares a committed file with what it has to say, or writes it.
fn hold(path: &Path, value: &Value) {
    let text = format!("{}\n", serde_json::to_string_pretty(value).unwrap());
    if std::env::var_os("CODY_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, text, "{} is not what this version writes", path.display());
}

fn names(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn each_kind_has_an_example_that_is_read_back() {
    let examples = all();
    let kinds: Vec<&str> = examples.iter().map(|golden| golden.event.kind()).collect();
    assert_eq!(kinds, Event::KINDS);
    for golden in examples {
        let kind = golden.event.kind();
        let file = folder("golden").join(format!("{kind}.json"));
        hold(&file, &golden.to_json());
        let committed: Value =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let version = u32::try_from(committed["schema_version"].as_u64().unwrap()).unwrap();
        let facts = committed["facts"].to_string();
        let read = Event::decode(kind, version, &facts).unwrap();
        assert_eq!(read, golden.event);
        // The same facts are the same bytes, or hashes would differ.
        assert_eq!(read.facts_json().unwrap(), facts);
        let payload = committed.get("payload");
        assert_eq!(payload, golden.payload.as_ref(), "{kind}");
        if let Some(payload) = payload {
            assert_eq!((golden.reread)(payload.to_string().as_bytes()), *payload, "{kind}");
        }
    }
}

#[test]
fn examples_of_earlier_versions_are_still_read() {
    for name in names(&folder("golden")) {
        let stem = name.strip_suffix(".json").unwrap();
        let kind = stem.split('@').next().unwrap();
        assert!(Event::KINDS.contains(&kind), "golden/{name} is of no kind");
        let text = std::fs::read_to_string(folder("golden").join(&name)).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let version = u32::try_from(file["schema_version"].as_u64().unwrap()).unwrap();
        let read = Event::decode(kind, version, &file["facts"].to_string());
        assert!(read.is_ok(), "golden/{name}: {read:?}");
    }
}

fn file_of(schema: &EventSchema) -> Value {
    let mut file = Map::new();
    file.insert("type".to_owned(), json!(schema.kind));
    file.insert("schema_version".to_owned(), json!(schema.schema_version));
    file.insert("facts".to_owned(), schema.facts.clone().to_value());
    if let Some(payload) = &schema.payload {
        file.insert("payload".to_owned(), payload.clone().to_value());
    }
    Value::Object(file)
}

#[test]
fn each_kind_has_a_schema_that_its_example_fits_and_nothing_else_does() {
    let mut files = BTreeSet::new();
    for (schema, golden) in schemas().iter().zip(all()) {
        let kind = schema.kind;
        assert_eq!(kind, golden.event.kind());
        hold(&folder("schemas").join(format!("{kind}.json")), &file_of(schema));
        files.insert(format!("{kind}.json"));
        let facts = jsonschema::validator_for(schema.facts.as_value()).unwrap();
        assert!(facts.is_valid(&golden.facts()), "{kind}: {:?}", facts.validate(&golden.facts()));
        for (what, other) in misfits(&golden.facts()) {
            let read = Event::decode(kind, schema.schema_version, &other.to_string());
            assert_eq!(facts.is_valid(&other), read.is_ok(), "{kind} with {what}: {read:?}");
            // A field that may be missing reads as nothing; one too many is never taken.
            assert!(read.is_err() || what.starts_with("no "), "{kind} with {what}");
        }
        match (&schema.payload, &golden.payload) {
            (Some(schema), Some(payload)) => {
                let validator = jsonschema::validator_for(schema.as_value()).unwrap();
                let fits = validator.validate(payload);
                assert!(fits.is_ok(), "{kind}: {fits:?}");
            }
            (None, None) => {}
            (schema, _) => panic!("{kind}: schema {}, example otherwise", schema.is_some()),
        }
    }
    assert_eq!(names(&folder("schemas")), files);
}

/// The facts with one field too many, without each of their fields, and with a wrong one.
fn misfits(facts: &Value) -> Vec<(String, Value)> {
    let Value::Object(fields) = facts else { panic!("facts are an object") };
    let mut all = Vec::new();
    let mut more = fields.clone();
    more.insert("prompt".to_owned(), json!("words"));
    all.push(("one too many".to_owned(), Value::Object(more)));
    for name in fields.keys() {
        let mut fewer = fields.clone();
        fewer.shift_remove(name);
        all.push((format!("no {name}"), Value::Object(fewer)));
        let mut wrong = fields.clone();
        wrong.insert(name.clone(), json!({ "no": "such thing" }));
        all.push((format!("a wrong {name}"), Value::Object(wrong)));
    }
    all
}

#[test]
fn facts_are_small_at_their_largest() {
    for event in started::largest().into_iter().chain(talked::largest()).chain(made::largest()) {
        let bytes = event.facts_json().unwrap().len();
        assert!(bytes <= MAX_FACTS_BYTES, "{} has {bytes} bytes", event.kind());
    }
}
