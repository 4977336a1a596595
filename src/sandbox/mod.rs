//! The sandbox: runs commands of a repository away from the machine. It sees the work directory,
//! the toolchains and nothing else; no network, no secrets, no other process. It fails closed: if
//! no backend works here, nothing runs.
//!
//! It knows commands, mounts and limits; not trees, checks, tools or jobs. Nothing that a command
//! says is believed: what must hold is held from outside.

mod bubblewrap;
mod call;
mod crowd;
mod inherited;
mod landlock;
mod limits;
mod mounts;
mod output;
mod priority;
mod prologue;
mod relay;
mod removal;
mod rlimits;
mod session;
mod supervise;
mod syscalls;
mod system;
mod toolchains;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cody_events::attempt::SandboxBackend;
use tokio_util::sync::CancellationToken;

use bubblewrap::Bubblewrap;
use landlock::Landlock;
use toolchains::Toolchains;

pub use landlock::launch;
pub use limits::{Exceeded, Limits};
pub use relay::relay;
pub use removal::remove_all;
pub use session::ShellSession;

/// Where the work directory is inside.
const REPO: &str = "/repo";
/// The home directory inside; empty and in memory.
const HOME: &str = "/home/cody";
/// Where a command's cache is inside.
const CACHE: &str = "/cache";

/// The sandbox's own variables. A command's `env` and a session's exports come after them.
const ENVIRONMENT: [(&str, &str); 13] = [
    ("HOME", HOME),
    ("USER", "cody"),
    ("LOGNAME", "cody"),
    ("SHELL", "/bin/sh"),
    ("TMPDIR", "/tmp"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    ("CI", "1"),
    ("PAGER", "cat"),
    ("GIT_PAGER", "cat"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("npm_config_offline", "true"),
    ("npm_config_update_notifier", "false"),
];

/// What a sandbox may show, and which there is to be.
#[derive(Debug, Clone, Default)]
pub struct SandboxOptions {
    /// The first of these that works is used; none are no sandbox.
    pub backends: Vec<SandboxBackend>,
    /// Directories that commands may read beside the toolchains, at the same path.
    pub extra_mounts: Vec<PathBuf>,
    /// What a command may use with all that it starts.
    pub limits: Limits,
    /// This program, which starts itself for landlock; by default the one that runs.
    pub launcher: Option<PathBuf>,
    /// Whether a plain POSIX shell is used even where there is bash.
    pub plain_sh: bool,
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
    /// The shell's code, so 128 + n where signal n ended the command; nothing at a limit.
    pub exit_code: Option<i32>,
    pub timed_out: bool,
    /// The limit other than time that ended it.
    pub exceeded: Option<Exceeded>,
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
    Bubblewrap(Arc<Bubblewrap>),
    Landlock(Arc<Landlock>),
    None { why: String },
}

impl Sandbox {
    /// Finds out what works here, by running something in it.
    pub async fn probe(options: &SandboxOptions) -> Self {
        let options = options.clone();
        let probed = tokio::task::spawn_blocking(move || Self::first_that_works(&options)).await;
        probed.unwrap_or_else(|error| Self::none(error.to_string()))
    }

    /// Whether each backend works here, and why not.
    pub async fn probe_all(options: &SandboxOptions) -> Vec<(SandboxBackend, Result<(), String>)> {
        let mut found = Vec::new();
        for backend in [SandboxBackend::Bubblewrap, SandboxBackend::Landlock] {
            let alone = SandboxOptions { backends: vec![backend], ..options.clone() };
            let sandbox = Self::probe(&alone).await;
            found.push((backend, sandbox.why_not().map_or(Ok(()), |why| Err(why.to_owned()))));
        }
        found
    }

    fn first_that_works(options: &SandboxOptions) -> Self {
        let mut why = Vec::new();
        for backend in &options.backends {
            let toolchains = Toolchains::discover(&toolchains::Host::of_this_process());
            let works = match backend {
                SandboxBackend::Bubblewrap => {
                    Bubblewrap::probe(toolchains, options).map(Arc::new).map(Backend::Bubblewrap)
                }
                SandboxBackend::Landlock => {
                    Landlock::probe(toolchains, options).map(Arc::new).map(Backend::Landlock)
                }
                SandboxBackend::None => continue,
            };
            match works {
                Ok(backend) => return Self { backend },
                Err(failed) => why.push(failed),
            }
        }
        match why.is_empty() {
            true => Self::none("it is switched off by configuration"),
            false => Self::none(why.join("; ")),
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
            Backend::Landlock(_) => SandboxBackend::Landlock,
            Backend::None { .. } => SandboxBackend::None,
        }
    }

    /// Why nothing can be run, if nothing can.
    pub fn why_not(&self) -> Option<&str> {
        match &self.backend {
            Backend::Bubblewrap(_) | Backend::Landlock(_) => None,
            Backend::None { why } => Some(why),
        }
    }

    /// Where commands find what is at `place` and is to be at `wanted`: only bubblewrap can move it.
    pub fn inside(&self, place: &Path, wanted: &Path) -> PathBuf {
        match &self.backend {
            Backend::Landlock(_) => place.to_owned(),
            Backend::Bubblewrap(_) | Backend::None { .. } => wanted.to_owned(),
        }
    }

    /// What a script that failed may not have known of this sandbox, in a sentence.
    pub fn hint(&self, script: &str) -> Option<&'static str> {
        let is_landlock = matches!(self.backend, Backend::Landlock(_));
        (is_landlock && (script.contains("/repo") || script.contains("/tmp"))).then_some(
            "On this machine the repository is not at /repo for commands, and /tmp cannot be \
             written: use relative paths, and $TMPDIR.",
        )
    }

    /// Runs `command` to its end or its limits. When this returns, no process that it started is
    /// left; when the future is dropped, all of them are killed.
    pub async fn run(&self, command: &SandboxCommand) -> Result<Ran, SandboxError> {
        if let Backend::None { why } = &self.backend {
            return Err(SandboxError::None(why.clone()));
        }
        let (backend, command) = (self.backend.clone(), command.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let _stop_when_dropped = stop.drop_guard();
        // A thread of its own for the whole call: a sandbox dies with the thread that started it.
        let running = tokio::task::spawn_blocking(move || match backend {
            Backend::Bubblewrap(bubblewrap) => bubblewrap.run(&command, &stopped),
            Backend::Landlock(landlock) => landlock.run(&command, &stopped),
            Backend::None { why } => Err(SandboxError::None(why)),
        });
        running.await.map_err(|error| SandboxError::Start(error.into()))?
    }
}
