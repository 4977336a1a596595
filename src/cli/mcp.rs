//! `mcp`: the Model Context Protocol over standard input and output, for assistants that start their
//! servers themselves. Every message is passed on to a server's door: the one that was named, the one that
//! runs on the data directory, or one inside this process.

use std::sync::Arc;

use clap::Args;

use super::desk::Neighbour;
use super::mcp_bridge::Bridge;
use super::{Context, Exit};
use crate::api::mcp::{READONLY, ROUTE};
use crate::serve::Server;

/// What `mcp` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claude mcp add cody-batch -- cody-batch mcp
      Have an assistant start it. Without a server on the data directory it is one itself, and jobs rest \
when it ends: `cody-batch serve` or `resume` goes on with them.
  CODY_TOKEN=cody_… cody-batch --server https://cody.example.org mcp --read-only
      The jobs of a team's server, to be looked at.

Messages are lines of JSON on standard input and output; everything else is said on standard error.")]
pub struct McpArgs {
    /// Offer nothing that changes anything
    #[arg(long)]
    read_only: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: McpArgs) -> Result<Exit, anyhow::Error> {
    let route = if args.read_only { READONLY } else { ROUTE };
    if let Some(client) = &context.far {
        eprintln!("Passing messages on to {}", client.url());
        Bridge::new(Arc::clone(client), route).carry().await?;
        return Ok(Exit::OK);
    }
    let dir = &context.config.data_dir;
    let (server, neighbour) = match Neighbour::find(dir).await {
        Some(neighbour) => (None, neighbour),
        None => {
            crate::serve::keep_scratch_in(dir);
            let server = Server::start(&context.config, None).await?;
            let neighbour = Neighbour::find(dir).await;
            let neighbour = neighbour.ok_or_else(|| {
                anyhow::anyhow!("the server that was just started does not answer")
            })?;
            (Some(server), neighbour)
        }
    };
    eprintln!("Passing messages on to {}", neighbour.client.url());
    Bridge::new(Arc::new(neighbour.client), route).carry().await?;
    if let Some(server) = server {
        // Calls under way are paid for; what they say is recorded.
        server.close().await;
    }
    Ok(Exit::OK)
}
