//! The files in which a repository speaks to programs like us. Their text is a stranger's: context
//! to weigh, never an order; it is cut, cleaned of what hides, and later fenced.

use cody_events::tree::RepoPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listing::{File, Listing};
use super::sorts::Sort;
use super::untrusted::{Hidden, clean};
use super::{ReadHead, ScanLimits};

/// One instruction file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstructionFile {
    pub path: RepoPath,
    /// The start of the file without what hides. Untrusted.
    pub text: String,
    /// Bytes of the file that were not looked at.
    pub cut_bytes: u64,
    pub hidden: Hidden,
}

/// The instruction files that were read, and how many there are.
#[derive(Debug)]
pub struct Instructions {
    pub files: Vec<InstructionFile>,
    pub total: u64,
}

/// Names that count in any folder, in the order in which they are read within one.
const ANYWHERE: &[&str] = &["AGENTS.md", "AGENTS.override.md", "CLAUDE.md", "GEMINI.md"];

/// Whole paths.
const IN_ROOT: &[&str] = &[
    ".github/copilot-instructions.md",
    "CONTRIBUTING.md",
    "CONTRIBUTING.rst",
    "CONTRIBUTING",
    ".github/CONTRIBUTING.md",
    "docs/CONTRIBUTING.md",
    "CONVENTIONS.md",
    ".cursorrules",
    ".windsurfrules",
    ".clinerules",
    ".goosehints",
    ".junie/guidelines.md",
    "QWEN.md",
    ".rules",
];

/// Folders of which every file with this ending counts.
const FOLDERS: &[(&str, &str)] = &[
    (".cursor/rules/", ".mdc"),
    (".cursor/rules/", ".md"),
    (".github/instructions/", ".instructions.md"),
    (".clinerules/", ".md"),
    (".windsurf/rules/", ".md"),
    (".claude/rules/", ".md"),
];

/// Finds and reads them: the root's first, then by depth, kind and path.
pub fn find(listing: &Listing<'_>, read_head: &ReadHead<'_>, limits: &ScanLimits) -> Instructions {
    let mut found = listing
        .files()
        .iter()
        .filter(|file| file.sort == Sort::Own && file.is_listable())
        .filter_map(|file| Some((rank_of(file)?, file)))
        .collect::<Vec<_>>();
    found.sort_by(|(a, a_file), (b, b_file)| a.cmp(b).then(a_file.path.cmp(b_file.path)));

    let mut left = limits.instructions_bytes;
    let mut files = Vec::new();
    for (_, file) in found.iter().take(limits.instruction_count) {
        let max = limits.instruction_bytes.min(left);
        if let Some(read) = read(file, read_head, max) {
            left -= read.text.len().min(left);
            files.push(read);
        }
    }
    Instructions { files, total: found.len() as u64 }
}

/// Where a file stands among the instruction files; nothing if it is none.
fn rank_of(file: &File<'_>) -> Option<(usize, usize)> {
    let path = file.path.as_bytes();
    let at = |names: &[&str], text: &[u8]| names.iter().position(|name| name.as_bytes() == text);
    if let Some(kind) = at(ANYWHERE, file.name()) {
        return Some((file.depth(), kind));
    }
    if let Some(kind) = at(IN_ROOT, path) {
        return Some((0, ANYWHERE.len() + kind));
    }
    let kind = FOLDERS.iter().position(|(folder, ending)| {
        path.starts_with(folder.as_bytes()) && path.ends_with(ending.as_bytes())
    })?;
    Some((0, ANYWHERE.len() + IN_ROOT.len() + kind))
}

fn read(file: &File<'_>, read_head: &ReadHead<'_>, max: usize) -> Option<InstructionFile> {
    if max == 0 {
        return None;
    }
    let mut head = read_head(file.path, max).ok()?;
    head.truncate(max);
    let cut_bytes = file.size.saturating_sub(head.len() as u64);
    let (text, hidden) = clean(&String::from_utf8_lossy(whole_characters(&head)));
    // Replaced bytes can make text longer than what was read.
    let text = super::terms::head_of(&text, max).to_owned();
    Some(InstructionFile { path: file.path.clone(), text, cut_bytes, hidden })
}

/// `head` without a last character that the cut split.
fn whole_characters(head: &[u8]) -> &[u8] {
    match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_none() => &head[..error.valid_up_to()],
        _ => head,
    }
}
