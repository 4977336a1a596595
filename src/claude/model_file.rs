//! The form of a model file on disk, checked and turned into a table. What the entries mean is in
//! `models.rs`.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;

use cody_events::job::Effort;

use super::models::{Model, ModelTable, Retired, Thinking};
use super::price::{LongTier, Price, Rates};

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadModelFile {
    #[error("the model file is not readable as a table of models; correct it")]
    Form(#[source] toml::de::Error),
    #[error("model `{id}` in the model file {problem}; correct it")]
    Content { id: String, problem: String },
}

/// Reads one file in the form of `models.toml`.
pub fn parse(text: &str) -> Result<ModelTable, BadModelFile> {
    let file: File = toml::from_str(text).map_err(BadModelFile::Form)?;
    let mut table = ModelTable {
        version: file.table,
        hidden_tokens: file.hidden_tokens,
        models: BTreeMap::new(),
        retired: BTreeMap::new(),
    };
    for entry in file.model {
        let aliases = entry.aliases.clone();
        let model = entry.into_model()?;
        for name in aliases.into_iter().chain([model.id.clone()]) {
            table.models.insert(name.clone(), Model { id: name, ..model.clone() });
        }
    }
    for entry in file.retired {
        let on = date(&entry.id, &entry.on)?;
        for name in entry.aliases.into_iter().chain([entry.id]) {
            table.retired.insert(name, Retired { on, successor: entry.successor.clone() });
        }
    }
    Ok(table)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    table: String,
    #[serde(default)]
    hidden_tokens: u64,
    #[serde(default)]
    model: Vec<ModelEntry>,
    #[serde(default)]
    retired: Vec<RetiredEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    context_tokens: u64,
    max_output_tokens: u32,
    cache_minimum_tokens: u64,
    thinking: Thinking,
    efforts: Vec<Effort>,
    default_effort: Option<Effort>,
    binds_thinking: bool,
    forced_tool_choice: bool,
    price: Vec<PriceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    from: String,
    input: u64,
    output: u64,
    write_5m: u64,
    write_1h: u64,
    read: u64,
    long: Option<LongEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongEntry {
    over: u64,
    input: u64,
    output: u64,
    write_5m: u64,
    write_1h: u64,
    read: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetiredEntry {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    on: String,
    successor: String,
}

impl ModelEntry {
    fn into_model(self) -> Result<Model, BadModelFile> {
        let bad =
            |problem: &str| BadModelFile::Content { id: self.id.clone(), problem: problem.into() };
        if self.price.is_empty() {
            return Err(bad("has no price"));
        }
        if self.max_output_tokens == 0 || u64::from(self.max_output_tokens) > self.context_tokens {
            return Err(bad("has a `max_output_tokens` outside 1..=context_tokens"));
        }
        if self.default_effort.is_some_and(|effort| !self.efforts.contains(&effort)) {
            return Err(bad("has a `default_effort` that is not in `efforts`"));
        }
        let mut prices = Vec::new();
        for entry in &self.price {
            prices.push((date(&self.id, &entry.from)?, entry.price()));
        }
        if !prices.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(bad("has prices whose `from` days do not increase"));
        }
        Ok(Model {
            id: self.id,
            context_tokens: self.context_tokens,
            max_output_tokens: self.max_output_tokens,
            cache_minimum_tokens: self.cache_minimum_tokens,
            thinking: self.thinking,
            efforts: self.efforts,
            default_effort: self.default_effort,
            binds_thinking: self.binds_thinking,
            forced_tool_choice: self.forced_tool_choice,
            prices,
        })
    }
}

impl PriceEntry {
    fn price(&self) -> Price {
        let Self { from: _, input, output, write_5m, write_1h, read, ref long } = *self;
        Price {
            base: Rates { input, output, write_5m, write_1h, read },
            long: long.as_ref().map(|long| {
                let LongEntry { over, input, output, write_5m, write_1h, read } = *long;
                LongTier { over, rates: Rates { input, output, write_5m, write_1h, read } }
            }),
        }
    }
}

fn date(id: &str, text: &str) -> Result<Date, BadModelFile> {
    text.parse().map_err(|_| BadModelFile::Content {
        id: id.to_owned(),
        problem: format!("has `{text}` where a day like 2026-11-22 belongs"),
    })
}
