//! Workers as child processes of this machine. Each is a process group of its own, so that a Ctrl-C
//! at the terminal is the server's to answer, and so that a worker outlives its server.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use cody_events::attempt::AttemptEnd;
use cody_events::ids::{JobId, RequestId, TargetNumber};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::store::side::Process;
use crate::wire::{Secret, WorkerSecret, WorkerSettings, process_start};

/// All that a worker gets of the server's environment: where programs are, how words are written, and
/// whom TLS trusts. Whatever else stands there may be a secret.
const INHERITED: [&str; 15] = [
    "PATH",
    "HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "USER",
    "LOGNAME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CODY_LOG",
    "CODY_LOG_FORMAT",
    "RUST_BACKTRACE",
];
/// How many files with words of failed workers are kept.
const MOST_LOGS: usize = 100;

/// Starts workers from a program.
#[derive(Debug, Clone)]
pub struct LocalExecutor {
    /// This very program.
    pub program: PathBuf,
    /// Where the server listens.
    pub server: String,
    /// Where it leaves its address.
    pub address_file: PathBuf,
    /// Where workers make their directories.
    pub scratch: PathBuf,
    /// Where workers' words go that nobody else reads.
    pub logs: PathBuf,
}

impl LocalExecutor {
    /// Starts a worker for `request`; it gets its nonce over a pipe.
    pub(super) async fn start(
        &self,
        job: JobId,
        target: TargetNumber,
        request: RequestId,
        nonce: &str,
        settings: &WorkerSettings,
    ) -> std::io::Result<Process> {
        tokio::fs::create_dir_all(&self.logs).await?;
        let log = std::fs::File::create(self.log_of(request))?;
        let mut child = Command::new(&self.program)
            .arg("worker")
            .args(["--server", &self.server])
            .args(["--job", &job.to_string()])
            .args(["--target", &target.to_string()])
            .args(["--request", &request.to_string()])
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let secret = WorkerSecret {
            nonce: Secret::new(nonce),
            address_file: Some(self.address_file.clone()),
            scratch: self.scratch.clone(),
            settings: settings.clone(),
        };
        if let Some(mut stdin) = child.stdin.take() {
            let mut line = serde_json::to_vec(&secret)?;
            line.push(b'\n');
            stdin.write_all(&line).await?;
        }
        let pid = child.id().unwrap_or(0);
        let process = Process { pid, start: process_start(pid).unwrap_or(0) };
        // Waited for, so that it leaves no zombie; its end is seen by the watchdog.
        tokio::spawn(async move { child.wait().await });
        Ok(process)
    }

    /// Ends a worker and all it started, at once.
    pub(super) fn kill(process: Process) {
        if !is_alive(process) {
            return;
        }
        if let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) {
            // It may have ended in between; then there is nothing to end.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Removes what a dead worker left behind. The words of one that failed are kept.
    pub(super) async fn sweep(&self, request: RequestId, how: AttemptEnd) {
        remove(&self.scratch.join(request.to_string())).await;
        let has_failed = match how {
            AttemptEnd::Lost | AttemptEnd::Crashed => true,
            AttemptEnd::Completed | AttemptEnd::Fenced | AttemptEnd::Interrupted => false,
        };
        if !has_failed {
            // It may be gone, or never have been.
            let _ = tokio::fs::remove_file(self.log_of(request)).await;
        }
    }

    /// Removes directories that no worker of `known` requests has, and all but the newest words of
    /// those that failed.
    pub(super) async fn sweep_all_but(&self, known: &[RequestId]) {
        for name in names_in(&self.scratch).await {
            if !known.iter().any(|request| request.to_string() == name) {
                remove(&self.scratch.join(name)).await;
            }
        }
        // Requests' ids are in the order of time.
        let logs = names_in(&self.logs).await;
        for name in logs.iter().take(logs.len().saturating_sub(MOST_LOGS)) {
            let _ = tokio::fs::remove_file(self.logs.join(name)).await;
        }
    }

    fn log_of(&self, request: RequestId) -> PathBuf {
        self.logs.join(format!("{request}.log"))
    }
}

/// The names in a directory, in order; none if there is no such directory.
async fn names_in(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return names };
    while let Ok(Some(entry)) = entries.next_entry().await {
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    names
}

async fn remove(dir: &Path) {
    let place = dir.to_owned();
    let removed = tokio::task::spawn_blocking(move || crate::sandbox::remove_all(&place)).await;
    if let Ok(Err(error)) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %dir.display(), %error, "a work directory could not be removed");
    }
}

/// Whether the very process still runs, and not another with its pid.
pub fn is_alive(process: Process) -> bool {
    process_start(process.pid) == Some(process.start)
}
