//! `serve`: a server that stays, and goes on with what is unfinished.

use std::net::SocketAddr;

use clap::Args;
use cody_projections::jobs;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Context, Exit, text};
use crate::serve::Server;

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// Runs the verb.
pub async fn run(context: Context, args: ServeArgs) -> Result<Exit, anyhow::Error> {
    crate::serve::keep_scratch_in(&context.config.data_dir);
    let server = Server::start(&context.config, Some(args.listen)).await?;
    eprintln!("Serving on http://{} with {}", server.address, context.config.data_dir.display());
    for id in server.views.read(jobs::unfinished).await? {
        eprintln!("Going on with job {}", text::short(&id));
        server.dispatcher.take(id);
    }
    let mut told = Signals::new()?;
    told.next().await;
    if server.open_calls() > 0 {
        eprintln!(
            "Stopping when {} to Claude ended, because what is cut off is paid for and asked again. \
             Once more, and it stops at once.",
            text::counted(server.open_calls() as u64, "call")
        );
    }
    tokio::select! {
        () = server.close() => {}
        () = told.next() => {}
    }
    Ok(Exit::OK)
}

/// What asks a process to stop: Ctrl-C, or whoever runs it as a service.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
