//! Secrets that a diff would add to a repository, by its added lines and the names of its files.

use std::collections::BTreeMap;

use cody_events::tree::RepoPath;

use super::patch_lines::changed_lines;
use crate::git::Patch;
use crate::scan::{secrets, shown_path};

/// How many are told one by one.
const TOLD: usize = 5;

/// What `patch` adds that looks like a secret: in words that name rule, file and line, never the
/// value.
pub(super) fn added_secrets(patch: &Patch, known: &secrets::KnownSecrets) -> Vec<String> {
    let mut added: BTreeMap<&RepoPath, Vec<(usize, String)>> = BTreeMap::new();
    for line in changed_lines(patch).into_iter().filter(|line| line.is_added) {
        let text = String::from_utf8_lossy(line.text).into_owned();
        added.entry(line.path).or_default().push((line.number, text));
    }
    let mut found = Vec::new();
    for (path, lines) in &added {
        let text: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let path_text = path.display();
        for finding in secrets::find_all(&text, Some(&path_text), known) {
            let number = lines.get(finding.line - 1).map_or(0, |(number, _)| *number);
            found.push(format!("{} in {} line {number}", finding.rule, shown_path(path)));
        }
    }
    for file in &patch.files {
        for finding in secrets::find_all(&file.path.display(), None, known) {
            found.push(format!("{} in the name of a file", finding.rule));
        }
    }
    found
}

/// Why a diff with these secrets is held.
pub(super) fn reason(found: &[String]) -> Option<String> {
    let told = found.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
    let more = match found.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!found.is_empty()).then(|| format!("It adds what looks like a secret ({told}{more})."))
}
