//! What a job takes of a recipe: everything that its request does not say itself. What does without a
//! person, or allows more, is taken only of recipes that the server's owner answers for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use cody_events::job::{Policy, RecipeUse, TargetKind};

use super::places::Template;
use super::{Listed, Recipe, Source, variables};
use crate::config::micros;
use crate::job::command::NewTarget;
use crate::job::{Rejection, RejectionCode};
use crate::plan::{JobRequest, LocalPaths, Planner};

/// A recipe as the log names it, and what stands in its places.
type Used = (RecipeUse, BTreeMap<String, String>);

impl Planner<'_> {
    /// Every recipe that there is, with those of the local ones among `repositories`.
    pub fn recipes(&self, repositories: &[String]) -> Result<Vec<Listed>, Rejection> {
        Ok(self.recipes.list(&self.local(repositories)?))
    }

    /// The recipe `name`, as a job of `repositories` gets it.
    pub fn recipe(&self, name: &str, repositories: &[String]) -> Result<Recipe, Rejection> {
        self.recipes.find(name, &self.local(repositories)?)
    }

    /// The recipe that `request` names or brings, if it does.
    pub fn recipe_of(&self, request: &JobRequest) -> Result<Option<Recipe>, Rejection> {
        self.recipe_for(request, &|| self.local(&request.repositories))
    }

    fn local(&self, repositories: &[String]) -> Result<Vec<PathBuf>, Rejection> {
        let targets = repositories.iter().map(|text| self.target(text, None, None));
        Ok(local_paths(&targets.collect::<Result<Vec<_>, _>>()?))
    }

    /// `asked` with what its recipe gives, for a job of `targets`.
    pub(in crate::plan) fn with_recipe<'a>(
        &self,
        asked: &'a JobRequest,
        targets: &[NewTarget],
    ) -> Result<(Cow<'a, JobRequest>, Option<Used>), Rejection> {
        let Some(recipe) = self.recipe_for(asked, &|| Ok(local_paths(targets)))? else {
            return match asked.variables.is_empty() {
                true => Ok((Cow::Borrowed(asked), None)),
                false => Err(Rejection::new(
                    RejectionCode::BadVariable,
                    "The job has values for variables, and no recipe whose variables they are.",
                    "Name the recipe, or leave them out.",
                )),
            };
        };
        recipe.check_trust(asked, self)?;
        let values = variables::values(&recipe.variables, &asked.variables, &recipe.name)?;
        let request = recipe.under(asked, &values, self.may_fetch);
        let used = RecipeUse { name: recipe.name, digest: recipe.digest };
        Ok((Cow::Owned(request), Some((used, values))))
    }

    fn recipe_for(
        &self,
        request: &JobRequest,
        local: &dyn Fn() -> Result<Vec<PathBuf>, Rejection>,
    ) -> Result<Option<Recipe>, Rejection> {
        match (&request.recipe, &request.recipe_text) {
            (None, None) => Ok(None),
            (Some(name), None) => self.recipes.find(name, &local()?).map(Some),
            (Some(_), Some(_)) => Err(Rejection::new(
                RejectionCode::BadRecipe,
                "The job names a recipe, and brings another as text.",
                "Give one of the two.",
            )),
            (None, Some(text)) => match &self.local_paths {
                LocalPaths::Any => Recipe::parse(text, Source::Text)
                    .map(Some)
                    .map_err(|bad| bad.rejection("recipe_text", &Source::Text)),
                LocalPaths::Below(_) => Err(Rejection::new(
                    RejectionCode::RecipeNotAllowed,
                    "No recipe may be brought as text through this door.",
                    "Ask the server's owner to put it into `recipes/` of the data directory, and \
                     name it; or write the prompt itself.",
                )),
            },
        }
    }
}

fn local_paths(targets: &[NewTarget]) -> Vec<PathBuf> {
    let local = targets.iter().filter(|target| target.kind == TargetKind::Local);
    local.map(|target| PathBuf::from(&target.location.locator)).collect()
}

