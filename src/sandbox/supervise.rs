//! Watches one sandboxed process tree: collects its output, ends it when it must end, and returns
//! when nothing of it is alive. Knows processes and pipes; not mounts, shells or sessions.
//!
//! The process we start (bubblewrap's monitor, or our own launcher) tells on its status pipe the pid
//! of the first process inside, and does not end before everything inside is dead, daemons included:
//! with bubblewrap the kernel kills the pid namespace with its first process, whose pidfd says when;
//! our launcher kills what is left itself.

use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use cody_events::time::took_ms;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio_util::sync::CancellationToken;

use super::SandboxError;
use super::limits::{Exceeded, LimitWatch};
use super::output::CappedOutput;
use super::priority::Priority;

/// How often a cancelled `stop` is looked for.
const TICK: Duration = Duration::from_millis(50);
/// How long killed processes may take to die; one in an uninterruptible call may need it.
const DEATH: Duration = Duration::from_secs(30);
/// Bytes of the monitor's own words that are kept.
const WORDS_BYTES: usize = 16 << 10;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this code; 128 + n where signal n ended it, as shells count.
    Exited(i32),
    /// It ran longer than its limit and was killed.
    TimedOut,
    /// It used more than it may and was killed.
    Exceeded(Exceeded),
    /// Nobody wants its result any more; it was killed.
    Stopped,
}

/// What was seen of a process tree, all of it dead.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) ended: Ended,
    pub(super) ms: u64,
    pub(super) output: Vec<u8>,
    pub(super) cut_bytes: u64,
    /// Why the command was never started, if it was not.
    pub(super) never_began: Option<String>,
}

/// A started process tree. Dropping it kills it.
#[derive(Debug)]
struct Watched {
    monitor: Child,
    monitor_fd: OwnedFd,
    /// The first process of the namespace, once it is known.
    first: Option<OwnedFd>,
    stdout: ChildStdout,
    output: CappedOutput,
    stderr: ChildStderr,
    complaints: Vec<u8>,
    status_pipe: PipeReader,
    status: Vec<u8>,
}

/// What a process tree may take and leave.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) timeout: Duration,
    pub(super) output_cap: u64,
    pub(super) limits: LimitWatch,
}

/// Starts `command` and watches it to its end. `spawn` decides what the child inherits, and hands
/// over its status pipe.
pub(super) fn watch(
    command: &mut Command,
    spawn: impl FnOnce(&mut Command) -> Result<(Child, PipeReader), SandboxError>,
    bounds: Bounds,
    stop: &CancellationToken,
) -> Result<Seen, SandboxError> {
    let Bounds { timeout, output_cap, mut limits } = bounds;
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let priority = Priority::to_start();
    let (monitor, status_pipe) = spawn(command)?;
    priority.to_watch();
    let root = monitor.id();
    let mut watched = Watched::new(monitor, status_pipe, output_cap)?;
    let mut killed: Option<(Ended, Instant)> = None;
    while !watched.wait_for_news(timeout.saturating_sub(started.elapsed()))? {
        watched.take_news();
        match killed {
            None if stop.is_cancelled() => killed = Some((Ended::Stopped, Instant::now())),
            None if started.elapsed() >= timeout => {
                killed = Some((Ended::TimedOut, Instant::now()));
            }
            Some((_, since)) if since.elapsed() > DEATH => return Err(undead()),
            None => {
                let over = limits.look(root);
                killed = over.map(|limit| (Ended::Exceeded(limit), Instant::now()));
            }
            Some(_) => {}
        }
        if killed.is_some() {
            watched.kill();
        }
    }
    watched.take_words();
    watched.wait_for_the_namespace()?;
    watched.take_output(usize::MAX);
    let exit = watched.monitor.wait().map_err(SandboxError::Start)?;
    let code = exit.signal().map(|signal| 128 + signal).or(exit.code()).unwrap_or(-1);
    let began = killed.is_some() || says(&watched.status, "exit-code").is_some();
    let complaints = String::from_utf8_lossy(&watched.complaints).trim().to_owned();
    let output = std::mem::replace(&mut watched.output, CappedOutput::new(0));
    let (output, cut_bytes) = output.finish();
    Ok(Seen {
        ended: killed.map_or(Ended::Exited(code), |(ended, _)| ended),
        ms: took_ms(started.elapsed()),
        output,
        cut_bytes,
        never_began: (!began).then_some(complaints),
    })
}

