//! What a job cost, a row a target: money, tokens, calls and time.

use cody_projections::costs::CostRow;

use crate::api::reading::ReadJob;
use crate::api::words;

/// The section, with its heading.
pub fn section(job: &ReadJob) -> String {
    let mut out = "\n## Spent\n\n\
        | # | known | assumed | tokens in | from the cache | tokens out | turns | calls | failed | Claude | tools | checks |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for one in &job.overview.targets {
        out.push_str(&row(&one.target.target.to_string(), &one.cost));
    }
    if job.overview.targets.len() > 1 {
        out.push_str(&row("all", &sum(job)));
    }
    out
}

fn row(name: &str, cost: &CostRow) -> String {
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        words::dollars(cost.known_micros),
        words::dollars(cost.assumed_micros),
        words::grouped(cost.usage.input_total()),
        words::grouped(cost.usage.cache_read_tokens),
        words::grouped(cost.usage.output_tokens),
        cost.turn_count,
        cost.call_count,
        cost.failed_call_count,
        words::duration(cost.claude_ms),
        words::duration(cost.tool_ms),
        words::duration(cost.check_ms),
    )
}

fn sum(job: &ReadJob) -> CostRow {
    let mut all = CostRow::default();
    for CostRow {
        known_micros,
        assumed_micros,
        reserved_micros,
        usage,
        call_count,
        failed_call_count,
        turn_count,
        claude_ms,
        tool_ms,
        check_ms,
    } in job.overview.targets.iter().map(|one| one.cost)
    {
        for (sum, more) in [
            (&mut all.known_micros, known_micros),
            (&mut all.assumed_micros, assumed_micros),
            (&mut all.reserved_micros, reserved_micros),
            (&mut all.usage.input_tokens, usage.input_tokens),
            (&mut all.usage.output_tokens, usage.output_tokens),
            (&mut all.usage.cache_read_tokens, usage.cache_read_tokens),
            (&mut all.usage.cache_write_5m_tokens, usage.cache_write_5m_tokens),
            (&mut all.usage.cache_write_1h_tokens, usage.cache_write_1h_tokens),
            (&mut all.call_count, call_count),
            (&mut all.failed_call_count, failed_call_count),
            (&mut all.turn_count, turn_count),
            (&mut all.claude_ms, claude_ms),
            (&mut all.tool_ms, tool_ms),
            (&mut all.check_ms, check_ms),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
    all
}
