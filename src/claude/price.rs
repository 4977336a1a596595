//! What tokens cost: integer micro-dollars, rounded up once a request. Knows no model names and
//! no dates; `models.rs` picks the price that holds.

use cody_events::thread::Usage;

/// Micro-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    pub input: u64,
    pub output: u64,
    pub write_5m: u64,
    pub write_1h: u64,
    pub read: u64,
}

/// What one model costs: its rates, and those of its long prompts if they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    pub base: Rates,
    pub long: Option<LongTier>,
}

/// Rates for every token of a request whose input exceeds `over` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongTier {
    pub over: u64,
    pub rates: Rates,
}

impl Rates {
    fn micros(&self, usage: &Usage) -> u64 {
        let parts = [
            (usage.input_tokens, self.input),
            (usage.output_tokens, self.output),
            (usage.cache_read_tokens, self.read),
            (usage.cache_write_5m_tokens, self.write_5m),
            (usage.cache_write_1h_tokens, self.write_1h),
        ];
        let sum: u128 =
            parts.iter().map(|(tokens, rate)| u128::from(*tokens) * u128::from(*rate)).sum();
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// The dearest way in which this program lets one input token be charged. One-hour cache
    /// entries are never asked for.
    fn dearest_input(&self) -> u64 {
        self.input.max(self.write_5m).max(self.read)
    }

    fn worst_micros(&self, input_tokens: u64, max_tokens: u32) -> u64 {
        let sum = u128::from(input_tokens) * u128::from(self.dearest_input())
            + u128::from(max_tokens) * u128::from(self.output);
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

impl Price {
    /// What `usage` of one request costs, in micro-dollars, rounded up.
    pub fn cost_micros(&self, usage: &Usage) -> u64 {
        match self.long {
            Some(long) if usage.input_total() > long.over => long.rates.micros(usage),
            _ => self.base.micros(usage),
        }
    }

    /// The most that a request of at most `input_tokens` and `max_tokens` can cost, in
    /// micro-dollars: every input token at its dearest, every output token used.
    pub fn worst_micros(&self, input_tokens: u64, max_tokens: u32) -> u64 {
        let base = self.base.worst_micros(input_tokens, max_tokens);
        match self.long {
            Some(long) if input_tokens > long.over => {
                base.max(long.rates.worst_micros(input_tokens, max_tokens))
            }
            _ => base,
        }
    }

    /// The largest `max_tokens` up to `wanted` whose worst price stays within `available`
    /// micro-dollars; nothing if not even one token is affordable.
    pub fn affordable_tokens(
        &self,
        input_tokens: u64,
        wanted: u32,
        available_micros: u64,
    ) -> Option<u32> {
        let fits = |tokens| self.worst_micros(input_tokens, tokens) <= available_micros;
        if wanted == 0 || !fits(1) {
            return None;
        }
        let (mut low, mut high) = (1, wanted);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HAIKU: Price = Price {
        base: Rates {
            input: 100_000,
            output: 500_000,
            write_5m: 125_000,
            write_1h: 200_000,
            read: 10_000,
        },
        long: Some(LongTier {
            over: 100_000,
            rates: Rates {
                input: 500_000,
                output: 2_500_000,
                write_5m: 625_000,
                write_1h: 1_000_000,
                read: 50_000,
            },
        }),
    };

    fn usage(input_tokens: u64, output_tokens: u64, cache_read_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, cache_read_tokens, ..Usage::default() }
    }

    #[test]
    fn a_request_is_rounded_up_once_and_not_once_a_kind_of_token() {
        // 0.1 + 0.5 + 0.01 micro-dollars.
        assert_eq!(HAIKU.cost_micros(&usage(1, 1, 1)), 1);
        assert_eq!(HAIKU.cost_micros(&Usage::default()), 0);
        assert_eq!(HAIKU.cost_micros(&usage(10, 0, 0)), 1);
        assert_eq!(HAIKU.cost_micros(&usage(11, 0, 0)), 2);
    }

    #[test]
    fn one_token_over_the_tier_makes_the_whole_request_long() {
        assert_eq!(HAIKU.cost_micros(&usage(60_000, 1_000, 40_000)), 6_000 + 500 + 400);
        assert_eq!(HAIKU.cost_micros(&usage(60_001, 1_000, 40_000)), 30_001 + 2_500 + 2_000);
        assert_eq!(HAIKU.worst_micros(100_000, 8_000), 12_500 + 4_000);
        assert_eq!(HAIKU.worst_micros(100_001, 8_000), 62_501 + 20_000);
    }

    #[test]
    fn what_is_affordable_is_the_largest_that_fits() {
        assert_eq!(HAIKU.affordable_tokens(10_000, 32_000, 1_000_000), Some(32_000));
        assert_eq!(HAIKU.affordable_tokens(10_000, 32_000, 1_251), Some(2));
        assert_eq!(HAIKU.affordable_tokens(10_000, 32_000, 1_250), None);
    }

    proptest! {
        #[test]
        fn no_response_costs_more_than_was_reserved(
            input in 0u64..150_000, write in 0u64..150_000, read in 0u64..150_000,
            output in 0u32..128_000, slack in 0u64..10_000,
        ) {
            let usage = Usage {
                input_tokens: input,
                output_tokens: output.into(),
                cache_read_tokens: read,
                cache_write_5m_tokens: write,
                cache_write_1h_tokens: 0,
            };
            let reserved = HAIKU.worst_micros(usage.input_total() + slack, output);
            prop_assert!(HAIKU.cost_micros(&usage) <= reserved);
        }
    }
}
