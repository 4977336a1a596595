//! Trees that git's own commands would never make: refused with a word of what and where, or taken
//! as they are and harmless.

use std::os::unix::ffi::OsStrExt as _;

use cody_batch::git::{Base, GitError, RecordedTree, StatCache, WalkCaps, checkout, walk};
use tempfile::TempDir;

use super::origin::{Origin, vouched};

const FILE: &str = "100644";
const LINK: &str = "120000";
const FOLDER: &str = "40000";

/// A tree object with these entries, as they are and in this order.
fn tree(origin: &Origin, entries: &[(&str, &[u8], &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, object) in entries {
        bytes.extend(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend(*name);
        bytes.push(0);
        bytes.extend(hex::decode(object).unwrap());
    }
    origin.object("tree", &bytes)
}

/// What becomes of a repository whose root has one file under `name`.
fn with_name(mode: &str, name: &[u8]) -> Result<(), GitError> {
    let origin = Origin::empty();
    let blob = origin.object("blob", b"text\n");
    let folder = tree(&origin, &[(FILE, b"config", &blob)]);
    let object = if mode == FOLDER { &folder } else { &blob };
    origin.plant(&tree(&origin, &[(mode, name, object)]));
    let pinned = origin.pin(None, None).map(|_| ());
    if pinned.is_err() {
        assert!(!origin.room.path().join("data/packs").exists(), "a pack was kept");
    }
    pinned
}

#[test]
fn whatever_some_system_reads_as_dot_git_is_refused() {
    let names: [&[u8]; 8] = [
        b".git",
        b".GIT",
        b".Git",
        b"git~1",
        b"GIT~1",
        b".git.",
        b".git ::$INDEX_ALLOCATION",
        ".g\u{200c}it".as_bytes(),
    ];
    for name in names {
        for mode in [FILE, LINK, FOLDER] {
            let error = with_name(mode, name).unwrap_err();
            assert!(matches!(error, GitError::Hostile { .. }), "{mode} {name:?}: {error}");
            let shown = format!("{:?}", String::from_utf8_lossy(name));
            assert!(error.to_string().contains(&shown), "{error}");
            assert!(!error.is_transient());
        }
    }
    assert_eq!(
        with_name(FILE, b".GIT").unwrap_err().to_string(),
        "the repository holds what no honest one does: \".GIT\": the path has a component that \
         some system reads as `.git`; it is left alone"
    );
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [&b"."[..], b"..", b"a/b", b"../up", b"/etc/passwd", b"a/", &[b'x'; 300]] {
        for mode in [FILE, FOLDER] {
            let error = with_name(mode, name).unwrap_err();
            assert!(matches!(error, GitError::Hostile { .. }), "{mode} {name:?}: {error}");
        }
    }
}

#[test]
fn a_bad_name_is_found_however_deep_and_named_with_its_path() {
    let origin = Origin::empty();
    let blob = origin.object("blob", b"text\n");
    let inner = tree(&origin, &[(FILE, b"..", &blob)]);
    let middle = tree(&origin, &[(FOLDER, b"b\x1b[2J", &inner)]);
    origin.plant(&tree(&origin, &[(FOLDER, b"a", &middle)]));
    let error = origin.pin(None, None).unwrap_err();
    assert!(error.to_string().contains(r#""a/b\u{1b}[2J/..": "#), "{error}");
}

#[test]
fn twins_are_refused_files_and_folders_alike() {
    for twin in [FILE, FOLDER, LINK] {
        let origin = Origin::empty();
        let blob = origin.object("blob", b"text\n");
        let folder = tree(&origin, &[(FILE, b"x", &blob)]);
        let object = if twin == FOLDER { &folder } else { &blob };
        origin.plant(&tree(&origin, &[(FILE, b"same", &blob), (twin, b"same", object)]));
        let error = origin.pin(None, None).unwrap_err();
        assert!(error.to_string().contains("\"same\": stands twice in one folder"), "{error}");
    }
}

#[test]
fn a_link_and_what_would_stand_below_it_are_refused() {
    // The old way out: `link` leads away, and `link/file` is then written through it.
    let origin = Origin::empty();
    let away = origin.object("blob", b"/tmp");
    let blob = origin.object("blob", b"text\n");
    let folder = tree(&origin, &[(FILE, b"escaped", &blob)]);
    origin.plant(&tree(&origin, &[(LINK, b"link", &away), (FOLDER, b"link", &folder)]));
    let error = origin.pin(None, None).unwrap_err();
    assert!(matches!(error, GitError::Hostile { .. }), "{error}");
}

#[test]
fn a_mode_that_git_does_not_know_is_refused() {
    let origin = Origin::empty();
    let blob = origin.object("blob", b"text\n");
    origin.plant(&tree(&origin, &[("60644", b"device", &blob)]));
    let error = origin.pin(None, None).unwrap_err();
    assert!(error.to_string().contains("\"device\": has the unknown mode 60644"), "{error}");
}

#[test]
fn a_file_that_is_a_folder_underneath_is_refused() {
    let origin = Origin::empty();
    let blob = origin.object("blob", b"text\n");
    let folder = tree(&origin, &[(FILE, b"x", &blob)]);
    origin.plant(&tree(&origin, &[(FILE, b"f", &folder), (FOLDER, b"g", &folder)]));
    let error = origin.pin(None, None).unwrap_err();
    assert!(!matches!(error, GitError::Git(_)), "{error}");
}

#[test]
fn odd_names_are_taken_as_they_are() {
    let origin = Origin::empty();
    let names: [&[u8]; 9] = [
        b"\x01control",
        b"-rf",
        b"README",
        b"back\\slash",
        b"latin\xe9",
        b"new\nline",
        b"readme",
        b"space ",
        b"\xe2\x80\xaeexe.txt",
    ];
    let mut entries: Vec<(&str, &[u8], String)> =
        names.iter().map(|name| (FILE, *name, origin.object("blob", name))).collect();
    entries.sort_by(|a, b| a.1.cmp(b.1));
    let borrowed: Vec<(&str, &[u8], &str)> =
        entries.iter().map(|(mode, name, object)| (*mode, *name, object.as_str())).collect();
    let planted = tree(&origin, &borrowed);
    origin.plant(&planted);
    let (resolved, pack) = origin.pin(None, None).unwrap();
    assert_eq!(vouched(&pack, resolved.commit), [1, 1, names.len()]);
    let place = TempDir::new().unwrap();
    let base = Base::open(&pack, resolved.commit).unwrap();
    checkout(&RecordedTree::at_base(base).unwrap(), place.path()).unwrap();
    for name in names {
        let file = place.path().join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(std::fs::read(&file).unwrap(), name, "{}", file.display());
    }
    // And a walk of that directory finds the same tree.
    let base = Base::open(&pack, resolved.commit).unwrap();
    let caps = WalkCaps { new_entries: 10, new_bytes: 1 << 20, files: 100 };
    let known = std::collections::BTreeSet::new();
    let walked = walk(place.path(), &base, &known, &mut StatCache::default(), &caps).unwrap();
    assert_eq!(walked.tree.to_string(), planted);
}

#[test]
fn links_are_made_last_and_never_followed() {
    let origin = Origin::empty();
    let room = TempDir::new().unwrap();
    let away = origin.object("blob", room.path().as_os_str().as_bytes());
    let blob = origin.object("blob", b"text\n");
    let folder = tree(&origin, &[(FILE, b"file", &blob), (LINK, b"up", &away)]);
    origin.plant(&tree(&origin, &[(LINK, b"docs", &away), (FOLDER, b"src", &folder)]));
    let (resolved, pack) = origin.pin(None, None).unwrap();
    let place = TempDir::new().unwrap();
    let base = Base::open(&pack, resolved.commit).unwrap();
    checkout(&RecordedTree::at_base(base).unwrap(), place.path()).unwrap();
    assert!(place.path().join("docs").is_symlink() && place.path().join("src/up").is_symlink());
    assert_eq!(std::fs::read_dir(room.path()).unwrap().count(), 0);
}

#[test]
fn settings_in_a_repository_are_only_files() {
    let origin = Origin::empty();
    for (path, text) in [
        (".gitattributes", "* filter=evil diff=evil text eol=crlf\n*.bin filter=lfs\n"),
        (".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% /tmp/no\n"),
        (".lfsconfig", "[lfs]\n\turl = http://127.0.0.1:1/\n"),
        ("a.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    ] {
        std::fs::write(origin.app.join(path), text).unwrap();
    }
    origin.commit("unix.txt", "one\ntwo\n", "settings");
    let (resolved, pack) = origin.pin(None, None).unwrap();
    let place = TempDir::new().unwrap();
    let base = Base::open(&pack, resolved.commit).unwrap();
    checkout(&RecordedTree::at_base(base).unwrap(), place.path()).unwrap();
    assert_eq!(std::fs::read(place.path().join("unix.txt")).unwrap(), b"one\ntwo\n");
}
