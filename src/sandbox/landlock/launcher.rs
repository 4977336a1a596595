//! The launcher: a process between the worker and a command, because landlock has no namespace that
//! dies with its first process. It takes over every orphan, and kills all that is left when the
//! command ends or when the worker is gone. It tells the worker of its child as bubblewrap would.
//!
//! It starts itself once more, and that second one becomes the command: see `inner`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Uid, fchown};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, WaitOptions, WaitStatus, getpid, getppid, pidfd_open,
    set_child_subreaper, set_dumpable_behavior, test_kill_process, wait,
};

use super::spec::Spec;
use super::{inner, ownership, rules};
use crate::sandbox::inherited::close_on_exec;

/// The code of a launcher that started nothing.
const NOTHING_BEGAN: u8 = 125;
/// How often orphans that ended are taken away while the command runs.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// How long killed processes may take to die.
const DEATH: Duration = Duration::from_secs(25);

/// Runs the launcher, or, told so by `inner`, becomes the command. `report` is the descriptor that
/// the one above reads: what happens to the child, or why the command never began.
pub fn launch(report: i32, is_inner: bool) -> ExitCode {
    let opened = OpenOptions::new().write(true).open(format!("/proc/self/fd/{report}"));
    let ran = match opened.and_then(|report| close_on_exec().map(|()| report)) {
        Ok(report) if is_inner => inner::become_the_command(report),
        Ok(report) => run(report),
        Err(error) => Err(format!("no one to report to: {error}")),
    };
    ran.unwrap_or_else(|why| {
        eprintln!("{why}");
        ExitCode::from(NOTHING_BEGAN)
    })
}

/// Starts the command, sees it and all that it started to the end, and ends with its code.
fn run(mut status: File) -> Result<ExitCode, String> {
    let told = |error: &dyn std::fmt::Display| format!("the launcher: {error}");
    let mut lifeline = BufReader::new(io::stdin());
    let mut line = String::new();
    lifeline.read_line(&mut line).map_err(|error| told(&error))?;
    let spec: Spec = serde_json::from_str(&line).map_err(|error| told(&error))?;

    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| told(&error))?;
    set_child_subreaper(Some(getpid())).map_err(|error| told(&error))?;
    if let Some(user) = spec.user {
        hand_over(&spec, user)?;
    }
    rules::keep_signals_in()?;
    prove_that_signals_are_kept_in()?;

    let (mut child, complaints) = start_inner().map_err(|error| told(&error))?;
    // The child waits for its orders, so nothing of the command runs before it is known above.
    let named = writeln!(status, "{{\"child-pid\": {}}}", child.id());
    let ordered = child.stdin.take().map_or(Ok(()), |mut orders| orders.write_all(line.as_bytes()));
    let code = named.and(ordered).and_then(|()| see_to_the_end(&child, lifeline.get_ref()));
    kill_all().map_err(|error| told(&error))?;
    let complaints = read_all(complaints);
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let code = code.map_err(|error| told(&error))?;
    writeln!(status, "{{\"exit-code\": {code}}}").map_err(|error| told(&error))?;
    Ok(ExitCode::from(code))
}

/// Gives the command's user what is the command's, and the pipes that it prints to: who opens
/// `/dev/stdout` has to be allowed to.
fn hand_over(spec: &Spec, user: u32) -> Result<(), String> {
    for place in spec.writable.iter().chain(&spec.writable_files) {
        let told = |error| format!("{} cannot be handed over: {error}", place.display());
        ownership::hand_over(place, user).map_err(told)?;
    }
    let (uid, gid) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
    let both = fchown(io::stdout(), uid, gid).and_then(|()| fchown(io::stderr(), uid, gid));
    both.map_err(|error| format!("the output cannot be handed over: {error}"))
}

/// The signal that later goes to "everybody" must reach nobody but the command's processes.
fn prove_that_signals_are_kept_in() -> Result<(), String> {
    let parent = getppid().unwrap_or(Pid::INIT);
    for outside in [parent, Pid::INIT] {
        match test_kill_process(outside) {
            Err(Errno::PERM) => {}
            _ => return Err("landlock does not keep signals in here".to_owned()),
        }
    }
    Ok(())
}

/// Starts this program again. Returns it, and the pipe in which it says why it cannot go on.
fn start_inner() -> io::Result<(Child, PipeReader)> {
    let (complaints, writer) = io::pipe()?;
    fcntl_setfd(&writer, FdFlags::empty())?;
    let child = Command::new("/proc/self/exe")
        .args(["sandbox-launch", "--inner", "--report", &writer.as_raw_fd().to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .spawn()?;
    Ok((child, complaints))
}

/// Waits until the command ends, or until nobody wants it any more; its code, as shells count.
fn see_to_the_end(child: &Child, lifeline: &io::Stdin) -> io::Result<u8> {
    let child = Pid::from_child(child);
    let child_fd = pidfd_open(child, PidfdFlags::empty())?;
    loop {
        let mut fds = [
            PollFd::new(&child_fd, PollFlags::IN),
            PollFd::from_borrowed_fd(lifeline.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, Some(&TICK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        while let Some((pid, status)) = reap()? {
            if pid == child {
                return Ok(code_of(status));
            }
        }
        if !fds[1].revents().is_empty() {
            return Err(io::Error::other("the worker is gone"));
        }
    }
}

/// A child, own or taken over, that has ended.
fn reap() -> io::Result<Option<(Pid, WaitStatus)>> {
    match wait(WaitOptions::NOHANG) {
        Ok(ended) => Ok(ended),
        Err(Errno::CHILD) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn code_of(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    let code = signal.or(status.exit_status()).unwrap_or(255);
    u8::try_from(code).unwrap_or(255)
}

/// Kills everything that the command started, and waits until it is dead. All at once, so that
/// nothing can be born in between: landlock keeps the signal from everybody else.
fn kill_all() -> io::Result<()> {
    let since = Instant::now();
    loop {
        #[expect(unsafe_code, reason = "no crate has a name for the signal to everybody")]
        // SAFETY: no memory is touched. Whom it reaches was proved when the launcher started.
        let _ = unsafe { libc::kill(-1, libc::SIGKILL) };
        // Who is left without a parent becomes ours, so without children there is nobody.
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        if since.elapsed() > DEATH {
            return Err(io::Error::other("killed processes do not die"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read_all(mut pipe: PipeReader) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.by_ref().take(4096).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
