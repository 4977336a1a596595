//! The command line: one verb, one file. Results go to stdout, chatter and progress to stderr.

mod approve;
mod archive;
mod cancel;
mod client;
mod config;
mod demo;
mod desk;
mod diff;
mod events;
mod far_log;
mod following;
mod inbox;
mod job_args;
mod jobs;
mod limits;
mod logs;
mod mcp;
mod outcome_table;
mod pause;
mod plan;
mod planning;
mod progress;
mod reading;
mod recipe_args;
mod recipes;
mod redact;
mod reject;
mod report;
mod request_changes;
mod resume;
mod retry;
mod review_args;
mod run;
mod sandbox_launch;
mod sandbox_relay;
mod serve;
mod show;
mod text;
mod thread;
mod token;
mod traces;
mod usage;
mod usage_table;
mod worker;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use rustix::process::DumpableBehavior;

use crate::config::{Config, ConfigError, data_dir};
use crate::job::Rejection;
use crate::serve::ServeError;
use crate::store::sqlite::OpenError;
use crate::wire::Secret;
use client::{Client, ClientError};

/// Exit codes, as scripts rely on them.
const WRONG_USAGE: u8 = 2;
const FAILED: u8 = 1;
/// How long work on other threads may take to end when all else has.
const LAST_WORK: Duration = Duration::from_millis(500);

/// Changes code in several repositories from one prompt, with Claude, and proves what it did.
#[derive(Debug, Parser)]
#[command(name = "cody-batch", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    /// Where the log is kept [default: $XDG_DATA_HOME/cody-batch]
    #[arg(long, global = true, env = "CODY_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A server to do it with, such as https://cody.example.org, in the place of this machine's data
    /// directory; its token is read from CODY_TOKEN [env: CODY_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  cody-batch demo
      See a whole run on two small repositories, without a key.
  cody-batch run --prompt \"Replace print by logging\" --repo ~/src/app --repo acme/api --out patches
      Change two repositories and leave a patch for each in patches/.
  cody-batch show 0198c5a2
      See how a job went; the first digits of its id are enough.
  CODY_TOKEN=cody_… cody-batch --server https://cody.example.org inbox
      The same with a server on another machine: see what waits for a person there.

Environment: ANTHROPIC_API_KEY is needed to run jobs. `cody-batch config` shows every setting.
Exit codes: 0 all is well, 1 some repository failed, 2 wrong usage, 3 stopped by a budget, 130 cancelled.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show a whole run on two sample repositories, played from a script, without a key
    Demo(demo::DemoArgs),
    /// Change repositories: wait, show progress, leave patches
    Run(run::RunArgs),
    /// Show what a job would do and the most that it could cost, without starting it
    Plan(plan::PlanArgs),
    /// Go on with a job that was paused, stopped by a limit, or left by its server
    Resume(resume::ResumeArgs),
    /// Let a job rest: the turn in flight ends, no new one starts
    Pause(pause::PauseArgs),
    /// End a job; what was done stays in the log
    Cancel(cancel::CancelArgs),
    /// Start over with repositories that did not succeed
    Retry(retry::RetryArgs),
    /// Take a diff: it is delivered where that can be, and repositories that wait for it go on
    Approve(approve::ApproveArgs),
    /// Refuse a diff
    Reject(reject::RejectArgs),
    /// Send a diff back to Claude with a comment, and wait for another
    RequestChanges(request_changes::RequestChangesArgs),
    /// Leave a finished job out of lists
    Archive(archive::ArchiveArgs),
    /// List what waits for a person: diffs to look at, the longest wait first
    Inbox(inbox::InboxArgs),
    /// List jobs, newest first
    Jobs(jobs::JobsArgs),
    /// Show a job: every repository, its outcome and what bears it out
    Show(show::ShowArgs),
    /// Print a job's report in Markdown
    Report(report::ReportArgs),
    /// Print a job's events, as they were logged
    Events(events::EventsArgs),
    /// Read the conversation with Claude about one repository
    Thread(thread::ThreadArgs),
    /// Print a repository's diff; `git apply --index` takes it
    Diff(diff::DiffArgs),
    /// List recipes, or show one: prompts to be used again
    Recipes(recipes::RecipesArgs),
    /// Count what was spent and what came of it, by day, repository, model or recipe
    Usage(usage::UsageArgs),
    /// Show every setting and where it comes from, and which sandbox works here
    Config(config::ConfigArgs),
    /// Make, list and revoke the tokens by which programs and people use a server
    Token(token::TokenArgs),
    /// Speak MCP over standard input and output, for an AI assistant that starts this
    Mcp(mcp::McpArgs),
    /// Serve workers and go on with unfinished jobs
    Serve(serve::ServeArgs),
    /// Work on one target for a server (started by the server)
    #[command(hide = true)]
    Worker(worker::WorkerArgs),
    /// Start a command in a sandbox (started by the worker)
    #[command(hide = true)]
    SandboxLaunch(sandbox_launch::SandboxLaunchArgs),
    /// Run a command in a sandbox whose only way out is a socket (started by the worker)
    #[command(hide = true)]
    SandboxRelay(sandbox_relay::SandboxRelayArgs),
}

