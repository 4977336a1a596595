//! Upgrades of a dependency, from the registries themselves: what is fetched, what enters the diff,
//! and what commands have offline. And what a hostile manifest gets.

use std::path::{Path, PathBuf};
use std::process::Command;

use cody_batch::app::Told;
use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, CheckVerdict, DependenciesFetched, FetchOutcome};

use super::harness::{World, apply, git, json, repository};

const SCRIPT: &str = include_str!("../real/upgrade.toml");
const CHECK: &str = "if [ -f Cargo.toml ]; then cargo test --locked --offline; \
elif [ -f package.json ]; then node test.js; else python3 test.py; fi";

const RUSTY: [(&str, &str); 2] = [
    (
        "Cargo.toml",
        "[package]\nname = \"rusty\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nstrsim = \"0.9\"\n",
    ),
    (
        "src/lib.rs",
        "#[test]\nfn dice() {\n    assert!(strsim::sorensen_dice(\"night\", \"nacht\") > 0.2);\n}\n",
    ),
];
const NODISH: [(&str, &str); 3] = [
    (
        "package.json",
        "{\n  \"name\": \"nodish\",\n  \"version\": \"1.0.0\",\n  \"scripts\": {\"preinstall\": \"touch /cache/planted\"},\n  \"dependencies\": {\n    \"is-number\": \"6.0.0\"\n  }\n}\n",
    ),
    (
        "test.js",
        "const {version} = require('is-number/package.json');\nif (!version.startsWith('7')) throw new Error('expected 7, not ' + version);\nif (!require('is-number')('5')) throw new Error('5');\nconsole.log('all is well');\n",
    ),
    (".gitignore", "node_modules/\n"),
];
const PYTHONIC: [(&str, &str); 2] = [
    ("requirements.txt", "six==1.15.0\n"),
    (
        "test.py",
        "import six\nassert six.__version__ == '1.16.0', six.__version__\nprint('all is well')\n",
    ),
];

/// The hosts that cargo, npm and pip of this machine download from, as they say themselves.
fn registries() -> String {
    let mut hosts = Vec::new();
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"),
        PathBuf::from,
    );
    for index in std::fs::read_dir(home.join("registry/index")).unwrap().flatten() {
        let name = index.file_name().into_string().unwrap();
        hosts.extend(name.rsplit_once('-').map(|(host, _)| host.to_owned()));
        let config = std::fs::read(index.path().join("config.json")).unwrap_or_default();
        let text = String::from_utf8_lossy(&config).into_owned();
        hosts.extend(host_of(text.split("\"dl\":").nth(1).unwrap_or_default()));
    }
    hosts.extend(host_of(&said("npm", &["config", "get", "registry"])));
    let pip =
        "from pip._internal.models.index import PyPI as p; print(p.url, p.file_storage_domain)";
    let pip = said("python3", &["-c", pip]);
    hosts.extend(host_of(&pip));
    hosts.extend(pip.split_whitespace().nth(1).map(str::to_owned));
    hosts.sort();
    hosts.dedup();
    hosts.iter().map(|host| format!("{host}:443")).collect::<Vec<_>>().join(",")
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The host of the first address in a text.
fn host_of(text: &str) -> Option<String> {
    let rest = text.split_once("://")?.1;
    rest.split([':', '/', '"', ' ', '\n']).next().map(str::to_owned)
}

/// A lock file, made by whoever knows how.
fn lock(dir: &Path, program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    command.env("npm_config_omit_lockfile_registry_resolved", "false");
    let made = command.args(args).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{program}: {}", String::from_utf8_lossy(&made.stderr));
}

