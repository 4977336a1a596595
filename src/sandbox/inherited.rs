//! Which of our open files a sandboxed command inherits: none but those meant for it.
//!
//! Rust closes what it opens on `exec`; what this process itself inherited (a pipe of whoever
//! started it) or what a C library opened may stay open, and a command could read it.

use std::fs::File;
use std::io::{self, PipeReader, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

/// One sandbox starts at a time in this process, so that none inherits another's arguments.
static STARTING: Mutex<()> = Mutex::new(());

/// Starts `command` with `arguments` in a file that it is told of by `--args`, and then `program`.
/// Arguments in its argv could be read by everything inside, with the paths of the machine in them.
/// What is returned beside it tells bubblewrap's status; nothing inside can write there.
pub(super) fn spawn(
    command: &mut Command,
    arguments: &[u8],
    program: &[String],
) -> io::Result<(Child, PipeReader)> {
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    close_on_exec()?;
    let mut file = File::from(memfd_create("arguments", MemfdFlags::empty())?);
    file.write_all(arguments)?;
    file.rewind()?;
    let (status, writer) = io::pipe()?;
    fcntl_setfd(&writer, FdFlags::empty())?;
    command.arg("--json-status-fd").arg(writer.as_raw_fd().to_string());
    command.arg("--args").arg(file.as_raw_fd().to_string()).arg("--").args(program);
    Ok((command.spawn()?, status))
}

/// Marks every file that this process has open, but the three standard ones, to be closed by `exec`.
fn close_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if fd > 2 {
            #[expect(
                unsafe_code,
                reason = "descriptors known by number alone: they were inherited, nobody owns them"
            )]
            // SAFETY: the number is used for one call that sets a flag. If its owner closed it in
            // between the call fails, or marks a newer file that is marked already.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}
