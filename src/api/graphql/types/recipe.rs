//! Recipes: prompts with places, and where they come from.

use async_graphql::{Enum, SimpleObject};
use cody_events::policy::PathClass as Class;

use super::words::{Effort, PathClass, Policy};
use crate::plan::recipes::{Listed, Recipe as Known, Source, Variable, VariableKind};

/// A recipe as a list has it.
#[derive(Debug, Clone, SimpleObject)]
pub struct ListedRecipe {
    /// By which jobs ask for it.
    pub name: String,
    /// Where it comes from.
    pub source: RecipeSource,
    /// The recipe; nothing if it cannot be used.
    pub recipe: Option<Recipe>,
    /// Why it cannot be used, and what to do about it.
    pub error: Option<String>,
    /// Where the recipe of the same name comes from that is used in its place.
    pub hidden_by: Option<RecipeSource>,
}

/// Where a recipe comes from.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipeSource {
    /// A text that came with a request.
    Text,
    /// The server's owner wrote it into the data directory.
    DataDirectory,
    /// The last commit of a local repository.
    Repository,
    /// It came with the program.
    Shipped,
}

/// A prompt with places, and what a job made from it takes over.
#[derive(Debug, Clone, SimpleObject)]
pub struct Recipe {
    /// By which jobs ask for it.
    pub name: String,
    /// What it does, in some words.
    pub title: String,
    /// What it does, in some sentences.
    pub description: String,
    /// What Claude is asked, with `{{name}}` where a variable's value stands.
    pub prompt: String,
    /// The variables, in the order in which their places first stand.
    pub variables: Vec<RecipeVariable>,
    /// Commands that must pass afterwards; none means that the scan finds some.
    pub checks: Vec<String>,
    /// What becomes of an accepted diff.
    pub policy: Option<Policy>,
    /// Whether one repository goes first.
    pub pilot: Option<bool>,
    /// Classes of changes that a diff is not held for.
    pub allow: Vec<PathClass>,
    /// How hard Claude thinks.
    pub effort: Option<Effort>,
    /// The model.
    pub model: Option<String>,
    /// The SHA-256 of its text.
    pub digest: String,
}

/// A variable of a recipe.
#[derive(Debug, Clone, SimpleObject)]
pub struct RecipeVariable {
    /// As its places name it.
    pub name: String,
    /// What its values are.
    #[graphql(name = "type")]
    pub kind: RecipeVariableType,
    /// What it is for, in a sentence.
    pub description: String,
    /// Whether a job has to give it.
    pub required: bool,
    /// What stands in its places if a job does not give it.
    pub default: Option<String>,
    /// A value that it takes.
    pub example: String,
    /// All values that it takes, if they are listed.
    pub choices: Vec<String>,
    /// A regular expression that the whole value has to match.
    pub pattern: Option<String>,
    /// The least number, or the fewest characters, as digits.
    pub min: Option<String>,
    /// The greatest number, or the most characters, as digits.
    pub max: Option<String>,
}

/// What the values of a recipe's variable are.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipeVariableType {
    /// Any text, of several lines.
    Text,
    /// Text on one line, without blanks.
    Word,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of a list.
    Choice,
}

impl From<&Listed> for ListedRecipe {
    fn from(listed: &Listed) -> Self {
        Self {
            name: listed.name.clone(),
            source: (&listed.source).into(),
            recipe: listed.recipe.as_ref().map(Recipe::from),
            error: listed.error.clone(),
            hidden_by: listed.hidden_by.as_ref().map(RecipeSource::from),
        }
    }
}

impl From<&Source> for RecipeSource {
    fn from(source: &Source) -> Self {
        match source {
            Source::Text => Self::Text,
            Source::DataDirectory => Self::DataDirectory,
            Source::Repository { .. } => Self::Repository,
            Source::Shipped => Self::Shipped,
        }
    }
}

impl From<&Known> for Recipe {
    fn from(recipe: &Known) -> Self {
        Self {
            name: recipe.name.clone(),
            title: recipe.title.clone(),
            description: recipe.description.clone(),
            prompt: recipe.prompt.clone(),
            variables: recipe.variables.iter().map(RecipeVariable::from).collect(),
            checks: recipe.checks.clone(),
            policy: recipe.policy.map(Policy::from),
            pilot: recipe.pilot,
            allow: recipe.allow.iter().map(|class: &Class| (*class).into()).collect(),
            effort: recipe.effort.map(Effort::from),
            model: recipe.model.clone(),
            digest: recipe.digest.to_string(),
        }
    }
}

impl From<&Variable> for RecipeVariable {
    fn from(variable: &Variable) -> Self {
        Self {
            name: variable.name.clone(),
            kind: match variable.kind {
                VariableKind::Text => RecipeVariableType::Text,
                VariableKind::Word => RecipeVariableType::Word,
                VariableKind::Number => RecipeVariableType::Number,
                VariableKind::Boolean => RecipeVariableType::Boolean,
                VariableKind::Choice => RecipeVariableType::Choice,
            },
            description: variable.description.clone(),
            required: variable.required,
            default: variable.default.clone(),
            example: variable.example.clone(),
            choices: variable.choices.clone(),
            pattern: variable.pattern.clone(),
            min: variable.min.map(|least| least.to_string()),
            max: variable.max.map(|most| most.to_string()),
        }
    }
}
