//! The bubblewrap backend: an allow-list of mounts in namespaces of its own. Nothing that is not
//! named here is visible inside.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::toolchains::Toolchains;
use super::{SandboxCommand, session};

/// The home directory inside; empty and in memory.
const HOME: &str = "/home/cody";
/// The most that commands may put into memory-backed directories.
const TMPFS_BYTES: &str = "4294967296";
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Files of /etc that programs look for, and that say nothing about the machine's owner.
const ETC: [&str; 10] = [
    "/etc/alternatives",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/java-17-openjdk",
    "/etc/maven",
];

/// A bubblewrap that works here.
#[derive(Debug)]
pub(super) struct Bubblewrap {
    program: PathBuf,
    /// Whether programs inside can be kept from making user namespaces of their own.
    can_disable_userns: bool,
}

impl Bubblewrap {
    /// Finds bubblewrap and runs `true` in it.
    pub async fn probe(toolchains: &Toolchains) -> Result<Self, String> {
        let program = find().ok_or("bubblewrap (bwrap) is not installed")?;
        let mut last = String::new();
        for can_disable_userns in [true, false] {
            let bubblewrap = Self { program: program.clone(), can_disable_userns };
            let dir = tempfile::TempDir::with_prefix("cody-probe-").map_err(|e| e.to_string())?;
            let probe = SandboxCommand {
                script: "true".to_owned(),
                repo: dir.path().to_owned(),
                git_dir: None,
                read_only: Vec::new(),
                cache: None,
                session: None,
                env: Vec::new(),
                timeout: PROBE_TIMEOUT,
                output_cap: 0,
            };
            let mut command = bubblewrap.command(&probe, toolchains);
            command.kill_on_drop(true).stdin(std::process::Stdio::null());
            match tokio::time::timeout(PROBE_TIMEOUT, command.output()).await {
                Ok(Ok(output)) if output.status.success() => return Ok(bubblewrap),
                Ok(Ok(output)) => last = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "it did not end in time".to_owned(),
            }
        }
        Err(format!("bubblewrap does not work: {last}"))
    }

    /// The process that runs `command`.
    pub fn command(&self, command: &SandboxCommand, toolchains: &Toolchains) -> Command {
        let mut bwrap = Command::new(&self.program);
        bwrap.env_clear();
        bwrap.args(["--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"]);
        bwrap.args(["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]);
        bwrap.args(["--hostname", "sandbox"]);
        if self.can_disable_userns {
            bwrap.arg("--disable-userns");
        }
        mount_system(&mut bwrap);
        mount_toolchains(&mut bwrap, toolchains);
        mount_work(&mut bwrap, command);
        set_environment(&mut bwrap, command, toolchains);
        let script = match command.session {
            Some(_) => session::wrapped(&command.script),
            None => command.script.clone(),
        };
        let shell = if Path::new("/bin/bash").exists() { "bash" } else { "sh" };
        bwrap.args(["--chdir", "/repo", "--", shell, "-c", &limited(&script)]);
        bwrap
    }
}

/// `script` under limits that no command of it can raise.
fn limited(script: &str) -> String {
    format!("ulimit -c 0 2>/dev/null; ulimit -f 8388608 2>/dev/null\n{script}")
}

fn mount_system(bwrap: &mut Command) {
    bwrap.args(["--ro-bind", "/usr", "/usr"]);
    for dir in ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] {
        match std::fs::read_link(dir) {
            Ok(target) => bwrap.arg("--symlink").arg(target).arg(dir),
            Err(_) => bwrap.args(["--ro-bind-try", dir, dir]),
        };
    }
    for path in ETC {
        bwrap.args(["--ro-bind-try", path, path]);
    }
    bwrap.args(["--proc", "/proc", "--dev", "/dev"]);
    for dir in ["/tmp", HOME] {
        bwrap.args(["--size", TMPFS_BYTES, "--tmpfs", dir]);
    }
}

fn mount_toolchains(bwrap: &mut Command, toolchains: &Toolchains) {
    for mount in &toolchains.mounts {
        bwrap.arg("--ro-bind-try").arg(mount).arg(mount);
    }
    if let Some(home) = &toolchains.cargo_home {
        for part in ["registry", "git"] {
            let inside = format!("{HOME}/.cargo/{part}");
            bwrap.arg("--ro-bind-try").arg(home.join(part)).arg(inside);
        }
    }
}

fn mount_work(bwrap: &mut Command, command: &SandboxCommand) {
    bwrap.arg("--bind").arg(&command.repo).arg("/repo");
    if let Some(git_dir) = &command.git_dir {
        bwrap.arg("--bind").arg(git_dir).arg("/repo/.git");
    }
    for (outside, inside) in &command.read_only {
        bwrap.arg("--ro-bind").arg(outside).arg(inside);
    }
    if let Some(cache) = &command.cache {
        bwrap.arg("--bind").arg(cache).arg("/cache");
    }
    if let Some(session) = &command.session {
        bwrap.arg("--bind").arg(&session.dir).arg(session::INSIDE);
    }
}

fn set_environment(bwrap: &mut Command, command: &SandboxCommand, toolchains: &Toolchains) {
    let cargo_home = format!("{HOME}/.cargo");
    let mut set = |name: &str, value: &str| {
        bwrap.args(["--setenv", name, value]);
    };
    set("HOME", HOME);
    set("PATH", &toolchains.path);
    set("TMPDIR", "/tmp");
    set("LANG", "C.UTF-8");
    set("CI", "1");
    set("CARGO_HOME", &cargo_home);
    set("CARGO_NET_OFFLINE", "true");
    if let Some(home) = toolchains.rustup_home.as_ref().and_then(|home| home.to_str()) {
        set("RUSTUP_HOME", home);
    }
    for (name, value) in &command.env {
        set(name, value);
    }
}

/// Where bubblewrap is.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("bwrap")).find(|program| program.is_file())
}
