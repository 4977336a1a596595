//! Token counts as the provider reports them, turned into the counts that are charged.

use cody_events::thread::Usage;
use serde::Deserialize;

/// `usage` of a response on the wire. Counts in later events of a stream replace earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    iterations: Option<Vec<Iteration>>,
    output_tokens_details: Option<OutputDetails>,
    /// Where the response was computed; some places cost more than the table says.
    pub inference_geo: Option<String>,
    pub service_tier: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

/// One step that the provider took for a response. Those that compact the context are charged, but
/// not contained in the totals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Iteration {
    #[serde(rename = "type")]
    kind: String,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

impl WireUsage {
    /// Takes over every count that `later` has.
    pub fn update(&mut self, later: Self) {
        fn newer<T>(now: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *now = later;
            }
        }
        newer(&mut self.input_tokens, later.input_tokens);
        newer(&mut self.output_tokens, later.output_tokens);
        newer(&mut self.cache_read_input_tokens, later.cache_read_input_tokens);
        newer(&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens);
        newer(&mut self.cache_creation, later.cache_creation);
        newer(&mut self.iterations, later.iterations);
        newer(&mut self.output_tokens_details, later.output_tokens_details);
        newer(&mut self.inference_geo, later.inference_geo);
        newer(&mut self.service_tier, later.service_tier);
    }

    /// The tokens that are charged. A cache write of unknown life counts as a short one, because
    /// this program asks for no other.
    pub fn charged(&self) -> Usage {
        let split = self.cache_creation.unwrap_or_default();
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        let known = split.ephemeral_5m_input_tokens.saturating_add(split.ephemeral_1h_input_tokens);
        let mut usage = Usage {
            input_tokens: self.input_tokens.unwrap_or(0),
            output_tokens: self.output_tokens.unwrap_or(0),
            cache_read_tokens: self.cache_read_input_tokens.unwrap_or(0),
            cache_write_5m_tokens: split
                .ephemeral_5m_input_tokens
                .saturating_add(written.saturating_sub(known)),
            cache_write_1h_tokens: split.ephemeral_1h_input_tokens,
        };
        for step in self.iterations.iter().flatten().filter(|step| step.kind == "compaction") {
            let add = |total: &mut u64, count: Option<u64>| {
                *total = total.saturating_add(count.unwrap_or(0));
            };
            add(&mut usage.input_tokens, step.input_tokens);
            add(&mut usage.output_tokens, step.output_tokens);
            add(&mut usage.cache_read_tokens, step.cache_read_input_tokens);
            add(&mut usage.cache_write_5m_tokens, step.cache_creation_input_tokens);
        }
        usage
    }

    /// How many of the output tokens were thinking, if the provider says so.
    pub fn thinking_tokens(&self) -> Option<u64> {
        self.output_tokens_details.map(|details| details.thinking_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> WireUsage {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn later_counts_replace_earlier_ones_and_the_rest_stays() {
        let mut usage = wire(
            r#"{"input_tokens":3,"output_tokens":1,"cache_read_input_tokens":100,"cache_creation_input_tokens":30,
                "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":15},"novelty":{}}"#,
        );
        usage
            .update(wire(r#"{"output_tokens":50,"output_tokens_details":{"thinking_tokens":20}}"#));
        assert_eq!(
            usage.charged(),
            Usage {
                input_tokens: 3,
                output_tokens: 50,
                cache_read_tokens: 100,
                cache_write_5m_tokens: 15,
                cache_write_1h_tokens: 15,
            }
        );
        assert_eq!(usage.thinking_tokens(), Some(20));
    }

    #[test]
    fn a_compaction_is_charged_beside_the_totals_and_other_steps_are_within_them() {
        let usage = wire(
            r#"{"input_tokens":5,"output_tokens":7,"iterations":[
                {"type":"compaction","input_tokens":1000,"output_tokens":200,"cache_read_input_tokens":null},
                {"type":"message","input_tokens":5,"output_tokens":7}]}"#,
        );
        assert_eq!(
            usage.charged(),
            Usage { input_tokens: 1005, output_tokens: 207, ..Usage::default() }
        );
    }
}
