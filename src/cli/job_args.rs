//! The flags by which a job is described, for the verbs that plan or start one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use cody_events::job::{Effort, Policy};
use cody_events::policy::PathClass;

use super::limits::LimitArgs;
use super::recipe_args::RecipeArgs;
use super::{Context, text};
use crate::config::Config;
use crate::job::{Rejection, RejectionCode};
use crate::plan::JobRequest;

/// What describes a job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// What to change, in your words
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// A file that holds the prompt; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    /// A repository: owner/name, an https URL or a local path (repeat for more)
    #[arg(long = "repo", value_name = "REPO")]
    repos: Vec<String>,
    /// A branch that all repositories have [default: each one's own]
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
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
    /// What becomes of a diff that passed: a person approves it, it is delivered at once, or it stays a
    /// patch [default: review]
    #[arg(long, value_enum)]
    policy: Option<PolicyArg>,
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
    /// A job.toml with all this; flags win over it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

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

/// What may become of an accepted diff, as flags spell it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyArg {
    Review,
    Auto,
    PatchOnly,
}

impl From<PolicyArg> for Policy {
    fn from(arg: PolicyArg) -> Self {
        match arg {
            PolicyArg::Review => Self::Review,
            PolicyArg::Auto => Self::Auto,
            PolicyArg::PatchOnly => Self::PatchOnly,
        }
    }
}

impl JobArgs {
    /// The job that the flags and the file ask for, with local paths as the server has to read them.
    pub fn request(&self, context: &Context) -> Result<JobRequest, anyhow::Error> {
        let mut request = self.written()?;
        make_absolute(&context.config, &mut request);
        check_places(context, &request)?;
        Ok(request)
    }

    fn written(&self) -> Result<JobRequest, anyhow::Error> {
        let mut request = match &self.file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("{} cannot be read", path.display()))?;
                toml::from_str(&text)
                    .with_context(|| format!("{} does not fit the form of a job", path.display()))?
            }
            None => JobRequest::default(),
        };
        if let Some(prompt) = &self.prompt {
            request.prompt = prompt.clone();
        }
        if let Some(path) = &self.prompt_file {
            request.prompt = if path == Path::new("-") {
                std::io::read_to_string(std::io::stdin())
                    .context("standard input cannot be read")?
            } else {
                std::fs::read_to_string(path)
                    .with_context(|| format!("{} cannot be read", path.display()))?
            };
        }
        if !self.repos.is_empty() {
            request.repositories = self.repos.clone();
        }
        if !self.checks.is_empty() {
            request.checks = self.checks.clone();
        }
        request.branch = self.branch.clone().or(request.branch);
        request.no_checks |= self.no_checks;
        request.model = self.model.clone().or(request.model);
        request.effort = self.effort.map(Effort::from).or(request.effort);
        request.policy = self.policy.map(Policy::from).or(request.policy);
        request.no_review |= self.no_review;
        request.allow.extend(&self.allow);
        request.fetch_dependencies |= self.fetch_dependencies;
        request.limit(&self.limits.request());
        self.recipe.lay_over(&mut request)?;
        Ok(request)
    }
}

/// A server has a working directory of its own.
pub fn make_absolute(config: &Config, request: &mut JobRequest) {
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

/// A path of this machine says nothing to a server on another.
fn check_places(context: &Context, request: &JobRequest) -> Result<(), Rejection> {
    let Some(far) = context.far.as_ref().filter(|far| !far.is_near()) else { return Ok(()) };
    let hosts = &context.config.git.allowed_hosts;
    let is_local = |repository: &&String| {
        let locator = crate::git::Locator::parse(repository, hosts);
        locator.is_ok_and(|locator| locator.local_path().is_some())
    };
    match request.repositories.iter().find(is_local) {
        None => Ok(()),
        Some(path) => Err(Rejection::new(
            RejectionCode::NoSuchPath,
            format!("`{}` is a path on this machine, and {} is not here.", path, far.url()),
            "Name the repository as owner/name or as an https URL.",
        )),
    }
}

/// Says loudly what of a local repository will not be seen.
pub fn warn_of_uncommitted(config: &Config, request: &JobRequest) {
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
