//! `run`: create a job, watch it to its end, leave the patches.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::client::Client;
use super::desk::{self, Desk, Neighbour};
use super::following::follow;
use super::job_args::{JobArgs, warn_of_uncommitted};
use super::planning::planned;
use super::{Context, Exit, text};
use crate::plan::{JobRequest, Recipe};

/// What `run` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// Where to leave a patch for each repository
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Return at once and leave the work to the server: the one that was named, or that runs on the data
    /// directory
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    job: JobArgs,
}

const EXAMPLES: &str = "\
Examples:
  cody-batch run --prompt \"Fix the failing test\" --repo . --out patches
  cody-batch run --prompt-file migrate.md --repo acme/api --repo acme/web --check \"npm test\" --budget-usd 2
  cody-batch run --recipe upgrade-dependency --var dependency=serde_json --var version=2.1.0 --repo .
  cody-batch run --recipe ./ours.toml --repo acme/api --repo acme/web --note \"acme/web=Mind the old browsers\" --pilot
  cody-batch run --file job.toml --json";

/// Runs the verb.
pub async fn run(context: Context, args: RunArgs) -> Result<Exit, anyhow::Error> {
    let request = args.job.request(&context)?;
    if args.detach {
        return detach(&context, request, args.json).await;
    }
    run_request(&context, &request, args.out.as_deref(), args.json).await
}

/// Hands the job to the server that runs, and says which it is.
async fn detach(
    context: &Context,
    request: JobRequest,
    as_json: bool,
) -> Result<Exit, anyhow::Error> {
    let neighbour;
    let client: &Client = match &context.far {
        Some(client) => client,
        None => {
            let found = Neighbour::find(&context.config.data_dir).await.filter(Neighbour::stays);
            let missing = || NoServer(context.config.data_dir.clone(), context.program.clone());
            neighbour = found.ok_or_else(missing)?;
            &neighbour.client
        }
    };
    warn_of_uncommitted(&context.config, &request);
    let job = client.ask(desk::create(request)).await?.job;
    if as_json {
        text::put(format_args!("{}\n", serde_json::json!({ "job_id": job.to_string() })))?;
    } else {
        eprintln!("The server at {} works on it.", client.url());
        text::put(format_args!("{job}\n"))?;
    }
    Ok(Exit::OK)
}

/// A job can be left to a server only where one runs.
#[derive(Debug, thiserror::Error)]
#[error("no server runs on {0}; start one with `{1} serve`, or leave out --detach")]
pub struct NoServer(PathBuf, String);

/// Plans, creates and watches the job of `request`: with the server that was named or that runs on the
/// data directory, else with one inside this process.
pub async fn run_request(
    context: &Context,
    request: &JobRequest,
    out: Option<&Path>,
    as_json: bool,
) -> Result<Exit, anyhow::Error> {
    let request = request.clone();
    // What is wrong with a request is told before anything is started.
    if let (_, Some(recipe)) = planned(context, &request).await? {
        let Recipe { name, title, source, .. } = recipe;
        eprintln!("{}", text::printable(&format!("Recipe {name}: {title} ({source})")));
    }
    warn_of_uncommitted(&context.config, &request);
    if let Some(dir) = out {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("{} cannot be made", dir.display()))?;
    }
    let mut desk = Desk::open(context).await?;
    let wish = desk::create(request);
    let job = match desk.ask(wish.clone()).await {
        Ok(done) => done.job,
        // Whether a server that died took the job stands in the log: the same is asked of the next.
        Err(_) if !desk.is_alive() => {
            let (next, done) = desk.succeed(context, wish).await?;
            desk = next;
            done.job
        }
        Err(error) => return Err(error),
    };
    let place = match &context.far {
        Some(client) => client.url().to_owned(),
        None => context.config.data_dir.display().to_string(),
    };
    eprintln!("Job {} ({place})", text::short(&job));
    follow(context, desk, job, out, as_json).await
}
