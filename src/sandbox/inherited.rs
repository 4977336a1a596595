//! Which of our open files a sandboxed command inherits: none but those meant for it.
//!
//! Rust closes what it opens on `exec`; what this process itself inherited (a pipe of whoever
//! started it) or what a C library opened may stay open, and a command could read it.

use std::fs::File;
use std::io::{self, PipeReader, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

/// One sandbox starts at a time in this process, so that none inherits another's arguments.
static STARTING: Mutex<()> = Mutex::new(());

/// Starts `command`. `prepare` gets it and the number of the descriptor on which it reports, adds
/// the arguments that say so, and returns what else it is to inherit. What is returned beside the
/// process is what it reports; nothing inside a sandbox can write there.
pub(super) fn spawn(
    command: &mut Command,
    prepare: impl FnOnce(&mut Command, RawFd) -> io::Result<Vec<OwnedFd>>,
) -> io::Result<(Child, PipeReader)> {
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    close_on_exec()?;
    let (status, writer) = io::pipe()?;
    fcntl_setfd(&writer, FdFlags::empty())?;
    let _inherited = prepare(command, writer.as_raw_fd())?;
    Ok((command.spawn()?, status))
}

/// A file in memory with `bytes`, that the next process inherits: what stands in argv can be read
/// by everything inside.
pub(super) fn file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("cody", MemfdFlags::empty())?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Marks every file that this process has open, but the three standard ones, to be closed by `exec`.
pub(super) fn close_on_exec() -> io::Result<()> {
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
