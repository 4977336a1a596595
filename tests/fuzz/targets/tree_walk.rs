//! The walk of a work directory: whatever a command left there, what is recorded makes its tree again,
//! says what the disk has, and holds nothing of `.git`.

#![no_main]

mod ground;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use arbitrary::Arbitrary;
use cody_batch::git::{StatCache, WalkCaps, checkout, walk};
use cody_events::tree::{EntryMode, RepoPath};
use libfuzzer_sys::fuzz_target;

use ground::GROUND;

#[derive(Debug, Arbitrary)]
enum Thing {
    File(Vec<u8>),
    Executable(Vec<u8>),
    Link(Vec<u8>),
    Folder,
    Closed(Vec<u8>),
    Pipe,
    Gone,
}

#[derive(Debug, Arbitrary)]
enum Name {
    /// One that the base has, that rules ignore, or that git keeps for itself.
    Known(u8),
    Any(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Input {
    starts_with_base: bool,
    things: Vec<(Vec<Name>, Thing)>,
    known: Vec<u8>,
    entries: u8,
}

const NAMES: [&[u8]; 16] = [
    b"a",
    b"sub",
    b"deep",
    b"b.txt",
    b"link",
    b".gitignore",
    b"x.log",
    b"build",
    b".git",
    b".GIT",
    b"git~1",
    b".g\xe2\x80\x8cit",
    b"node_modules",
    b".git ",
    b"CON",
    b"\xff\n",
];

fn bytes(name: &Name) -> Vec<u8> {
    let name = match name {
        Name::Known(number) => NAMES[usize::from(*number) % NAMES.len()].to_vec(),
        Name::Any(bytes) => {
            bytes.iter().copied().filter(|b| !b"/\0".contains(b)).take(40).collect()
        }
    };
    if matches!(name.as_slice(), b"" | b"." | b"..") { b"x".to_vec() } else { name }
}

fn put(place: &Path, thing: &Thing) -> std::io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    match thing {
        Thing::File(content) => fs::write(place, content),
        Thing::Executable(content) => {
            fs::write(place, content)?;
            fs::set_permissions(place, fs::Permissions::from_mode(0o755))
        }
        Thing::Link(target) => {
            let target: Vec<u8> = target.iter().copied().filter(|b| *b != 0).take(100).collect();
            symlink(OsStr::from_bytes(&target), place)
        }
        Thing::Folder => fs::create_dir(place),
        Thing::Closed(content) => {
            fs::write(place, content)?;
            fs::set_permissions(place, fs::Permissions::from_mode(0o000))
        }
        Thing::Pipe => std::os::unix::net::UnixListener::bind(place).map(|_| ()),
        Thing::Gone => fs::remove_dir_all(place).or_else(|_| fs::remove_file(place)),
    }
}

/// Whether a component is git's own on some disk, by a reading of its own.
fn is_gits(component: &[u8]) -> bool {
    let text = String::from_utf8_lossy(component).to_lowercase();
    let text = text.replace(['\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{feff}'], "");
    let text = text.trim_end_matches(['.', ' ']);
    text == ".git" || text == "git~1"
}

fuzz_target!(|input: Input| {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    let mut stats = match input.starts_with_base {
        true => checkout(&GROUND.recorded(), &work).unwrap(),
        false => {
            fs::create_dir(&work).unwrap();
            StatCache::default()
        }
    };
    let mut known = BTreeSet::new();
    for (number, (names, thing)) in input.things.iter().take(24).enumerate() {
        let path: Vec<Vec<u8>> = names.iter().take(6).map(bytes).collect();
        let path = path.join(&b'/');
        let place = work.join(OsStr::from_bytes(&path));
        // Links that were put there lead wherever they lead; only what stays inside is of interest.
        let parent = place.parent().and_then(|parent| parent.canonicalize().ok());
        if path.is_empty() || parent.is_some_and(|parent| !parent.starts_with(&work)) {
            continue;
        }
        // What the disk refuses is not there.
        let _ = put(&place, thing);
        if input.known.get(number).is_some_and(|is_known| is_known % 2 == 1) {
            known.extend(RepoPath::new(path).ok());
        }
    }
    let caps =
        WalkCaps { new_entries: u64::from(input.entries), new_bytes: 1 << 20, files: 100_000 };
    let base = GROUND.base();
    let walked = walk(&work, &base, &known, &mut stats, &caps).unwrap();
    let cold = walk(&work, &base, &known, &mut StatCache::default(), &caps).unwrap();
    assert_eq!(walked.tree, cold.tree, "the cache changes nothing");

    let mut recorded = GROUND.recorded();
    recorded.apply(&walked.changed, &walked.blobs).unwrap();
    recorded.check_shape(&walked.changed).unwrap();
    assert_eq!(recorded.tree_id().unwrap(), walked.tree, "entries and blobs make the tree again");
    for (path, entry) in recorded.entries().unwrap() {
        assert!(!path.components().any(is_gits), "{path:?} is recorded");
        if !walked.changed.iter().any(|change| change.path == path) {
            continue;
        }
        let place = work.join(OsStr::from_bytes(path.as_bytes()));
        let on_disk = fs::symlink_metadata(&place).unwrap();
        let content = recorded.base().content(entry.object).unwrap();
        match entry.mode {
            EntryMode::Symlink => {
                assert_eq!(fs::read_link(&place).unwrap().as_os_str().as_bytes(), content);
            }
            EntryMode::File | EntryMode::Executable => {
                assert!(on_disk.is_file(), "{path:?} is no file");
                assert_eq!(fs::read(&place).unwrap(), content, "{path:?}");
            }
            EntryMode::Gitlink => panic!("a submodule out of nothing"),
        }
    }
    let again = dir.path().join("again");
    checkout(&recorded, &again).unwrap();
    let known = walked.changed.iter().map(|change| change.path.clone()).collect();
    let caps = WalkCaps { new_entries: 1_000, ..caps };
    let second = walk(&again, &base, &known, &mut StatCache::default(), &caps).unwrap();
    assert_eq!(second.tree, walked.tree, "a checkout is what was recorded");
});
