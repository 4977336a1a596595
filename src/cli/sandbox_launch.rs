//! `sandbox-launch`: what the worker starts for a command where landlock is the sandbox. It reads its
//! orders from the standard input; nothing of them stands in argv.

use std::process::ExitCode;

use clap::Args;

/// What `sandbox-launch` takes.
#[derive(Debug, Args)]
pub struct SandboxLaunchArgs {
    /// The descriptor on which it reports
    #[arg(long)]
    report: i32,
    /// Becomes the command
    #[arg(long)]
    inner: bool,
}

/// Runs the verb. It needs one thread and no runtime: what it gives up, it gives up for a thread.
pub fn run(args: &SandboxLaunchArgs) -> ExitCode {
    crate::sandbox::launch(args.report, args.inner)
}