impl Recipe {
    /// A recipe of anybody's takes no person away, and allows and spends no more than the server does
    /// by itself, unless `asked` says the same.
    fn check_trust(&self, asked: &JobRequest, planner: &Planner<'_>) -> Result<(), Rejection> {
        if self.source.is_trusted() {
            return Ok(());
        }
        let job = planner.job;
        let allow: Vec<String> = self.allow.iter().map(ToString::to_string).collect();
        let budget = self.budget_usd.as_deref().and_then(micros).unwrap_or(0);
        let stealthy = [
            (
                self.policy == Some(Policy::Auto) && asked.policy.is_none(),
                "policy = \"auto\"".into(),
            ),
            (!allow.is_empty() && asked.allow.is_empty(), format!("allow = {allow:?}")),
            (self.no_review && !asked.no_review, "no_review = true".into()),
            (
                self.pilot == Some(false) && asked.pilot.is_none() && job.pilot,
                "pilot = false".into(),
            ),
            (
                budget > job.budget_micros && asked.budget_usd.is_none(),
                format!("budget_usd = {}", self.budget_usd.as_deref().unwrap_or_default()),
            ),
            (
                self.max_turns.is_some_and(|most| most > job.max_turns)
                    && asked.max_turns.is_none(),
                format!("max_turns = {}", self.max_turns.unwrap_or_default()),
            ),
        ];
        let stealthy: Vec<String> =
            stealthy.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect();
        if stealthy.is_empty() {
            return Ok(());
        }
        Err(Rejection::new(
            RejectionCode::RecipeNotAllowed,
            format!(
                "The recipe `{}` ({}) says `{}`, which only a recipe of the server's owner may.",
                self.name,
                self.source,
                stealthy.join("`, `")
            ),
            "Ask for that in the request itself, or read the recipe and copy it into `recipes/` of the \
             data directory.",
        ))
    }

    /// `asked` with what the recipe gives where it gives nothing. `values` are those of all variables.
    fn under(
        &self,
        asked: &JobRequest,
        values: &BTreeMap<String, String>,
        may_fetch: bool,
    ) -> JobRequest {
        let mut request = asked.clone();
        request.prompt = self.prompt_template.fill(|name| value_of(values, name));
        let more = asked.prompt.trim();
        if !more.is_empty() {
            request.prompt = format!("{}\n\nIn addition:\n\n{more}\n", request.prompt.trim_end());
        }
        request.no_checks |= self.no_checks && asked.checks.is_empty();
        if asked.checks.is_empty() && !request.no_checks {
            request.checks = self.filled_checks(values);
        }
        if asked.allow.is_empty() {
            request.allow.clone_from(&self.allow);
        }
        request.policy = asked.policy.or(self.policy);
        request.pilot = asked.pilot.or(self.pilot);
        request.effort = asked.effort.or(self.effort);
        request.max_turns = asked.max_turns.or(self.max_turns);
        request.model = asked.model.clone().or_else(|| self.model.clone());
        request.budget_usd = asked.budget_usd.clone().or_else(|| self.budget_usd.clone());
        // A recipe is for many servers; those that fetch nothing work with what is there.
        request.fetch_dependencies |= self.fetch_dependencies && may_fetch;
        request.no_bash |= self.no_bash;
        request.no_review |= self.no_review;
        request
    }

    /// The checks with `values` in their places.
    fn filled_checks(&self, values: &BTreeMap<String, String>) -> Vec<String> {
        let filled = self.check_templates.iter().map(|check| filled_check(check, values));
        filled.filter(|check| !check.trim().is_empty()).collect()
    }
}

/// A value among others is one word, whatever stands in it; a value alone is the command.
fn filled_check(check: &Template, values: &BTreeMap<String, String>) -> String {
    if check.only_place().is_some() {
        return check.fill(|name| value_of(values, name));
    }
    // A text with a NUL is no command, and no value has one.
    let quoted = |name: &str| {
        let value = value_of(values, name);
        shlex::try_quote(&value).map(Cow::into_owned).unwrap_or_default()
    };
    check.fill(quoted)
}

fn value_of(values: &BTreeMap<String, String>, name: &str) -> String {
    values.get(name).cloned().unwrap_or_default()
}
