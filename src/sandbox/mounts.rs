//! The arguments that make the small world of one command: an allow-list of mounts in namespaces of
//! its own. What is not named here does not exist inside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::toolchains::Toolchains;
use super::{CACHE, HOME, REPO, SandboxCommand, prologue, system};

/// Bytes of each directory in memory: `/tmp`, the home, `/dev/shm`.
const TMPFS_BYTES: u64 = 1 << 30;
/// The kernel's own books, which root alone may read; for a command that root started, that is itself.
const BOOKS: [&str; 13] = [
    "/proc/allocinfo",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/pagetypeinfo",
    "/proc/sched_debug",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/vmallocinfo",
];

/// Files on the machine that belong to one call or to all.
#[derive(Debug)]
pub(super) struct Files<'a> {
    /// Our own `passwd`, `group`, `hosts` and `nsswitch.conf`.
    pub(super) etc: &'a Path,
    pub(super) script: &'a Path,
    /// What the shell reports at its end; the only one that it may write.
    pub(super) report: &'a Path,
}

/// Arguments as bubblewrap reads them from a file: each ends with a NUL byte.
#[derive(Debug, Default)]
pub(super) struct Arguments(Vec<u8>);

impl Arguments {
    pub(super) fn add(&mut self, words: &[&dyn AsRef<OsStr>]) {
        for word in words {
            self.0.extend_from_slice(word.as_ref().as_bytes());
            self.0.push(0);
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Namespaces, identity and what happens at the end.
    pub(super) fn isolate(&mut self, can_disable_userns: bool) {
        self.add(&[&"--unshare-all", &"--unshare-user", &"--uid", &"1000", &"--gid", &"1000"]);
        self.add(&[&"--die-with-parent", &"--new-session", &"--clearenv", &"--cap-drop", &"ALL"]);
        self.add(&[&"--hostname", &"sandbox"]);
        if can_disable_userns {
            self.add(&[&"--disable-userns"]);
        }
    }

    /// The system's programs and the few settings they need.
    pub(super) fn mount_system(&mut self, etc: &Path) {
        self.add(&[&"--ro-bind", &"/usr", &"/usr"]);
        for dir in system::DIRS {
            match std::fs::read_link(dir) {
                Ok(target) => self.add(&[&"--symlink", &target, &dir]),
                Err(_) => self.add(&[&"--ro-bind-try", &dir, &dir]),
            }
        }
        self.add(&[&"--perms", &"0755", &"--dir", &"/etc"]);
        for path in system::ETC {
            self.add(&[&"--ro-bind-try", &path, &path]);
        }
        for java in system::java_settings() {
            self.add(&[&"--ro-bind", &java, &java]);
        }
        for name in ["passwd", "group", "hosts", "nsswitch.conf"] {
            self.add(&[&"--ro-bind", &etc.join(name), &Path::new("/etc").join(name)]);
        }
        self.add(&[&"--proc", &"/proc", &"--dev", &"/dev"]);
        if geteuid().is_root() {
            for book in BOOKS.into_iter().filter(|book| Path::new(book).exists()) {
                self.add(&[&"--ro-bind", &"/dev/null", &book]);
            }
        }
        let size = TMPFS_BYTES.to_string();
        for (dir, mode) in [("/dev/shm", "1777"), ("/tmp", "1777"), (HOME, "0755")] {
            self.add(&[&"--size", &size, &"--perms", &mode, &"--tmpfs", &dir]);
        }
    }

    /// Toolchains, and directories that configuration names.
    pub(super) fn mount_toolchains(&mut self, toolchains: &Toolchains, extra: &[PathBuf]) {
        for (host, inside) in &toolchains.mounts {
            self.add(&[&"--ro-bind-try", host, inside]);
        }
        for dir in extra {
            self.add(&[&"--ro-bind-try", dir, dir]);
        }
    }

    /// What the command works on, and the files that belong to this call.
    pub(super) fn mount_work(&mut self, command: &SandboxCommand, files: &Files<'_>) {
        for (host, inside) in &command.read_only {
            self.add(&[&"--ro-bind", host, inside]);
        }
        self.add(&[&"--bind", &command.repo, &REPO]);
        if let Some(git_dir) = &command.git_dir {
            self.add(&[&"--bind", git_dir, &"/repo/.git"]);
        }
        if let Some(cache) = &command.cache {
            self.add(&[&"--bind", cache, &CACHE]);
        }
        self.add(&[&"--ro-bind", &files.script, &prologue::SCRIPT]);
        self.add(&[&"--bind", &files.report, &prologue::REPORT]);
    }

    /// Last of all mounts. Bubblewrap's own roots are writable memory. `/proc` must be read-only as a
    /// whole: for a worker that runs as root, `/proc/sys` would be the machine's, and writable.
    pub(super) fn seal(&mut self) {
        self.add(&[&"--remount-ro", &"/proc", &"--remount-ro", &"/dev", &"--remount-ro", &"/"]);
        self.add(&[&"--chdir", &REPO]);
    }

    pub(super) fn set_environment<'a>(
        &mut self,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        for (name, value) in variables {
            if !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0') {
                self.add(&[&"--setenv", &name, &value]);
            }
        }
    }
}
