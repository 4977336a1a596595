//! What is too large is refused before anything is checked out, however small it is on the wire.

use std::time::{Duration, Instant};

use cody_batch::git::{GitError, WalkBudget, Weight, weigh_at};

use super::origin::{BUDGET, Origin, git_with, noise};

/// Weighs `acme/app` as it is fetched.
fn weighed(origin: &Origin, budget: &WalkBudget) -> Result<Weight, GitError> {
    let resolved = origin.resolve(None).unwrap();
    let cache = origin.fetch(&resolved)?;
    weigh_at(&cache, resolved.commit, budget)
}

#[test]
fn each_limit_is_named_with_its_figures() {
    let origin = Origin::empty();
    for number in 0..12 {
        std::fs::write(origin.app.join(format!("{number}.bin")), noise(1_000 + number)).unwrap();
    }
    origin.commit("large.bin", &"x".repeat(50_000), "files");
    let all = Weight { files: 13, bytes: 62_066, biggest_file: 50_000 };
    assert_eq!(weighed(&origin, &BUDGET).unwrap(), all);
    let exact = WalkBudget { files: 13, bytes: 62_066, file_bytes: 50_000 };
    assert_eq!(weighed(&origin, &exact).unwrap(), all);
    for (budget, what) in [
        (WalkBudget { files: 12, ..exact }, "it has 13 files, and the limit is 12"),
        (WalkBudget { bytes: 62_065, ..exact }, "it has 62066 bytes, and the limit is 62065"),
        (
            WalkBudget { file_bytes: 49_999, ..exact },
            "one file has 50000 bytes, and the limit is 49999",
        ),
    ] {
        assert_eq!(
            weighed(&origin, &budget).unwrap_err().to_string(),
            format!(
                "the repository is too large: {what}; raise the limit in config.toml to allow it"
            )
        );
    }
}

/// A tree of ten entries that are all the same tree, `depth` deep, and one file below all that.
fn bomb(origin: &Origin, depth: usize) -> String {
    let blob = origin.object("blob", b"boom\n");
    let mut below =
        git_with(&origin.app, &["mktree"], format!("100644 blob {blob}\tf\n").as_bytes());
    for _ in 0..depth {
        let lines: String = (0..10).map(|name| format!("040000 tree {below}\t{name}\n")).collect();
        below = git_with(&origin.app, &["mktree"], lines.as_bytes());
    }
    origin.plant(&below)
}

#[test]
fn a_git_bomb_is_counted_and_not_unfolded() {
    let origin = Origin::empty();
    bomb(&origin, 10);
    let before = Instant::now();
    let error = weighed(&origin, &BUDGET).unwrap_err();
    let took = before.elapsed();
    assert!(
        error.to_string().contains("it has 10000000000 files, and the limit is 1000"),
        "{error}"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(origin.server.sent() < 10_000);
    assert!(origin.pin(None, None).is_err());
    assert!(!origin.room.path().join("data/packs").exists(), "a pack was kept");
    // Of the whole process, all tests beside this one included.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 512 << 10, "{peak} kB");
    println!("a bomb of 10^10 files: fetched and refused in {took:?}; peak {peak} kB");
}

#[test]
fn a_count_that_no_number_holds_is_still_too_large() {
    let origin = Origin::empty();
    bomb(&origin, 30);
    let error = weighed(&origin, &BUDGET).unwrap_err();
    assert!(matches!(error, GitError::TooBig { .. }), "{error}");
}

#[test]
fn folders_without_end_are_refused() {
    let origin = Origin::empty();
    let blob = origin.object("blob", b"deep\n");
    let mut below =
        git_with(&origin.app, &["mktree"], format!("100644 blob {blob}\tf\n").as_bytes());
    for _ in 0..300 {
        below = git_with(&origin.app, &["mktree"], format!("040000 tree {below}\td\n").as_bytes());
    }
    origin.plant(&below);
    let error = weighed(&origin, &BUDGET).unwrap_err();
    assert!(error.to_string().contains("folders that nest deeper than 256"), "{error}");
}

#[test]
fn paths_that_no_file_system_takes_are_refused() {
    let origin = Origin::empty();
    let blob = origin.object("blob", b"deep\n");
    let mut below =
        git_with(&origin.app, &["mktree"], format!("100644 blob {blob}\tf\n").as_bytes());
    let name = "n".repeat(250);
    for _ in 0..16 {
        let line = format!("040000 tree {below}\t{name}\n");
        below = git_with(&origin.app, &["mktree"], line.as_bytes());
    }
    origin.plant(&below);
    let error = weighed(&origin, &BUDGET).unwrap_err();
    assert!(error.to_string().contains("a path of 4017 bytes, and 3072 is the most"), "{error}");
}

#[test]
fn a_blob_that_unfolds_is_weighed_as_it_will_be() {
    let origin = Origin::empty();
    std::fs::write(origin.app.join("zeros.bin"), vec![0; 24 << 20]).unwrap();
    origin.commit("README.md", "zeros\n", "zeros");
    let error = weighed(&origin, &BUDGET).unwrap_err();
    assert!(origin.server.sent() < 100_000, "{} bytes on the wire", origin.server.sent());
    assert!(error.to_string().contains("one file has 25165824 bytes"), "{error}");
}
