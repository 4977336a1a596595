//! Patches against the real git: over generated repositories, `git apply --index` on the base makes
//! exactly the recorded tree, and a walk of the changed work directory finds that tree.
//! `CODY_CASES` says how many; 48 by default.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cody_batch::git::{
    Base, PackStore, RecordedTree, StatCache, WalkCaps, checkout, walk, write_patch,
};
use cody_events::digest::ObjectId;
use cody_events::tree::RepoPath;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq)]
enum Thing {
    File(Vec<u8>),
    Executable(Vec<u8>),
    Link(Vec<u8>),
}

type Tree = BTreeMap<Vec<u8>, Thing>;

fn git(dir: &Path, args: &[&OsStr]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.autocrlf=false"])
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

macro_rules! git {
    ($dir:expr, $($arg:expr),+) => { git($dir, &[$(OsStr::new($arg)),+]) };
}

fn component() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-d]{1,2}(\\.txt)?".prop_map(String::into_bytes),
        1 => Just(b"with space".to_vec()),
        1 => Just(b" leading".to_vec()),
        1 => Just(b"quo\"te".to_vec()),
        1 => Just(b"back\\slash".to_vec()),
        1 => Just(b"tab\there".to_vec()),
        1 => Just(b"new\nline".to_vec()),
        1 => Just("gr\u{fc}n".as_bytes().to_vec()),
        1 => Just(b"latin\xe9".to_vec()),
        1 => Just(b"-dash".to_vec()),
        1 => Just(b"a => b".to_vec()),
    ]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(component(), 1..=3).prop_map(|parts| parts.join(&b'/'))
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof!["[a-c]{0,3}", Just("\u{e9}t\u{e9}".to_owned()), Just("-- ".to_owned())];
    let end = prop_oneof![3 => Just("\n"), 1 => Just("\r\n")];
    let text =
        (prop::collection::vec((line, end), 0..12), any::<bool>()).prop_map(|(lines, last)| {
            let mut text: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
            if !last {
                text.push_str("no final newline");
            }
            text.into_bytes()
        });
    prop_oneof![
        6 => text,
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 1..200),
        1 => Just(b"bin\0ary".repeat(40)),
        1 => Just(b"latin \xe9\n".to_vec()),
    ]
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        5 => content().prop_map(Thing::File),
        1 => content().prop_map(Thing::Executable),
        1 => "[a-c/.]{1,6}".prop_map(|text| Thing::Link(text.into_bytes())),
    ]
}

/// A tree in which no file stands where another path needs a folder.
fn tree(things: Vec<(Vec<u8>, Thing)>) -> Tree {
    let mut tree = Tree::new();
    for (path, thing) in things {
        let mut folder = path.clone();
        folder.push(b'/');
        let is_free = !tree.keys().any(|other| {
            other.starts_with(&folder) || path.starts_with(&[other.as_slice(), b"/"].concat())
        });
        if is_free && RepoPath::new(path.clone()).is_ok() {
            tree.insert(path, thing);
        }
    }
    tree
}

/// A base, and what becomes of it: some of it kept, some changed, some gone, some new.
fn change() -> impl Strategy<Value = (Tree, Tree)> {
    let base = prop::collection::vec((path(), thing()), 1..12);
    let fate = prop::collection::vec(0u8..4, 12);
    let new = prop::collection::vec((path(), thing()), 0..6);
    let other = prop::collection::vec(thing(), 12);
    (base, fate, new, other).prop_map(|(base, fate, new, other)| {
        let base = tree(base);
        let mut after: Vec<(Vec<u8>, Thing)> = new;
        for (index, (path, thing)) in base.iter().enumerate() {
            match fate[index % fate.len()] {
                0 => {}
                1 => after.push((path.clone(), other[index % other.len()].clone())),
                2 => after.push(([path.as_slice(), b".moved"].concat(), thing.clone())),
                _ => after.push((path.clone(), thing.clone())),
            }
        }
        (base, tree(after))
    })
}

