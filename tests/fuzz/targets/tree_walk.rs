//! The walk of a work directory: whatever a command left there, what is recorded makes its tree again,
//! says what the disk has, and holds nothing of `.git`.

#![no_main]

mod ground;
mod names;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::iter::repeat;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use arbitrary::Arbitrary;
use cody_batch::git::{
    RecordedTree, StatCache, WalkCaps, WalkWarning, Walked, checkout, is_build_folder, walk,
};
use cody_events::tree::{EntryMode, RepoPath};
use libfuzzer_sys::fuzz_target;

use ground::GROUND;
use names::HARD;

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
    /// One that the base has, or that rules ignore.
    Known(u8),
    Hard(u8),
    Any(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Input {
    starts_with_base: bool,
    things: Vec<(Vec<Name>, Thing)>,
    known: Vec<u8>,
    entries: u8,
}

const NAMES: [&[u8]; 11] = [
    b"a",
    b"sub",
    b"deep",
    b"b.txt",
    b"link",
    b"module",
    b".gitignore",
    b"x.log",
    b"build",
    b"node_modules",
    b"\xff\n",
];

fn bytes(name: &Name) -> Vec<u8> {
    let name = match name {
        Name::Known(number) => NAMES[usize::from(*number) % NAMES.len()].to_vec(),
        Name::Hard(number) => HARD[usize::from(*number) % HARD.len()].to_vec(),
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

/// Whether doing that there might touch something outside: through a link on the way, or through one
/// that stands there.
fn leads_out(work: &Path, path: &[u8], thing: &Thing) -> bool {
    let is_link = |end: usize| {
        let place = work.join(OsStr::from_bytes(&path[..end]));
        fs::symlink_metadata(place).is_ok_and(|about| about.is_symlink())
    };
    let above = (0..path.len()).filter(|at| path[*at] == b'/');
    let is_written = matches!(thing, Thing::File(_) | Thing::Executable(_) | Thing::Closed(_));
    above.chain(is_written.then_some(path.len())).any(is_link)
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
    let caps =
        WalkCaps { new_entries: u64::from(input.entries), new_bytes: 1 << 20, files: 100_000 };
    let base = GROUND.base();
    let mut known = BTreeSet::new();
    let mut is_known = input.known.iter().map(|number| number % 2 == 1).chain(repeat(false));
    // Two turns, so that the second meets what the first one learned of files.
    for things in input.things.chunks(12).take(2) {
        for (names, thing) in things {
            let path: Vec<Vec<u8>> = names.iter().take(6).map(bytes).collect();
            let path = path.join(&b'/');
            if path.is_empty() || leads_out(&work, &path, thing) {
                continue;
            }
            // What the disk refuses is not there.
            let _ = put(&work.join(OsStr::from_bytes(&path)), thing);
            if is_known.next() == Some(true) {
                known.extend(RepoPath::new(path).ok());
            }
        }
        let walked = walk(&work, &base, &known, &mut stats, &caps).unwrap();
        let cold = walk(&work, &base, &known, &mut StatCache::default(), &caps).unwrap();
        assert_eq!(walked, cold, "the cache changes nothing");
        let recorded = made_again(&walked);
        says_what_the_disk_has(&work, &recorded);
        leaves_nothing_out(&work, &walked, &recorded, &known);
        let again = dir.path().join("again");
        checkout(&recorded, &again).unwrap();
        let changed = walked.changed.iter().map(|change| change.path.clone()).collect();
        let caps = WalkCaps { new_entries: 1_000, ..caps };
        let second = walk(&again, &base, &changed, &mut StatCache::default(), &caps).unwrap();
        assert_eq!(second.tree, walked.tree, "a checkout is what was recorded");
        fs::remove_dir_all(&again).unwrap();
    }
});

/// The tree, as whoever is told of it makes it.
fn made_again(walked: &Walked) -> RecordedTree {
    let mut recorded = GROUND.recorded();
    recorded.apply(&walked.changed, &walked.blobs).unwrap();
    recorded.check_shape(&walked.changed).unwrap();
    assert_eq!(recorded.tree_id().unwrap(), walked.tree, "entries and blobs make the tree again");
    recorded
}

fn says_what_the_disk_has(work: &Path, recorded: &RecordedTree) {
    for (path, entry) in recorded.entries().unwrap() {
        assert!(!has_dot_git(path.as_bytes()), "{path:?} is recorded");
        if entry.mode == EntryMode::Gitlink {
            assert_eq!(path.as_bytes(), b"module", "a submodule out of nothing");
            continue;
        }
        for folder in path.folders() {
            let about = fs::symlink_metadata(work.join(OsStr::from_bytes(folder.as_bytes())));
            assert!(about.unwrap().is_dir(), "{path:?} stands behind a link");
        }
        let place = work.join(OsStr::from_bytes(path.as_bytes()));
        let on_disk = fs::symlink_metadata(&place).unwrap();
        let content = recorded.base().content(entry.object).unwrap();
        if entry.mode == EntryMode::Symlink {
            assert_eq!(fs::read_link(&place).unwrap().as_os_str().as_bytes(), content);
            continue;
        }
        assert!(on_disk.is_file(), "{path:?} is no file");
        assert_eq!(fs::read(&place).unwrap(), content, "{path:?}");
        let is_executable = on_disk.permissions().mode() & 0o100 != 0;
        assert_eq!(is_executable, entry.mode == EntryMode::Executable, "{path:?}");
    }
}

/// Every file is recorded, unless a rule of the base or a warning says why not.
fn leaves_nothing_out(
    work: &Path,
    walked: &Walked,
    recorded: &RecordedTree,
    known: &BTreeSet<RepoPath>,
) {
    if walked.warnings.iter().any(|warning| !matches!(warning, WalkWarning::BadName(_))) {
        return;
    }
    let mut folders = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(work.join(OsStr::from_bytes(&folder))).unwrap().flatten() {
            let name = entry.file_name();
            let name = name.as_bytes();
            let path = if folder.is_empty() { name.to_vec() } else { [&folder, name].join(&b'/') };
            let Ok(whole) = RepoPath::new(path.as_slice()) else {
                continue;
            };
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder && path != b"module" {
                folders.push(path);
                continue;
            }
            let is_ignored = path.starts_with(b"build/")
                || whole.components().any(|name| name.ends_with(b".log"))
                || whole
                    .folders()
                    .any(|folder| is_build_folder(folder.components().last().unwrap_or_default()));
            let is_recorded = recorded.entry(&whole).unwrap().is_some();
            let is_wanted = known.contains(&whole) || !is_ignored;
            assert!(is_folder || is_recorded || !is_wanted, "{whole:?} is left out");
        }
    }
}

/// Whether git refuses a path for a `.git` in it, with its protections for NTFS and HFS+ on: by a
/// reading of its `read-cache.c`, `path.c` and `utf8.c`, and of no line of ours.
fn has_dot_git(path: &[u8]) -> bool {
    // git looks again after each backslash, since NTFS takes it for a slash.
    let starts = (1..=path.len()).filter(|at| matches!(path[at - 1], b'/' | b'\\'));
    starts.chain([0]).any(|start| {
        let component = path[start..].split(|byte| *byte == b'/').next().unwrap_or_default();
        is_ntfs_dot_git(component) || is_hfs_dot_git(component)
    })
}

/// git's `is_ntfs_dotgit`.
fn is_ntfs_dot_git(name: &[u8]) -> bool {
    let after = |prefix: &[u8]| {
        let (start, rest) = name.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(rest)
    };
    let Some(rest) = after(b".git").or_else(|| after(b"git~1")) else { return false };
    let end = rest.iter().find(|byte| !matches!(byte, b'.' | b' '));
    matches!(end, None | Some(b'\\' | b':'))
}

/// git's `is_hfs_dotgit`.
fn is_hfs_dot_git(name: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(name) else { return false };
    let is_seen = |c: &char| {
        let code = u32::from(*c);
        !matches!(code, 0x200c..=0x200f | 0x202a..=0x202e | 0x206a..=0x206f | 0xfeff)
    };
    text.chars().filter(is_seen).collect::<String>().eq_ignore_ascii_case(".git")
}
