//! Published code: a Rust crate, a Python sdist and an npm package become repositories, a scripted
//! model changes at least three files in each, and a check that failed before passes after.

use std::path::Path;

use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, CheckVerdict};

use super::harness::{World, apply, commit, git, json};

const SCRIPT: &str = include_str!("../real/script.toml");
/// The new tests, which fail until they are there.
const NEW: &str = "if [ -f Cargo.toml ]; then cargo test --offline --test similar; \
elif [ -f pyproject.toml ]; then PYTHONPATH=src:test python3 -m unittest test_depth; \
else node --test test/; fi";
/// All tests that the package brought, and the new ones.
const ALL: &str = "if [ -f Cargo.toml ]; then cargo test --offline; \
elif [ -f pyproject.toml ]; then PYTHONPATH=src python3 test/test_toposort.py; \
else node -e 'require(\".\")(5) || process.exit(1)'; fi";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_published_packages_are_changed_checked_and_one_of_them_repaired() {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/packages");
    assert!(packages.join("strsim").exists(), "fetch them first: sh tests/real/fetch.sh");
    let world = World::new(SCRIPT).await;
    let names = ["strsim", "toposort", "is-number"];
    let prompt = "Add a small helper to the public interface, a test for it, and a line about it in the README.";
    let mut args =
        vec!["run".to_owned(), "--json".to_owned(), "--prompt".to_owned(), prompt.to_owned()];
    args.extend(["--check".to_owned(), NEW.to_owned(), "--check".to_owned(), ALL.to_owned()]);
    args.extend(["--out".to_owned(), world.path("out").display().to_string()]);
    for name in names {
        let repository = world.path(name);
        copy(&packages.join(name), &repository);
        git(&repository, &["init", "-q", "-b", "main"]);
        commit(&repository);
        args.extend(["--repo".to_owned(), repository.display().to_string()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = world.run(&args).await;
    let job = json(&output);
    for (number, target) in (1..).zip(job["targets"].as_array().unwrap()) {
        assert_eq!(target["outcome"], "diff-ready", "{}", world.story_of(number).await);
    }
    for name in names {
        let repository = world.path(name);
        apply(&repository, &world.path(&format!("out/{name}.patch")));
        let changed = git(&repository, &["diff", "--cached", "--name-only"]);
        assert!(changed.lines().count() >= 3, "{name}: {changed}");
    }
    let told = world.events().await;
    let checks = |target: u32, phase: CheckPhase| {
        told.iter().find_map(|told| match &told.event {
            Event::ChecksRan(ran) if ran.target.0 == target && ran.phase == phase => {
                Some(ran.clone())
            }
            _ => None,
        })
    };
    for target in 1..=3 {
        let before = checks(target, CheckPhase::Baseline).unwrap();
        assert!(!before.commands[0].passed(), "target {target}: the new test fails before");
        assert!(before.commands[1].passed(), "target {target}: its own tests pass before");
    }
    assert_eq!(checks(2, CheckPhase::After).unwrap().verdict, Some(CheckVerdict::Failed));
    let repaired = checks(2, CheckPhase::Repair).unwrap();
    assert_eq!(repaired.verdict, Some(CheckVerdict::Passed));
    assert!(repaired.commands.iter().all(|command| command.passed()));
}
