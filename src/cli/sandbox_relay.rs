//! `sandbox-relay`: what the worker starts in a sandbox to run a command that fetches dependencies.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// What `sandbox-relay` takes.
#[derive(Debug, Args)]
pub struct SandboxRelayArgs {
    /// The socket that connections are passed on to
    #[arg(long)]
    socket: PathBuf,
    /// The port of loopback that leads there
    #[arg(long)]
    port: u16,
    /// The command that runs meanwhile
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the verb. It needs neither runtime nor settings.
pub fn run(args: &SandboxRelayArgs) -> ExitCode {
    crate::sandbox::relay(&args.socket, args.port, &args.command)
}
