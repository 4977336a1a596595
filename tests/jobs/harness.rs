//! What the stories share: a data directory, a player, the program, and repositories.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::api::control::Wish;
use cody_batch::app::{App, Told};
use cody_batch::claude::player::{Player, Script};
use cody_batch::clock::SystemClock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::plan::JobRequest;
use cody_batch::store::SqliteLog;
use cody_events::ids::JobId;
use tempfile::TempDir;
use uuid::Uuid;

/// The wish for a new job.
pub fn create(request: JobRequest) -> Wish {
    Wish::Create { job: JobId(Uuid::now_v7()), request: Box::new(request) }
}

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cody-batch");
/// Nothing in these tests takes longer unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A place of its own for one story.
pub struct World {
    pub dir: TempDir,
    pub player: Player,
}

impl World {
    /// A world in which `script` plays Claude.
    pub async fn new(script: &str) -> Self {
        Self::playing(Script::from_toml(script).expect("the script parses")).await
    }

    /// A world in which `script` plays Claude.
    pub async fn playing(script: Script) -> Self {
        let player = Player::bind(script, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { dir, player }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with `args`, in this world.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .env("CODY_DATA_DIR", self.path("data"))
            .env("TMPDIR", self.path("tmp"))
            .env("ANTHROPIC_API_KEY", "sk-ant-canary")
            .env("ANTHROPIC_BASE_URL", self.player.base_url().unwrap().as_str())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub async fn run(&self, args: &[&str]) -> Output {
        finish(self.command(args)).await
    }

    /// The end of the conversation about a target, for whoever wonders why a story went wrong.
    pub async fn story_of(&self, target: u32) -> String {
        let output = self.run(&["thread", "latest", &target.to_string(), "--full"]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// The job's events, read while or after the program runs.
    pub async fn events(&self) -> Vec<Told> {
        events(&self.path("data")).await
    }
}

/// A client for questions to servers on this machine.
pub fn http() -> reqwest::Client {
    // The second to install a provider is told so; either serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Runs `command` to its end without holding up the player, which lives in this process.
pub async fn finish(mut command: Command) -> Output {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(PATIENCE, run).await.expect("the program ends").unwrap()
}

/// The log in `data`, to read; it must be there.
pub fn app(data: &Path) -> App {
    let log = SqliteLog::open_to_read(data).unwrap();
    App::new(Arc::new(log), Arc::new(SystemClock), Arc::new(SystemEntropy), nonzero(4))
}

/// The events of the newest job in `data`; none if there is no log yet.
pub async fn events(data: &Path) -> Vec<Told> {
    let Ok(log) = SqliteLog::open_to_read(data) else { return Vec::new() };
    let app = App::new(Arc::new(log), Arc::new(SystemClock), Arc::new(SystemEntropy), nonzero(4));
    let mut job = None;
    for recorded in app.log().read_log(0, 100_000).await.unwrap_or_default() {
        job = JobId::from_stream(&recorded.stream).or(job);
    }
    match job {
        Some(job) => app.events(job, 0).await.unwrap_or_default(),
        None => Vec::new(),
    }
}

fn nonzero(count: usize) -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::new(count).unwrap()
}

/// Waits until `fits` says yes to the log of `data`, looking again and again.
pub async fn wait_for(data: &Path, child: &mut Child, fits: impl Fn(&[Told]) -> bool) -> Vec<Told> {
    let started = Instant::now();
    loop {
        let told = events(data).await;
        if fits(&told) || child.try_wait().unwrap().is_some() {
            return told;
        }
        assert!(started.elapsed() < PATIENCE, "the log never came to the point");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Processes whose command line or environment names `mark`.
pub fn processes_of(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) || name == std::process::id().to_string()
        {
            continue;
        }
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let text = [read("cmdline"), read("environ")].concat();
        if text.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            found.push(format!("{name} {}", String::from_utf8_lossy(&read("cmdline"))));
        }
    }
    found
}

/// A repository with these files and one commit, made by the real git.
pub fn repository(dir: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let place = dir.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, content).unwrap();
    }
    git(dir, &["init", "-q", "-b", "main"]);
    commit(dir);
}

/// Commits everything that is there.
pub fn commit(dir: &Path) {
    git(dir, &["add", "-A", "-f"]);
    git(dir, &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "as it was"]);
}

/// Runs the real git and gives what it printed.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Applies a patch to the base with the real git, and gives the tree that it makes.
pub fn apply(dir: &Path, patch: &Path) -> String {
    git(dir, &["apply", "--index", "--whitespace=nowarn", patch.to_str().unwrap()]);
    git(dir, &["write-tree"])
}

/// What the program printed to stdout, as JSON.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}
