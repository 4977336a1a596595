//! The models that can be chosen: limits, ways of thinking, prices by date. Data from
//! `models.toml` and, if the configuration names one, a second file of the same form. Sends
//! nothing and asks no clock: the caller says which day it is.

use std::collections::BTreeMap;

use cody_events::digest::Sha256;
use cody_events::job::Effort;
use serde::Deserialize;

/// A day, which decides about prices and retirements.
pub use jiff::civil::Date;

use super::model_file::{self, BadModelFile};
use super::price::Price;

const SHIPPED: &str = include_str!("models.toml");

/// The model of a job that names none.
pub const DEFAULT_MODEL: &str = "claude-opus-5-5";
/// `max_tokens` of a thread's first call.
pub const FIRST_MAX_TOKENS: u32 = 32_000;
/// `max_tokens` below which a call is not worth its prompt.
pub const FLOOR_MAX_TOKENS: u32 = 8_000;

/// Every model that can be named, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTable {
    pub(super) version: String,
    pub(super) hidden_tokens: u64,
    pub(super) models: BTreeMap<String, Model>,
    pub(super) retired: BTreeMap<String, Retired>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub id: String,
    /// All tokens of a request and its response together.
    pub context_tokens: u64,
    pub max_output_tokens: u32,
    /// Prefixes shorter than this are not cached, silently.
    pub cache_minimum_tokens: u64,
    pub thinking: Thinking,
    /// The efforts that it takes; empty if it takes none.
    pub efforts: Vec<Effort>,
    pub default_effort: Option<Effort>,
    /// Whether its thinking blocks are valid only behind the very prefix they were made with.
    pub binds_thinking: bool,
    /// Whether `tool_choice` may name a tool or demand any.
    pub forced_tool_choice: bool,
    /// From which day which price holds; ascending and never empty.
    pub(super) prices: Vec<(Date, Price)>,
}

/// How a model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thinking {
    /// Always, as much as the effort says; it cannot be switched off.
    Always,
    /// As much as the effort says, unless switched off.
    Adaptive,
    /// Only with a budget of tokens, which this program does not use.
    None,
}

/// A model whose price on the asked day is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer<'a> {
    pub model: &'a Model,
    pub price: Price,
}

/// A model that Anthropic has taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retired {
    pub on: Date,
    pub successor: String,
}

/// Why a model cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelRefusal {
    #[error(
        "model `{id}` is not in the model table {table}; choose one of {}, or describe it in the file that `extra_models` names",
        .known.join(", ")
    )]
    Unknown { id: String, table: String, known: Vec<String> },
    #[error("model `{id}` was retired on {on}; use `{successor}` instead")]
    Retired { id: String, on: Date, successor: String },
    #[error("model `{id}` has no price before {from}; choose another model, or correct the clock")]
    NotYet { id: String, from: Date },
}

impl ModelTable {
    /// The table that this version was built with.
    pub fn shipped() -> Result<Self, BadModelFile> {
        model_file::parse(SHIPPED)
    }

    /// This table with the entries of another file put over it. The version then also names the
    /// file's content, so that a recorded price can be traced to it.
    pub fn with_extra(mut self, text: &str) -> Result<Self, BadModelFile> {
        let extra = model_file::parse(text)?;
        let content = Sha256::of(text.as_bytes()).to_string();
        self.version = format!("{}+{}-{}", self.version, extra.version, &content[..12]);
        self.hidden_tokens = self.hidden_tokens.max(extra.hidden_tokens);
        for (id, model) in extra.models {
            self.retired.remove(&id);
            self.models.insert(id, model);
        }
        for (id, retired) in extra.retired {
            self.models.remove(&id);
            self.retired.insert(id, retired);
        }
        Ok(self)
    }

    /// The name under which `call-permitted` records the prices it reckoned with.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The model `id` with the price that holds on `day`.
    pub fn lookup(&self, id: &str, day: Date) -> Result<Offer<'_>, ModelRefusal> {
        if let Some(retired) = self.retired.get(id).filter(|retired| retired.on <= day) {
            return Err(ModelRefusal::Retired {
                id: id.to_owned(),
                on: retired.on,
                successor: self.living_successor(&retired.successor, day),
            });
        }
        let Some(model) = self.models.get(id) else {
            return Err(ModelRefusal::Unknown {
                id: id.to_owned(),
                table: self.version.clone(),
                known: self.names(),
            });
        };
        match model.prices.iter().rev().find(|(from, _)| *from <= day) {
            Some((_, price)) => Ok(Offer { model, price: *price }),
            None => Err(ModelRefusal::NotYet { id: id.to_owned(), from: model.prices[0].0 }),
        }
    }

    /// The ids that can be chosen, in order.
    pub fn names(&self) -> Vec<String> {
        self.models.keys().cloned().collect()
    }

    /// A bound on the input tokens of a request, from its body's length alone: no token is
    /// shorter than a byte, and the provider adds words of its own about tools.
    pub fn input_bound(&self, body_bytes: usize) -> u64 {
        self.hidden_tokens.saturating_add(body_bytes as u64)
    }

    /// A closer bound for a thread's later requests: what the last response counted in and out,
    /// and the bytes of the messages that stand behind that response.
    pub fn next_input_bound(
        &self,
        last: &cody_events::thread::Usage,
        new_message_bytes: usize,
    ) -> u64 {
        // A small margin, because the frame around messages counts as well.
        last.total().saturating_add(new_message_bytes as u64).saturating_add(64)
    }

    fn living_successor(&self, id: &str, day: Date) -> String {
        let mut id = id;
        // Chains are short; the bound keeps a circular file from hanging us.
        for _ in 0..8 {
            match self.retired.get(id).filter(|retired| retired.on <= day) {
                Some(retired) => id = &retired.successor,
                None => break,
            }
        }
        id.to_owned()
    }
}

