//! The patch writer, judged by the real git: applied to the base, a patch makes the recorded tree.

#![no_main]

mod ground;
mod names;

use arbitrary::Arbitrary;
use cody_batch::git::write_patch;
use cody_events::tree::{Blob, ChangedEntry, Entry, EntryMode, RepoPath};
use git2::{ObjectType, Oid};
use libfuzzer_sys::fuzz_target;

use ground::{GROUND, git};
use names::HARD;

#[derive(Debug, Arbitrary)]
enum Place {
    OfBase(u8),
    Hard(Vec<u8>),
    Any(Vec<Vec<u8>>),
}

#[derive(Debug, Arbitrary)]
enum Change {
    Gone,
    File(Content),
    Executable(Content),
    Link(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
enum Content {
    Bytes(Vec<u8>),
    Lines(Vec<(u8, bool)>),
}

const PATHS: [&str; 11] = [
    "a",
    "b.txt",
    "crlf",
    "empty",
    "binary",
    "sub/a",
    "sub/deep/b",
    ".gitignore",
    "link",
    "module",
    "sub",
];

fn path(place: &Place) -> Option<RepoPath> {
    match place {
        Place::OfBase(number) => {
            RepoPath::new(PATHS[usize::from(*number) % PATHS.len()].as_bytes()).ok()
        }
        Place::Hard(parts) => {
            let parts = parts.iter().take(4).map(|part| HARD[usize::from(*part) % HARD.len()]);
            RepoPath::new(parts.collect::<Vec<_>>().join(&b'/')).ok()
        }
        Place::Any(parts) => {
            let parts: Vec<&[u8]> =
                parts.iter().take(4).map(|part| &part[..part.len().min(60)]).collect();
            RepoPath::new(parts.join(&b'/')).ok()
        }
    }
}

fn content(content: &Content) -> Vec<u8> {
    match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Lines(lines) => lines
            .iter()
            .flat_map(|(word, has_end)| {
                let words = ["one", "two", "three", "--- a/x", "+++ b/x", "@@ -1 +1 @@", "", "\r"];
                let end = if *has_end { "\n" } else { "" };
                format!("{}{end}", words[usize::from(*word) % words.len()]).into_bytes()
            })
            .collect(),
    }
}

fuzz_target!(|changes: Vec<(Place, Change)>| {
    let mut recorded = GROUND.recorded();
    let mut entries: Vec<ChangedEntry> = Vec::new();
    let mut blobs: Vec<Blob> = Vec::new();
    for (place, change) in changes.iter().take(12) {
        let Some(path) = path(place) else { continue };
        if entries.iter().any(|entry| entry.path == path) {
            continue;
        }
        let (mode, content) = match change {
            Change::Gone => {
                entries.push(ChangedEntry { path, entry: None });
                continue;
            }
            Change::File(text) => (EntryMode::File, content(text)),
            Change::Executable(text) => (EntryMode::Executable, content(text)),
            // A link leads somewhere, in one piece: git has no other.
            Change::Link(target) if target.is_empty() || target.contains(&0) => continue,
            Change::Link(target) => (EntryMode::Symlink, target.clone()),
        };
        let object =
            Oid::hash_object(ObjectType::Blob, &content).unwrap().to_string().parse().unwrap();
        blobs.push(Blob { object, content });
        entries.push(ChangedEntry { path, entry: Some(Entry { mode, object }) });
    }
    recorded.apply(&entries, &blobs).unwrap();
    if recorded.check_shape(&entries).is_err() {
        return;
    }
    let patch = write_patch(&recorded).unwrap();
    assert_eq!(patch, write_patch(&recorded).unwrap(), "the same bytes each time");
    let tree = recorded.tree_id().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let (index, file) = (dir.path().join("index"), dir.path().join("patch"));
    let repository = GROUND.repository();
    let env = [("GIT_INDEX_FILE", index.as_path())];
    git(&repository, &["read-tree", "HEAD"], &env);
    if !patch.bytes.is_empty() {
        std::fs::write(&file, &patch.bytes).unwrap();
        let file = file.to_str().unwrap();
        git(&repository, &["apply", "--cached", "--whitespace=nowarn", file], &env);
    }
    assert_eq!(git(&repository, &["write-tree"], &env), tree, "the patch makes the tree");
});
