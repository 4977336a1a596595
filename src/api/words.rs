//! Words and figures as people read them, on every door.

use cody_projections::costs::CostRow;
use cody_projections::overview::JobOverview;

use crate::scan::revealed;

/// Micro-dollars as dollars: cents from a dollar on, more digits below.
pub fn dollars(micros: u64) -> String {
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    if micros >= 1_000_000 {
        return format!("${whole}.{:02}", rest / 10_000);
    }
    format!("$0.{:04}", rest / 100)
}

/// A duration from milliseconds: `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 10 min`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// `1 turn`, `2 turns`.
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A large number, with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How many repositories.
pub fn repositories(count: usize) -> String {
    match count {
        1 => "1 repository".to_owned(),
        many => format!("{many} repositories"),
    }
}

/// `text` with what could move a terminal's cursor, or would not show, written out.
pub fn printable(text: &str) -> String {
    revealed(text).into_owned()
}

/// What a job cost: what is known, what is assumed, and how much of its input came from the cache.
pub fn spending(job: &JobOverview) -> String {
    let sum = |of: fn(&CostRow) -> u64| job.targets.iter().map(|one| of(&one.cost)).sum::<u64>();
    let mut words = format!("cost {}", dollars(job.spent_micros()));
    let assumed = sum(|cost| cost.assumed_micros);
    if assumed > 0 {
        words.push_str(&format!(
            " ({} known + {} assumed for calls that were not heard out)",
            dollars(sum(|cost| cost.known_micros)),
            dollars(assumed)
        ));
    }
    let input = sum(|cost| cost.usage.input_total());
    if input > 0 {
        let cached = sum(|cost| cost.usage.cache_read_tokens);
        words.push_str(&format!(
            ", {} tokens in ({} % from the cache) and {} out",
            grouped(input),
            cached * 100 / input,
            grouped(sum(|cost| cost.usage.output_tokens))
        ));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(dollars(0), "$0.0000");
        assert_eq!(dollars(12_345), "$0.0123");
        assert_eq!(dollars(5_000_000), "$5.00");
        assert_eq!(duration(999), "999 ms");
        assert_eq!(duration(12_345), "12.3 s");
        assert_eq!(duration(245_000), "4 min 05 s");
        assert_eq!(counted(1, "turn"), "1 turn");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(printable("a\u{1b}[2J\u{202e}b"), "a<U+001B>[2J<U+202E>b");
    }
}
