//! Repositories that nobody made in good faith.

use std::time::{Duration, Instant};

use cody_batch::git::{Base, FetchLimits, GitError, RecordedTree, WalkBudget, checkout};
use cody_events::digest::ObjectId;

use super::world::{BUDGET, LIMITS, World, commit, run, run_with};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_anything_is_checked_out() {
    let world = World::new().await;
    world.offer_app();
    let cases: [(FetchLimits, WalkBudget, &str); 4] = [
        (LIMITS, WalkBudget { files: 0, ..BUDGET }, "1 files"),
        (LIMITS, WalkBudget { bytes: 4_999, ..BUDGET }, "5000 bytes"),
        (LIMITS, WalkBudget { file_bytes: 4_999, ..BUDGET }, "one file has 5000 bytes"),
        (FetchLimits { bytes: 10, ..LIMITS }, BUDGET, "its fetch takes more than 10 bytes"),
    ];
    for (limits, budget, words) in cases.into_iter().rev() {
        let error = world.pin_as("acme/app", None, None, limits, budget).await.unwrap_err();
        assert!(matches!(error, GitError::TooBig { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains("config.toml"), "{error}");
    }
    assert!(!world.packs().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_trees_deep_and_ten_wide_is_weighed_at_once() {
    let world = World::new().await;
    let bomb = world.dir.path().join("bomb");
    std::fs::create_dir(&bomb).unwrap();
    run(&bomb, &["init", "-q", "-b", "main"]);
    let mut object = run_with(&bomb, &["hash-object", "-w", "--stdin"], b"boom\n");
    let mut kind = "100644 blob";
    for _ in 0..10 {
        let tree: String = (0..10).map(|number| format!("{kind} {object}\td{number}\n")).collect();
        object = run_with(&bomb, &["mktree"], tree.as_bytes());
        kind = "040000 tree";
    }
    commit_tree(&bomb, &object);
    world.server.offer(&bomb, "acme/bomb");
    let started = Instant::now();
    let error = world.pin("acme/bomb").await.unwrap_err();
    assert!(error.to_string().contains("10000000000 files"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// Commits a tree that git's own commands would not make.
fn commit_tree(dir: &std::path::Path, tree: &str) {
    let commit = run(
        dir,
        &["-c", "user.name=t", "-c", "user.email=t@t", "commit-tree", "-m", "as it is", tree],
    );
    run(dir, &["update-ref", "refs/heads/main", &commit]);
}

/// A raw tree object with these names, each the same file or link.
fn raw_tree(dir: &std::path::Path, entries: &[(&str, &[u8])]) -> String {
    let blob = run_with(dir, &["hash-object", "-w", "--stdin"], b"/etc/passwd");
    let mut bytes = Vec::new();
    for (mode, name) in entries {
        bytes.extend(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend(*name);
        bytes.push(0);
        let id: ObjectId = blob.parse().unwrap();
        bytes.extend(id.as_bytes());
    }
    run_with(dir, &["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], &bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_elsewhere_never_reach_a_disk() {
    type Entries<'a> = &'a [(&'a str, &'a [u8])];
    let cases: &[(&str, Entries<'_>)] = &[
        ("dot-git", &[("100644", b".git")]),
        ("upper-git", &[("100644", b".GIT")]),
        ("short-git", &[("100644", b"git~1")]),
        ("hfs-git", &[("100644", ".g\u{200c}it".as_bytes())]),
        ("link-git", &[("120000", b".git")]),
        ("up", &[("100644", b"..")]),
        ("here", &[("100644", b".")]),
        ("slash", &[("100644", b"a/../../b")]),
        ("absolute", &[("100644", b"/etc/x")]),
        ("twice", &[("100644", b"a"), ("120000", b"a")]),
        ("mode", &[("100700", b"a"), ("160755", b"b")]),
    ];
    for (name, entries) in cases {
        let world = World::new().await;
        let repo = world.dir.path().join("repo");
        std::fs::create_dir(&repo).unwrap();
        run(&repo, &["init", "-q", "-b", "main"]);
        let tree = raw_tree(&repo, entries);
        commit_tree(&repo, &tree);
        world.server.offer(&repo, "acme/app");
        let refused = match world.pin("acme/app").await {
            Err(error) => error,
            Ok((resolved, pack)) => {
                let base = Base::open(&pack.dir, resolved.commit).unwrap();
                let place = world.dir.path().join("out/deep/place");
                let recorded = RecordedTree::at_base(base);
                let refused = recorded.and_then(|recorded| checkout(&recorded, &place));
                assert!(!world.dir.path().join("out/b").exists(), "{name}");
                assert!(!place.join("../../b").exists(), "{name}");
                assert!(!place.join(".git").exists(), "{name}");
                refused.err().unwrap_or_else(|| panic!("{name} was checked out"))
            }
        };
        assert!(matches!(refused, GitError::Hostile { .. }), "{name}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_names_that_a_disk_can_hold_are_held() {
    let world = World::new().await;
    let repo = world.dir.path().join("repo");
    std::fs::create_dir(&repo).unwrap();
    run(&repo, &["init", "-q", "-b", "main"]);
    for name in ["README", "readme", "new\nline", "bell\u{7}", "-rf", "*?[a]", " "] {
        std::fs::write(repo.join(name), name).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", repo.join("link")).unwrap();
    commit(&repo, "strange");
    world.server.offer(&repo, "acme/app");
    let (resolved, pack) = world.pin("acme/app").await.unwrap();
    let base = Base::open(&pack.dir, resolved.commit).unwrap();
    let place = world.dir.path().join("place");
    checkout(&RecordedTree::at_base(base).unwrap(), &place).unwrap();
    let names = |dir: &std::path::Path| {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != ".git")
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&place), names(&repo));
    assert!(place.join("link").is_symlink());
}

/// Run again in a process of its own, whose home is planted: libgit2 reads settings once a process.
#[test]
fn settings_of_the_machine_change_nothing() {
    let planted = tempfile::tempdir().unwrap();
    let traps = "[url \"http://127.0.0.1:1/\"]\n\tinsteadOf = http://127\n\
                 [http]\n\tproxy = http://127.0.0.1:1\n\
                 [credential]\n\thelper = \"!touch trapped\"\n";
    std::fs::write(planted.path().join(".gitconfig"), traps).unwrap();
    std::fs::create_dir(planted.path().join("git")).unwrap();
    std::fs::write(planted.path().join("git/config"), traps).unwrap();
    let again = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fetching::whole::a_branch_can_be_named", "--nocapture"])
        .env("HOME", planted.path())
        .env("XDG_CONFIG_HOME", planted.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(planted.path())
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"));
    assert!(!planted.path().join("trapped").exists());
}
