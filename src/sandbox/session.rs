//! What carries over between the commands of one conversation: the directory they stand in and the
//! variables they exported. Scratch: it is written by whatever ran, so a bad report leaves the last
//! good session, and nothing may depend on it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file that holds the memory, below the session's directory. It is never visible inside.
const FILE: &str = "session.json";
/// Bytes of exports that are carried; a shell with more keeps the exports it had.
const EXPORTS_BYTES: usize = 64 << 10;
/// Bytes of a directory's name that are carried.
const CWD_BYTES: usize = 4096;

/// A shell's memory between commands.
#[derive(Debug, Clone)]
pub struct ShellSession {
    /// The directory of its file, outside of any work directory.
    pub dir: PathBuf,
}

/// A shell between two commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    /// The directory, as it is named inside.
    pub(super) cwd: String,
    /// The whole environment, where a command left one; else the sandbox's own.
    pub(super) exports: Option<BTreeMap<String, String>>,
}

impl ShellSession {
    /// A session that remembers in `dir`, which is made if it is missing.
    pub fn new(dir: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Forgets everything.
    pub fn restart(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.dir.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is remembered; a fresh shell when that cannot be read.
    pub(super) fn recall(&self) -> Memory {
        let bytes = std::fs::read(self.dir.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Remembers `memory`; a session that cannot be written stays as it was.
    pub(super) fn remember(&self, memory: &Memory) {
        if let Ok(bytes) = serde_json::to_vec(memory) {
            let _ = std::fs::write(self.dir.join(FILE), bytes);
        }
    }
}

impl Default for Memory {
    /// A fresh shell at `/repo`.
    fn default() -> Self {
        Self { cwd: super::REPO.to_owned(), exports: None }
    }
}

impl Memory {
    /// The memory after a command whose shell wrote `report`: the directory and then `NAME=value`,
    /// each closed by a NUL byte. Whatever is missing, too large or no UTF-8 is not taken.
    pub(super) fn after(&self, report: &[u8]) -> Self {
        let Some(body) = report.strip_suffix(b"\0") else { return self.clone() };
        let mut fields = body.split(|byte| *byte == 0).map(std::str::from_utf8);
        let cwd = match fields.next() {
            Some(Ok(cwd)) if cwd.starts_with('/') && cwd.len() <= CWD_BYTES => cwd.to_owned(),
            _ => return self.clone(),
        };
        let exports: BTreeMap<String, String> = fields
            .filter_map(|field| field.ok()?.split_once('='))
            .filter(|(name, _)| is_carried(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let bytes: usize = exports.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let exports = if exports.is_empty() || bytes > EXPORTS_BYTES {
            self.exports.clone()
        } else {
            Some(exports)
        };
        Self { cwd, exports }
    }
}

/// Whether a variable of this name goes on to the next command. Shells make the rest themselves.
fn is_carried(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !matches!(name, "_" | "SHLVL" | "PWD")
        && !name.starts_with("__cody")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_and_a_bad_one_changes_nothing() {
        let report = b"/repo/a b\0A=1\0B=x=y\nz\0_=/usr/bin/env\0SHLVL=2\0BASH_FUNC_f%%=() {}\0";
        let after = Memory::default().after(report);
        let exports = [("A", "1"), ("B", "x=y\nz")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let expected = Memory { cwd: "/repo/a b".to_owned(), exports: Some(exports.into()) };
        assert_eq!(after, expected);

        let huge = format!("/repo\0A={}\0", "x".repeat(EXPORTS_BYTES));
        for (bad, kept_cwd) in [
            (&b""[..], "/repo/a b"),
            (b"/repo", "/repo/a b"),
            (b"relative\0A=2\0", "/repo/a b"),
            (b"\xff\0A=2\0", "/repo/a b"),
            (huge.as_bytes(), "/repo"),
        ] {
            let next = after.after(bad);
            assert_eq!((next.cwd.as_str(), &next.exports), (kept_cwd, &after.exports));
        }
    }
}
