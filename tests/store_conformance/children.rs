//! Child processes that write a log until something happens to them. A child is this very test
//! program, asked for one of the tests that do nothing unless `CODY_LOG_CHILD` names a directory.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CHILD: &str = "CODY_LOG_CHILD";
const FIRST_ID: &str = "CODY_LOG_FIRST_ID";

/// This program, to be run as a child that runs the test `name` on `directory`.
pub fn program(name: &str, directory: &Path, first_id: u64) -> Command {
    // A write beyond the limit of a file's size is to fail, not to kill.
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap "" XFSZ; exec "$@""#, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .env(FIRST_ID, first_id.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Starts the child.
pub fn start(name: &str, directory: &Path, first_id: u64) -> Child {
    program(name, directory, first_id).spawn().unwrap()
}

/// The directory that we are asked to write in, if we are the child.
pub fn as_child() -> Option<(PathBuf, u64)> {
    let directory = std::env::var_os(CHILD)?;
    let first_id = std::env::var(FIRST_ID).ok()?.parse().ok()?;
    Some((directory.into(), first_id))
}

/// Says that `id` was answered with `position`, in one write.
pub fn acknowledge(id: u64, position: u64) {
    say(&format!("acked {id} {position}"));
}

/// Says `line` to whoever started us, in one write.
pub fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// What a line of a child acknowledges. The test program puts its own words before the first.
pub fn acknowledged(line: &str) -> Option<(u64, u64)> {
    let (_, numbers) = line.split_once("acked ")?;
    let (id, position) = numbers.split_once(' ')?;
    Some((id.parse().ok()?, position.trim().parse().ok()?))
}
