//! From what somebody asks for to a command: repositories named in one form, models and prices
//! looked up. Nothing is fetched and nothing is recorded here; whether the job as a whole can be
//! accepted is for `job` to say.

mod limits;
mod planned;
pub mod recipes;
mod request;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cody_events::job::{Effort, Limits, Location, Policy, SharedLimits};

use crate::claude::models::{Date, ModelRefusal, ModelTable};
use crate::config::{GitConfig, JobConfig};
use crate::git::{BadLocator, Locator};
use crate::job::command::{Checks, CreateJob, CreateRules, ModelStanding, NewTarget};
use crate::job::{Rejection, RejectionCode};

pub use limits::LimitsRequest;
pub use planned::{PlannedJob, PlannedTarget};
pub use recipes::{Library, Listed, Recipe};
pub use request::JobRequest;
pub use words::Words;

/// Which local paths a door may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalPaths {
    /// All: the person at this machine named them.
    Any,
    /// Those in or below these directories. Outside of them it is not even told what there is.
    Below(Vec<PathBuf>),
}

impl LocalPaths {
    /// Whether `path`, which has no links in it, may be used.
    fn allow(&self, path: &Path) -> bool {
        match self {
            Self::Any => true,
            Self::Below(roots) => roots
                .iter()
                .filter_map(|root| root.canonicalize().ok())
                .any(|root| path.starts_with(root)),
        }
    }
}

/// What planning needs, for as long as a server runs.
#[derive(Debug)]
pub struct Planning {
    pub job: JobConfig,
    pub git: GitConfig,
    pub models: Arc<ModelTable>,
    /// Whether dependencies can be fetched at all.
    pub may_fetch: bool,
    pub recipes: Library,
}

impl Planning {
    /// A planner of `today`, for a door that may name `local_paths`.
    pub fn planner(&self, today: Date, local_paths: LocalPaths) -> Planner<'_> {
        let (job, git, models, recipes) = (&self.job, &self.git, &self.models, &self.recipes);
        Planner { job, git, models, may_fetch: self.may_fetch, recipes, today, local_paths }
    }
}

/// What planning needs to know of the server.
#[derive(Debug)]
pub struct Planner<'a> {
    pub job: &'a JobConfig,
    pub git: &'a GitConfig,
    pub models: &'a ModelTable,
    pub may_fetch: bool,
    pub recipes: &'a Library,
    pub today: Date,
    pub local_paths: LocalPaths,
}

