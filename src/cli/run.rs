//! `run`: create a job, watch it to its end, leave the patches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use cody_events::ids::{JobId, TargetNumber};
use cody_events::job::Effort;
use cody_events::outcome::Outcome;
use cody_events::policy::PathClass;

use super::desk::{self, Desk, Neighbour};
use super::limits::LimitArgs;
use super::outcome_table::{json, table};
use super::progress::Progress;
use super::reading::ReadJob;
use super::recipe_args::RecipeArgs;
use super::{Context, Exit, text};
use crate::api::control::Wish;
use crate::api::downloads::patch_names;
use crate::app::App;
use crate::clock::Clock as _;
use crate::config::Config;
use crate::job::state::Job;
use crate::plan::{JobRequest, LocalPaths, Recipe};

/// How often a watched job is looked at.
const LOOK: Duration = Duration::from_millis(150);
/// How long cancelled workers may take to be gone.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// What `run` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// What to change, in your words
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// A file that holds the prompt; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    /// A repository: owner/name, an https URL or a local path (repeat for more)
    #[arg(long = "repo", value_name = "REPO")]
    repos: Vec<String>,
    /// A command that must pass afterwards (repeat for more); without, the scan finds some
    #[arg(long = "check", value_name = "COMMAND")]
    checks: Vec<String>,
    /// Run no checks
    #[arg(long, conflicts_with = "checks")]
    no_checks: bool,
    /// The model [default: claude-opus-5-5, or `model` of config.toml]
    #[arg(long)]
    model: Option<String>,
    /// How hard Claude thinks
    #[arg(long, value_enum)]
    effort: Option<EffortArg>,
    /// Take the change without an independent review
    #[arg(long)]
    no_review: bool,
    /// Changes that a diff is not held for: workflows, lockfiles, binaries, large-changes,
    /// deleted-tests, outward-links
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    allow: Vec<PathClass>,
    /// Fetch what the repositories depend on before their commands run, from the hosts that
    /// `registries` of config.toml names
    #[arg(long)]
    fetch_dependencies: bool,
    /// Where to leave a patch for each repository
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// A job.toml with all this; flags win over it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Return at once and leave the work to the server that runs on the data directory
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

const EXAMPLES: &str = "\
Examples:
  cody-batch run --prompt \"Fix the failing test\" --repo . --out patches
  cody-batch run --prompt-file migrate.md --repo acme/api --repo acme/web --check \"npm test\" --budget-usd 2
  cody-batch run --recipe upgrade-dependency --var dependency=serde_json --var version=2.1.0 --repo .
  cody-batch run --recipe ./ours.toml --repo acme/api --repo acme/web --note \"acme/web=Mind the old browsers\" --pilot
  cody-batch run --file job.toml --json";

/// The levels of effort, as flags spell them.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum EffortArg {
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl From<EffortArg> for Effort {
    fn from(arg: EffortArg) -> Self {
        match arg {
            EffortArg::Low => Self::Low,
            EffortArg::Medium => Self::Medium,
            EffortArg::High => Self::High,
            EffortArg::Xhigh => Self::Xhigh,
            EffortArg::Max => Self::Max,
        }
    }
}

/// Runs the verb.
pub async fn run(context: Context, args: RunArgs) -> Result<Exit, anyhow::Error> {
    let request = request(&args)?;
    if args.detach {
        return detach(&context, request, args.json).await;
    }
    run_request(&context, &request, args.out.as_deref(), args.json).await
}

/// Hands the job to the server that runs, and says which it is.
async fn detach(
    context: &Context,
    mut request: JobRequest,
    as_json: bool,
) -> Result<Exit, anyhow::Error> {
    let server = Neighbour::find(&context.config.data_dir).await.filter(Neighbour::stays);
    let Some(server) = server else {
        return Err(NoServer(context.config.data_dir.clone(), context.program.clone()).into());
    };
    make_absolute(&context.config, &mut request);
    warn_of_uncommitted(&context.config, &request);
    let job = server.ask(desk::create(request)).await?.job;
    if as_json {
        text::put(format_args!("{}\n", serde_json::json!({ "job_id": job.to_string() })))?;
    } else {
        eprintln!("The server at {} works on it.", server.url());
        text::put(format_args!("{job}\n"))?;
    }
    Ok(Exit::OK)
}

/// A job can be left to a server only where one runs.
#[derive(Debug, thiserror::Error)]
#[error("no server runs on {0}; start one with `{1} serve`, or leave out --detach")]
pub struct NoServer(PathBuf, String);

