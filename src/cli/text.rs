//! Words and figures as people read them.

use std::io::Write as _;

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

/// A path as a shell reads it back.
pub fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The beginning of an id, enough to name it among a person's jobs.
pub fn short(id: &impl std::fmt::Display) -> String {
    let id = id.to_string();
    // A UUIDv7 begins with the time; its end tells two of the same moment apart.
    id.get(..13).unwrap_or(&id).to_owned()
}

/// An error and what it rests on, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Writes a result to stdout, all of it or an error; `println!` would panic when a pipe closes.
pub fn put(text: impl std::fmt::Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Whether `error` says that whoever read our output went away.
pub fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// `text` with what could move a terminal's cursor, or would not show, written out.
pub fn printable(text: &str) -> String {
    revealed(text).into_owned()
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
        assert_eq!(printable("a\u{1b}[2J\u{202e}b"), "a<U+001B>[2J<U+202E>b");
        assert_eq!(quoted(std::path::Path::new("/a/b-1")), "/a/b-1");
        assert_eq!(quoted(std::path::Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
