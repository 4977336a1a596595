//! Fetching from a host over smart HTTP, against the real git's server on loopback. Nothing here
//! leaves the machine.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

#[path = "fetching/crafted.rs"]
mod crafted;
#[path = "fetching/faults.rs"]
mod faults;
#[path = "fetching/hostile.rs"]
mod hostile;
#[path = "fetching/hosts.rs"]
mod hosts;
#[path = "fetching/origin.rs"]
mod origin;
#[path = "fetching/server.rs"]
mod server;
#[path = "fetching/settings.rs"]
mod settings;
#[path = "fetching/tls.rs"]
mod tls;
#[path = "fetching/weights.rs"]
mod weights;

use cody_batch::git::{Base, GitError, RecordedTree, checkout};
use origin::{Origin, git, vouched};
use tempfile::TempDir;

#[test]
fn the_default_branch_comes_at_depth_one() {
    let origin = Origin::new();
    let (resolved, pack) = origin.pin(None, None).unwrap();
    assert_eq!(resolved.commit.to_string(), origin.tip("main"));
    assert_eq!(resolved.branch, "main");
    // One commit, its two folders, its two files; the large file of the past stays where it is.
    assert_eq!(vouched(&pack, resolved.commit), [1, 2, 2]);
    assert!(origin.server.sent() < 10_000, "{} bytes were sent", origin.server.sent());
    let base = Base::open(&pack, resolved.commit).unwrap();
    assert_eq!(base.tree_id().to_string(), origin.tip("main^{tree}"));
    let place = TempDir::new().unwrap();
    checkout(&RecordedTree::at_base(base).unwrap(), place.path()).unwrap();
    assert_eq!(std::fs::read(place.path().join("README.md")).unwrap(), b"two\n");
}

#[test]
fn the_default_branch_is_the_hosts_word() {
    let origin = Origin::new();
    git(&origin.app, &["checkout", "-q", "-b", "trunk"]);
    let tip = origin.commit("trunk.txt", "x\n", "trunk");
    let (resolved, _) = origin.pin(None, None).unwrap();
    assert_eq!((resolved.branch.as_str(), resolved.commit.to_string()), ("trunk", tip));
}

#[test]
fn a_branch_is_taken_by_its_name() {
    let origin = Origin::new();
    git(&origin.app, &["branch", "release/1.x", "main~1"]);
    let (resolved, pack) = origin.pin(Some("release/1.x"), None).unwrap();
    assert_eq!(resolved.branch, "release/1.x");
    assert_eq!(resolved.commit.to_string(), origin.tip("main~1"));
    assert_eq!(vouched(&pack, resolved.commit), [1, 1, 1]);
}

#[test]
fn a_branch_that_is_not_there_is_named() {
    let origin = Origin::new();
    git(&origin.app, &["tag", "v1"]);
    for branch in ["missing", "mai", "v1", "*", "a:b", "../main", "", "main\n"] {
        let error = origin.resolve(Some(branch)).unwrap_err();
        assert!(matches!(error, GitError::NoBranch { .. }), "{branch}: {error}");
    }
    let error = origin.resolve(Some("missing")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "acme/app has no branch `missing`; check its name, or name none for the default"
    );
}

#[test]
fn a_repository_that_is_not_there_is_named() {
    let origin = Origin::new();
    let error = cody_batch::git::resolve(&origin.locator_of("acme/gone"), None, None).unwrap_err();
    assert!(matches!(error, GitError::NotFound { .. }), "{error}");
    assert!(error.to_string().starts_with("acme/gone: no such repository"), "{error}");
    assert!(!error.is_transient());
}

#[test]
fn a_repository_without_a_commit_is_empty() {
    let origin = Origin::empty();
    let error = origin.resolve(None).unwrap_err();
    assert_eq!(error.to_string(), "acme/app has no commit yet; push one first");
    assert!(matches!(origin.resolve(Some("main")).unwrap_err(), GitError::Empty { .. }));
}

#[test]
fn a_default_branch_without_a_commit_is_no_empty_repository() {
    let origin = Origin::new();
    git(&origin.app, &["symbolic-ref", "HEAD", "refs/heads/unborn"]);
    let error = origin.resolve(None).unwrap_err();
    assert!(matches!(error, GitError::NoDefaultBranch { .. }), "{error}");
    assert!(origin.resolve(Some("main")).is_ok());
}

