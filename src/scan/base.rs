//! The scan of a pinned base, read from its pack, and what of it goes into the log. Worker and server
//! ask for it alike: what decides something is not taken from a report.

use cody_events::evidence::{FoundCheck, Language, Manifest};
use cody_events::tree::{Entry, RepoPath};

use super::{Purpose, Scan, ScanInput, ScanLimits, scan};
use crate::git::{Base, GitError};

/// Larger files are data: a pack gives a file whole or not at all.
const MAX_READ_BYTES: u64 = 4 << 20;

/// Scans `base`.
pub fn scan_base(
    base: &Base,
    default_branch: Option<&str>,
    prompt: &str,
    limits: &ScanLimits,
) -> Result<Scan, GitError> {
    let entries = base.sized_entries()?;
    let read_head = |path: &RepoPath, most: usize| head(base, &entries, path, most);
    let input = ScanInput { entries: &entries, read_head: &read_head, default_branch, prompt };
    Ok(scan(&input, limits))
}

/// The beginning of a file of the base, straight from its pack: `entries` are in byte order.
fn head(
    base: &Base,
    entries: &[(RepoPath, Entry, u64)],
    path: &RepoPath,
    most: usize,
) -> std::io::Result<Vec<u8>> {
    let at = entries.binary_search_by(|(other, _, _)| other.cmp(path));
    let at = at.map_err(|_| std::io::Error::other("it is not in the base"))?;
    let content = base.small_content(entries[at].1.object, MAX_READ_BYTES);
    let mut content = content
        .map_err(std::io::Error::other)?
        .ok_or_else(|| std::io::Error::other("it is too large to be read"))?;
    content.truncate(most);
    Ok(content)
}

impl Scan {
    /// The languages, as the log has them.
    pub fn languages(&self) -> Vec<Language> {
        let shares = self.facts.languages.iter().map(|share| Language {
            name: share.name.clone(),
            file_count: share.files,
            byte_count: share.bytes,
        });
        shares.collect()
    }

    /// The manifests, as the log has them.
    pub fn manifests(&self) -> Vec<Manifest> {
        let manifests = self.findings.manifests.iter().map(|manifest| Manifest {
            path: manifest.path.clone(),
            build_system: manifest.system.name().to_owned(),
        });
        manifests.collect()
    }

    /// The commands that check the repository. Tests judge a change; linters and type checkers have
    /// opinions of their own about old code.
    pub fn checks(&self) -> Vec<FoundCheck> {
        let found = self.findings.check_commands.iter();
        found
            .filter(|check| check.purpose == Purpose::Test && !check.needs_dependencies)
            .map(|check| FoundCheck {
                command: match &check.folder {
                    Some(folder) => {
                        format!("cd {} && {}", quoted(&folder.display()), check.command)
                    }
                    None => check.command.clone(),
                },
                why: check.reason.clone(),
            })
            .collect()
    }
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
