//! The bubblewrap backend: finds `bwrap`, proves that it keeps what it promises here, and runs
//! commands with it.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::crowd::Crowd;
use super::limits::Limits;
use super::mounts::{Arguments, Files};
use super::prologue::{Inside, RUN, Shell};
use super::syscalls::{self, World};
use super::toolchains::Toolchains;
use super::{
    ENVIRONMENT, REPO, Ran, SandboxCommand, SandboxError, SandboxOptions, inherited, rlimits,
    supervise,
};

const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// What must hold inside before anything of a repository runs: no interface but loopback, nothing
/// of the kernel's settings or of the system writable, no capability left.
const PROBE: &str = "set -e; [ \"$(tail -n +3 /proc/net/dev | grep -cv ' lo:')\" = 0 ]; \
    ! [ -w /proc/sys/kernel/core_pattern ]; ! [ -w /usr ]; ! [ -w / ]; \
    grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status; \
    grep -q '^Seccomp:[[:space:]]*2$' /proc/self/status; [ \"$(ulimit -d)\" != unlimited ]; echo kept";

/// Files of `/etc` that programs ask for users and hosts: nobody is in them but the sandbox's own.
const ETC: [(&str, &str); 4] = [
    ("passwd", "root:x:0:0:root:/root:/bin/sh\ncody:x:1000:1000:cody:/home/cody:/bin/sh\n"),
    ("group", "root:x:0:\ncody:x:1000:\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
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
    limits: Limits,
    /// Filters for calls of the kernel, as the kernel reads them.
    filters: Vec<Vec<u8>>,
    /// Our own files for `/etc`.
    etc: TempDir,
}

impl Bubblewrap {
    /// Finds bubblewrap and looks around in it.
    pub(super) fn probe(toolchains: Toolchains, options: &SandboxOptions) -> Result<Self, String> {
        let program = find("bwrap").ok_or("bubblewrap (bwrap) is not installed")?;
        let etc = own_etc().map_err(|error| format!("no scratch directory: {error}"))?;
        let repo = TempDir::with_prefix("cody-probe-").map_err(|error| error.to_string())?;
        let mut bubblewrap = Self {
            program,
            can_disable_userns: true,
            shell: if options.plain_sh { Shell::Sh } else { Shell::find() },
            toolchains,
            extra_mounts: options.extra_mounts.clone(),
            limits: options.limits,
            filters: syscalls::filters(World::Namespaces)?.iter().map(syscalls::bytes).collect(),
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
        let call = Call::prepare(command, scratch.path()).map_err(SandboxError::Start)?;
        if command.git_dir.is_some() {
            clear_the_way(&command.repo.join(".git")).map_err(SandboxError::Start)?;
        }
        let arguments = self.arguments(&call);
        let cwd = call.memory.as_ref().map_or(REPO, |memory| memory.cwd.as_str());
        let at = Inside { cwd, repo: REPO, run: RUN };
        let program = self.shell.argv(call.memory.is_some(), &at);

        let crowd = Crowd::of(self.limits.processes);
        let starter = crowd.command(Path::new("/bin/sh"));
        let mut bwrap = rlimits::start_within(starter, self.limits.processes, &self.program);
        bwrap.env_clear();
        let spawn = |bwrap: &mut Command| {
            let spawned = inherited::spawn(bwrap, |bwrap, status| {
                bwrap.arg("--json-status-fd").arg(status.to_string());
                let arguments = inherited::file(arguments.as_bytes())?;
                bwrap.arg("--args").arg(arguments.as_raw_fd().to_string());
                let mut inherited = vec![arguments];
                for filter in &self.filters {
                    let filter = inherited::file(filter)?;
                    bwrap.arg("--add-seccomp-fd").arg(filter.as_raw_fd().to_string());
                    inherited.push(filter);
                }
                bwrap.arg("--").args(&program);
                Ok(inherited)
            });
            spawned.map_err(SandboxError::Start)
        };
        let seen = supervise::watch(&mut bwrap, spawn, call.bounds(self.limits), stop)?;
        call.finish(seen, |text| text)
    }

    fn arguments(&self, call: &Call<'_>) -> Arguments {
        let Call { command, memory, .. } = call;
        let files = Files { etc: self.etc.path(), script: &call.script, report: &call.report };
        let mut arguments = Arguments::default();
        arguments.isolate(self.can_disable_userns);
        arguments.mount_system(files.etc);
        arguments.mount_toolchains(&self.toolchains, &self.extra_mounts);
        arguments.mount_work(command, &files);
        arguments.seal();
        arguments.set_environment(ENVIRONMENT);
        arguments
            .set_environment(self.toolchains.env.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        arguments.set_environment(command.env.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        if let Some(exports) = memory.as_ref().and_then(|memory| memory.exports.as_ref()) {
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
