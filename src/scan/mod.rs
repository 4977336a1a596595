//! The scan of a repository: what it holds, how it is built and checked, what it tells programs
//! like us, and where a prompt probably points. It reads a listing and heads of files, and says
//! what it saw; it runs nothing, follows no link and decides nothing.
//!
//! The same entries, bytes, prompt and limits give the same [`Scan`]: byte order everywhere, no
//! times, no floats in what is kept.

mod base;
mod candidates;
mod checks;
mod hidden;
mod instructions;
mod languages;
mod listing;
mod manifests;
mod outline;
mod render;
pub mod secrets;
mod sorts;
mod terms;
mod untrusted;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod large_tests;
#[cfg(test)]
mod tests;

use std::io;

use cody_events::tree::{Entry, RepoPath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use base::scan_base;
pub use candidates::{Candidate, Mention, Reading};
pub use checks::{CheckCommand, Purpose};
pub use hidden::{has_marks, on_one_line, revealed, without_hidden};
pub use instructions::InstructionFile;
pub use manifests::{BuildSystem, Manifest, ManifestProblem};
pub use outline::{BigFile, Folder, LanguageShare};
pub use render::{RenderCaps, render_context};
pub use untrusted::{Hidden, clean, fenced, shown_path};

use listing::Listing;

/// Reads at most this many bytes from the start of the file at a path. It reads what the base has
/// there, never a work directory, where a link could lead outside.
pub type ReadHead<'a> = dyn Fn(&RepoPath, usize) -> io::Result<Vec<u8>> + 'a;

/// What a scan looks at.
pub struct ScanInput<'a> {
    /// Every path of the tree with its entry and the size of its blob in bytes (0 for a gitlink).
    /// Any order; the scan sorts.
    pub entries: &'a [(RepoPath, Entry, u64)],
    pub read_head: &'a ReadHead<'a>,
    pub default_branch: Option<&'a str>,
    pub prompt: &'a str,
}

impl std::fmt::Debug for ScanInput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanInput")
            .field("entries", &self.entries.len())
            .field("default_branch", &self.default_branch)
            .field("prompt", &self.prompt)
            .finish_non_exhaustive()
    }
}

/// The bounds of a scan: how much it reads and how much it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanLimits {
    /// Bytes read for the ranking, all files together.
    pub ranking_bytes: u64,
    /// Bytes read of one file while the whole text fits into `ranking_bytes`.
    pub whole_file_bytes: u64,
    /// Bytes read of one file when it does not.
    pub head_bytes: u64,
    /// Bytes of the prompt that are looked at.
    pub prompt_bytes: usize,
    /// A manifest above this is listed and not parsed.
    pub manifest_bytes: u64,
    /// Manifests that are parsed.
    pub manifests_parsed: usize,
    /// Extensionless files whose first line is read for a `#!`.
    pub shebangs_read: usize,
    /// Bytes kept of one instruction file, and of all together.
    pub instruction_bytes: usize,
    pub instructions_bytes: usize,
    pub instruction_count: usize,
    pub manifest_count: usize,
    pub check_count: usize,
    pub candidate_count: usize,
    pub folder_count: usize,
    pub big_file_count: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            ranking_bytes: 64 << 20,
            whole_file_bytes: 1 << 20,
            head_bytes: 32 << 10,
            prompt_bytes: 64 << 10,
            manifest_bytes: 256 << 10,
            manifests_parsed: 64,
            shebangs_read: 256,
            instruction_bytes: 16 << 10,
            instructions_bytes: 48 << 10,
            instruction_count: 16,
            manifest_count: 128,
            check_count: 12,
            candidate_count: 40,
            folder_count: 200,
            big_file_count: 16,
        }
    }
}

impl ScanLimits {
    /// A scan that finds what decides something: counts, manifests and check commands.
    pub fn decisive() -> Self {
        Self {
            ranking_bytes: 0,
            whole_file_bytes: 0,
            head_bytes: 0,
            instruction_count: 0,
            candidate_count: 0,
            ..Self::default()
        }
    }

