//! Variables of recipes: what may be put in their places, and how somebody is told what may not.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use super::BadRecipe;
use crate::job::{Rejection, RejectionCode};

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 4 * 1024;
const MAX_CHOICES: usize = 64;
const MAX_WORDS_BYTES: usize = 1_000;
const MAX_PATTERN_BYTES: usize = 256;
/// What a pattern may take when it is compiled.
const PATTERN_MEMORY: usize = 1 << 20;

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VariableKind {
    /// Anything that can be read, over several lines if need be.
    Text,
    /// Something without spaces.
    Word,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of a few.
    Choice,
}

/// A variable, as a recipe's file declares it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "Variable")]
#[serde(deny_unknown_fields)]
pub(super) struct VariableForm {
    #[serde(rename = "type")]
    kind: VariableKind,
    /// What belongs there, in a sentence for the person who fills it in.
    description: String,
    /// What stands there if nobody says otherwise.
    #[serde(default, deserialize_with = "plain")]
    #[schemars(schema_with = "plain_schema")]
    default: Option<String>,
    /// A good value, for those who have to give one.
    #[serde(default, deserialize_with = "plain")]
    #[schemars(schema_with = "plain_schema")]
    example: Option<String>,
    /// What a `choice` can be.
    #[serde(default)]
    choices: Vec<String>,
    /// A regular expression that the whole of a `text` or `word` has to match.
    #[serde(default)]
    pattern: Option<String>,
    /// The least that a `number` can be.
    #[serde(default)]
    min: Option<i64>,
    /// The most that a `number` can be.
    #[serde(default)]
    max: Option<i64>,
    /// Whether it has to be given. Nothing means yes, unless there is a default. Only a `text` or a
    /// `word` can be left out without a default: its place stays empty then.
    #[serde(default)]
    required: Option<bool>,
}

/// A variable of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: VariableKind,
    /// In a sentence.
    pub description: String,
    pub required: bool,
    pub default: Option<String>,
    /// A value that it takes.
    pub example: String,
    pub choices: Vec<String>,
    /// A regular expression that the whole value has to match.
    pub pattern: Option<String>,
    pub min: Option<i64>,
    pub max: Option<i64>,
}

impl Variable {
    /// The variable `name`, if `form` makes sense.
    pub(super) fn new(name: &str, form: VariableForm) -> Result<Self, BadRecipe> {
        let bad = |what: &str, next: &str| {
            Err(BadRecipe::new(format!("The variable `{name}` {what}."), next))
        };
        check_form(name, &form)?;
        if form.required == Some(true) && form.default.is_some() {
            return bad("is required and has a default", "Take one of the two out.");
        }
        let required = form.required.unwrap_or(form.default.is_none());
        let may_be_empty = matches!(form.kind, VariableKind::Text | VariableKind::Word);
        if !required && form.default.is_none() && !may_be_empty {
            return bad("is not required and has no default", "Give it a default.");
        }
        let (example, default) = (form.example.clone(), form.default.clone());
        let mut variable = Self {
            name: name.to_owned(),
            kind: form.kind,
            description: form.description.trim().to_owned(),
            required,
            default: form.default,
            example: String::new(),
            choices: form.choices,
            pattern: form.pattern,
            min: form.min,
            max: form.max,
        };
        for (what, value) in [("default", &default), ("example", &example)] {
            if value.as_ref().is_some_and(|value| !variable.takes(value)) {
                let what = format!("has the {what} that it does not take itself");
                return bad(&what, &format!("It has to be {}.", variable.wanted()));
            }
        }
        let made = variable.made_example();
        variable.example = example.or(default.filter(|text| !text.is_empty())).unwrap_or(made);
        if !variable.takes(&variable.example) {
            return bad(
                "has a pattern and no example",
                "Give it an example that fits the pattern.",
            );
        }
        Ok(variable)
    }

    /// A value that fits, unless there is a pattern.
    fn made_example(&self) -> String {
        match self.kind {
            VariableKind::Text => "some words".to_owned(),
            VariableKind::Word => "word".to_owned(),
            VariableKind::Number => self.min.or(self.max).unwrap_or(1).to_string(),
            VariableKind::Boolean => "true".to_owned(),
            VariableKind::Choice => self.choices.first().cloned().unwrap_or_default(),
        }
    }

    /// Whether `value` may stand in its places.
    fn takes(&self, value: &str) -> bool {
        if value.len() > MAX_VALUE_BYTES || value.trim().is_empty() {
            return false;
        }
        let fits = || match &self.pattern {
            Some(pattern) => anchored(pattern).is_ok_and(|pattern| pattern.is_match(value)),
            None => true,
        };
        match self.kind {
            VariableKind::Text => !value.contains(|c: char| c.is_control() && c != '\n') && fits(),
            VariableKind::Word => {
                !value.contains(|c: char| c.is_control() || c.is_whitespace()) && fits()
            }
            VariableKind::Number => value.parse::<i64>().is_ok_and(|number| {
                self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
            }),
            VariableKind::Boolean => matches!(value, "true" | "false"),
            VariableKind::Choice => self.choices.iter().any(|choice| choice == value),
        }
    }

