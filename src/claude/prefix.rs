//! What every request of a thread starts with, rendered once. The maker of a thread builds it
//! here and records it in `thread-started`; `request.rs` only ever copies those bytes.

use cody_events::job::Effort;
use cody_events::raw::RawJson;
use cody_events::thread::ThreadStartedPayload;
use serde::Serialize;

use super::blocks::{CacheControl, TextBlock};
use super::models::{Model, Thinking};
use super::request;

/// Collects a prefix and its first message.
#[derive(Debug, Clone)]
pub struct PrefixBuilder {
    model: String,
    thinking: Thinking,
    efforts: Vec<Effort>,
    effort: Option<Effort>,
    system: Vec<String>,
    tools: Vec<RawJson>,
    answer_schema: Option<RawJson>,
    betas: Vec<String>,
}

/// Why a prefix cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BadPrefix {
    #[error("a thread needs a system text and a first message with at least one block")]
    Empty,
    #[error("model `{model}` does not take effort `{effort}`; it takes: {known}")]
    Effort { model: String, effort: Effort, known: String },
    #[error("the prefix could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl PrefixBuilder {
    /// A prefix for `model`, with its usual effort and its thinking summarized.
    pub fn new(model: &Model) -> Self {
        Self {
            model: model.id.clone(),
            thinking: model.thinking,
            efforts: model.efforts.clone(),
            effort: model.default_effort,
            system: Vec::new(),
            tools: Vec::new(),
            answer_schema: None,
            betas: Vec::new(),
        }
    }

    /// Adds one system block. The last one added carries the cache mark, so what all threads have
    /// in common comes first.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.system.push(text.into());
        self
    }

    /// Adds one tool definition, as the bytes it will have.
    pub fn tool(mut self, definition: RawJson) -> Self {
        self.tools.push(definition);
        self
    }

    /// Asks for another effort than the model's usual one.
    pub fn effort(mut self, effort: Effort) -> Self {
        self.effort = Some(effort);
        self
    }

    /// Demands that the answer's text is JSON of this schema.
    pub fn answer_schema(mut self, schema: RawJson) -> Self {
        self.answer_schema = Some(schema);
        self
    }

    /// Adds one value of the `anthropic-beta` header.
    pub fn beta(mut self, name: impl Into<String>) -> Self {
        self.betas.push(name.into());
        self
    }

    /// Renders the prefix, and `first` as the thread's first user message.
    pub fn build(self, first: &[RawJson]) -> Result<ThreadStartedPayload, BadPrefix> {
        if self.system.iter().all(String::is_empty) || first.is_empty() {
            return Err(BadPrefix::Empty);
        }
        if let Some(effort) = self.effort
            && !self.efforts.contains(&effort)
        {
            let known: Vec<_> = self.efforts.iter().map(Effort::to_string).collect();
            return Err(BadPrefix::Effort { model: self.model, effort, known: known.join(", ") });
        }
        let last = self.system.len() - 1;
        let system = self.system.iter().enumerate().map(|(index, text)| TextBlock {
            kind: "text",
            text,
            cache_control: (index == last).then_some(CacheControl::EPHEMERAL),
        });
        let output_config = OutputConfig {
            effort: self.effort,
            format: self
                .answer_schema
                .as_ref()
                .map(|schema| Format { kind: "json_schema", schema }),
        };
        let prefix = Prefix {
            model: &self.model,
            system: system.collect(),
            tools: &self.tools,
            thinking: match self.thinking {
                Thinking::Always | Thinking::Adaptive => {
                    Some(ThinkingConfig { kind: "adaptive", display: "summarized" })
                }
                Thinking::None => None,
            },
            output_config: (!output_config.is_empty()).then_some(output_config),
        };
        Ok(ThreadStartedPayload {
            prefix: RawJson::render(&prefix)?,
            betas: self.betas,
            first_message: request::user_message(first)?,
        })
    }
}

#[derive(Serialize)]
struct Prefix<'a> {
    model: &'a str,
    system: Vec<TextBlock<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tools: &'a [RawJson],
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
}

#[derive(Serialize)]
struct ThinkingConfig {
    #[serde(rename = "type")]
    kind: &'static str,
    display: &'static str,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
}

impl OutputConfig<'_> {
    fn is_empty(&self) -> bool {
        self.effort.is_none() && self.format.is_none()
    }
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a RawJson,
}
