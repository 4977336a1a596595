//! Where the cases run: both backends, as whoever runs the tests, and as nobody.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cody_batch::sandbox::{Ran, Sandbox, SandboxCommand, SandboxOptions};
use cody_events::attempt::SandboxBackend;

/// Says that this is the run as an ordinary user.
const AS_NOBODY: &str = "CODY_TEST_AS_NOBODY";
const NOBODY: &str = "65534";

/// Our own program, which the landlock backend starts.
fn launcher() -> std::path::PathBuf {
    env!("CARGO_BIN_EXE_cody-batch").into()
}

/// How tests ask for a sandbox.
pub fn options(backend: SandboxBackend) -> SandboxOptions {
    SandboxOptions {
        backends: vec![backend],
        launcher: Some(launcher()),
        ..SandboxOptions::default()
    }
}

/// A sandbox that works, or a failed test: a machine without one cannot tell anything.
pub async fn sandbox(options: &SandboxOptions) -> Sandbox {
    let sandbox = Sandbox::probe(options).await;
    assert_eq!(sandbox.why_not(), None, "{:?}; apt-get install bubblewrap", options.backends);
    sandbox
}

pub async fn bubblewrap() -> Sandbox {
    sandbox(&options(SandboxBackend::Bubblewrap)).await
}

pub async fn landlock() -> Sandbox {
    sandbox(&options(SandboxBackend::Landlock)).await
}

/// Both, one after the other.
pub async fn both() -> [Sandbox; 2] {
    [bubblewrap().await, landlock().await]
}

pub fn command(repo: &Path, script: &str) -> SandboxCommand {
    SandboxCommand::new(script, repo, Duration::from_secs(120), 100_000)
}

/// How `script` ends in a directory of its own.
pub async fn run(sandbox: &Sandbox, script: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    sandbox.run(&command(dir.path(), script)).await.unwrap()
}

pub fn text(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.output).into_owned()
}

/// What `script` prints. It has to succeed.
pub async fn prints(sandbox: &Sandbox, script: &str) -> String {
    let ran = run(sandbox, script).await;
    let backend = sandbox.backend();
    assert_eq!(ran.exit_code, Some(0), "{backend:?}: {}", text(&ran));
    text(&ran)
}

/// Seconds to sleep that no other test sleeps for, so that its processes can be told.
pub fn own_seconds(number: u32) -> String {
    format!("{}{number:02}", 100_000 + std::process::id() % 900_000)
}

/// Whether a process of this machine was started with `marker` among its arguments.
pub fn lives(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut command_lines = processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    command_lines.any(|line| String::from_utf8_lossy(&line).split('\0').any(|word| word == marker))
}

/// Whether this is the run as an ordinary user, who has only the system's toolchains.
pub fn is_nobody() -> bool {
    std::env::var_os(AS_NOBODY).is_some()
}

/// All cases once more. A sandbox that root makes and one that anybody makes are different things.
#[test]
fn the_same_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        println!("this is an ordinary user already");
        return;
    }
    assert!(!is_nobody(), "the run as an ordinary user is still root's");
    let home = tempfile::Builder::new().prefix("cody-nobody-").tempdir_in("/var/tmp").unwrap();
    std::os::unix::fs::chown(home.path(), Some(65534), Some(65534)).unwrap();
    let ran = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .arg(std::env::current_exe().unwrap())
        .env(AS_NOBODY, "1")
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env_remove("CARGO_HOME")
        .env_remove("RUSTUP_HOME")
        .current_dir(home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    println!("as an ordinary user:\n{said}");
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(
        said.contains("processes::") && !said.contains(" 0 passed"),
        "nothing was tried: {said}"
    );
}
