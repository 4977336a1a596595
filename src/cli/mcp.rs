//! `mcp`: MCP over standard input and output, for an assistant that starts this program. It speaks for
//! the server of the data directory, or starts one inside; what an assistant may do is decided there.

mod bridge;
mod message;

use std::sync::Arc;

use clap::Args;

use super::desk::Desk;
use super::{Context, Exit};

/// What `mcp` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claude mcp add cody-batch -- cody-batch mcp
      Have Claude Code start it.
  cody-batch mcp --read-only
      The same for an assistant that may look at jobs and change nothing.")]
pub struct McpArgs {
    /// Let the assistant read, and nothing else
    #[arg(long)]
    read_only: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: McpArgs) -> Result<Exit, anyhow::Error> {
    let desk = Desk::open(&context).await?;
    let route = if args.read_only { crate::api::mcp::READONLY } else { crate::api::mcp::ROUTE };
    let client = desk.client(&context).await?;
    if let Desk::Own(_) = &desk {
        eprintln!(
            "No server runs, so this process is one as long as the assistant stays. Jobs that are not \
             finished by then go on with `{} serve` or `resume`.",
            context.program
        );
    }
    bridge::serve(Arc::new(client), route).await?;
    if let Desk::Own(server) = &desk {
        server.close().await;
    }
    Ok(Exit::OK)
}
