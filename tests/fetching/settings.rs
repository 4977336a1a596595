//! The machine's own git configuration has no say in what we fetch. Each case runs in a child
//! process, because the places of configuration are read once in a process.

use std::path::Path;
use std::process::{Command, Output};

use cody_batch::git::{Locator, WalkBudget, count_uncommitted, fetch, resolve};
use tempfile::TempDir;

use super::hosts::Stranger;
use super::origin::{LIMITS, Origin, git};

const URL: &str = "CODY_FETCHING_URL";
const CACHES: &str = "CODY_FETCHING_CACHES";
const LOCAL: &str = "CODY_FETCHING_LOCAL";

/// What the child does, told by its environment; as a test of its own it does nothing.
#[test]
fn in_a_child() {
    let Ok(url) = std::env::var(URL) else { return };
    let host = url.split('/').nth(2).unwrap().to_owned();
    let locator = Locator::parse(&url, &[host]).unwrap();
    let token = "a-token".into();
    let resolved = resolve(&locator, Some(&token), None).unwrap();
    let caches = std::env::var_os(CACHES).unwrap();
    fetch(&locator, Some(&token), &resolved, Path::new(&caches), &LIMITS).unwrap();
    let local = Locator::parse(&std::env::var(LOCAL).unwrap(), &[]).unwrap();
    assert_eq!(resolve(&local, None, None).unwrap().commit, resolved.commit);
    let budget = WalkBudget { files: 1_000, bytes: 1 << 20, file_bytes: 1 << 20 };
    let count = count_uncommitted(local.local_path().unwrap(), &budget).unwrap();
    println!("{count} uncommitted");
    println!("fetched {}", resolved.commit);
}

/// A configuration that leads every address to `stranger` and leaves `marker` where it is obeyed.
fn planted(stranger: &str, origin: &str, marker: &Path) -> String {
    let marker = marker.display();
    format!(
        "[url \"http://{stranger}/\"]\n\tinsteadOf = http://{origin}/\n\
         [core]\n\tfsmonitor = \"touch {marker}\"\n\thooksPath = /nowhere\n\
         [credential]\n\thelper = \"!touch {marker};\"\n\
         [http]\n\tproxy = http://{stranger}\n\tfollowRedirects = true\n\textraHeader = X-Evil: 1\n\
         [filter \"evil\"]\n\tclean = touch {marker}\n\
         [protocol]\n\tversion = 2\n"
    )
}

pub fn child(origin: &Origin, wrapped: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut line: Vec<&std::ffi::OsStr> = wrapped.iter().map(std::ffi::OsStr::new).collect();
    line.push(program.as_os_str());
    let mut command = Command::new(line[0]);
    command
        .args(&line[1..])
        .args(["--exact", "settings::in_a_child", "--nocapture"])
        .env(URL, origin.server.url("acme/app"))
        .env(CACHES, &origin.caches)
        .env(LOCAL, &origin.app);
    command
}

/// A private repository with a change that is not committed, which a status has to look at.
fn origin() -> Origin {
    let origin = Origin::new();
    origin.commit(".gitattributes", "* filter=evil\n", "filters");
    std::fs::write(origin.app.join("README.md"), "changed\n").unwrap();
    // What a repository configures for itself is no different.
    let marker = origin.room.path().join("marker");
    let touch = format!("touch {}", marker.display());
    for key in ["core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.external"] {
        git(&origin.app, &["config", key, &touch]);
    }
    origin.server.require("a-token");
    origin
}

fn assert_fetched(origin: &Origin, output: &Output, stranger: &Stranger, marker: &Path) {
    let said = String::from_utf8_lossy(&output.stdout);
    let tip = origin.tip("main");
    assert!(
        output.status.success()
            && said.contains(&format!("fetched {tip}"))
            && said.contains("1 uncommitted"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(stranger.visits(), 0);
    let own = origin.room.path().join("marker");
    assert!(!marker.exists() && !own.exists(), "a configured program ran");
    assert!(!origin.server.seen().is_empty());
}

/// The real git obeys the same configuration: the trap is set right.
fn assert_git_obeys(git: &mut Command, stranger: &Stranger) {
    let before = stranger.visits();
    assert!(!git.output().unwrap().status.success());
    assert!(stranger.visits() > before, "the configuration has no effect on git itself");
}

#[test]
fn a_users_configuration_has_no_effect() {
    for place in [".gitconfig", "xdg/git/config"] {
        let (origin, stranger, home) = (origin(), Stranger::new(), TempDir::new().unwrap());
        let marker = home.path().join("marker");
        let file = home.path().join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, planted(&stranger.address, &origin.server.host(), &marker)).unwrap();
        let xdg = home.path().join("xdg");
        let output = child(&origin, &["env"])
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", &xdg)
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", format!("url.http://{}/.insteadOf", stranger.address))
            .env("GIT_CONFIG_VALUE_0", format!("http://{}/", origin.server.host()))
            .env("http_proxy", format!("http://{}", stranger.address))
            .env("HTTP_PROXY", format!("http://{}", stranger.address))
            .env("ALL_PROXY", format!("http://{}", stranger.address))
            .output()
            .unwrap();
        assert_fetched(&origin, &output, &stranger, &marker);
        assert_git_obeys(
            Command::new("git")
                .args(["ls-remote", &origin.server.url("acme/app.git")])
                .env("HOME", home.path())
                .env("XDG_CONFIG_HOME", &xdg),
            &stranger,
        );
    }
}

#[test]
fn the_machines_configuration_has_no_effect() {
    let (origin, stranger, room) = (origin(), Stranger::new(), TempDir::new().unwrap());
    let marker = room.path().join("marker");
    let file = room.path().join("gitconfig");
    std::fs::write(&file, planted(&stranger.address, &origin.server.host(), &marker)).unwrap();
    let file = file.to_str().unwrap();
    // An `/etc` of its own, so that nothing outside of the child changes.
    let mut wrapped = vec!["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/etc"];
    for kept in ["/etc/ssl", "/etc/passwd", "/etc/ca-certificates"] {
        wrapped.extend(["--ro-bind-try", kept, kept]);
    }
    wrapped.extend(["--ro-bind", file, "/etc/gitconfig", "--"]);
    let probe = Command::new(wrapped[0]).args(&wrapped[1..]).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: bubblewrap does not work here");
        return;
    }
    let output = child(&origin, &wrapped).env("HOME", room.path()).output().unwrap();
    assert_fetched(&origin, &output, &stranger, &marker);
}
