//! `list_files`: what is in a directory, in byte order, without times. Hidden files are shown,
//! folders of build tools are not entered.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cody_events::tree::RepoPath;
use ignore::WalkBuilder;
use ignore::overrides::{Override, OverrideBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, AskedTool, ToolContext, input, place};

/// More entries than this say less than a narrower question.
const MAX_ENTRIES: usize = 2_000;
const DEFAULT_DEPTH: usize = 3;
/// Folders that are named but not entered.
const CLOSED: [&str; 8] =
    [".git", ".venv", "__pycache__", "dist", "node_modules", "target", "venv", ".tox"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    path: Option<String>,
    glob: Option<String>,
    depth: Option<usize>,
}

/// The tool's definition.
pub(super) fn schema() -> Value {
    json!({
        "name": "list_files",
        "description": "Lists files and directories below a path, in order of their names. \
            Directories end in a slash. With `glob`, only files that match it, at any depth.",
        "strict": true,
        "input_schema": {
            "type": "object",
            "properties": {
                "path": {"type": ["string", "null"], "description": "Where to look; /repo if null."},
                "glob": {
                    "type": ["string", "null"],
                    "description": "For instance **/*.rs; all files if null.",
                },
                "depth": {
                    "type": ["integer", "null"],
                    "description": "How many levels; 3 if null, any with a glob.",
                },
            },
            "required": ["path", "glob", "depth"],
            "additionalProperties": false,
        },
    })
}

/// Lists.
pub(super) fn run(context: &ToolContext, tool: &AskedTool) -> Answer {
    let asked = match input::<Input>(tool) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let path = match place::parse(asked.path.as_deref().unwrap_or("/repo")) {
        Ok(path) => path,
        Err(error) => return Answer::Failed(error),
    };
    if !place::is_dir(&context.root, path.as_ref()) {
        let shown = path.map_or_else(String::new, |path| format!("/{path}"));
        return Answer::Failed(format!("/repo{shown} is no directory."));
    }
    let glob = match asked.glob.as_deref().map(|glob| overrides(&context.root, glob)).transpose() {
        Ok(glob) => glob,
        Err(error) => return Answer::Failed(format!("The glob does not parse: {error}.")),
    };
    let depth = asked.depth.unwrap_or(if glob.is_some() { usize::MAX } else { DEFAULT_DEPTH });
    Answer::Said(listing(&context.root, path.as_ref(), glob, depth))
}

/// A matcher for `glob` below `root`.
pub(super) fn overrides(root: &Path, glob: &str) -> Result<Override, ignore::Error> {
    OverrideBuilder::new(root).add(glob)?.build()
}

/// A walk that knows no world outside of `root`.
pub(super) fn closed_walk(root: &Path, path: Option<&RepoPath>) -> WalkBuilder {
    let mut walk = WalkBuilder::new(place::on_disk(root, path));
    walk.standard_filters(false)
        .follow_links(false)
        .sort_by_file_name(std::ffi::OsStr::cmp)
        .filter_entry(|entry| {
            entry.depth() <= 1
                || !CLOSED.iter().any(|name| {
                    entry.path().parent().is_some_and(|parent| {
                        parent.file_name().is_some_and(|parent| parent == *name)
                    })
                })
        });
    walk
}

/// The entries below `path`, a line each.
pub(super) fn listing(
    root: &Path,
    path: Option<&RepoPath>,
    glob: Option<Override>,
    depth: usize,
) -> String {
    let mut walk = closed_walk(root, path);
    walk.max_depth(Some(depth.max(1)));
    let only_files = glob.is_some();
    let mut lines = String::new();
    let mut count = 0usize;
    for entry in walk.build().flatten() {
        let Ok(below) = entry.path().strip_prefix(root) else { continue };
        if entry.depth() == 0 || below.as_os_str().as_bytes() == b".git" {
            continue;
        }
        let kind = entry.file_type();
        let is_dir = kind.is_some_and(|kind| kind.is_dir());
        let is_wanted = match &glob {
            Some(glob) => !is_dir && glob.matched(entry.path(), false).is_whitelist(),
            None => true,
        };
        if (only_files && is_dir) || !is_wanted {
            continue;
        }
        count += 1;
        if count <= MAX_ENTRIES {
            lines.push_str(&below.to_string_lossy());
            lines.push_str(match kind {
                Some(kind) if kind.is_dir() => "/\n",
                Some(kind) if kind.is_symlink() => " (link)\n",
                _ => "\n",
            });
        }
    }
    if count > MAX_ENTRIES {
        lines.push_str(&format!(
            "[… {} more; ask for a deeper path or a glob …]\n",
            count - MAX_ENTRIES
        ));
    }
    if lines.is_empty() {
        lines.push_str(if only_files { "No file matches.\n" } else { "(empty)\n" });
    }
    lines
}
