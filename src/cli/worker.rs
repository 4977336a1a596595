//! `worker`: what the server starts for each target.

use clap::Args;
use cody_events::ids::{JobId, RequestId, TargetNumber};

use super::Exit;
use crate::wire::WorkerSecret;
use crate::worker;

/// What `worker` takes; its secret comes over standard input.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The server's address
    #[arg(long, value_name = "URL")]
    server: String,
    /// The job
    #[arg(long)]
    job: JobId,
    /// The number of the target
    #[arg(long)]
    target: u32,
    /// The request to claim
    #[arg(long)]
    request: RequestId,
}

/// Runs the verb.
pub async fn run(args: WorkerArgs) -> Result<Exit, anyhow::Error> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let secret: WorkerSecret = serde_json::from_str(&line)?;
    let args = worker::WorkerArgs {
        server: args.server,
        job: args.job,
        target: TargetNumber(args.target),
        request: args.request,
    };
    let ended = worker::run(args, secret).await?;
    tracing::info!(?ended, "the worker leaves");
    Ok(Exit::OK)
}
