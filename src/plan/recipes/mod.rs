//! Recipes: prompts that are written once and used again, with typed variables, checks and policy. A
//! recipe is a TOML file; here its form is read and checked. Where recipes come from is
//! [`library`]'s, what a job takes of one is [`taken`]'s.

mod library;
mod places;
mod taken;
mod variables;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cody_events::digest::Sha256;
use cody_events::job::{Effort, Policy};
use cody_events::policy::PathClass;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::request::{dollars, dollars_schema};
use crate::config::micros;
use crate::job::{Rejection, RejectionCode};
use crate::scan::{on_one_line, revealed};
use places::{Template, is_variable_name};
use variables::VariableForm;

pub use library::{Library, Listed};
pub use variables::{MAX_VALUE_BYTES, Variable, VariableKind};
pub use written::Written;

/// The largest file of a recipe.
pub const MAX_RECIPE_BYTES: usize = 64 * 1024;
const MAX_NAME: usize = 64;
const MAX_TITLE_BYTES: usize = 120;
const MAX_DESCRIPTION_BYTES: usize = 4 * 1024;
const MAX_VARIABLES: usize = 32;
const MAX_CHECKS: usize = 16;

/// A recipe, as its file has it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "Recipe")]
#[serde(deny_unknown_fields)]
struct RecipeForm {
    /// Lowercase letters, digits and hyphens, at most 64; the file is called so, with `.toml`.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
    name: String,
    /// What it does, in a few words.
    title: String,
    /// What it does and when to use it, for whoever chooses.
    description: String,
    /// What to change. `{{name}}` is the place of a variable; `\{{` stands for the braces.
    prompt: String,
    /// What is put in the places of the prompt and the checks.
    #[serde(default)]
    variables: BTreeMap<String, VariableForm>,
    /// Commands that must pass afterwards; none means that the scan finds some. A value in a command
    /// is quoted as one word; a check that is one place alone is the value itself, and is left out
    /// if that is empty.
    #[serde(default)]
    checks: Vec<String>,
    /// Whether to run no checks at all.
    #[serde(default)]
    no_checks: bool,
    /// What becomes of an accepted diff.
    #[serde(default)]
    policy: Option<Policy>,
    /// Whether one repository goes first, and the others wait until a person approved its diff.
    #[serde(default)]
    pilot: Option<bool>,
    /// Classes of changes that a diff is not held for.
    #[serde(default)]
    allow: Vec<PathClass>,
    /// How hard Claude thinks.
    #[serde(default)]
    effort: Option<Effort>,
    /// Nothing means the server's default.
    #[serde(default)]
    model: Option<String>,
    /// The most responses of Claude for each repository.
    #[serde(default)]
    max_turns: Option<u32>,
    /// The most to spend on each repository, in dollars.
    #[serde(default, deserialize_with = "dollars")]
    #[schemars(schema_with = "dollars_schema")]
    budget_usd: Option<String>,
    /// Whether what the repositories depend on is fetched, where the server fetches at all.
    #[serde(default)]
    fetch_dependencies: bool,
    /// Whether Claude may not run commands.
    #[serde(default)]
    no_bash: bool,
    /// Whether a change is taken without an independent review.
    #[serde(default)]
    no_review: bool,
}

/// Where a recipe comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Source {
    /// A text that came with the request.
    Text,
    /// The server's owner wrote it into the data directory.
    DataDirectory,
    /// The last commit of a local repository.
    Repository { repository: String },
    /// It came with the program.
    Shipped,
}

impl Source {
    /// Whether the server's owner answers for it, so that it may do without a person.
    pub fn is_trusted(&self) -> bool {
        match self {
            Self::DataDirectory | Self::Shipped => true,
            Self::Text | Self::Repository { .. } => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a file of your own"),
            Self::DataDirectory => f.write_str("the data directory"),
            Self::Repository { repository } => write!(f, "the repository {repository}"),
            Self::Shipped => f.write_str("shipped with the program"),
        }
    }
}

