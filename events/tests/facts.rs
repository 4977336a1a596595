//! Facts made by chance, of every kind: what a schema admits is read, and comes back as the same
//! bytes whoever wrote it, in whatever order. The values come from the schemas themselves, so a new
//! kind is held to this from its first day.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

use cody_events::event::{Event, EventSchema, schemas};
use proptest::prelude::*;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

#[test]
fn facts_of_every_kind_come_back_as_the_same_bytes() {
    for EventSchema { kind, schema_version, facts, .. } in schemas() {
        let schema = facts.to_value();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
        let made = TestRunner::new(config).run(&values(&schema, &schema), |value| {
            let text = value.to_string();
            prop_assert!(validator.is_valid(&value), "the maker is wrong: {}", text);
            let read = |text: &str| {
                Event::decode(kind, schema_version, text)
                    .map_err(|error| TestCaseError::fail(format!("{error:?}: {text}")))
            };
            let event = read(&text)?;
            let written = event.facts_json().unwrap();
            let again = read(&written)?;
            prop_assert_eq!(&again, &event);
            prop_assert_eq!(again.facts_json().unwrap(), written.as_str());

            // Nothing is lost, nothing is added, and what is written fits the schema again.
            let value_again: Value = serde_json::from_str(&written).unwrap();
            prop_assert!(validator.is_valid(&value_again), "{}", written);
            prop_assert_eq!(without_silence(&value_again), without_silence(&value));

            // The order in which another writer puts the fields changes no byte of ours.
            let turned = read(&reversed(&value).to_string())?;
            prop_assert_eq!(turned.facts_json().unwrap(), written);
            Ok(())
        });
        made.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

/// Values that `schema`, a part of `root`, admits. Knows what our facts' schemas say, and panics at
/// anything else, so that no new rule is passed over.
fn values(schema: &Value, root: &Value) -> BoxedStrategy<Value> {
    if let Some(name) = schema.get("$ref") {
        let pointer = name.as_str().unwrap().strip_prefix('#').unwrap();
        return values(root.pointer(pointer).unwrap(), root);
    }
    if let Some(value) = schema.get("const") {
        return Just(value.clone()).boxed();
    }
    if let Some(choices) = schema.get("enum") {
        return prop::sample::select(choices.as_array().unwrap().clone()).boxed();
    }
    if let Some(choices) = schema.get("oneOf").or_else(|| schema.get("anyOf")) {
        let choices = choices.as_array().unwrap().iter().map(|choice| values(choice, root));
        return prop::strategy::Union::new(choices).boxed();
    }
    match &schema["type"] {
        Value::String(one) => typed(one, schema, root),
        Value::Array(types) => {
            let types = types.iter().map(|one| typed(one.as_str().unwrap(), schema, root));
            prop::strategy::Union::new(types).boxed()
        }
        _ => panic!("facts have no free values: {schema}"),
    }
}

fn typed(name: &str, schema: &Value, root: &Value) -> BoxedStrategy<Value> {
    let format = schema.get("format").and_then(Value::as_str);
    match (name, format) {
        ("null", _) => Just(Value::Null).boxed(),
        ("boolean", _) => any::<bool>().prop_map(Value::from).boxed(),
        ("integer", Some("uint16")) => edged(u16::MIN, u16::MAX, any::<u16>()),
        ("integer", Some("uint32")) => edged(u32::MIN, u32::MAX, any::<u32>()),
        ("integer", Some("uint64")) => edged(u64::MIN, u64::MAX, any::<u64>()),
        ("integer", Some("int32")) => edged(i32::MIN, i32::MAX, any::<i32>()),
        ("string", Some("uuid")) => {
            any::<u128>().prop_map(|id| json!(uuid::Uuid::from_u128(id))).boxed()
        }
        ("string", Some("date-time")) => (-30_610_224_000_i64..253_402_300_800)
            .prop_map(|second| json!(cody_events::time::Timestamp(second * 1_000_000 + 7)))
            .boxed(),
        ("string", None) => match schema.get("pattern") {
            Some(pattern) => string_regex(pattern.as_str().unwrap().trim_matches(['^', '$']))
                .unwrap()
                .prop_map(Value::from)
                .boxed(),
            // Every character there is: quotes, controls, what needs two UTF-16 units.
            None => prop::collection::vec(any::<char>(), 0..8)
                .prop_map(|text| Value::from(String::from_iter(text)))
                .boxed(),
        },
        ("array", None) => {
            prop::collection::vec(values(&schema["items"], root), 0..4).prop_map_into().boxed()
        }
        ("object", None) => object(schema, root),
        _ => panic!("no value is made for {schema}"),
    }
}

/// Integers, and often the least and the most.
fn edged<T: Into<Value> + Clone + std::fmt::Debug + 'static>(
    least: T,
    most: T,
    any: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(least), 1 => Just(most), 2 => any].prop_map(Into::into).boxed()
}

/// Objects with all fields that are required and some of those that are not.
fn object(schema: &Value, root: &Value) -> BoxedStrategy<Value> {
    assert_eq!(schema["additionalProperties"], false, "facts are closed: {schema}");
    let none = Vec::new();
    let required = schema["required"].as_array().unwrap_or(&none);
    let fields = schema["properties"].as_object().unwrap().iter().map(|(name, field)| {
        let value = values(field, root);
        let value = match required.contains(&json!(name)) {
            true => value.prop_map(Some).boxed(),
            false => prop::option::weighted(0.7, value).boxed(),
        };
        (Just(name.clone()), value)
    });
    let fields: Vec<_> = fields.collect();
    fields
        .prop_map(|fields| {
            fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
        })
        .boxed()
}

/// The value without fields that say nothing: a missing one says the same as null, as false, as
/// an object without fields, as a list of nothing, and as zero where zero goes without saying.
fn without_silence(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), without_silence(value)))
            .filter(|(_, value)| {
                !(value.is_null()
                    || *value == json!(false)
                    || *value == json!({})
                    || *value == json!([])
                    || *value == json!(0))
            })
            .collect(),
        Value::Array(items) => items.iter().map(without_silence).collect(),
        other => other.clone(),
    }
}

/// The value with the fields of each object in the opposite order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().rev();
            let turned: Map<_, _> = fields.map(|(k, v)| (k.clone(), reversed(v))).collect();
            Value::Object(turned)
        }
        Value::Array(items) => items.iter().map(reversed).collect(),
        other => other.clone(),
    }
}