#[test]
fn a_branch_that_points_to_no_commit_is_refused() {
    let origin = Origin::new();
    let blob = origin.object("blob", b"no commit");
    std::fs::write(origin.app.join(".git/refs/heads/odd"), format!("{blob}\n")).unwrap();
    let error = origin.pin(Some("odd"), None).unwrap_err();
    assert!(matches!(error, GitError::Hostile { .. }), "{error}");
}

#[test]
fn a_moved_tip_leaves_the_old_base_as_it_is() {
    let origin = Origin::new();
    let (first, first_pack) = origin.pin(None, None).unwrap();
    let before = std::fs::read(origin::pack_file(&first_pack)).unwrap();
    let sent = origin.server.sent();
    std::fs::write(origin.app.join("steady.bin"), origin::noise(200_000)).unwrap();
    origin.commit("README.md", "four\n", "four");
    let (second, second_pack) = origin.pin(None, None).unwrap();
    assert_ne!(first.commit, second.commit);
    assert_eq!(vouched(&second_pack, second.commit), [1, 2, 3]);
    assert!(origin.server.sent() - sent > 200_000);

    // What the cache already has is not sent again.
    let sent = origin.server.sent();
    origin.commit("README.md", "five\n", "five");
    let (third, third_pack) = origin.pin(None, None).unwrap();
    assert_eq!(vouched(&third_pack, third.commit), [1, 2, 3]);
    assert!(origin.server.sent() - sent < 10_000, "{} bytes", origin.server.sent() - sent);

    // The first base is still the first base.
    assert_eq!(std::fs::read(origin::pack_file(&first_pack)).unwrap(), before);
    assert_eq!(vouched(&first_pack, first.commit), [1, 2, 2]);
    let base = Base::open(&first_pack, first.commit).unwrap();
    assert_eq!(base.entries().unwrap().len(), 2);
}

#[test]
fn a_known_commit_is_not_fetched_again() {
    let origin = Origin::new();
    let (first, pack) = origin.pin(None, None).unwrap();
    let asked = origin.server.seen().len();
    assert_eq!(origin.pin(None, None).unwrap(), (first, pack));
    let seen = origin.server.seen();
    assert_eq!(seen.len() - asked, 1, "{seen:?}");
}

#[test]
fn a_branch_that_went_back_or_changed_its_kind_is_fetched() {
    let origin = Origin::new();
    origin.pin(None, None).unwrap();
    git(&origin.app, &["checkout", "-q", "--detach"]);
    git(&origin.app, &["branch", "-f", "main", "main~2"]);
    let (resolved, pack) = origin.pin(Some("main"), None).unwrap();
    assert_eq!(resolved.commit.to_string(), origin.tip("main"));
    assert_eq!(vouched(&pack, resolved.commit), [1, 1, 2]);

    // `main` gives way to `main/next`; git cannot hold both, and our cache need not.
    let tip = origin.tip("main~0");
    git(&origin.app, &["branch", "-D", "-q", "main"]);
    let next = git(&origin.app, &["commit-tree", &format!("{tip}^{{tree}}"), "-m", "next"]);
    git(&origin.app, &["branch", "main/next", &next]);
    let (resolved, pack) = origin.pin(Some("main/next"), None).unwrap();
    assert_eq!(resolved.commit.to_string(), next);
    assert_eq!(vouched(&pack, resolved.commit), [1, 1, 2]);
}

#[test]
fn a_tip_that_moves_between_the_question_and_the_fetch_is_asked_again() {
    let origin = Origin::new();
    let resolved = origin.resolve(None).unwrap();
    origin.commit("README.md", "moved\n", "moved");
    let error = origin.fetch(&resolved).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("moved while it was fetched"), "{error}");
    assert!(origin.pin(None, None).is_ok());
}

#[test]
fn fetches_at_the_same_time_do_not_disturb_one_another() {
    let origin = Origin::new();
    let pinned: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..6).map(|_| scope.spawn(|| origin.pin(None, None).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for pin in &pinned {
        assert_eq!(pin, &pinned[0]);
    }
    let posts = origin.server.seen().iter().filter(|seen| seen.method == "POST").count();
    assert!(posts <= 2, "{posts} requests for packs");
}