/// A recipe that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    pub name: String,
    pub title: String,
    pub description: String,
    /// With its places.
    pub prompt: String,
    /// In the order in which their places first stand.
    pub variables: Vec<Variable>,
    pub checks: Vec<String>,
    pub no_checks: bool,
    pub policy: Option<Policy>,
    pub pilot: Option<bool>,
    pub allow: Vec<PathClass>,
    pub effort: Option<Effort>,
    pub model: Option<String>,
    pub max_turns: Option<u32>,
    pub budget_usd: Option<String>,
    pub fetch_dependencies: bool,
    pub no_bash: bool,
    pub no_review: bool,
    pub source: Source,
    /// The SHA-256 of its text.
    pub digest: Sha256,
    /// The file's text.
    #[serde(skip)]
    pub text: String,
    #[serde(skip)]
    prompt_template: Template,
    #[serde(skip)]
    check_templates: Vec<Template>,
}

/// Why a text is no recipe, in a sentence, and what to do about it in another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {next_step}")]
pub struct BadRecipe {
    pub what: String,
    pub next_step: String,
}

impl BadRecipe {
    fn new(what: impl Into<String>, next_step: impl Into<String>) -> Self {
        // Some of it is whatever somebody wrote into a file.
        let shown = |text: String| on_one_line(&text).into_owned();
        Self { what: shown(what.into()), next_step: shown(next_step.into()) }
    }

    /// The no that a job gets which asks for it.
    fn rejection(self, name: &str, source: &Source) -> Rejection {
        let message = format!("The recipe `{name}` ({source}) cannot be used. {}", self.what);
        Rejection::new(RejectionCode::BadRecipe, message, self.next_step)
    }
}

impl Recipe {
    /// Reads the text of a recipe.
    pub fn parse(text: &str, source: Source) -> Result<Self, BadRecipe> {
        if text.len() > MAX_RECIPE_BYTES {
            return Err(too_large());
        }
        let form: RecipeForm = toml::from_str(text).map_err(|error| no_form(text, &error))?;
        check_words(&form)?;
        check_settings(&form)?;
        let prompt_template = template("prompt", &form.prompt)?;
        let checks = form.checks.iter().map(|check| template("check", check));
        let check_templates = checks.collect::<Result<Vec<_>, _>>()?;
        let places = || {
            let in_checks = check_templates.iter().flat_map(Template::places);
            prompt_template.places().chain(in_checks)
        };
        let variables = declared(form.variables, places())?;
        Ok(Self {
            name: form.name,
            title: form.title.trim().to_owned(),
            description: form.description.trim().to_owned(),
            prompt: form.prompt,
            variables,
            checks: form.checks,
            no_checks: form.no_checks,
            policy: form.policy,
            pilot: form.pilot,
            allow: form.allow,
            effort: form.effort,
            model: form.model,
            max_turns: form.max_turns,
            budget_usd: form.budget_usd,
            fetch_dependencies: form.fetch_dependencies,
            no_bash: form.no_bash,
            no_review: form.no_review,
            source,
            digest: Sha256::of(text.as_bytes()),
            text: text.to_owned(),
            prompt_template,
            check_templates,
        })
    }
}

/// Whether `text` can be the name of a recipe.
fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn too_large() -> BadRecipe {
    BadRecipe::new(
        format!("Its file has more than {MAX_RECIPE_BYTES} bytes."),
        "Shorten it, or put the details into a file of the repositories and point to it.",
    )
}

fn no_form(text: &str, error: &toml::de::Error) -> BadRecipe {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let why: String = error.message().trim_end_matches('.').chars().take(400).collect();
    BadRecipe::new(
        format!("It does not fit the form of a recipe: line {line}: {why}."),
        "Correct it; docs/recipes.md shows the form.",
    )
}

