//! `serve`: a server that stays, and goes on with what is unfinished.

use std::net::SocketAddr;

use clap::Args;
use cody_projections::jobs;

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
    tokio::signal::ctrl_c().await?;
    Ok(Exit::OK)
}
