//! The few lines of shell that stand before each command: its directory, and at the end the
//! report from which the next command's session is read. They run inside, so nothing they say is
//! believed; what must hold is held by the backend.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Where a call's own files are, by the name that all backends share.
pub(super) const RUN: &str = "/run/cody";
/// The script of the command, inside.
pub(super) const SCRIPT: &str = "/run/cody/command";
/// The report of the shell, inside.
pub(super) const REPORT: &str = "/run/cody/report";

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

/// Where things are for the shell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inside<'a> {
    /// Where it starts.
    pub(super) cwd: &'a str,
    /// What everybody calls `/repo`.
    pub(super) repo: &'a str,
    /// What everybody calls `/run/cody`.
    pub(super) run: &'a str,
}

/// Its arguments: the directory, the repository, and the place of the call's files.
const BEGIN: &str = r#"exec 2>&1 </dev/null
__cody_repo=$2 __cody_run=$3
command cd -- "$1" 2>/dev/null || { echo "[$1 is gone; the shell is back in /repo]"; command cd "$__cody_repo"; }
set --
"#;

/// Where the repository is somewhere else, `cd /repo` still finds it.
const FIND_REPO: &str = r#"cd() {
  case "${1-}" in
    /repo|/repo/*) __cody_to=$__cody_repo${1#/repo}; shift; command cd "$__cody_to" "$@" ;;
    *) command cd "$@" ;;
  esac
}
"#;

/// The report is written when the script ends by itself, and by a trap when it calls `exit`. A
/// script that replaces the shell with `exec` leaves none.
const KEEP: &str = r#"__cody_report() {
  __cody_status=$?
  set +x
  [ -n "${__cody_reported-}" ] && return $__cody_status
  __cody_reported=1
  { printf '%s\000' "$PWD"; /usr/bin/env -0; } >"$__cody_run/report"
  return $__cody_status
}
trap '{ __cody_report; } 2>/dev/null' EXIT
. "$__cody_run/command"
{ __cody_report; } 2>/dev/null
exit $__cody_status
"#;

const ONCE: &str = ". \"$__cody_run/command\"\n";

impl Shell {
    /// The shell that this machine, and so the sandbox, has.
    pub(super) fn find() -> Self {
        let places = ["/bin/bash", "/usr/bin/bash"];
        places.into_iter().find(|bash| Path::new(bash).exists()).map_or(Self::Sh, Self::Bash)
    }

    /// The program and arguments that run the script, with a report at the end if there is a
    /// session to keep.
    pub(super) fn argv(self, keeps_session: bool, at: &Inside<'_>) -> Vec<String> {
        let (program, options) = match self {
            Self::Bash(bash) => (bash, &["--norc", "--noprofile", "-c"][..]),
            Self::Sh => ("/bin/sh", &["-c"][..]),
        };
        let run = if keeps_session { KEEP } else { ONCE };
        let find_repo = if at.repo == super::REPO { "" } else { FIND_REPO };
        let words = [program].into_iter().chain(options.iter().copied());
        let mut argv: Vec<String> = words.map(str::to_owned).collect();
        argv.extend([format!("{BEGIN}{find_repo}{run}"), "shell".to_owned(), at.cwd.to_owned()]);
        argv.extend([at.repo.to_owned(), at.run.to_owned()]);
        argv
    }
}

/// What the shell reported: nothing where that cannot be read.
pub(super) fn read_report(path: &Path) -> Vec<u8> {
    let mut report = Vec::new();
    let read = File::open(path).and_then(|file| file.take(REPORT_BYTES).read_to_end(&mut report));
    read.map_or_else(|_| Vec::new(), |_| report)
}