/// The variables in the order of their first places; each must have one.
fn declared<'a>(
    mut forms: BTreeMap<String, VariableForm>,
    places: impl Iterator<Item = &'a str>,
) -> Result<Vec<Variable>, BadRecipe> {
    if forms.len() > MAX_VARIABLES {
        let what = format!("It has {} variables; at most {MAX_VARIABLES} fit.", forms.len());
        return Err(BadRecipe::new(what, "Ask for less."));
    }
    if let Some(name) = forms.keys().find(|name| !is_variable_name(name)) {
        return Err(BadRecipe::new(
            format!("`{name}` is no name of a variable."),
            "Begin with a lowercase letter, and go on with those, digits and `_`; at most 40.",
        ));
    }
    let (mut variables, mut seen) = (Vec::new(), BTreeSet::new());
    for place in places {
        if !seen.insert(place) {
            continue;
        }
        let form = forms.remove(place).ok_or_else(|| {
            BadRecipe::new(
                format!("The place `{{{{{place}}}}}` has no variable."),
                format!("Declare it under [variables.{place}], or write `\\{{{{` for the braces."),
            )
        })?;
        variables.push(Variable::new(place, form)?);
    }
    match forms.keys().next() {
        None => Ok(variables),
        Some(name) => Err(BadRecipe::new(
            format!("The variable `{name}` has no place."),
            format!("Write `{{{{{name}}}}}` into the prompt or a check, or take it out."),
        )),
    }
}

fn template(what: &str, text: &str) -> Result<Template, BadRecipe> {
    Template::parse(text).map_err(|error| {
        BadRecipe::new(
            format!("In a {what}, {error}."),
            "A place is written `{{name}}`; write `\\{{` for the braces themselves.",
        )
    })
}

/// Whether the words of `form` are there, short enough, and show.
fn check_words(form: &RecipeForm) -> Result<(), BadRecipe> {
    if !is_name(&form.name) {
        let next = format!("Take lowercase letters, digits and hyphens, at most {MAX_NAME}.");
        return Err(BadRecipe::new("Its name is none.", next));
    }
    let texts = [
        ("title", &form.title, MAX_TITLE_BYTES),
        ("description", &form.description, MAX_DESCRIPTION_BYTES),
        ("prompt", &form.prompt, MAX_RECIPE_BYTES),
    ];
    for (what, text, most) in texts {
        if text.trim().is_empty() || text.len() > most {
            let message = format!("Its {what} is empty, or has more than {most} bytes.");
            return Err(BadRecipe::new(message, "Write one, in plain words."));
        }
    }
    if form.title.trim().contains('\n') {
        return Err(BadRecipe::new("Its title has several lines.", "Shorten it to one."));
    }
    let texts = texts.map(|(what, text, _)| (what, text)).into_iter();
    // Nobody can judge what does not show, and Claude would read it.
    for (what, text) in texts.chain(form.checks.iter().map(|check| ("check", check))) {
        if let Some(line) = text.lines().position(|line| revealed(line) != line) {
            return Err(BadRecipe::new(
                format!("Its {what} has a character that does not show, in line {}.", line + 1),
                "Take it out.",
            ));
        }
    }
    Ok(())
}

/// Whether its settings make sense together.
fn check_settings(form: &RecipeForm) -> Result<(), BadRecipe> {
    if form.no_checks && !form.checks.is_empty() {
        return Err(BadRecipe::new("It has checks and wants none.", "Take one of the two out."));
    }
    if form.checks.len() > MAX_CHECKS || form.checks.iter().any(|check| check.trim().is_empty()) {
        let what = format!("It has more than {MAX_CHECKS} checks, or an empty one.");
        return Err(BadRecipe::new(what, "Give a few commands."));
    }
    if form.budget_usd.as_ref().is_some_and(|budget| micros(budget).is_none()) {
        let what = "Its `budget_usd` is no amount of dollars.";
        return Err(BadRecipe::new(what, "Write it like 2.50."));
    }
    Ok(())
}

#[cfg(test)]
mod library_tests;
#[cfg(test)]
mod tests;
