//! What something cost.

use async_graphql::SimpleObject;
use cody_projections::costs::CostRow;

use super::scalars::Long;

/// What was spent. Money is in millionths of a US dollar.
#[derive(Debug, Clone, Copy, SimpleObject)]
pub struct Cost {
    /// Known and assumed together.
    pub spent_micros: Long,
    /// From usage that Claude reported.
    pub known_micros: Long,
    /// For calls whose usage nobody saw: their worst price.
    pub assumed_micros: Long,
    /// Set aside for calls in flight.
    pub reserved_micros: Long,
    /// Tokens read by Claude that were in no cache.
    pub input_tokens: Long,
    /// Tokens that Claude wrote.
    pub output_tokens: Long,
    /// Tokens read from a cache.
    pub cache_read_tokens: Long,
    /// Tokens written to a cache.
    pub cache_write_tokens: Long,
    /// Calls permitted.
    pub call_count: Long,
    /// Calls that failed.
    pub failed_call_count: Long,
    /// Milliseconds that Claude took.
    pub claude_ms: Long,
    /// Milliseconds that tools took.
    pub tool_ms: Long,
    /// Milliseconds that checks, and fetches of dependencies, took.
    pub check_ms: Long,
}

impl From<&CostRow> for Cost {
    fn from(row: &CostRow) -> Self {
        let usage = row.usage;
        Self {
            spent_micros: Long(row.spent_micros()),
            known_micros: Long(row.known_micros),
            assumed_micros: Long(row.assumed_micros),
            reserved_micros: Long(row.reserved_micros),
            input_tokens: Long(usage.input_tokens),
            output_tokens: Long(usage.output_tokens),
            cache_read_tokens: Long(usage.cache_read_tokens),
            cache_write_tokens: Long(
                usage.cache_write_5m_tokens.saturating_add(usage.cache_write_1h_tokens),
            ),
            call_count: Long(row.call_count),
            failed_call_count: Long(row.failed_call_count),
            claude_ms: Long(row.claude_ms),
            tool_ms: Long(row.tool_ms),
            check_ms: Long(row.check_ms),
        }
    }
}

impl Cost {
    /// What several took together.
    pub fn sum(rows: impl Iterator<Item = CostRow>) -> Self {
        let sum = rows.fold(CostRow::default(), |mut sum, row| {
            sum.known_micros = sum.known_micros.saturating_add(row.known_micros);
            sum.assumed_micros = sum.assumed_micros.saturating_add(row.assumed_micros);
            sum.reserved_micros = sum.reserved_micros.saturating_add(row.reserved_micros);
            sum.usage = sum.usage.plus(&row.usage);
            sum.call_count = sum.call_count.saturating_add(row.call_count);
            sum.failed_call_count = sum.failed_call_count.saturating_add(row.failed_call_count);
            sum.claude_ms = sum.claude_ms.saturating_add(row.claude_ms);
            sum.tool_ms = sum.tool_ms.saturating_add(row.tool_ms);
            sum.check_ms = sum.check_ms.saturating_add(row.check_ms);
            sum
        });
        Self::from(&sum)
    }
}
