//! The bubblewrap backend: finds `bwrap`, proves that it keeps what it promises here, and runs
//! commands with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::mounts::{Arguments, Files};
use super::prologue::{self, Shell};
use super::session::Memory;
use super::supervise::{self, Ended};
use super::toolchains::Toolchains;
use super::{HOME, Ran, SandboxCommand, SandboxError, inherited};

const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// What must hold inside before anything of a repository runs: no interface but loopback, nothing
/// of the kernel's settings or of the system writable, no capability left.
const PROBE: &str = "set -e; [ \"$(tail -n +3 /proc/net/dev | grep -cv ' lo:')\" = 0 ]; \
    ! [ -w /proc/sys/kernel/core_pattern ]; ! [ -w /usr ]; ! [ -w / ]; \
    grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status; echo kept";

/// Files of `/etc` that programs ask for users and hosts: nobody is in them but the sandbox's own.
const ETC: [(&str, &str); 4] = [
    ("passwd", "root:x:0:0:root:/root:/bin/sh\ncody:x:1000:1000:cody:/home/cody:/bin/sh\n"),
    ("group", "root:x:0:\ncody:x:1000:\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

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

/// A bubblewrap that works here.
#[derive(Debug)]
pub(super) struct Bubblewrap {
    program: PathBuf,
    /// Whether programs inside can be kept from making user namespaces of their own.
    can_disable_userns: bool,
    shell: Shell,
    toolchains: Toolchains,
    extra_mounts: Vec<PathBuf>,
    /// Our own files for `/etc`.
    etc: TempDir,
}

impl Bubblewrap {
    /// Finds bubblewrap and looks around in it.
    pub(super) fn probe(toolchains: Toolchains, extra_mounts: &[PathBuf]) -> Result<Self, String> {
        let program = find("bwrap").ok_or("bubblewrap (bwrap) is not installed")?;
        let etc = own_etc().map_err(|error| format!("no scratch directory: {error}"))?;
        let repo = TempDir::with_prefix("cody-probe-").map_err(|error| error.to_string())?;
        let mut bubblewrap = Self {
            program,
            can_disable_userns: true,
            shell: Shell::find(),
            toolchains,
            extra_mounts: extra_mounts.to_vec(),
            etc,
        };
        let probe = SandboxCommand::new(PROBE, repo.path(), PROBE_TIMEOUT, 10_000);
        let mut last = String::new();
        // Bubblewrap before 0.8, and some kernels, cannot disable user namespaces inside.
        for can_disable_userns in [true, false] {
            bubblewrap.can_disable_userns = can_disable_userns;
            match bubblewrap.run(&probe, &CancellationToken::new()) {
                Ok(ran) if ran.exit_code == Some(0) && ran.output == b"kept\n" => {
                    return Ok(bubblewrap);
                }
                Ok(ran) => {
                    let said = String::from_utf8_lossy(&ran.output).trim().to_owned();
                    last = format!("it does not keep what it must keep. {said}");
                }
                Err(SandboxError::Start(error)) => last = error.to_string(),
                Err(SandboxError::None(why)) => last = why,
            }
        }
        Err(format!("bubblewrap does not work: {last}"))
    }

    /// Runs `command`. Returns when nothing of it is alive; `stop` ends it early.
    pub(super) fn run(
        &self,
        command: &SandboxCommand,
        stop: &CancellationToken,
    ) -> Result<Ran, SandboxError> {
        let scratch = TempDir::with_prefix("cody-call-").map_err(SandboxError::Start)?;
        let script = scratch.path().join("command");
        let report = scratch.path().join("report");
        fs::write(&script, &command.script).map_err(SandboxError::Start)?;
        fs::write(&report, b"").map_err(SandboxError::Start)?;
        if command.git_dir.is_some() {
            clear_the_way(&command.repo.join(".git")).map_err(SandboxError::Start)?;
        }
        let memory = command.session.as_ref().map(|session| session.recall());
        let files = Files { etc: self.etc.path(), script: &script, report: &report };
        let arguments = self.arguments(command, memory.as_ref(), &files);

        let program = self.shell.argv(memory.as_ref());
        let mut bwrap = Command::new(&self.program);
        bwrap.env_clear();
        let spawn = |bwrap: &mut Command| {
            let spawned = inherited::spawn(bwrap, arguments.as_bytes(), &program);
            spawned.map_err(SandboxError::Start)
        };
        let seen = supervise::watch(&mut bwrap, spawn, command.timeout, command.output_cap, stop)?;
        if let Some(why) = seen.never_began {
            return Err(SandboxError::Start(std::io::Error::other(why)));
        }
        if let (Some(session), Some(memory)) = (&command.session, &memory) {
            session.remember(&memory.after(&prologue::read_report(&report)));
        }
        Ok(Ran {
            exit_code: match seen.ended {
                Ended::Exited(code) => Some(code),
                Ended::TimedOut | Ended::Stopped => None,
            },
            timed_out: seen.ended == Ended::TimedOut,
            ms: seen.ms,
            output: seen.output,
            cut_bytes: seen.cut_bytes,
        })
    }

    #[cfg(test)]
    pub(super) fn use_plain_sh(&mut self) {
        self.shell = Shell::Sh;
    }

    fn arguments(
        &self,
        command: &SandboxCommand,
        memory: Option<&Memory>,
        files: &Files<'_>,
    ) -> Arguments {
        let mut arguments = Arguments::default();
        arguments.isolate(self.can_disable_userns);
        arguments.mount_system(files.etc);
        arguments.mount_toolchains(&self.toolchains, &self.extra_mounts);
        arguments.mount_work(command, files);
        arguments.seal();
        arguments.set_environment(ENVIRONMENT);
        arguments
            .set_environment(self.toolchains.env.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        arguments.set_environment(command.env.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        if let Some(exports) = memory.and_then(|memory| memory.exports.as_ref()) {
            arguments.add(&[&"--clearenv"]);
            arguments.set_environment(exports.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        }
        arguments
    }
}

/// Takes away what stands where a `.git` directory is to be mounted, unless it is a directory: a
/// command may have left a link there, and a mount would follow it.
fn clear_the_way(place: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(place) {
        Ok(found) if !found.is_dir() => fs::remove_file(place),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn own_etc() -> std::io::Result<TempDir> {
    let dir = TempDir::with_prefix("cody-etc-")?;
    for (name, content) in ETC {
        fs::write(dir.path().join(name), content)?;
    }
    Ok(dir)
}

/// Where `program` is, by `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|program| program.is_file())
}
