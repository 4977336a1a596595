//! Programs that no one here wrote, as the tests start them. They are installed by `make test`; a
//! missing one is a failure, because a skipped peer proves nothing.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A file of a program that was installed here, or that is ours for one.
pub fn foreign(path: &str, install: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(path);
    assert!(
        path.exists(),
        "{} is missing. `make test` installs it; by hand: {install}",
        path.display()
    );
    path
}

fn python() -> PathBuf {
    foreign(
        ".venv/bin/python",
        "cd tests/foreign && python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
    )
}

/// A running mock server, ended when the test lets go of it.
pub struct Aimock {
    child: Child,
    pub url: url::Url,
    _fixtures: tempfile::TempDir,
}

impl Drop for Aimock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it with these fixtures.
pub fn aimock(fixtures: &Value) -> Aimock {
    let cli = foreign("node_modules/@copilotkit/aimock/dist/cli.js", "cd tests/foreign && npm ci");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fixtures.json");
    std::fs::write(&file, json!({ "fixtures": fixtures }).to_string()).unwrap();
    let mut child = Command::new("node")
        .arg(cli)
        .args(["--port", "0", "--strict", "--log-level", "info", "--fixtures"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("`node` must be installed to run the mock server");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening on ")?.1.trim().parse().ok())
        .expect("the mock server ended before it listened");
    // Its output must be read on, or it blocks once the pipe is full.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Aimock { child, url, _fixtures: folder }
}

/// Runs one of our Python programs with `input`; gives what it printed, and whether it succeeded.
pub async fn run_python(program: &str, arguments: &[String], input: String) -> (String, bool) {
    let mut command = Command::new(python());
    command.arg(foreign(program, "it is part of this repository")).args(arguments);
    // Blocking work off the runtime's thread, because the player may have to answer meanwhile.
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.unwrap().unwrap();
    (String::from_utf8(output.stdout).unwrap().trim().to_owned(), output.status.success())
}
