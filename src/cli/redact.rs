//! What leaves the process as words for people, without secrets in it: log lines and errors.

use std::io::{self, Write};
use std::sync::OnceLock;

use secrecy::SecretString;

use crate::scan::secrets::{KnownSecrets, mask};

/// Variables that hold secrets of ours.
const VARIABLES: [&str; 4] =
    ["ANTHROPIC_API_KEY", "CODY_GITHUB_TOKEN", "GITHUB_TOKEN", "CODY_TOKEN"];

/// `text` without secrets.
pub fn redacted(text: String) -> String {
    static KNOWN: OnceLock<KnownSecrets> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let values = VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
        KnownSecrets::new(&values.map(SecretString::from).collect::<Vec<_>>())
    });
    mask(&text, known).map_or(text, |(masked, _)| masked)
}

/// Standard error, for log lines: each comes in one piece.
#[derive(Debug)]
pub struct RedactedStderr;

impl Write for RedactedStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = redacted(String::from_utf8_lossy(line).into_owned());
        io::stderr().write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_their_secrets_and_nothing_else() {
        let token = format!("{}{}", "ghp_", "kB8jDZ2nFk7cLgZwH1Q7Y6A9w4s3mYpevR4D");
        let text = format!("the host refused {token} for job 01a20a6c");
        let expected = "the host refused [secret removed: github-pat] for job 01a20a6c";
        assert_eq!(redacted(text), expected);
        let plain = "job 01a20a6c-7ed0-7bbb-8f0e-3c9b6a1d2e4f (tree c0c0c0c0c0c0)".to_owned();
        assert_eq!(redacted(plain.clone()), plain);
    }
}