    /// A scan that counts files and looks into none.
    pub fn counts_only() -> Self {
        Self {
            ranking_bytes: 0,
            whole_file_bytes: 0,
            head_bytes: 0,
            manifests_parsed: 0,
            shebangs_read: 0,
            instruction_count: 0,
            manifest_count: 0,
            check_count: 0,
            candidate_count: 0,
            ..Self::default()
        }
    }
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// Numbers and names from closed sets: fit for an event's facts.
    pub facts: ScanFacts,
    /// Paths and text of the repository: payload.
    pub findings: ScanFindings,
}

/// The countable side of a scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanFacts {
    /// The name as given, if it is at most 255 bytes without control characters.
    pub default_branch: Option<String>,
    /// Regular files, executable or not.
    pub file_count: u64,
    pub symlink_count: u64,
    /// Submodules: recorded commits of other repositories, never looked into.
    pub gitlink_count: u64,
    /// The sizes of all regular files.
    pub total_bytes: u64,
    /// Files that are somebody else's code, machine-made or no text, judged by their path.
    pub vendored_count: u64,
    pub generated_count: u64,
    pub binary_count: u64,
    /// At most 32, programming languages first, then by bytes; without vendored and generated
    /// files. Names are from our own table.
    pub languages: Vec<LanguageShare>,
    /// Languages before the cut.
    pub language_count: u64,
}

/// The side of a scan that carries what the repository's authors wrote. Untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanFindings {
    /// Root first, then by depth and path; vendored ones left out.
    pub manifests: Vec<Manifest>,
    /// Manifests before the cut.
    pub manifest_count: u64,
    /// The likeliest first.
    pub check_commands: Vec<CheckCommand>,
    /// The most relevant to the prompt first.
    pub candidates: Vec<Candidate>,
    /// How much of the repository the ranking looked at.
    pub reading: Reading,
    pub instructions: Vec<InstructionFile>,
    /// Instruction files before the cut.
    pub instruction_count: u64,
    /// Folders of the first two levels, in path order.
    pub folders: Vec<Folder>,
    /// Folders of the first two levels before the cut.
    pub folder_count: u64,
    /// Files that stand in the root, in path order.
    pub root_files: Vec<RepoPath>,
    pub biggest_files: Vec<BigFile>,
}

/// The most languages that facts carry.
pub const LANGUAGE_MAX: usize = 32;

/// Scans one repository. Never fails: what cannot be read is left out or named as a problem.
pub fn scan(input: &ScanInput<'_>, limits: &ScanLimits) -> Scan {
    let listing = Listing::new(input.entries);
    let prompt = terms::head_of(input.prompt, limits.prompt_bytes);

    let languages = outline::languages(&listing, input.read_head, limits);
    let found = manifests::find(&listing, input.read_head, limits);
    let check_commands = checks::likely(&listing, &found, &languages, input.read_head, limits);
    let ranked = candidates::rank(&listing, prompt, input.read_head, limits);
    let instructions = instructions::find(&listing, input.read_head, limits);
    let folders = outline::folders(&listing);

    let facts = ScanFacts {
        default_branch: input.default_branch.filter(|name| is_plain_name(name)).map(str::to_owned),
        file_count: listing.files().len() as u64,
        symlink_count: listing.symlink_count,
        gitlink_count: listing.gitlink_count,
        total_bytes: listing.files().iter().fold(0, |sum, file| file.size.saturating_add(sum)),
        vendored_count: listing.count(sorts::Sort::Vendored),
        generated_count: listing.count(sorts::Sort::Generated),
        binary_count: listing.count(sorts::Sort::Binary),
        language_count: languages.len() as u64,
        languages: languages.into_iter().take(LANGUAGE_MAX).collect(),
    };
    let findings = ScanFindings {
        manifest_count: found.total,
        manifests: found.into_manifests(limits.manifest_count),
        check_commands,
        candidates: ranked.candidates,
        reading: ranked.reading,
        instruction_count: instructions.total,
        instructions: instructions.files,
        folder_count: folders.len() as u64,
        folders: folders.into_iter().take(limits.folder_count).collect(),
        root_files: outline::root_files(&listing, limits.folder_count),
        biggest_files: outline::biggest(&listing, limits.big_file_count),
    };
    Scan { facts, findings }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.chars().any(char::is_control)
}