/// How a verb ended, if nothing went wrong with the verb itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exit(u8);

impl Exit {
    const OK: Self = Self(0);
}

/// What every verb gets.
struct Context {
    config: Config,
    /// The server that was named, if one was: then the data directory of this machine has no part in it.
    far: Option<Arc<Client>>,
    /// Whether a person watches on a terminal.
    is_terminal: bool,
    /// How to start this program again, as it was started: for hints that can be pasted.
    program: String,
}

/// Runs the verb that the arguments name.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    // A directory of the environment is there again next time, and less than a server of the environment.
    let is_dir_named = matches.value_source("data_dir") == Some(ValueSource::CommandLine);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match &cli.verb {
        Verb::SandboxLaunch(args) => return sandbox_launch::run(args),
        Verb::SandboxRelay(args) => return sandbox_relay::run(args),
        _ => {}
    }
    keep_memory_private();
    // The second to install a provider is told so; either serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let is_room = matches!(cli.verb, Verb::Worker(_) | Verb::Serve(_));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cody-batch: the runtime could not be started: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let traces = logs::start(is_room, runtime.handle());
    let outcome = runtime.block_on(run_verb(cli, is_dir_named));
    traces.send_last();
    // Blocking work that nobody waits for any more puts away its scratch if it can soon; it must not
    // hold the exit.
    runtime.shutdown_timeout(LAST_WORK);
    match outcome {
        Ok(Exit(code)) => ExitCode::from(code),
        // Whoever read our output has read enough.
        Err(error) if text::is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            let rejection = error.downcast_ref::<Rejection>();
            let code = rejection.map_or(String::new(), |no| format!(" ({})", no.code));
            // Some of it may be a host's or a repository's own words.
            let words = text::printable(&redact::redacted(text::chain(&*error)));
            eprintln!("cody-batch: {words}{code}");
            ExitCode::from(if is_usage(&error) { WRONG_USAGE } else { FAILED })
        }
    }
}

/// Whether other words on the command line, or in the environment, would have helped.
fn is_usage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Rejection>().is_some()
        || error.downcast_ref::<ConfigError>().is_some()
        || error.downcast_ref::<reading::NoJob>().is_some()
        || error.downcast_ref::<run::NoServer>().is_some()
        || error.downcast_ref().is_some_and(ClientError::is_usage)
        || matches!(error.downcast_ref::<OpenError>(), Some(OpenError::Missing(_)))
        || matches!(
            error.downcast_ref::<ServeError>(),
            Some(
                ServeError::NoKey
                    | ServeError::BaseUrl
                    | ServeError::NoTokens(_)
                    | ServeError::Certificate(_)
            )
        )
}

