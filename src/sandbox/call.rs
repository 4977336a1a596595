//! One call as both backends see it: the script and the report as files, the session that is read
//! before and written after, and how what was seen becomes an answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::limits::{LimitWatch, Limits};
use super::prologue;
use super::session::Memory;
use super::supervise::{Bounds, Ended, Seen};
use super::{Ran, SandboxCommand, SandboxError};

/// A call about to be made, or under way.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) command: &'a SandboxCommand,
    /// What the shell is to run.
    pub(super) script: PathBuf,
    /// What the shell says at its end of where it is and what it exports.
    pub(super) report: PathBuf,
    pub(super) memory: Option<Memory>,
}

impl<'a> Call<'a> {
    /// Leaves the files of `command` in `dir`.
    pub(super) fn prepare(command: &'a SandboxCommand, dir: &Path) -> io::Result<Self> {
        let call = Self {
            command,
            script: dir.join("command"),
            report: dir.join("report"),
            memory: command.session.as_ref().map(|session| session.recall()),
        };
        fs::write(&call.script, &command.script)?;
        fs::write(&call.report, b"")?;
        Ok(call)
    }

    /// What the command may take; what it may write to is weighed from now on.
    pub(super) fn bounds(&self, limits: Limits) -> Bounds {
        let command = self.command;
        let writable = [Some(&command.repo), command.git_dir.as_ref(), command.cache.as_ref()];
        Bounds {
            timeout: command.timeout,
            output_cap: command.output_cap,
            limits: LimitWatch::begin(limits, writable.into_iter().flatten().cloned().collect()),
        }
    }

    /// The answer to the call. `translate` puts the words of the sandbox in place of the machine's
    /// in what the shell reported.
    pub(super) fn finish(
        self,
        seen: Seen,
        translate: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> Result<Ran, SandboxError> {
        if let Some(why) = seen.never_began {
            return Err(SandboxError::Start(io::Error::other(why)));
        }
        if let (Some(session), Some(memory)) = (&self.command.session, &self.memory) {
            session.remember(&memory.after(&translate(prologue::read_report(&self.report))));
        }
        Ok(Ran {
            exit_code: match seen.ended {
                Ended::Exited(code) => Some(code),
                Ended::TimedOut | Ended::Exceeded(_) | Ended::Stopped => None,
            },
            timed_out: seen.ended == Ended::TimedOut,
            exceeded: match seen.ended {
                Ended::Exceeded(limit) => Some(limit),
                Ended::Exited(_) | Ended::TimedOut | Ended::Stopped => None,
            },
            ms: seen.ms,
            output: translate(seen.output),
            cut_bytes: seen.cut_bytes,
        })
    }
}
