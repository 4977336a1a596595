//! A host that does not run git but makes up its packs: what the real one would never send.

use cody_batch::git::{GitError, Resolved};
use std::path::PathBuf;

use super::origin::{Origin, git, git_with, vouched};
use super::server::{At, Fault};

fn packet(bytes: &[u8]) -> Vec<u8> {
    let mut packet = format!("{:04x}", bytes.len() + 4).into_bytes();
    packet.extend(bytes);
    packet
}

/// Says that `commit` is `main`, and on the way to it sends just `objects`.
fn pin_crafted(
    origin: &Origin,
    commit: &str,
    objects: &[&str],
) -> Result<(Resolved, PathBuf), GitError> {
    std::fs::write(origin.app.join(".git/refs/heads/main"), format!("{commit}\n")).unwrap();
    let listed = objects.join("\n") + "\n";
    let list = origin.room.path().join("made.pack");
    let name =
        git_with(&origin.app, &["pack-objects", "-q", list.to_str().unwrap()], listed.as_bytes());
    let pack = std::fs::read(format!("{}-{name}.pack", list.display())).unwrap();
    let mut answer = packet(format!("shallow {commit}").as_bytes());
    answer.extend(b"0000");
    origin.server.spoil(At::Want, Fault::Say(answer.clone()));
    answer.extend(packet(b"NAK\n"));
    for piece in pack.chunks(60_000) {
        answer.extend(packet(&[&[1], piece].concat()));
    }
    answer.extend(b"0000");
    origin.server.spoil(At::Want, Fault::Say(answer));
    origin.pin(None, None)
}

fn commit_of(origin: &Origin, tree: &str) -> String {
    let text = format!("tree {tree}\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\nx\n");
    origin.object("commit", text.as_bytes())
}

/// The base of [`Origin::new`]: its commit and all of its objects.
fn honest(origin: &Origin) -> (String, Vec<String>) {
    let listed = git(&origin.app, &["rev-list", "--objects", "--no-object-names", "-1", "main"]);
    (origin.tip("main"), listed.lines().map(str::to_owned).collect())
}

#[test]
fn an_honest_pack_by_hand_is_taken() {
    let origin = Origin::new();
    let (commit, objects) = honest(&origin);
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let (resolved, pack) = pin_crafted(&origin, &commit, &objects).unwrap();
    assert_eq!(vouched(&pack, resolved.commit), [1, 2, 2]);
}

#[test]
fn what_a_host_adds_to_a_pack_is_not_kept() {
    let origin = Origin::new();
    let (commit, objects) = honest(&origin);
    let stowaway = origin.object("blob", b"nobody asked for this\n");
    let mut objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    objects.push(&stowaway);
    let (resolved, pack) = pin_crafted(&origin, &commit, &objects).unwrap();
    assert_eq!(vouched(&pack, resolved.commit), [1, 2, 2]);
}

#[test]
fn a_pack_with_a_hole_is_not_whole() {
    for hole in ["main:src/lib.rs", "main:src", "main^{tree}"] {
        let origin = Origin::new();
        let (commit, objects) = honest(&origin);
        let missing = origin.tip(hole);
        let objects: Vec<&str> =
            objects.iter().map(String::as_str).filter(|object| *object != missing).collect();
        let error = pin_crafted(&origin, &commit, &objects).unwrap_err();
        assert!(matches!(error, GitError::NotWhole { .. }), "{hole}: {error}");
        assert!(error.to_string().contains(&missing), "{error}");
        assert!(!origin.room.path().join("data/packs").exists(), "a pack was kept");
        // An honest answer later is not shadowed by what came now.
        let (resolved, pack) = origin.pin(None, None).unwrap();
        assert_eq!(vouched(&pack, resolved.commit), [1, 2, 2]);
    }
}

#[test]
fn a_pack_without_the_commit_is_asked_for_again() {
    let origin = Origin::new();
    let (commit, objects) = honest(&origin);
    let objects: Vec<&str> = objects.iter().map(String::as_str).filter(|o| *o != commit).collect();
    let error = pin_crafted(&origin, &commit, &objects).unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[test]
fn trees_that_are_no_trees_are_refused() {
    let entries: [&[u8]; 6] =
        [b"100644 \0", b"100644", b"abc f\0", b" f\0", b"100644 f\0short", b"100644 f"];
    for bytes in entries {
        let origin = Origin::empty();
        let blob = origin.object("blob", b"text\n");
        let mut bytes = bytes.to_vec();
        if bytes.ends_with(b"\0") {
            bytes.extend(hex::decode(&blob).unwrap());
        }
        let broken = origin.object("tree", &bytes);
        let commit = commit_of(&origin, &broken);
        let error = pin_crafted(&origin, &commit, &[&commit, &broken, &blob]).unwrap_err();
        assert!(
            matches!(error, GitError::Hostile { .. } | GitError::Damaged { .. }),
            "{bytes:?}: {error:?}"
        );
        assert!(!origin.room.path().join("data/packs").exists(), "a pack was kept");
    }
}

#[test]
fn commits_that_are_no_commits_are_refused() {
    for text in ["", "hello\n", "tree 0000\n\n", "tree ", "author a\n"] {
        let origin = Origin::empty();
        let commit = origin.object("commit", text.as_bytes());
        let error = pin_crafted(&origin, &commit, &[&commit]).unwrap_err();
        assert!(
            matches!(error, GitError::Hostile { .. } | GitError::Damaged { .. }),
            "{text:?}: {error:?}"
        );
    }
}