impl Offer<'_> {
    /// The price of the one call that a spent budget still allows, in micro-dollars.
    pub fn floor_micros(&self, input_tokens: u64) -> u64 {
        self.price.worst_micros(input_tokens, self.floor_tokens())
    }

    /// The smallest `max_tokens` that is worth a call.
    pub fn floor_tokens(&self) -> u32 {
        FLOOR_MAX_TOKENS.min(self.model.max_output_tokens)
    }
}

impl Model {
    /// `max_tokens` of a thread's first call.
    pub fn first_max_tokens(&self) -> u32 {
        FIRST_MAX_TOKENS.min(self.max_output_tokens)
    }

    /// `max_tokens` after a response was cut at `cut`: twice as much, up to the model's most.
    /// Nothing if there is no more to give.
    pub fn raised_max_tokens(&self, cut: u32) -> Option<u32> {
        (cut < self.max_output_tokens).then(|| cut.saturating_mul(2).min(self.max_output_tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cody_events::thread::Usage;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn the_shipped_table_answers_with_the_price_of_the_day() {
        let table = ModelTable::shipped().unwrap();
        let read = Usage { cache_read_tokens: 1_000_000, ..Usage::default() };
        let on = |text| {
            table.lookup("claude-sonnet-5-5", day(text)).map(|offer| offer.price.cost_micros(&read))
        };
        assert_eq!(on("2026-10-06"), Ok(200_000));
        assert_eq!(on("2026-10-07"), Ok(100_000));
        assert_eq!(
            on("2026-09-01"),
            Err(ModelRefusal::NotYet { id: "claude-sonnet-5-5".into(), from: day("2026-09-28") })
        );
        for name in table.names() {
            table.lookup(&name, day("2026-11-22")).unwrap();
        }
    }

    #[test]
    fn unknown_and_retired_models_are_told_what_to_do_next() {
        let table = ModelTable::shipped().unwrap();
        let refusal = |id| table.lookup(id, day("2026-11-22")).unwrap_err().to_string();
        assert_eq!(
            refusal("claude-3-7-sonnet-20250219"),
            "model `claude-3-7-sonnet-20250219` was retired on 2026-02-19; use `claude-sonnet-4-6` instead"
        );
        let sonnet = |on| table.lookup("claude-sonnet-4-5", day(on)).is_ok();
        assert_eq!((sonnet("2026-11-29"), sonnet("2026-11-30")), (true, false));
        assert!(refusal("gpt-9").starts_with(
            "model `gpt-9` is not in the model table 2026-11-22; choose one of claude-fable-5-1, "
        ));
    }

    #[test]
    fn an_extra_file_replaces_entries_and_shows_in_the_version() {
        let text = r#"
            table = "ours"
            [[model]]
            id = "claude-opus-5-5"
            context_tokens = 1_000_000
            max_output_tokens = 64_000
            cache_minimum_tokens = 1_024
            thinking = "always"
            efforts = ["low"]
            default_effort = "low"
            binds_thinking = true
            forced_tool_choice = false
            price = [{ from = "2026-01-01", input = 1, output = 2, write_5m = 3, write_1h = 4, read = 5 }]
            [[retired]]
            id = "claude-opus-5"
            on = "2026-11-01"
            successor = "claude-opus-5-5"
        "#;
        let table = ModelTable::shipped().unwrap().with_extra(text).unwrap();
        let today = day("2026-11-22");
        assert_eq!(table.lookup("claude-opus-5-5", today).unwrap().model.max_output_tokens, 64_000);
        assert!(matches!(table.lookup("claude-opus-5", today), Err(ModelRefusal::Retired { .. })));
        assert!(table.version().starts_with("2026-11-22+ours-"), "{}", table.version());
        assert!(table.clone().with_extra(&text.replace("\"low\"]", "\"high\"]")).is_err());
    }

    #[test]
    fn max_tokens_doubles_up_to_the_models_most() {
        let table = ModelTable::shipped().unwrap();
        let offer = table.lookup(DEFAULT_MODEL, day("2026-11-22")).unwrap();
        let first = offer.model.first_max_tokens();
        let second = offer.model.raised_max_tokens(first);
        assert_eq!((first, second), (32_000, Some(64_000)));
        assert_eq!(offer.model.raised_max_tokens(64_000), Some(128_000));
        assert_eq!(offer.model.raised_max_tokens(128_000), None);
        // 10,000 input tokens as cache writes at 5 USD, 8,000 output tokens at 20 USD.
        assert_eq!(offer.floor_micros(10_000), 50_000 + 160_000);
    }
}