impl Planner<'_> {
    /// The command that creates the job, or why there can be none.
    pub fn plan(&self, asked: &JobRequest) -> Result<CreateJob, Rejection> {
        check_notes(asked)?;
        let branch = asked.branch.as_deref().map(str::trim).filter(|branch| !branch.is_empty());
        if let Some(branch) = branch {
            check_branch(branch)?;
        }
        let targets = asked
            .repositories
            .iter()
            .map(|text| self.target(text, branch, asked.repository_notes.get(text)))
            .collect::<Result<Vec<_>, _>>()?;
        let (request, recipe) = self.with_recipe(asked, &targets)?;
        let request = request.as_ref();
        self.check_secrets(request)?;
        self.check_registries(request)?;
        let model = request.model.clone().unwrap_or_else(|| self.job.model.clone());
        let (standing, floor_call_micros) = self.standing(&model, request.prompt.len());
        self.check_effort(&model, request.effort)?;
        Ok(CreateJob {
            prompt: request.prompt.clone(),
            notes: request.notes.clone(),
            targets,
            checks: match (request.no_checks, request.checks.is_empty()) {
                (true, _) => Checks::Off,
                (false, true) => Checks::Detected,
                (false, false) => Checks::Given(request.checks.clone()),
            },
            policy: request.policy.unwrap_or(Policy::Review),
            limits: self.limits(request)?,
            model,
            effort: request.effort,
            bash: !request.no_bash,
            skip_review: request.no_review,
            allow: request.allow.iter().copied().collect(),
            fetch_dependencies: request.fetch_dependencies,
            pilot: request.pilot.unwrap_or(self.job.pilot),
            recipe,
            app_version: env!("CARGO_PKG_VERSION").to_owned(),
            rules: CreateRules {
                max_targets: self.job.max_targets,
                max_prompt_bytes: self.job.max_prompt_bytes,
                model: standing,
                floor_call_micros,
            },
        })
    }

    fn check_registries(&self, request: &JobRequest) -> Result<(), Rejection> {
        if request.fetch_dependencies && !self.may_fetch {
            return Err(Rejection::new(
                RejectionCode::NoRegistries,
                "This server fetches no dependencies: it is told of no host to fetch from.",
                "Name the hosts that cargo, npm or pip download from in `registries` of config.toml \
                 (or CODY_REGISTRIES), or leave --fetch-dependencies out.",
            ));
        }
        Ok(())
    }

    /// What is asked for is recorded for good, and sent to Claude: no secret belongs there.
    fn check_secrets(&self, request: &JobRequest) -> Result<(), Rejection> {
        let prompt = [("The prompt", request.prompt.as_str())];
        let notes = request.notes.iter().map(|notes| ("The notes", notes.as_str()));
        let checks = request.checks.iter().map(|check| ("A check", check.as_str()));
        let own = request.repository_notes.values().map(|notes| ("A note", notes.as_str()));
        let values = request.variables.values().map(|value| ("A variable", value.as_str()));
        let mut all = prompt.into_iter().chain(notes).chain(checks).chain(own).chain(values);
        let words = self.words();
        all.try_for_each(|(what, text)| words.check(what, text))
    }

    /// The same of a text that somebody writes to a job that exists.
    pub fn check_words(&self, what: &str, text: &str) -> Result<(), Rejection> {
        self.words().check(what, text)
    }

    fn words(&self) -> Words {
        Words::new(&self.git.github_token)
    }

    fn limits(&self, request: &JobRequest) -> Result<Limits, Rejection> {
        request.limits().over(&Limits {
            budget_micros: self.job.budget_micros,
            job_budget_micros: None,
            max_turns: self.job.max_turns,
            max_tokens: None,
            max_wall_ms: None,
            max_tool_ms: None,
            max_diff_bytes: None,
            shared: SharedLimits::default(),
        })
    }

    /// The worst price of the smallest call to `model`, for a job whose prompt has so many bytes.
    pub fn floor_call_micros(&self, model: &str, prompt_bytes: usize) -> u64 {
        self.standing(model, prompt_bytes).1
    }

    /// Whether the model can be asked, and what its smallest call may cost. A first request has at
    /// least the prompt and some ten thousand bytes of the harness's own words.
    fn standing(&self, model: &str, prompt_bytes: usize) -> (ModelStanding, u64) {
        const HARNESS_BYTES: usize = 10_000;
        match self.models.lookup(model, self.today) {
            Ok(offer) => {
                let bound = self.models.input_bound(prompt_bytes + HARNESS_BYTES);
                (ModelStanding::Known, offer.floor_micros(bound))
            }
            Err(ModelRefusal::Retired { on, successor, .. }) => {
                let successor = Some(successor).filter(|successor| !successor.is_empty());
                (ModelStanding::Retired { on: on.to_string(), successor }, 0)
            }
            Err(ModelRefusal::Unknown { .. } | ModelRefusal::NotYet { .. }) => {
                (ModelStanding::Unknown { known: self.models.names() }, 0)
            }
        }
    }

    /// An effort that the model does not take would end every target at its first call.
    fn check_effort(&self, model: &str, effort: Option<Effort>) -> Result<(), Rejection> {
        let (Some(effort), Ok(offer)) = (effort, self.models.lookup(model, self.today)) else {
            return Ok(());
        };
        let taken = &offer.model.efforts;
        if taken.contains(&effort) {
            return Ok(());
        }
        let names: Vec<String> = taken.iter().map(Effort::to_string).collect();
        Err(Rejection::new(
            RejectionCode::BadEffort,
            format!("The model `{model}` does not take the effort `{effort}`."),
            match names.is_empty() {
                true => "Leave the effort out, or take another model.".to_owned(),
                false => format!("Choose one of {}, or leave it out.", names.join(", ")),
            },
        ))
    }

    fn target(
        &self,
        text: &str,
        branch: Option<&str>,
        notes: Option<&String>,
    ) -> Result<NewTarget, Rejection> {
        let locator = Locator::parse(text, &self.git.allowed_hosts).map_err(|error| {
            match (&error, &self.local_paths) {
                // Whether there is something outside the roots is nobody's business.
                (BadLocator::NoSuchPath(path), LocalPaths::Below(_)) => not_allowed(path),
                _ => rejected(&error),
            }
        })?;
        if let Some(path) = locator.local_path().filter(|path| !self.local_paths.allow(path)) {
            return Err(not_allowed(path));
        }
        locator.check().map_err(|error| rejected(&error))?;
        Ok(NewTarget {
            kind: locator.kind(),
            repository: locator.display_name(),
            location: Location {
                locator: locator.normalised(),
                branch: branch.map(str::to_owned),
                notes: notes.filter(|notes| !notes.trim().is_empty()).cloned(),
            },
            identity: identity(&locator),
        })
    }
}

