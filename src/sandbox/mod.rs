//! The sandbox: runs commands of a repository away from the machine. It sees the work directory,
//! the toolchains and nothing else; no network, no secrets, no other process. It fails closed: if
//! no backend works here, nothing runs.
//!
//! It knows commands, mounts and limits; not trees, checks, tools or jobs. Nothing that a command
//! says is believed: what must hold is held from outside.

mod bubblewrap;
mod inherited;
mod mounts;
mod output;
mod prologue;
mod session;
mod supervise;
#[cfg(test)]
mod tests;
mod toolchains;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cody_events::attempt::SandboxBackend;
use tokio_util::sync::CancellationToken;

pub use session::ShellSession;

/// Where the work directory is inside.
const REPO: &str = "/repo";
/// The home directory inside; empty and in memory.
const HOME: &str = "/home/cody";

/// What a sandbox may show, and whether there is to be one.
#[derive(Debug, Clone, Default)]
pub struct SandboxOptions {
    pub enabled: bool,
    /// Directories that commands may read beside the toolchains, at the same path.
    pub extra_mounts: Vec<PathBuf>,
}

/// One command to run.
#[derive(Debug, Clone)]
pub struct SandboxCommand {
    /// A shell script; bash runs it if it is there, else sh.
    pub script: String,
    /// The directory that is `/repo` inside, writable; commands start there.
    pub repo: PathBuf,
    /// The directory that is `/repo/.git` inside, in place of whatever stands there.
    pub git_dir: Option<PathBuf>,
    /// More directories to read: where they are, and where they are inside.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    /// The directory that is `/cache` inside, writable.
    pub cache: Option<PathBuf>,
    /// Where cwd and exported variables come from and go to.
    pub session: Option<ShellSession>,
    pub env: Vec<(String, String)>,
    pub timeout: Duration,
    /// Bytes of output that are kept; the middle of more is left out.
    pub output_cap: u64,
}

impl SandboxCommand {
    /// `script` on `repo`, with nothing else to see.
    pub fn new(
        script: impl Into<String>,
        repo: impl Into<PathBuf>,
        timeout: Duration,
        output_cap: u64,
    ) -> Self {
        Self {
            script: script.into(),
            repo: repo.into(),
            git_dir: None,
            read_only: Vec::new(),
            cache: None,
            session: None,
            env: Vec::new(),
            timeout,
            output_cap,
        }
    }
}

/// How a command went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The shell's code, so 128 + n where signal n ended the command; nothing at the time limit.
    pub exit_code: Option<i32>,
    pub timed_out: bool,
    /// Until nothing of the command lived any more.
    pub ms: u64,
    /// What it printed, to both streams, in order.
    pub output: Vec<u8>,
    /// Bytes left out of `output`.
    pub cut_bytes: u64,
}

/// Why a command did not run, or is not known to have ended.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("no sandbox works here: {0}")]
    None(String),
    #[error("the sandbox could not start a command, or not end it")]
    Start(#[source] std::io::Error),
}

/// What works on this machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox {
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Bubblewrap(Arc<bubblewrap::Bubblewrap>),
    None { why: String },
}

impl Sandbox {
    /// Finds out what works here, by running something in it.
    pub async fn probe(options: &SandboxOptions) -> Self {
        if !options.enabled {
            return Self::none("it is switched off by configuration");
        }
        let extra_mounts = options.extra_mounts.clone();
        let probe = move || {
            let toolchains = toolchains::Toolchains::discover(&toolchains::Host::of_this_process());
            bubblewrap::Bubblewrap::probe(toolchains, &extra_mounts)
        };
        match tokio::task::spawn_blocking(probe).await {
            Ok(Ok(bubblewrap)) => Self { backend: Backend::Bubblewrap(Arc::new(bubblewrap)) },
            Ok(Err(why)) => Self::none(why),
            Err(error) => Self::none(error.to_string()),
        }
    }

    /// A sandbox in which nothing runs.
    pub fn none(why: impl Into<String>) -> Self {
        Self { backend: Backend::None { why: why.into() } }
    }

    /// The backend, as the log names it.
    pub fn backend(&self) -> SandboxBackend {
        match &self.backend {
            Backend::Bubblewrap(_) => SandboxBackend::Bubblewrap,
            Backend::None { .. } => SandboxBackend::None,
        }
    }

    /// Why nothing can be run, if nothing can.
    pub fn why_not(&self) -> Option<&str> {
        match &self.backend {
            Backend::Bubblewrap(_) => None,
            Backend::None { why } => Some(why),
        }
    }

    /// Runs `command` to its end or its time limit. When this returns, no process that it started is
    /// left; when the future is dropped, all of them are killed.
    pub async fn run(&self, command: &SandboxCommand) -> Result<Ran, SandboxError> {
        let bubblewrap = match &self.backend {
            Backend::Bubblewrap(bubblewrap) => Arc::clone(bubblewrap),
            Backend::None { why } => return Err(SandboxError::None(why.clone())),
        };
        let command = command.clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let _stop_when_dropped = stop.drop_guard();
        // A thread of its own for the whole call: a sandbox dies with the thread that started it.
        let running = tokio::task::spawn_blocking(move || bubblewrap.run(&command, &stopped));
        running.await.map_err(|error| SandboxError::Start(error.into()))?
    }
}
