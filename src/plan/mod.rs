//! From what somebody asks for to a command: repositories named in one form, models and prices
//! looked up. Nothing is fetched and nothing is recorded here.

use std::path::{Path, PathBuf};

use cody_events::job::{Effort, Limits, Location, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::claude::models::{Date, ModelRefusal, ModelTable};
use crate::config::{GitConfig, JobConfig};
use crate::git::{BadLocator, Locator};
use crate::job::command::{Checks, CreateJob, CreateRules, ModelStanding, NewTarget};
use crate::job::{Rejection, RejectionCode};

/// What a job is asked to be. This is also the form of `job.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobRequest {
    /// What to change.
    pub prompt: String,
    /// Words for the people who will read the job; Claude does not see them.
    pub notes: Option<String>,
    /// `owner/name`, https URLs or local paths.
    pub repositories: Vec<String>,
    /// A branch that all repositories have; nothing means each one's default branch.
    pub branch: Option<String>,
    /// Commands that must pass afterwards; none means that the scan finds them.
    pub checks: Vec<String>,
    /// Whether to run no checks at all.
    pub no_checks: bool,
    pub model: Option<String>,
    pub effort: Option<Effort>,
    /// Dollars for each repository, as text: `2.50`.
    pub budget_usd: Option<String>,
    /// Dollars for the whole job.
    pub job_budget_usd: Option<String>,
    pub max_turns: Option<u32>,
    /// What becomes of an accepted diff.
    pub policy: Option<Policy>,
    /// Whether Claude may not run commands.
    pub no_bash: bool,
}

/// Which local paths a door may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalPaths {
    /// All: the person at this machine named them.
    Any,
    /// Those below these directories.
    Below(Vec<PathBuf>),
}

/// What planning needs to know of the server.
#[derive(Debug)]
pub struct Planner<'a> {
    pub job: &'a JobConfig,
    pub git: &'a GitConfig,
    pub models: &'a ModelTable,
    pub today: Date,
    pub local_paths: LocalPaths,
}

impl Planner<'_> {
    /// The command that creates the job, or why there can be none.
    pub fn plan(&self, request: &JobRequest) -> Result<CreateJob, Rejection> {
        let targets = request
            .repositories
            .iter()
            .map(|text| self.target(text, request.branch.as_deref()))
            .collect::<Result<Vec<_>, _>>()?;
        let model = request.model.clone().unwrap_or_else(|| self.job.model.clone());
        let (standing, floor_call_micros) = self.standing(&model, request.prompt.len());
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
            app_version: env!("CARGO_PKG_VERSION").to_owned(),
            rules: CreateRules {
                max_targets: self.job.max_targets,
                max_prompt_bytes: self.job.max_prompt_bytes,
                model: standing,
                floor_call_micros,
            },
        })
    }

    fn limits(&self, request: &JobRequest) -> Result<Limits, Rejection> {
        let dollars = |name: &str, text: &str| {
            crate::config::micros(text).ok_or_else(|| {
                Rejection::new(
                    RejectionCode::BadLimits,
                    format!("`{name}` is `{text}`, which is no amount of dollars."),
                    "Write it like 2.50.",
                )
            })
        };
        Ok(Limits {
            budget_micros: match &request.budget_usd {
                Some(text) => dollars("budget_usd", text)?,
                None => self.job.budget_micros,
            },
            job_budget_micros: request
                .job_budget_usd
                .as_deref()
                .map(|text| dollars("job_budget_usd", text))
                .transpose()?,
            max_turns: request.max_turns.unwrap_or(self.job.max_turns),
            max_tokens: None,
            max_wall_ms: None,
            max_tool_ms: None,
            max_diff_bytes: None,
        })
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

    fn target(&self, text: &str, branch: Option<&str>) -> Result<NewTarget, Rejection> {
        let locator =
            Locator::parse(text, &self.git.allowed_hosts).map_err(|error| rejected(&error))?;
        locator.check().map_err(|error| rejected(&error))?;
        if let Some(path) = locator.local_path() {
            self.check_local(path)?;
        }
        Ok(NewTarget {
            kind: locator.kind(),
            repository: locator.display_name(),
            location: Location { locator: locator.normalised(), branch: branch.map(str::to_owned) },
            identity: locator.identity(),
        })
    }

    fn check_local(&self, path: &Path) -> Result<(), Rejection> {
        match &self.local_paths {
            LocalPaths::Any => Ok(()),
            LocalPaths::Below(roots) if roots.iter().any(|root| path.starts_with(root)) => Ok(()),
            LocalPaths::Below(_) => Err(Rejection::new(
                RejectionCode::PathNotAllowed,
                format!("The path `{}` may not be used through this door.", path.display()),
                "Ask the server's owner to add its folder to CODY_LOCAL_ROOTS.",
            )),
        }
    }
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
