//! One example of every event as it stands in the log, and the JSON Schema of each. Both are
//! committed: what was once written must be read for ever, by us and by others.
//!
//! `CODY_UPDATE=1 cargo test -p cody-events` writes the files anew. When the shape of a released
//! kind changes, its schema version rises, the old example is kept as `<kind>@<version>.json`, and
//! an upcaster makes its facts today's. A payload has no upcaster: today's type must still read it.

#![forbid(unsafe_code)]
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
use cody_events::event::{
    DecodeError, Event, EventSchema, Facts, NoPayload, decode_payload, schemas,
};
use cody_events::raw::RawJson;
use cody_events::tree::RepoPath;
use serde_json::{Map, Value, json};

/// An example of one kind.
#[derive(Debug)]
pub struct Golden {
    event: Event,
    payload: Option<Value>,
    /// Reads a payload as the kind's type and renders it again.
    reread: fn(&[u8]) -> Result<Value, DecodeError>,
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
    let reread = |bytes: &[u8]| {
        decode_payload::<F>(bytes).map(|payload| serde_json::to_value(payload).unwrap())
    };
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
            assert_eq!(
                (golden.reread)(payload.to_string().as_bytes()).unwrap(),
                *payload,
                "{kind}"
            );
        }
    }
}

#[test]
fn examples_of_earlier_versions_are_still_read() {
    for name in names(&folder("golden")) {
        // Today's files are held against today's code above, and may just be written anew.
        let kind = name.strip_suffix(".json").unwrap_or(&name);
        if !Event::KINDS.contains(&kind) {
            let text = std::fs::read_to_string(folder("golden").join(&name)).unwrap();
            read_earlier(&name, &text).unwrap();
        }
    }
    let planted = |version: u32, facts: Value, payload: Value| {
        json!({ "type": "cancelled", "schema_version": version, "facts": facts, "payload": payload })
            .to_string()
    };
    let (facts, payload) = (json!({ "by": "person" }), json!({ "reason": "lunch" }));
    let good = planted(0, facts.clone(), payload.clone());
    read_earlier("cancelled@0.json", &good).unwrap();
    for (name, text) in [
        ("cancelled@0.json", planted(0, json!({ "by": "nobody" }), payload.clone())),
        ("cancelled@0.json", planted(0, facts.clone(), json!({ "why": "lunch" }))),
        ("cancelled@1.json", planted(1, facts, payload)),
        ("paused@0.json", good.clone()),
        ("canceled@0.json", good.clone()),
        ("cancelled.txt", good.clone()),
        ("cancelled-0.json", good),
    ] {
        assert!(read_earlier(name, &text).is_err(), "{name} holds {text}");
    }
}

/// Reads the example of an earlier version, named `<kind>@<version>.json`, with today's code.
fn read_earlier(name: &str, text: &str) -> Result<(), String> {
    let goldens = all();
    let (kind, version) = name
        .strip_suffix(".json")
        .and_then(|stem| stem.split_once('@'))
        .ok_or_else(|| format!("golden/{name} is the example of no kind"))?;
    let golden = goldens
        .iter()
        .find(|golden| golden.event.kind() == kind)
        .ok_or_else(|| format!("golden/{name} is the example of no kind"))?;
    let version: u32 = version.parse().map_err(|_| format!("golden/{name} names no version"))?;
    let file: Value = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    if file["type"] != kind || file["schema_version"] != version {
        return Err(format!("golden/{name} is not what its name says"));
    }
    if version >= golden.event.schema_version() {
        return Err(format!("golden/{name} is of no earlier version"));
    }
    Event::decode(kind, version, &file["facts"].to_string())
        .map_err(|error| format!("golden/{name}: {error:?}"))?;
    match file.get("payload") {
        Some(payload) => (golden.reread)(payload.to_string().as_bytes())
            .map(drop)
            .map_err(|error| format!("golden/{name}: {error:?}")),
        None => Ok(()),
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
        let example = golden.facts();
        let fits = facts.validate(&example);
        assert!(fits.is_ok(), "{kind}: {fits:?}");
        for Misfit { at, how, value } in misfits(&example) {
            let read = Event::decode(kind, schema.schema_version, &value.to_string());
            assert_eq!(facts.is_valid(&value), read.is_ok(), "{kind}, {how:?} {at}: {read:?}");
            // What may be nothing may be missing; a field too many is never taken, at any depth.
            assert!(read.is_err() || how == Flaw::Missing, "{kind}, {how:?} {at}");
        }
        match (&schema.payload, &golden.payload) {
            (Some(schema), Some(payload)) => {
                let validator = jsonschema::validator_for(schema.as_value()).unwrap();
                let fits = validator.validate(payload);
                assert!(fits.is_ok(), "{kind}: {fits:?}");
                for Misfit { at, how, value } in misfits(payload) {
                    let read = (golden.reread)(value.to_string().as_bytes());
                    let is_valid = validator.is_valid(&value);
                    assert_eq!(is_valid, read.is_ok(), "{kind}, {how:?} {at}: {read:?}");
                }
            }
            (None, None) => {}
            (schema, _) => panic!("{kind}: schema {}, example otherwise", schema.is_some()),
        }
    }
    assert_eq!(names(&folder("schemas")), files);
}

/// A value that is wrong in one place.
struct Misfit {
    /// Where, as a JSON pointer.
    at: String,
    how: Flaw,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    OneTooMany,
    Missing,
    Wrong,
}

/// `whole` with one field too many in each of its objects, however deep, and with each field missing
/// and wrong.
fn misfits(whole: &Value) -> Vec<Misfit> {
    let mut all = Vec::new();
    let mut objects = vec![String::new()];
    while let Some(object) = objects.pop() {
        let changed = |at: &str, how, change: &dyn Fn(&mut Map<String, Value>)| {
            let mut value = whole.clone();
            change(value.pointer_mut(&object).unwrap().as_object_mut().unwrap());
            Misfit { at: at.to_owned(), how, value }
        };
        let fields = match whole.pointer(&object).unwrap() {
            Value::Object(fields) => fields,
            Value::Array(items) => {
                objects.extend((0..items.len()).map(|item| format!("{object}/{item}")));
                continue;
            }
            _ => continue,
        };
        all.push(changed(&object, Flaw::OneTooMany, &|fields| {
            fields.insert("words".to_owned(), json!("of a person"));
        }));
        for name in fields.keys() {
            let at = format!("{object}/{name}");
            all.push(changed(&at, Flaw::Missing, &|fields| {
                fields.shift_remove(name);
            }));
            all.push(changed(&at, Flaw::Wrong, &|fields| {
                fields.insert(name.clone(), json!({ "no": "such thing" }));
            }));
            objects.push(at);
        }
    }
    all
}

#[test]
fn facts_are_small_at_their_largest() {
    let largest = [started::largest(), talked::largest(), made::largest(), delivered::largest()];
    for event in largest.into_iter().flatten() {
        let bytes = event.facts_json().unwrap().len();
        assert!(bytes <= MAX_FACTS_BYTES, "{} has {bytes} bytes", event.kind());
    }
}