async fn world() -> World {
    let world = World::new(SCRIPT).await;
    let (rusty, nodish) = (world.path("rusty"), world.path("nodish"));
    for (dir, files) in
        [(&rusty, &RUSTY[..]), (&nodish, &NODISH), (&world.path("pythonic"), &PYTHONIC)]
    {
        for (path, content) in files {
            let place = dir.join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, content).unwrap();
        }
    }
    lock(&rusty, "cargo", &["generate-lockfile"]);
    lock(&nodish, "npm", &["install", "--package-lock-only", "--ignore-scripts"]);
    // A setting of the repository that no fetch must hear.
    std::fs::write(nodish.join(".npmrc"), "registry=http://127.0.0.1:1/\n").unwrap();
    for name in ["rusty", "nodish", "pythonic"] {
        repository(&world.path(name), &[]);
    }
    world
}

async fn run(world: &World, names: &[&str], more: &[&str]) -> serde_json::Value {
    let out = world.path("out");
    let paths: Vec<PathBuf> = names.iter().map(|name| world.path(name)).collect();
    let mut args = vec!["run", "--json", "--prompt", "Upgrade it", "--fetch-dependencies"];
    args.extend(["--check", CHECK, "--out", out.to_str().unwrap()]);
    for path in &paths {
        args.extend(["--repo", path.to_str().unwrap()]);
    }
    args.extend(more);
    let mut command = world.command(&args);
    command.env("CODY_REGISTRIES", registries());
    json(&super::harness::finish(command).await)
}

fn fetched(told: &[Told]) -> Vec<&DependenciesFetched> {
    told.iter()
        .filter_map(|told| match &told.event {
            Event::DependenciesFetched(fetched) => Some(fetched),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_is_upgraded_tested_offline_and_the_lock_file_is_in_the_diff() {
    let world = world().await;
    let names = ["rusty", "nodish", "pythonic"];
    let job = run(&world, &names, &["--allow", "lockfiles"]).await;
    for (number, target) in (1..).zip(job["targets"].as_array().unwrap()) {
        assert_eq!(target["outcome"], "diff-ready", "{}", world.story_of(number).await);
        assert_eq!(target["delivery"], "none", "{target}");
    }
    let told = world.events().await;
    for (number, name) in (1..).zip(names) {
        let verdicts: Vec<(CheckPhase, Option<CheckVerdict>, bool)> = told
            .iter()
            .filter_map(|told| match &told.event {
                Event::ChecksRan(ran) if ran.target.0 == number => {
                    Some((ran.phase, ran.verdict, ran.commands[0].passed()))
                }
                _ => None,
            })
            .collect();
        let passed = (CheckPhase::After, Some(CheckVerdict::Passed), true);
        assert_eq!(verdicts.len(), 2, "{name}");
        assert_eq!((verdicts[0].0, verdicts[0].2), (CheckPhase::Baseline, false), "{name}");
        assert_eq!(verdicts[1], passed, "{name}");
    }
    for (name, lock) in [("rusty", "Cargo.lock"), ("nodish", "package-lock.json")] {
        apply(&world.path(name), &world.path(&format!("out/{name}.patch")));
        let changed = git(&world.path(name), &["diff", "--cached", "--name-only"]);
        assert!(changed.lines().any(|path| path == lock), "{name}: {changed}");
    }
    assert!(fetched(&told).iter().flat_map(|f| &f.fetches).any(|f| f.network_bytes > 1_000));
    // No script of a package ran, and no setting of the repository was heard.
    let planted = said("find", &[world.path("data").to_str().unwrap(), "-name", "planted"]);
    assert_eq!(planted, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_job_fetched_another_has_and_a_lock_file_that_nobody_allowed_is_held() {
    let world = world().await;
    run(&world, &["rusty"], &["--allow", "lockfiles"]).await;
    let job = run(&world, &["rusty"], &[]).await;
    assert_eq!(job["targets"][0]["delivery"], "held", "{job}");
    let told = world.events().await;
    let fetches: Vec<_> = fetched(&told).iter().flat_map(|f| f.fetches.clone()).collect();
    assert_eq!(fetches.len(), 2);
    assert!(fetches.iter().all(|f| f.outcome == FetchOutcome::Cached && f.network_bytes == 0));
}
