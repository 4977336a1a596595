//! The landlock backend: landlock, seccomp, limits, and where the worker is root a user of its own.
//! For machines on which no namespaces can be made.
//!
//! It gives less than bubblewrap: commands see the machine's own paths and the names of its
//! processes, and cannot make sockets at all, not even to themselves.

mod inner;
mod launcher;
mod ownership;
mod places;
mod rules;
mod spec;
mod user;

use std::fs;
use std::io::{self, PipeReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub use launcher::launch;

use self::places::Places;
use self::spec::Spec;
use self::user::OwnUser;
use super::call::Call;
use super::crowd::Crowd;
use super::inherited;
use super::limits::Limits;
use super::prologue::{Inside, RUN, Shell};
use super::toolchains::Toolchains;
use super::{
    CACHE, ENVIRONMENT, HOME, REPO, Ran, SandboxCommand, SandboxError, SandboxOptions, supervise,
    system,
};

const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// What must hold inside before anything of a repository runs: nothing of the system is writable,
/// nothing beside it is readable, and there are filters and no rights (or the one that is kept).
const PROBE: &str = "set -e; ! (echo >/usr/cody-probe) 2>/dev/null; ! ls / >/dev/null 2>&1; \
    ! cat /etc/passwd >/dev/null 2>&1; grep -q '^Seccomp:[[:space:]]*2$' /proc/self/status; \
    grep -q '^NoNewPrivs:[[:space:]]*1$' /proc/self/status; \
    grep -qE '^CapEff:[[:space:]]*0*4?$' /proc/self/status; ! kill -0 1 2>/dev/null; \
    [ \"$(ulimit -d)\" != unlimited ]; echo kept";
/// What a command may open of `/dev`.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Where `/tmp` would be.
const TMP: &str = "/tmp";

/// A landlock that works here.
#[derive(Debug)]
pub(super) struct Landlock {
    launcher: PathBuf,
    shell: Shell,
    toolchains: Toolchains,
    extra_mounts: Vec<PathBuf>,
    limits: Limits,
    user: Option<OwnUser>,
}

/// What a call has for itself: the places that bubblewrap makes in memory.
#[derive(Debug)]
struct Own {
    dir: TempDir,
    run: PathBuf,
    home: PathBuf,
    tmp: PathBuf,
}

impl Landlock {
    /// Finds out whether landlock keeps what it must keep here, by running something in it.
    pub(super) fn probe(toolchains: Toolchains, options: &SandboxOptions) -> Result<Self, String> {
        let user = match rustix::process::geteuid().is_root() {
            true => Some(OwnUser::claim().ok_or("no user number is free for its commands")?),
            false => None,
        };
        let landlock = Self {
            launcher: options.launcher.clone().unwrap_or_else(own_program),
            shell: if options.plain_sh { Shell::Sh } else { Shell::find() },
            toolchains,
            extra_mounts: options.extra_mounts.clone(),
            limits: options.limits,
            user,
        };
        let repo = TempDir::with_prefix("cody-probe-").map_err(|error| error.to_string())?;
        let probe = SandboxCommand::new(PROBE, repo.path(), PROBE_TIMEOUT, 10_000);
        let why = match landlock.run(&probe, &CancellationToken::new()) {
            Ok(ran) if ran.exit_code == Some(0) && ran.output == b"kept\n" => return Ok(landlock),
            Ok(ran) => {
                let said = String::from_utf8_lossy(&ran.output).trim().to_owned();
                format!("it does not keep what it must keep. {said}")
            }
            Err(SandboxError::Start(error)) => error.to_string(),
            Err(SandboxError::None(why)) => why,
        };
        Err(format!("landlock does not work: {why}"))
    }

    /// Runs `command`. Returns when nothing of it is alive; `stop` ends it early.
    pub(super) fn run(
        &self,
        command: &SandboxCommand,
        stop: &CancellationToken,
    ) -> Result<Ran, SandboxError> {
        let own = Own::new(&self.toolchains).map_err(SandboxError::Start)?;
        if let Some(git_dir) = &command.git_dir {
            point_to(git_dir, &command.repo.join(".git")).map_err(SandboxError::Start)?;
        }
        let call = Call::prepare(command, &own.run).map_err(SandboxError::Start)?;
        let places = own.places(command);
        let spec = self.spec(&call, &own, &places);
        let orders =
            serde_json::to_string(&spec).map_err(|error| SandboxError::Start(error.into()))?;

        let crowd = Crowd::of(self.limits.processes);
        let mut launcher = crowd.command(&self.launcher);
        launcher.env_clear();
        let spawn = |launcher: &mut Command| spawn(launcher, &orders).map_err(SandboxError::Start);
        let seen = supervise::watch(&mut launcher, spawn, call.bounds(self.limits), stop)?;
        call.finish(seen, |text| places.told(text))
    }

    fn spec(&self, call: &Call<'_>, own: &Own, places: &Places) -> Spec {
        let command = call.command;
        let mut readable: Vec<PathBuf> = system::readable();
        readable.extend(["/proc".into(), own.run.clone()]);
        readable.extend(self.toolchains.mounts.iter().map(|(host, _)| host.clone()));
        readable.extend(self.extra_mounts.iter().cloned());
        readable.extend(command.read_only.iter().map(|(host, _)| host.clone()));
        let mut writable = vec![own.home.clone(), own.tmp.clone(), command.repo.clone()];
        writable.extend(command.git_dir.clone());
        writable.extend(command.cache.clone());

        let cwd = call.memory.as_ref().map_or(REPO, |memory| memory.cwd.as_str());
        let repo = command.repo.display().to_string();
        let run = own.run.display().to_string();
        let at = Inside { cwd: &places.real(cwd), repo: &repo, run: &run };
        let shell = self.shell.argv(call.memory.is_some(), &at);
        Spec {
            argv: shell,
            env: self.environment(call, places),
            cwd: command.repo.clone(),
            readable,
            writable,
            writable_files: vec![call.report.clone()],
            devices: DEVICES.map(PathBuf::from).to_vec(),
            user: self.user.as_ref().map(|user| user.number),
            processes: self.limits.processes,
        }
    }

    fn environment(&self, call: &Call<'_>, places: &Places) -> Vec<(String, String)> {
        if let Some(exports) = call.memory.as_ref().and_then(|memory| memory.exports.as_ref()) {
            return exports.iter().map(|(n, v)| (n.clone(), places.real_value(v))).collect();
        }
        let own = ENVIRONMENT.iter().map(|(name, value)| (*name, *value));
        let toolchains = self.toolchains.env.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let command = call.command.env.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let all = own.chain(toolchains).chain(command);
        all.map(|(name, value)| (name.to_owned(), places.real_value(value))).collect()
    }
}

impl Own {
    /// Makes the places of one call, with a home in which toolchains find what is theirs.
    fn new(toolchains: &Toolchains) -> io::Result<Self> {
        let dir = TempDir::with_prefix("cody-call-")?;
        let [run, home, tmp] = ["run", "home", "tmp"].map(|name| dir.path().join(name));
        for place in [&run, &home, &tmp] {
            fs::create_dir(place)?;
        }
        for (host, inside) in &toolchains.mounts {
            let Ok(rest) = inside.strip_prefix(HOME) else { continue };
            let place = home.join(rest);
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent)?;
            }
            symlink(host, place)?;
        }
        Ok(Self { dir, run, home, tmp })
    }

    /// What things are called in every sandbox, and where they are in this one.
    fn places(&self, command: &SandboxCommand) -> Places {
        let mut pairs = vec![(command.repo.clone(), REPO.into())];
        pairs.extend(command.git_dir.iter().map(|dir| (dir.clone(), "/repo/.git".into())));
        pairs.extend(command.cache.iter().map(|dir| (dir.clone(), CACHE.into())));
        pairs.extend(command.read_only.iter().cloned());
        let own = [(&self.home, HOME), (&self.tmp, TMP), (&self.run, RUN)];
        pairs.extend(own.map(|(real, name)| (real.clone(), name.into())));
        Places::new(pairs)
    }
}

