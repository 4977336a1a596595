//! `serve`: a server that stays, and goes on with what is unfinished.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use cody_projections::jobs;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Context, Exit, text};
use crate::serve::{Server, is_beyond};

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Speak TLS with this certificate: a PEM file, with those that lead to it [env: CODY_TLS_CERT=]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file [env: CODY_TLS_KEY=]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Runs the verb.
pub async fn run(mut context: Context, args: ServeArgs) -> Result<Exit, anyhow::Error> {
    if args.tls_cert.is_some() {
        let access = &mut context.config.access;
        (access.tls_cert, access.tls_key) = (args.tls_cert, args.tls_key);
    }
    crate::serve::keep_scratch_in(&context.config.data_dir);
    let server = Server::start(&context.config, Some(args.listen)).await?;
    eprintln!("Serving on {} with {}", server.url, context.config.data_dir.display());
    if is_beyond(&server.address) && !server.url.starts_with("https://") {
        eprintln!(
            "WARNING: others reach this server without TLS. Whoever can listen in on the way reads \
             tokens, prompts and code. Give it --tls-cert and --tls-key, or put a proxy that speaks \
             TLS before it."
        );
    }
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
    let patience = context.config.stop.timeout;
    let ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    tokio::select! {
        () = server.close() => {}
        () = told.next() => tracing::warn!("told again to stop: what is under way is cut off"),
        () = tokio::time::sleep(patience) => {
            tracing::warn!(ms, "calls did not end in time: what is under way is cut off");
        }
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
