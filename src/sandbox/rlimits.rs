//! What the kernel limits for each process of a command. Set before anything of the command runs:
//! its shell may be the command's own from the first line (`BASH_ENV`, `LD_PRELOAD` of a session).

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Bytes of private writable memory a process (`RLIMIT_DATA`; a limit of the address space would break
/// node and the JVM, which reserve much more than they use).
const MEMORY_BYTES: u64 = 8 << 30;
/// Bytes of one file.
const FILE_BYTES: u64 = 8 << 30;
/// When memory runs out the machine is to take it from commands first.
const TAKE_FIRST: &str = "800";
const PLACE_IN_LINE: &str = "/proc/self/oom_score_adj";

/// Limits itself, then becomes the program. Shells differ in the letter for processes; all that are
/// called `sh` count files in half KiB. What is limited more already stays so.
const BEGIN: &str = r#"{
echo "$0" >/proc/self/oom_score_adj
ulimit -c 0
ulimit -p "$1" || ulimit -u "$1"
ulimit -d "$2"
ulimit -f "$3"
} 2>/dev/null
shift 3
exec "$@""#;

/// Makes `command` one that starts `program` within the limits.
pub(super) fn start_within(mut command: Command, processes: u64, program: &Path) -> Command {
    let numbers = [processes, MEMORY_BYTES / 1024, FILE_BYTES / 512].map(|n| n.to_string());
    command.args([OsStr::new("-c"), OsStr::new(BEGIN), OsStr::new(TAKE_FIRST)]);
    command.args(numbers).arg(program);
    command
}

/// Limits this process and what it will start.
pub(super) fn limit_this_process(processes: u64) -> io::Result<()> {
    std::fs::write(PLACE_IN_LINE, TAKE_FIRST)?;
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Nproc, processes),
        (Resource::Data, MEMORY_BYTES),
        (Resource::Fsize, FILE_BYTES),
    ] {
        let most = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}