/// Notes are for a repository of the job, and short enough to be read with its prompt.
fn check_notes(request: &JobRequest) -> Result<(), Rejection> {
    const MAX_BYTES: usize = 16 * 1024;
    for (repository, notes) in &request.repository_notes {
        if !request.repositories.contains(repository) {
            return Err(Rejection::new(
                RejectionCode::BadNotes,
                format!(
                    "There are notes for `{}`, which is no repository of the job.",
                    repository.escape_debug()
                ),
                "Spell it in both places alike.",
            ));
        }
        if notes.len() > MAX_BYTES {
            return Err(Rejection::new(
                RejectionCode::BadNotes,
                format!(
                    "The notes for `{repository}` have {} bytes; the limit is {MAX_BYTES}.",
                    notes.len()
                ),
                "Shorten them, or put the details into a file of the repository.",
            ));
        }
    }
    Ok(())
}

/// What two spellings of one repository have in common; a local one may be named by its `.git`.
fn identity(locator: &Locator) -> String {
    match locator.local_path() {
        Some(path) if path.ends_with(".git") => path.parent().unwrap_or(path).display().to_string(),
        Some(_) | None => locator.identity(),
    }
}

/// A name that no branch can have is told before anything is fetched.
fn check_branch(branch: &str) -> Result<(), Rejection> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let is_bad = branch.starts_with(['-', '/'])
        || branch.ends_with(['/', '.'])
        || branch.contains("..")
        || branch.contains("@{")
        || branch.contains(is_odd)
        || branch.len() > 200;
    if is_bad {
        let shown: String = branch.chars().take(60).collect();
        return Err(Rejection::new(
            RejectionCode::BadBranch,
            format!("`{}` is no name of a branch.", shown.escape_debug()),
            "Name a branch that all repositories have, or leave it out for each one's default.",
        ));
    }
    Ok(())
}

fn not_allowed(path: &Path) -> Rejection {
    Rejection::new(
        RejectionCode::PathNotAllowed,
        format!("The path `{}` may not be used through this door.", path.display()),
        "Ask the server's owner to add its folder to CODY_LOCAL_ROOTS, or check the path.",
    )
}

fn rejected(error: &BadLocator) -> Rejection {
    let (code, next_step) = match error {
        BadLocator::Malformed { .. } => (
            RejectionCode::BadUrl,
            "Name it as owner/name, as an https URL without credentials, or as a path.",
        ),
        BadLocator::HostNotAllowed { .. } => {
            (RejectionCode::HostNotAllowed, "Add it to `allowed_hosts` in config.toml to allow it.")
        }
        BadLocator::NoSuchPath(_) => (RejectionCode::NoSuchPath, "Check the path."),
        BadLocator::NotARepository(_) => {
            (RejectionCode::NotARepository, "Name the repository's root, or run `git init` there.")
        }
    };
    let mut message = error.to_string();
    if let Some(first) = message.get(..1) {
        let upper = first.to_uppercase();
        message.replace_range(..1, &upper);
    }
    message.push('.');
    Rejection::new(code, message, next_step)
}

#[cfg(test)]
mod tests;