/// The job that the flags and the file ask for.
fn request(args: &RunArgs) -> Result<JobRequest, anyhow::Error> {
    let mut request = match &args.file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            toml::from_str(&text)
                .with_context(|| format!("{} does not fit the form of a job", path.display()))?
        }
        None => JobRequest::default(),
    };
    if let Some(prompt) = &args.prompt {
        request.prompt = prompt.clone();
    }
    if let Some(path) = &args.prompt_file {
        request.prompt = if path == Path::new("-") {
            std::io::read_to_string(std::io::stdin()).context("standard input cannot be read")?
        } else {
            std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?
        };
    }
    if !args.repos.is_empty() {
        request.repositories = args.repos.clone();
    }
    if !args.checks.is_empty() {
        request.checks = args.checks.clone();
    }
    request.no_checks |= args.no_checks;
    request.model = args.model.clone().or(request.model);
    request.effort = args.effort.map(Effort::from).or(request.effort);
    request.no_review |= args.no_review;
    request.allow.extend(&args.allow);
    request.fetch_dependencies |= args.fetch_dependencies;
    request.limit(&args.limits.request());
    args.recipe.lay_over(&mut request)?;
    Ok(request)
}

/// Plans, creates and watches the job of `request`: with the server that runs on the data directory,
/// else with one inside this process.
pub async fn run_request(
    context: &Context,
    request: &JobRequest,
    out: Option<&Path>,
    as_json: bool,
) -> Result<Exit, anyhow::Error> {
    let mut request = request.clone();
    make_absolute(&context.config, &mut request);
    check(&context.config, &request)?;
    warn_of_uncommitted(&context.config, &request);
    if let Some(dir) = out {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("{} cannot be made", dir.display()))?;
    }
    let mut desk = Desk::open(&context.config).await?;
    let wish = desk::create(request);
    let job = match desk.ask(wish.clone()).await {
        Ok(done) => done.job,
        // Whether a server that died took the job stands in the log: the same is asked of the next.
        Err(_) if !desk.is_alive() => {
            let (next, done) = desk.succeed(&context.config, wish).await?;
            desk = next;
            done.job
        }
        Err(error) => return Err(error),
    };
    eprintln!("Job {} ({})", text::short(&job), context.config.data_dir.display());
    follow(context, desk, job, out, as_json).await
}

/// What is wrong with a request is told before anything is started.
fn check(config: &Config, request: &JobRequest) -> Result<(), anyhow::Error> {
    let models = std::sync::Arc::new(crate::serve::models(config)?);
    let planning = crate::serve::planning(config, models);
    let planner = planning.planner(crate::clock::SystemClock.now().date(), LocalPaths::Any);
    crate::job::check(&planner.plan(request)?)?;
    if let Some(recipe) = planner.recipe_of(request)? {
        let Recipe { name, title, source, .. } = &recipe;
        eprintln!("{}", text::printable(&format!("Recipe {name}: {title} ({source})")));
    }
    Ok(())
}

/// A server has a working directory of its own.
fn make_absolute(config: &Config, request: &mut JobRequest) {
    for repository in &mut request.repositories {
        let locator = crate::git::Locator::parse(repository, &config.git.allowed_hosts);
        if let Some(path) = locator.ok().as_ref().and_then(crate::git::Locator::local_path) {
            let absolute = path.display().to_string();
            if let Some(notes) = request.repository_notes.remove(repository.as_str()) {
                request.repository_notes.insert(absolute.clone(), notes);
            }
            *repository = absolute;
        }
    }
}

/// Watches `job` to its end and tells how it went.
pub async fn follow(
    context: &Context,
    mut desk: Desk,
    job: JobId,
    out: Option<&Path>,
    as_json: bool,
) -> Result<Exit, anyhow::Error> {
    if watch(context, &mut desk, job).await? == Watched::Left {
        eprintln!(
            "\nThe server goes on with it. Stop it with: {} cancel {}",
            context.program,
            text::short(&job)
        );
        return Ok(Exit::OK);
    }
    let (read, app) = desk.read(job).await?;
    let patches = match out {
        Some(dir) => write_patches(&app, &read, dir).await?,
        None => BTreeMap::new(),
    };
    if as_json {
        text::put(format_args!("{}\n", serde_json::to_string(&json(&read.overview, &patches))?))?;
    } else {
        text::put(format_args!("\n{}", table(&read.overview, &patches, &context.program)))?;
        text::put(format_args!(
            "\nRead more:\n  {0} thread {1} 1\n  {0} report {1}\n",
            context.program,
            text::short(&job)
        ))?;
    }
    wait_for_others(&desk, job).await;
    Ok(exit(&read.state))
}

