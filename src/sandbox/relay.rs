//! The relay: runs one command in a sandbox that has a network of its own, and passes what is sent to
//! a port of that network on to a socket. It runs inside, beside what it serves, so nothing rests on
//! it: who listens on that socket decides what can be reached.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

/// The code of a relay whose command was never started.
const NOTHING_BEGAN: u8 = 125;

/// Runs `command` while `port` of loopback leads to `socket`, and ends with its code.
pub fn relay(socket: &Path, port: u16, command: &[OsString]) -> ExitCode {
    match run(socket, port, command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("the way to the proxy: {error}");
            ExitCode::from(NOTHING_BEGAN)
        }
    }
}

fn run(socket: &Path, port: u16, command: &[OsString]) -> io::Result<u8> {
    let [program, arguments @ ..] = command else {
        return Err(io::Error::other("there is no command"));
    };
    // Before the command starts, so that its first connection finds somebody.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let socket = socket.to_owned();
    thread::spawn(move || serve(&listener, &socket));
    let status = Command::new(program).args(arguments).status()?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(255);
    Ok(u8::try_from(code).unwrap_or(255))
}

fn serve(listener: &TcpListener, socket: &Path) {
    for client in listener.incoming().flatten() {
        let socket: PathBuf = socket.to_owned();
        // Whoever gets no thread, or nobody at the other end, sees its connection closed.
        let _ = thread::Builder::new().spawn(move || connect(&client, &socket));
    }
}

fn connect(client: &TcpStream, socket: &Path) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    let proxy = UnixStream::connect(socket)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &proxy);
            let _ = proxy.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &proxy, &mut &*client);
        let _ = client.shutdown(Shutdown::Write);
    });
    Ok(())
}
