//! Words for the terminal, beside those that every door has.

use std::io::Write as _;

use async_trait::async_trait;

use crate::api::downloads::outlet::Outlet;

pub use crate::api::words::{
    counted, dollars, duration, grouped, printable, repositories, spending,
};

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

/// Standard output, for what is made piece by piece.
#[derive(Debug)]
pub struct Stdout;

#[async_trait]
impl Outlet for Stdout {
    async fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }
}

/// Whether `error` says that whoever read our output went away.
pub fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_back_as_it_was() {
        assert_eq!(quoted(std::path::Path::new("/a/b-1")), "/a/b-1");
        assert_eq!(quoted(std::path::Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