/// Jobs of other terminals that this process's server works on are not left in the lurch.
async fn wait_for_others(desk: &Desk, job: JobId) {
    let count = desk.others_than(job);
    if count == 0 {
        return;
    }
    eprintln!(
        "\nWaiting for {} that other terminals left to this server; Ctrl-C leaves it to them.",
        text::counted(count as u64, "job")
    );
    let done = async {
        while desk.others_than(job) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = done => {}
        // Asked to go is asked to go; whoever watches them goes on with them.
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// How watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    ToTheEnd,
    /// The person has seen enough, and another process does the work.
    Left,
    /// The server that did the work is no more.
    Alone,
}

/// Shows progress until every target has an outcome. A job whose server goes away is gone on with
/// here.
async fn watch(context: &Context, desk: &mut Desk, job: JobId) -> Result<Watched, anyhow::Error> {
    let state = desk.eyes().await?.state(job).await?;
    let Some(job_state) = &state.job else { return Ok(Watched::ToTheEnd) };
    let mut progress = Progress::new(job_state, context.is_terminal);
    loop {
        match watch_with(desk, job, &mut progress).await? {
            Watched::Alone => {
                (*desk, _) = desk.succeed(&context.config, Wish::Attend { job }).await?;
                eprintln!(
                    "The server is gone; {} goes on with the job.",
                    match desk {
                        Desk::Own(_) => "this process",
                        Desk::Other(_) => "the next one",
                    }
                );
            }
            ended => {
                progress.end();
                let gone = async {
                    while desk.has_workers(job) {
                        tokio::time::sleep(LOOK / 3).await;
                    }
                };
                // Workers that leave by themselves have said all; the next server sweeps up.
                let _ = tokio::time::timeout(CANCEL_PATIENCE, gone).await;
                return Ok(ended);
            }
        }
    }
}

/// Watches through one server. Ctrl-C cancels a job whose server is this process, and only stops
/// watching one of another's.
async fn watch_with(
    desk: &Desk,
    job: JobId,
    progress: &mut Progress,
) -> Result<Watched, anyhow::Error> {
    let eyes = desk.eyes().await?;
    let mut interrupts = 0;
    loop {
        let state = eyes.state(job).await?;
        progress.show(&state);
        if state.job.as_ref().is_none_or(Job::is_at_rest) {
            return Ok(Watched::ToTheEnd);
        }
        if !desk.is_alive() {
            return Ok(Watched::Alone);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c(), if interrupts == 0 => {
                interrupts += 1;
                if matches!(desk, Desk::Other(_)) {
                    return Ok(Watched::Left);
                }
                eprintln!("\nCancelling: workers are stopped, what was done stays in the log.");
                let reason = "interrupted at the terminal".to_owned();
                desk.ask(Wish::Cancel { job, reason }).await?;
            }
        }
    }
}

/// What a script learns of the job, by the log itself: cancelled before budget before failed.
pub fn exit(job: &Job) -> Exit {
    let outcomes = || job.targets.values().filter_map(|target| target.outcome);
    if job.cancelled || outcomes().any(|outcome| outcome == Outcome::Cancelled) {
        Exit(130)
    } else if outcomes().any(|outcome| outcome == Outcome::BudgetStopped) {
        Exit(3)
    } else if outcomes().any(|outcome| !outcome.is_success()) {
        Exit(1)
    } else {
        Exit::OK
    }
}

/// Leaves a patch for each target that has a diff.
pub async fn write_patches(
    app: &App,
    job: &ReadJob,
    dir: &Path,
) -> Result<BTreeMap<TargetNumber, PathBuf>, anyhow::Error> {
    let dir = std::path::absolute(dir)?;
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let mut patches = BTreeMap::new();
    for (target, file) in patch_names(job) {
        let Some((_, payload)) = job.diff(app, target).await? else { continue };
        let bytes = payload.patch.bytes().context("the recorded patch is damaged")?;
        let path = dir.join(file);
        std::fs::write(&path, bytes)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        patches.insert(target, path);
    }
    Ok(patches)
}

/// Says loudly what of a local repository will not be seen.
fn warn_of_uncommitted(config: &Config, request: &JobRequest) {
    let budget = crate::serve::walk_budget(config);
    for repository in &request.repositories {
        let Ok(locator) = crate::git::Locator::parse(repository, &config.git.allowed_hosts) else {
            continue;
        };
        let Some(path) = locator.local_path() else { continue };
        // A repository that cannot be read is told by whoever has to read it.
        let count = crate::git::count_uncommitted(path, &budget).unwrap_or(0);
        if count > 0 {
            eprintln!(
                "Warning: {} has {} that will not be seen: the work starts from the last \
                 commit.",
                text::printable(repository),
                text::counted(count as u64, "uncommitted change"),
            );
        }
    }
}
