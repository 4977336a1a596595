//! The few lines of shell that stand before each command: limits, directory, and at the end the
//! report from which the next command's session is read. They run inside, so nothing they say is
//! believed; what must hold is held by the backend.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::session::Memory;

/// The script of the command, inside.
pub(super) const SCRIPT: &str = "/run/cody/command";
/// The report of the shell, inside.
pub(super) const REPORT: &str = "/run/cody/report";

/// Processes and threads at once. The kernel does not count root's: against a fork bomb of a worker
/// that runs as root there are only the time limit and the machine's own.
const PROCESSES: u64 = 4096;
/// KiB of private writable memory a process (`RLIMIT_DATA`; a limit of the address space would break
/// node and the JVM, which reserve much more than they use).
const MEMORY_KIB: u64 = 8 << 20;
/// KiB of one file.
const FILE_KIB: u64 = 8 << 20;
/// Bytes of a report that are read at all.
const REPORT_BYTES: u64 = 1 << 20;

/// The shell inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shell {
    /// Where it is; `PATH` may be whatever a session made of it.
    Bash(&'static str),
    /// Any POSIX shell at `/bin/sh`: dash, busybox.
    Sh,
}

/// Its arguments: the directory, then the limits as `ulimit` takes them, with a colon between.
const BEGIN: &str = r#"exec 2>&1 </dev/null
ulimit -c 0
for __cody in "$2" "$3" "$4"; do ulimit "${__cody%:*}" "${__cody#*:}" 2>/dev/null; done
cd -- "$1" 2>/dev/null || { echo "[$1 is gone; the shell is back in /repo]"; cd /repo; }
set --
unset __cody
"#;

/// The report is written when the script ends by itself, and by a trap when it calls `exit`. A
/// script that replaces the shell with `exec` leaves none.
const KEEP: &str = r#"__cody_report() {
  __cody_status=$?
  set +x
  [ -n "${__cody_reported-}" ] && return $__cody_status
  __cody_reported=1
  { printf '%s\000' "$PWD"; /usr/bin/env -0; } >/run/cody/report
  return $__cody_status
}
trap '{ __cody_report; } 2>/dev/null' EXIT
. /run/cody/command
{ __cody_report; } 2>/dev/null
exit $__cody_status
"#;

const RUN: &str = ". /run/cody/command\n";

impl Shell {
    /// The shell that this machine, and so the sandbox, has.
    pub(super) fn find() -> Self {
        let places = ["/bin/bash", "/usr/bin/bash"];
        places.into_iter().find(|bash| Path::new(bash).exists()).map_or(Self::Sh, Self::Bash)
    }

    /// The program and arguments that run the script, with a report at the end if there is a
    /// session to keep.
    pub(super) fn argv(self, memory: Option<&Memory>) -> Vec<String> {
        let (program, options, processes_flag, file_blocks) = match self {
            Self::Bash(bash) => (bash, &["--norc", "--noprofile", "-c"][..], "-u", FILE_KIB),
            Self::Sh => ("/bin/sh", &["-c"][..], "-p", FILE_KIB * 2),
        };
        let run = if memory.is_some() { KEEP } else { RUN };
        let cwd = memory.map_or(super::REPO, |memory| memory.cwd.as_str());
        let words = [program].into_iter().chain(options.iter().copied());
        let mut argv: Vec<String> = words.map(str::to_owned).collect();
        argv.extend([format!("{BEGIN}{run}"), "shell".to_owned(), cwd.to_owned()]);
        argv.push(format!("{processes_flag}:{PROCESSES}"));
        argv.push(format!("-d:{MEMORY_KIB}"));
        argv.push(format!("-f:{file_blocks}"));
        argv
    }
}

/// What the shell reported: nothing where that cannot be read.
pub(super) fn read_report(path: &Path) -> Vec<u8> {
    let mut report = Vec::new();
    let read = File::open(path).and_then(|file| file.take(REPORT_BYTES).read_to_end(&mut report));
    read.map_or_else(|_| Vec::new(), |_| report)
}