impl Watched {
    fn new(
        mut monitor: Child,
        status_pipe: PipeReader,
        output_cap: u64,
    ) -> Result<Self, SandboxError> {
        let pipes = monitor.stdout.take().zip(monitor.stderr.take());
        let monitor_fd = pidfd_open(Pid::from_child(&monitor), PidfdFlags::empty());
        let (Some((stdout, stderr)), Ok(monitor_fd)) = (pipes, monitor_fd) else {
            let _ = monitor.kill();
            let _ = monitor.wait();
            let why = "it cannot be watched: no pipe or no pidfd (Linux 5.3 has them)";
            return Err(SandboxError::Start(std::io::Error::other(why)));
        };
        let watched = Self {
            monitor,
            monitor_fd,
            first: None,
            stdout,
            output: CappedOutput::new(output_cap),
            stderr,
            complaints: Vec::new(),
            status_pipe,
            status: Vec::new(),
        };
        for fd in [watched.stdout.as_fd(), watched.stderr.as_fd(), watched.status_pipe.as_fd()] {
            fcntl_setfl(fd, OFlags::NONBLOCK).map_err(|errno| SandboxError::Start(errno.into()))?;
        }
        Ok(watched)
    }

    /// Waits for something to happen, at most a tick; says whether the monitor is dead.
    fn wait_for_news(&self, remaining: Duration) -> Result<bool, SandboxError> {
        let mut fds = [
            PollFd::new(&self.monitor_fd, PollFlags::IN),
            PollFd::new(&self.stdout, PollFlags::IN),
            PollFd::new(&self.stderr, PollFlags::IN),
            PollFd::new(&self.status_pipe, PollFlags::IN),
        ];
        wait(&mut fds, remaining.min(TICK))?;
        // A pipe whose writers are gone is always ready. The pause keeps that from spinning here.
        let is_only_closed = |fd: &PollFd<'_>| fd.revents() == PollFlags::HUP;
        if fds[0].revents().is_empty() && fds[1..].iter().any(is_only_closed) {
            wait(&mut fds[..1], Duration::from_millis(2))?;
        }
        Ok(!fds[0].revents().is_empty())
    }

    fn take_news(&mut self) {
        // Bounded, so that a command that never stops printing cannot keep us from the clock.
        self.take_output(4 << 20);
        self.take_words();
    }

    fn take_output(&mut self, at_most: usize) {
        let mut buffer = [0; 64 << 10];
        let mut taken = 0;
        while taken < at_most {
            match self.stdout.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    self.output.take(&buffer[..count]);
                    taken += count;
                }
            }
        }
    }

    /// Reads the monitor's words, and takes hold of the first process inside when it is named.
    fn take_words(&mut self) {
        take_some(&mut self.stderr, &mut self.complaints);
        take_some(&mut self.status_pipe, &mut self.status);
        if self.first.is_none() {
            let pid = says(&self.status, "child-pid").and_then(Pid::from_raw);
            self.first = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        }
    }

    /// Kills everything: the monitor ends with the first process inside, and nothing is inside yet
    /// before it has named that one.
    fn kill(&mut self) {
        self.take_words();
        match &self.first {
            Some(first) => {
                let _ = pidfd_send_signal(first, Signal::KILL);
            }
            None => {
                let _ = self.monitor.kill();
            }
        }
    }

    /// The monitor is dead, so the kernel kills the namespace. Waits until it has.
    fn wait_for_the_namespace(&self) -> Result<(), SandboxError> {
        let Some(first) = &self.first else { return Ok(()) };
        let _ = pidfd_send_signal(first, Signal::KILL);
        let since = Instant::now();
        while since.elapsed() < DEATH {
            let mut fds = [PollFd::new(first, PollFlags::IN)];
            wait(&mut fds, DEATH)?;
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
        }
        Err(undead())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
        let _ = self.monitor.wait();
    }
}

/// Reads what is there, and keeps the first of it.
fn take_some(pipe: &mut impl Read, kept: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    for _ in 0..64 {
        let Ok(count @ 1..) = pipe.read(&mut buffer) else { return };
        let room = WORDS_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}

/// The number that the status gives under `name`. Each whole line is a JSON object.
fn says(status: &[u8], name: &str) -> Option<i32> {
    let lines = status.split_inclusive(|byte| *byte == b'\n');
    let mut objects = lines
        .filter(|line| line.ends_with(b"\n"))
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    objects.find_map(|object| i32::try_from(object.get(name)?.as_i64()?).ok())
}

fn wait(fds: &mut [PollFd<'_>], timeout: Duration) -> Result<(), SandboxError> {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match poll(fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(SandboxError::Start(errno.into())),
    }
}

fn undead() -> SandboxError {
    let seconds = DEATH.as_secs();
    let why = format!("its processes were still alive {seconds} s after they were killed");
    SandboxError::Start(std::io::Error::other(why))
}