impl Drop for Own {
    /// A command may have closed directories of its own against their removal.
    fn drop(&mut self) {
        let _ = crate::sandbox::remove_all(self.dir.path());
    }
}

/// This very program, even where another stands in its place by now. Root's starts through a shell,
/// for which "self" would be that; others may not look at a process that keeps its memory private.
fn own_program() -> PathBuf {
    match rustix::process::geteuid().is_root() {
        true => format!("/proc/{}/exe", std::process::id()).into(),
        false => "/proc/self/exe".into(),
    }
}

/// Starts the launcher and gives it its orders. Its standard input stays open for as long as it is
/// wanted: when this process dies, however it dies, the launcher learns of it there.
fn spawn(launcher: &mut Command, orders: &str) -> io::Result<(Child, PipeReader)> {
    launcher.stdin(Stdio::piped());
    let (mut child, status) = inherited::spawn(launcher, |launcher, report| {
        launcher.args(["sandbox-launch", "--report", &report.to_string()]);
        Ok(Vec::new())
    })?;
    // One that ends before it has read everything tells why on its way.
    if let Some(stdin) = &mut child.stdin {
        let _ = stdin.write_all(orders.as_bytes()).and_then(|()| stdin.write_all(b"\n"));
    }
    Ok((child, status))
}

/// Leaves a file at `place` that leads git to `git_dir`, whatever a command left there.
fn point_to(git_dir: &Path, place: &Path) -> io::Result<()> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => crate::sandbox::remove_all(place)?,
        Ok(_) => fs::remove_file(place)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::write(place, format!("gitdir: {}\n", git_dir.display()))
}