    /// What a value has to be, to follow "has to be".
    pub fn wanted(&self) -> String {
        let pattern = match &self.pattern {
            Some(pattern) => format!(", and match `{pattern}` as a whole"),
            None => String::new(),
        };
        match self.kind {
            VariableKind::Text => format!(
                "a text of at most {MAX_VALUE_BYTES} bytes, without control characters but line \
                 ends{pattern}"
            ),
            VariableKind::Word => {
                format!("one word of at most {MAX_VALUE_BYTES} bytes, without spaces{pattern}")
            }
            VariableKind::Number => match (self.min, self.max) {
                (None, None) => "a whole number".to_owned(),
                (Some(min), None) => format!("a whole number, {min} or more"),
                (None, Some(max)) => format!("a whole number, {max} or less"),
                (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
            },
            VariableKind::Boolean => "`true` or `false`".to_owned(),
            VariableKind::Choice => format!("one of `{}`", self.choices.join("`, `")),
        }
    }

    /// What stands in its places when somebody gives `given`.
    fn value(&self, given: Option<&String>, recipe: &str) -> Result<String, Rejection> {
        let given = given.filter(|given| !given.trim().is_empty());
        let Some(given) = given.or(self.default.as_ref()) else {
            if !self.required {
                return Ok(String::new());
            }
            let description = self.description.trim_end_matches('.');
            return Err(Rejection::new(
                RejectionCode::BadVariable,
                format!("The recipe `{recipe}` needs a value for `{}` ({description}).", self.name),
                self.give(),
            ));
        };
        let value = match self.kind {
            VariableKind::Text => given.as_str(),
            VariableKind::Word
            | VariableKind::Number
            | VariableKind::Boolean
            | VariableKind::Choice => given.trim(),
        };
        if !self.takes(value) {
            // The value is not repeated: it may be anything, of any length.
            return Err(Rejection::new(
                RejectionCode::BadVariable,
                format!("The variable `{}` has to be {}.", self.name, self.wanted()),
                self.give(),
            ));
        }
        Ok(value.to_owned())
    }

    fn give(&self) -> String {
        format!("Give it like `{}={}`.", self.name, self.example.replace('\n', "\\n"))
    }
}

/// What stands in the places of `variables` when somebody gives `given`.
pub(super) fn values(
    variables: &[Variable],
    given: &BTreeMap<String, String>,
    recipe: &str,
) -> Result<BTreeMap<String, String>, Rejection> {
    let is_known = |name: &str| variables.iter().any(|variable| variable.name == name);
    if let Some(unknown) = given.keys().find(|name| !is_known(name)) {
        let known: Vec<&str> = variables.iter().map(|known| known.name.as_str()).collect();
        let shown: String = unknown.chars().take(60).collect();
        return Err(Rejection::new(
            RejectionCode::BadVariable,
            format!("The recipe `{recipe}` has no variable `{}`.", shown.escape_debug()),
            match known.is_empty() {
                true => "Leave it out: the recipe has no variables.".to_owned(),
                false => format!("Its variables are {}.", known.join(", ")),
            },
        ));
    }
    let value = |variable: &Variable| {
        Ok((variable.name.clone(), variable.value(given.get(&variable.name), recipe)?))
    };
    variables.iter().map(value).collect()
}

/// Whether what stands in `form` belongs to its type, and is within bounds.
fn check_form(name: &str, form: &VariableForm) -> Result<(), BadRecipe> {
    let bad = |what: String, next: &str| {
        Err(BadRecipe::new(format!("The variable `{name}` {what}."), next))
    };
    let kind = form.kind;
    if form.description.trim().is_empty() || form.description.len() > MAX_WORDS_BYTES {
        let what = format!("has no description, or one of more than {MAX_WORDS_BYTES} bytes");
        return bad(what, "Say in a sentence what belongs there.");
    }
    if (kind == VariableKind::Choice) == form.choices.is_empty() {
        let next = "Give `choices` to a choice, and to nothing else.";
        return bad("has a type and choices that do not fit".to_owned(), next);
    }
    let is_odd = |choice: &String| {
        choice.trim().is_empty() || choice.trim() != choice || choice.len() > MAX_WORDS_BYTES
    };
    if form.choices.len() > MAX_CHOICES || form.choices.iter().any(is_odd) {
        let what = format!("has more than {MAX_CHOICES} choices, or one that is blank or too long");
        return bad(what, "Give a few short choices.");
    }
    if form.choices.iter().any(|choice| choice.contains(char::is_control)) {
        let what = "has a choice with control characters".to_owned();
        return bad(what, "Write each choice in one line.");
    }
    let has_bounds = form.min.is_some() || form.max.is_some();
    let is_inverted = matches!((form.min, form.max), (Some(min), Some(max)) if min > max);
    if is_inverted || has_bounds && kind != VariableKind::Number {
        let next = "Give `min` and `max` to a number only, the lower one as `min`.";
        return bad("has bounds that do not fit".to_owned(), next);
    }
    let Some(pattern) = &form.pattern else { return Ok(()) };
    if !matches!(kind, VariableKind::Text | VariableKind::Word) {
        let next = "Give a pattern to a text or a word only.";
        return bad("has a pattern that does not fit its type".to_owned(), next);
    }
    match anchored(pattern) {
        Ok(_) => Ok(()),
        Err(why) => bad(format!("has a pattern that cannot be used: {why}"), "Write another."),
    }
}

/// `pattern` so that it matches whole values only.
fn anchored(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("it has more than {MAX_PATTERN_BYTES} bytes"));
    }
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_MEMORY).build();
    // One that is whole only between our brackets would not be held by the anchors.
    let built = build(pattern).and_then(|_| build(&format!(r"\A(?:{pattern})\z")));
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        _ => "it is no regular expression".to_owned(),
    })
}

/// A value as text, also where it was written as a number or a boolean.
fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Text(String),
        Number(i64),
        Boolean(bool),
    }
    Ok(Option::<Value>::deserialize(deserializer)?.map(|value| match value {
        Value::Text(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
    }))
}

fn plain_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer", "boolean"] })
}
