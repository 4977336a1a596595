//! The sandbox: runs commands of a repository away from the machine. It sees the work directory,
//! the toolchains and nothing else; no network, no secrets, no other process. It fails closed: if
//! no backend works here, nothing runs.

mod bubblewrap;
mod output;
mod session;
mod toolchains;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cody_events::attempt::SandboxBackend;

pub use output::CappedOutput;
pub use session::ShellSession;

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
    /// The directory that is `/repo/.git` inside.
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

/// How a command went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Nothing if a signal or the time limit ended it.
    pub exit_code: Option<i32>,
    pub timed_out: bool,
    pub ms: u64,
    /// What it printed, to both streams, in order.
    pub output: Vec<u8>,
    /// Bytes left out of `output`.
    pub cut_bytes: u64,
}

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("no sandbox works here: {0}")]
    None(String),
    #[error("the sandbox could not be started")]
    Start(#[source] std::io::Error),
}

/// What works on this machine.
#[derive(Debug)]
pub struct Sandbox {
    backend: Backend,
    toolchains: toolchains::Toolchains,
}

#[derive(Debug)]
enum Backend {
    Bubblewrap(bubblewrap::Bubblewrap),
    None { why: String },
}

impl Sandbox {
    /// Finds out what works here, by running something in it.
    pub async fn probe(options: &SandboxOptions) -> Self {
        let toolchains = toolchains::Toolchains::discover(&options.extra_mounts);
        let backend = if options.enabled {
            match bubblewrap::Bubblewrap::probe(&toolchains).await {
                Ok(bubblewrap) => Backend::Bubblewrap(bubblewrap),
                Err(why) => Backend::None { why },
            }
        } else {
            Backend::None { why: "it is switched off by configuration".to_owned() }
        };
        Self { backend, toolchains }
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

    /// Runs `command` to its end, its time limit, or until the future is dropped. When this returns,
    /// no process that it started is left.
    pub async fn run(&self, command: &SandboxCommand) -> Result<Ran, SandboxError> {
        let mut process = match &self.backend {
            Backend::Bubblewrap(bubblewrap) => bubblewrap.command(command, &self.toolchains),
            Backend::None { why } => return Err(SandboxError::None(why.clone())),
        };
        let (reader, writer) = std::io::pipe().map_err(SandboxError::Start)?;
        let errors = writer.try_clone().map_err(SandboxError::Start)?;
        process
            .stdin(Stdio::null())
            .stdout(Stdio::from(writer))
            .stderr(Stdio::from(errors))
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = process.spawn().map_err(SandboxError::Start)?;
        // Our copies of the pipe's end go with the builder; else the reader would never see its end.
        drop(process);
        let cap = command.output_cap;
        let output = tokio::task::spawn_blocking(move || CappedOutput::read(reader, cap));
        let waited = tokio::time::timeout(command.timeout, child.wait()).await;
        let (status, timed_out) = match waited {
            Ok(status) => (Some(status.map_err(SandboxError::Start)?), false),
            Err(_) => {
                child.kill().await.map_err(SandboxError::Start)?;
                (None, true)
            }
        };
        let output = output.await.map_err(|error| SandboxError::Start(error.into()))?;
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Ran {
            exit_code: status.and_then(|status| status.code()),
            timed_out,
            ms,
            output: output.bytes,
            cut_bytes: output.cut_bytes,
        })
    }
}

#[cfg(test)]
mod tests;