async fn run_verb(cli: Cli, is_dir_named: bool) -> Result<Exit, anyhow::Error> {
    let env = |name: &str| std::env::var(name).ok();
    let mut program = std::env::args().next().unwrap_or_else(|| "cody-batch".to_owned());
    let dir = match cli.data_dir {
        Some(dir) => {
            if is_dir_named {
                program.push_str(&format!(" --data-dir {}", text::quoted(&dir)));
            }
            dir
        }
        None => data_dir(&env)?,
    };
    if let Verb::Worker(args) = cli.verb {
        return worker::run(args).await;
    }
    let dir = std::path::absolute(dir)?;
    let config = Config::load(&dir, &env)?;
    // Flags win over the environment.
    let server = (cli.server, env("CODY_SERVER").filter(|_| !is_dir_named));
    let far = far(server, &cli.verb, env("CODY_TOKEN"), &mut program)?;
    let context = Context { config, far, is_terminal: std::io::stderr().is_terminal(), program };
    match cli.verb {
        Verb::Demo(args) => demo::run(context, args).await,
        Verb::Run(args) => run::run(context, args).await,
        Verb::Plan(args) => plan::run(context, args).await,
        Verb::Inbox(args) => inbox::run(context, args).await,
        Verb::Resume(args) => resume::run(context, args).await,
        Verb::Pause(args) => pause::run(context, args).await,
        Verb::Cancel(args) => cancel::run(context, args).await,
        Verb::Retry(args) => retry::run(context, args).await,
        Verb::Approve(args) => approve::run(context, args).await,
        Verb::Reject(args) => reject::run(context, args).await,
        Verb::RequestChanges(args) => request_changes::run(context, args).await,
        Verb::Archive(args) => archive::run(context, args).await,
        Verb::Jobs(args) => jobs::run(context, args).await,
        Verb::Show(args) => show::run(context, args).await,
        Verb::Report(args) => report::run(context, args).await,
        Verb::Events(args) => events::run(context, args).await,
        Verb::Thread(args) => thread::run(context, args).await,
        Verb::Diff(args) => diff::run(context, args).await,
        Verb::Recipes(args) => recipes::run(context, args).await,
        Verb::Usage(args) => usage::run(context, args).await,
        Verb::Config(args) => config::run(context, args).await,
        Verb::Token(args) => token::run(context, args).await,
        Verb::Mcp(args) => mcp::run(context, args).await,
        Verb::Serve(args) => serve::run(context, args).await,
        Verb::Worker(_) | Verb::SandboxLaunch(_) | Verb::SandboxRelay(_) => Ok(Exit::OK),
    }
}

/// The server that a flag or the environment names, if the verb can be had of one.
fn far(
    (flag, variable): (Option<String>, Option<String>),
    verb: &Verb,
    token: Option<String>,
    program: &mut String,
) -> Result<Option<Arc<Client>>, ClientError> {
    if verb.is_of_this_machine() {
        return if flag.is_some() { Err(ClientError::NotThere) } else { Ok(None) };
    }
    let is_flag = flag.is_some();
    // A flag that is empty is a mistake: nobody who names a server means this machine.
    let Some(url) = flag.or(variable.filter(|url| !url.is_empty())) else { return Ok(None) };
    if url.is_empty() {
        return Err(ClientError::BadUrl(url));
    }
    // What reads a token from a file may leave the end of its line.
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| ClientError::NoToken(url.clone()))?;
    let client = Client::new(&url, Secret::new(token))?;
    if is_flag {
        program.push_str(&format!(" --server {}", client.url()));
    }
    if client.is_overheard() {
        eprintln!(
            "Warning: {} is not encrypted. Whoever can listen in on the way reads the token, prompts \
             and code.",
            client.url()
        );
    }
    Ok(Some(Arc::new(client)))
}

impl Verb {
    /// Whether it is about this machine, and no server on another could do it.
    fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Demo(_)
            | Self::Config(_)
            | Self::Serve(_)
            | Self::Worker(_)
            | Self::SandboxLaunch(_)
            | Self::SandboxRelay(_) => true,
            Self::Run(_)
            | Self::Plan(_)
            | Self::Resume(_)
            | Self::Pause(_)
            | Self::Cancel(_)
            | Self::Retry(_)
            | Self::Approve(_)
            | Self::Reject(_)
            | Self::RequestChanges(_)
            | Self::Archive(_)
            | Self::Inbox(_)
            | Self::Jobs(_)
            | Self::Show(_)
            | Self::Report(_)
            | Self::Events(_)
            | Self::Thread(_)
            | Self::Diff(_)
            | Self::Recipes(_)
            | Self::Usage(_)
            | Self::Token(_)
            | Self::Mcp(_) => false,
        }
    }
}

/// Keeps other processes of the same user out of this one's memory, environment and open files, and
/// those out of core dumps: keys and tokens are in them. Programs that are started from here are
/// as they always are.
fn keep_memory_private() {
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("cody-batch: other processes may read this one's memory: {error}");
    }
}