fn place(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

fn write(root: &Path, tree: &Tree) {
    for (path, thing) in tree {
        let place = place(root, path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        match thing {
            Thing::File(content) => std::fs::write(&place, content).unwrap(),
            Thing::Executable(content) => {
                std::fs::write(&place, content).unwrap();
                std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            Thing::Link(text) => {
                std::os::unix::fs::symlink(OsStr::from_bytes(text), &place).unwrap();
            }
        }
    }
}

fn clear(root: &Path) {
    for entry in std::fs::read_dir(root).unwrap().flatten() {
        if entry.file_name() == ".git" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            std::fs::remove_dir_all(entry.path()).unwrap();
        } else {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

const CAPS: WalkCaps = WalkCaps { new_entries: 10_000, new_bytes: 1 << 30, files: 100_000 };

/// Everything that has to agree for one base and one change.
fn check(before: &Tree, after: &Tree) {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("repository");
    std::fs::create_dir(&repository).unwrap();
    git!(&repository, "init", "-q");
    write(&repository, before);
    git!(&repository, "add", "-A", "-f");
    git!(&repository, "commit", "-q", "--allow-empty", "-m", "base");
    let commit: ObjectId = git!(&repository, "rev-parse", "HEAD").parse().unwrap();
    let pack = PackStore::new(dir.path().join("packs")).store(&repository, commit).unwrap();
    let open = || Base::open(&pack.dir, commit).unwrap();

    let work = dir.path().join("work");
    let base = RecordedTree::at_base(open()).unwrap();
    let mut stats = checkout(&base, &work).unwrap();
    let known = BTreeSet::new();
    let untouched = walk(&work, &open(), &known, &mut stats, &CAPS).unwrap();
    assert_eq!(untouched.tree, base.tree_id().unwrap(), "a checkout is what was recorded");
    assert!(untouched.changed.is_empty());

    clear(&work);
    write(&work, after);
    let walked = walk(&work, &open(), &known, &mut stats, &CAPS).unwrap();
    let cold = walk(&work, &open(), &known, &mut StatCache::default(), &CAPS).unwrap();
    assert_eq!(walked.tree, cold.tree, "the cache changes nothing");
    let mut recorded = RecordedTree::at_base(open()).unwrap();
    recorded.apply(&walked.changed, &walked.blobs).unwrap();
    assert_eq!(recorded.tree_id().unwrap(), walked.tree, "entries and blobs make the tree again");

    let patch = write_patch(&recorded).unwrap();
    assert_eq!(patch, write_patch(&recorded).unwrap(), "the same bytes each time");
    if !patch.bytes.is_empty() {
        let file = dir.path().join("change.patch");
        std::fs::write(&file, &patch.bytes).unwrap();
        git!(&repository, "apply", "--index", "--whitespace=nowarn", &file);
    }
    assert_eq!(
        git!(&repository, "write-tree"),
        walked.tree.to_string(),
        "the patch makes the tree"
    );
    clear(&repository);
    write(&repository, after);
    git!(&repository, "add", "-A", "-f");
    assert_eq!(git!(&repository, "write-tree"), walked.tree.to_string(), "git sees the same tree");
}

#[test]
fn a_patch_applied_to_the_base_is_the_recorded_tree() {
    let cases = std::env::var("CODY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(48);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    )
    .run(&change(), |(before, after)| {
        check(&before, &after);
        Ok(())
    })
    .unwrap();
}

#[test]
fn hard_changes_apply() {
    let file = |text: &str| Thing::File(text.as_bytes().to_vec());
    type Entries = Vec<(&'static str, Thing)>;
    let cases: Vec<(Entries, Entries)> = vec![
        (vec![("a", file("x\n"))], vec![("a/b", file("x\n"))]),
        (vec![("a/b", file("x\n"))], vec![("a", file("x\n"))]),
        (vec![("a", file("x\n"))], vec![("a", Thing::Link(b"x".to_vec()))]),
        (vec![("a", Thing::Link(b"x".to_vec()))], vec![("a", file("x"))]),
        (vec![("a", file("x\n"))], vec![("a", Thing::Executable(b"x\n".to_vec()))]),
        (vec![("a", file("x\n"))], vec![]),
        (vec![("a", file(""))], vec![("b", file(""))]),
        (vec![("a", file("x\r\ny\r\n"))], vec![("a", file("x\r\nz\r\n"))]),
        (vec![("a", file("x"))], vec![("a", file("x\n"))]),
        (vec![("a", Thing::File(vec![0, 1, 2]))], vec![("a", Thing::File(vec![0, 1, 3]))]),
        (vec![("a", Thing::File(vec![0, 1]))], vec![("a", Thing::Executable(vec![0, 1]))]),
        (vec![("a", Thing::File(vec![0, 1]))], vec![("a", Thing::Executable(vec![0, 2]))]),
        (
            vec![
                (".gitattributes", file("* text=auto eol=crlf\n*.bin -diff\n")),
                ("x.bin", file("1\n")),
            ],
            vec![
                (".gitattributes", file("* text=auto eol=crlf\n*.bin -diff\n")),
                ("x.bin", file("2\r\n")),
            ],
        ),
    ];
    for (before, after) in cases {
        let tree = |things: Vec<(&str, Thing)>| {
            things
                .into_iter()
                .map(|(path, thing)| (path.as_bytes().to_vec(), thing))
                .collect::<Tree>()
        };
        check(&tree(before), &tree(after));
    }
}

#[test]
fn ignored_files_are_scratch_by_the_rules_of_the_base_alone() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("repository");
    std::fs::create_dir_all(repository.join("sub")).unwrap();
    git!(&repository, "init", "-q");
    std::fs::write(repository.join(".gitignore"), "*.log\n!keep.log\n/out/\n").unwrap();
    std::fs::write(repository.join("sub/.gitignore"), "local\n").unwrap();
    std::fs::write(repository.join("tracked.log"), "old\n").unwrap();
    git!(&repository, "add", "-A", "-f");
    git!(&repository, "commit", "-qm", "base");
    let commit: ObjectId = git!(&repository, "rev-parse", "HEAD").parse().unwrap();
    let pack = PackStore::new(dir.path().join("packs")).store(&repository, commit).unwrap();
    let base = Base::open(&pack.dir, commit).unwrap();
    let work = dir.path().join("work");
    let mut stats =
        checkout(&RecordedTree::at_base(Base::open(&pack.dir, commit).unwrap()).unwrap(), &work)
            .unwrap();
    for (path, content) in [
        (".gitignore", "nothing is ignored any more\n"),
        ("tracked.log", "new\n"),
        ("a.log", "x"),
        ("keep.log", "x"),
        ("sub/local", "x"),
        ("sub/shared", "x"),
        ("out/made", "x"),
        ("node_modules/m/i.js", "x"),
        ("target/debug/x", "x"),
        ("build/by-edit", "x"),
        (".git/config", "x"),
        ("sub/.GIT/hooks", "x"),
    ] {
        let place = work.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, content).unwrap();
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        work.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let known = BTreeSet::from([RepoPath::new("build/by-edit").unwrap()]);
    let walked = walk(&work, &base, &known, &mut stats, &CAPS).unwrap();
    let changed: Vec<String> =
        walked.changed.iter().map(|change| change.path.display().into_owned()).collect();
    assert_eq!(changed, [".gitignore", "build/by-edit", "keep.log", "sub/shared", "tracked.log"]);
    assert_eq!(walked.warnings.len(), 2, "{:?}", walked.warnings);
    let caps = WalkCaps { new_entries: 1, ..CAPS };
    let capped = walk(&work, &base, &known, &mut stats, &caps).unwrap();
    assert_eq!(capped.changed.len(), 4, "old paths and one new one: {:?}", capped.changed);
}

#[test]
fn a_submodule_stays_until_a_file_takes_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("repository");
    std::fs::create_dir(&repository).unwrap();
    git!(&repository, "init", "-q");
    write(&repository, &Tree::from([(b"deps/readme".to_vec(), Thing::File(b"x\n".to_vec()))]));
    git!(&repository, "add", "-A");
    let module = format!("160000,{},deps/module", "1".repeat(40));
    git!(&repository, "update-index", "--add", "--cacheinfo", &module);
    git!(&repository, "commit", "-qm", "base");
    let commit: ObjectId = git!(&repository, "rev-parse", "HEAD").parse().unwrap();
    let pack = PackStore::new(dir.path().join("packs")).store(&repository, commit).unwrap();
    let base = Base::open(&pack.dir, commit).unwrap();
    let work = dir.path().join("work");
    let at_base = RecordedTree::at_base(Base::open(&pack.dir, commit).unwrap()).unwrap();
    let mut stats = checkout(&at_base, &work).unwrap();
    let mut changed = || {
        let walked = walk(&work, &base, &BTreeSet::new(), &mut stats, &CAPS).unwrap();
        let paths = walked.changed.iter();
        paths.map(|one| (one.path.to_string(), one.entry.is_some())).collect::<Vec<_>>()
    };
    std::fs::write(work.join("deps/module/inside"), "not ours").unwrap();
    assert_eq!(changed(), []);
    std::fs::remove_dir_all(work.join("deps/module")).unwrap();
    assert_eq!(changed(), []);
    std::fs::remove_dir_all(work.join("deps")).unwrap();
    assert_eq!(changed(), [("deps/readme".to_owned(), false)]);
    std::fs::write(work.join("deps"), "a file").unwrap();
    let gone = [("deps", true), ("deps/module", false), ("deps/readme", false)];
    assert_eq!(changed(), gone.map(|(path, stands)| (path.to_owned(), stands)));
}

#[test]
fn contents_that_are_recorded_are_not_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("repository");
    std::fs::create_dir(&repository).unwrap();
    git!(&repository, "init", "-q");
    git!(&repository, "commit", "-q", "--allow-empty", "-m", "base");
    let commit: ObjectId = git!(&repository, "rev-parse", "HEAD").parse().unwrap();
    let pack = PackStore::new(dir.path().join("packs")).store(&repository, commit).unwrap();
    let mut recorded = RecordedTree::at_base(Base::open(&pack.dir, commit).unwrap()).unwrap();
    let work = dir.path().join("work");
    let mut stats = checkout(&recorded, &work).unwrap();
    std::fs::write(work.join("new"), "new\n").unwrap();
    let known = BTreeSet::new();
    let first = walk(&work, recorded.base(), &known, &mut stats, &CAPS).unwrap();
    assert_eq!(first.blobs.len(), 1);
    recorded.apply(&first.changed, &first.blobs).unwrap();
    let again = walk(&work, recorded.base(), &known, &mut stats, &CAPS).unwrap();
    assert_eq!((&again.changed, again.tree), (&first.changed, first.tree));
    assert_eq!(again.blobs, []);
}

/// A base of these files, and its checkout.
fn checked_out(dir: &Path, files: &[(&str, &str)]) -> (RecordedTree, PathBuf, StatCache) {
    let repository = dir.join("repository");
    std::fs::create_dir(&repository).unwrap();
    git!(&repository, "init", "-q");
    let file = |text: &str| Thing::File(text.as_bytes().to_vec());
    let tree = files.iter().map(|(path, text)| (path.as_bytes().to_vec(), file(text)));
    write(&repository, &tree.collect());
    git!(&repository, "add", "-A");
    git!(&repository, "commit", "-qm", "base");
    let commit: ObjectId = git!(&repository, "rev-parse", "HEAD").parse().unwrap();
    let pack = PackStore::new(dir.join("packs")).store(&repository, commit).unwrap();
    let recorded = RecordedTree::at_base(Base::open(&pack.dir, commit).unwrap()).unwrap();
    let work = dir.join("work");
    let stats = checkout(&recorded, &work).unwrap();
    (recorded, work, stats)
}

#[test]
fn a_name_or_link_that_git_refuses_does_not_spoil_the_patch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recorded, work, mut stats) =
        checked_out(dir.path(), &[("a", "one\n"), (".gitmodules", "# none\n")]);
    let link = |text: &str, name: &str| {
        std::os::unix::fs::symlink(text, work.join(name)).unwrap();
    };
    std::fs::write(work.join("a"), "two\n").unwrap();
    std::fs::write(work.join(".git\\x"), "x").unwrap();
    std::fs::write(work.join("a\\.Git"), "x").unwrap();
    std::fs::write(work.join("plain\\name"), "x").unwrap();
    std::fs::create_dir(work.join("sub")).unwrap();
    link("a", "sub/.GITMODULES");
    link("a", "gitmod~1");
    link("a", "plain");
    std::fs::remove_file(work.join(".gitmodules")).unwrap();
    link("a", ".gitmodules");
    let known = BTreeSet::new();
    let walked = walk(&work, recorded.base(), &known, &mut stats, &CAPS).unwrap();
    let paths: Vec<String> = walked.changed.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(paths, [".gitmodules", "a", "plain", "plain\\name"]);
    assert_eq!(walked.changed[0].entry, None);
    assert_eq!(walked.warnings.len(), 5, "{:?}", walked.warnings);
    recorded.apply(&walked.changed, &walked.blobs).unwrap();
    let patch = dir.path().join("change.patch");
    std::fs::write(&patch, write_patch(&recorded).unwrap().bytes).unwrap();
    let repository = dir.path().join("repository");
    git!(&repository, "apply", "--index", &patch);
    assert_eq!(git!(&repository, "write-tree"), walked.tree.to_string());
}

#[test]
fn what_is_too_large_is_said_to_be_at_every_turn() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (recorded, work, mut stats) = checked_out(dir.path(), &[("big", "small\n")]);
    let big = work.join("big");
    // It has no blocks, and is never read.
    std::fs::File::create(&big).unwrap().set_len(129 << 20).unwrap();
    let changed_at = |path: &Path| {
        let about = std::fs::metadata(path).unwrap();
        (about.ctime(), about.ctime_nsec())
    };
    // The cache trusts what is older than the latest file.
    let later = work.join("later");
    while !later.exists() || changed_at(&later) == changed_at(&big) {
        std::fs::write(&later, "x").unwrap();
    }
    let known = BTreeSet::new();
    for turn in 1..=2 {
        let walked = walk(&work, recorded.base(), &known, &mut stats, &CAPS).unwrap();
        assert_eq!(walked.changed.len(), 1, "turn {turn}: `later` alone");
        assert_eq!(walked.warnings.len(), 1, "turn {turn}");
    }
}
