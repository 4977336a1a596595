//! `list_files`: what is below a directory, in byte order. A listing says what is there, not when
//! it came; ignore rules hide nothing, only folders of build tools stay closed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cody_events::raw::RawJson;
use cody_events::tree::RepoPath;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::Deserialize;

use super::place::{Found, Place, Root, on_this_machine, shown, shown_bytes};
use super::read_input;
use super::result::{Answer, Complaint, complain};
use crate::git::is_build_folder;

/// How deep a listing goes at most.
const MAX_DEPTH: u32 = 50;
/// How deep it goes if nothing is said.
const DEFAULT_DEPTH: u32 = 3;
/// How many entries a listing has at most.
const MAX_ENTRIES: usize = 5_000;
/// How many entries are looked at for them.
const MAX_VISITED: usize = 200_000;

#[derive(Deserialize)]
struct Input {
    path: Option<String>,
    glob: Option<String>,
    depth: Option<i64>,
}

pub(super) fn run(root: &Path, input: &RawJson) -> Answer {
    let Input { path, glob, depth } = read_input(input)?;
    let path = Place::in_repo(path.as_deref().unwrap_or_default())?;
    let depth = match depth.map(u32::try_from) {
        None if glob.is_none() => DEFAULT_DEPTH,
        None => MAX_DEPTH,
        Some(Ok(depth)) if depth >= 1 => depth.min(MAX_DEPTH),
        Some(_) => {
            return complain("list_files: `depth` is 1 for the directory's own entries, or more.");
        }
    };
    match Root::open(root)?.find(path.as_ref())? {
        Found::Directory => listing(root, path.as_ref(), glob.as_deref(), depth),
        Found::File { .. } => complain(format!(
            "list_files: {} is a file. View it with str_replace_based_edit_tool.",
            shown(path.as_ref())
        )),
        Found::Nothing => complain(format!("list_files: {} is not there.", shown(path.as_ref()))),
    }
}

/// The listing that a view of a directory gives.
pub(super) fn two_levels(root: &Path, path: Option<&RepoPath>) -> Answer {
    listing(root, path, None, 2)
}

fn listing(root: &Path, path: Option<&RepoPath>, glob: Option<&str>, depth: u32) -> Answer {
    let top = path.map_or(&b""[..], RepoPath::as_bytes);
    let mut listing = Listing {
        root,
        top,
        glob: glob_of(glob.unwrap_or_default())?,
        depth,
        lines: Vec::new(),
        visited: 0,
    };
    let is_whole = listing.list(&on_this_machine(root, path), top, 1);
    let mut lines = listing.lines;
    if lines.is_empty() {
        lines.push(match listing.glob {
            Some(_) => format!("No file below {} matches.", shown(path)),
            None => format!("{} is empty.", shown(path)),
        });
    }
    if !is_whole {
        lines.push("[There is more: ask for a directory below, a glob, or less depth.]".to_owned());
    }
    Ok(lines.join("\n"))
}

struct Listing<'a> {
    root: &'a Path,
    /// The directory asked for, which globs are relative to.
    top: &'a [u8],
    glob: Option<Gitignore>,
    depth: u32,
    lines: Vec<String>,
    visited: usize,
}

impl Listing<'_> {
    /// Lists a directory and what is below it; false if there is more than a listing holds.
    fn list(&mut self, directory: &Path, path: &[u8], level: u32) -> bool {
        // A directory that cannot be read is shown by its name, like an empty one.
        let Ok(entries) = fs::read_dir(directory) else { return true };
        let mut entries: Vec<(Vec<u8>, fs::FileType)> = entries
            .flatten()
            .filter_map(|entry| {
                Some((entry.file_name().as_bytes().to_vec(), entry.file_type().ok()?))
            })
            .filter(|(name, _)| !is_dot_git(name))
            .collect();
        // Byte order of whole paths: a directory sorts as if its name ended with a slash.
        entries.sort_by_cached_key(|(name, kind)| {
            let slash: &[u8] = if kind.is_dir() { b"/" } else { b"" };
            [name.as_slice(), slash].concat()
        });
        for (name, kind) in entries {
            self.visited += 1;
            if self.lines.len() >= MAX_ENTRIES || self.visited >= MAX_VISITED {
                return false;
            }
            let whole = join(path, &name);
            if !kind.is_dir() {
                self.add_file(&whole, kind);
                continue;
            }
            let is_closed = is_build_folder(&name);
            if self.glob.is_none() {
                let note = if is_closed { "  (not entered; list it by its own path)" } else { "" };
                self.lines.push(format!("{}/{note}", shown_bytes(&whole)));
            }
            if !is_closed
                && level < self.depth
                && !self.list(&directory.join(OsStr::from_bytes(&name)), &whole, level + 1)
            {
                return false;
            }
        }
        true
    }

    fn add_file(&mut self, path: &[u8], kind: fs::FileType) {
        let below = path.get(self.top.len()..).unwrap_or_default();
        let below = Path::new(OsStr::from_bytes(below.strip_prefix(b"/").unwrap_or(below)));
        if self.glob.as_ref().is_some_and(|glob| !is_match(glob, below)) {
            return;
        }
        let target = match kind.is_symlink() {
            true => fs::read_link(self.root.join(OsStr::from_bytes(path))).map_or(
                String::new(),
                |target| {
                    format!(
                        " -> {}",
                        String::from_utf8_lossy(target.as_os_str().as_bytes()).escape_debug()
                    )
                },
            ),
            false => String::new(),
        };
        self.lines.push(format!("{}{target}", shown_bytes(path)));
    }
}

/// What a glob matches; nothing for an empty one, which matches everything.
pub(super) fn glob_of(glob: &str) -> Result<Option<Gitignore>, Complaint> {
    if glob.trim().is_empty() {
        return Ok(None);
    }
    if glob.starts_with(['!', '#']) || glob.contains('\n') {
        return complain(format!(
            "The glob {glob:?} is no pattern of one line, such as `src/**/*.rs`."
        ));
    }
    let mut builder = GitignoreBuilder::new("");
    let built = builder.add_line(None, glob).and_then(|builder| builder.build());
    match built {
        Ok(glob) => Ok(Some(glob)),
        Err(error) => complain(format!("The glob {glob:?} cannot be read: {error}.")),
    }
}

/// Whether a file below the directory of a glob matches it, or is in a directory that does.
pub(super) fn is_match(glob: &Gitignore, below: &Path) -> bool {
    glob.matched_path_or_any_parents(below, false).is_ignore()
}

/// Whether some system reads the name as `.git`.
pub(super) fn is_dot_git(name: &[u8]) -> bool {
    RepoPath::new(name) == Err(cody_events::tree::BadPath::DotGit)
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        b"" => name.to_vec(),
        path => [path, b"/", name].concat(),
    }
}
