//! Programs that others wrote, as they are started here. `make foreign` installs them; a missing one
//! is a failure, because a judge who is not there has judged nothing.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A program that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(900);

/// A file below `tests/foreign`.
pub fn foreign(path: &str) -> PathBuf {
    super::super::peers::foreign(path, "make foreign")
}

/// A command of a package from npm.
pub fn npm(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(foreign(&format!("node_modules/.bin/{name}")));
    command
}

/// One of our scripts for packages from npm.
pub fn script(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(foreign(&format!("graphql/{name}"))).args(args);
    command
}

/// What `command` says once it has read `input` and ended.
pub async fn finish(mut command: Command, input: String) -> Output {
    // Blocking work off the runtime's thread.
    let run = tokio::task::spawn_blocking(move || {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    tokio::time::timeout(PATIENCE, run).await.expect("it ends").unwrap()
}

/// Both of what a program said.
pub fn words(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}
