//! Recipes as one machine sends them to another: by their text, from which they are read again.

use serde::{Deserialize, Serialize};

use super::{BadRecipe, Listed, Recipe, Source};

/// A recipe's text, or why there is none, and where it comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Written {
    name: String,
    source: Source,
    text: Option<String>,
    error: Option<String>,
    hidden_by: Option<Source>,
}

impl Written {
    /// A recipe that can be used.
    pub fn of(recipe: &Recipe) -> Self {
        Self {
            name: recipe.name.clone(),
            source: recipe.source.clone(),
            text: Some(recipe.text.clone()),
            error: None,
            hidden_by: None,
        }
    }

    /// A recipe of a list.
    pub fn listed(listed: &Listed) -> Self {
        Self {
            name: listed.name.clone(),
            source: listed.source.clone(),
            text: listed.recipe.as_ref().map(|recipe| recipe.text.clone()),
            error: listed.error.clone(),
            hidden_by: listed.hidden_by.clone(),
        }
    }

    /// The recipe again.
    pub fn read(self) -> Result<Recipe, BadRecipe> {
        Recipe::parse(&self.text.unwrap_or_default(), self.source)
    }

    /// The recipe of a list again.
    pub fn read_listed(self) -> Listed {
        let read = self.text.map(|text| Recipe::parse(&text, self.source.clone())).transpose();
        let (recipe, bad) = match read {
            Ok(recipe) => (recipe, None),
            Err(bad) => (None, Some(bad.to_string())),
        };
        let (name, source, hidden_by) = (self.name, self.source, self.hidden_by);
        Listed { name, source, recipe, error: self.error.or(bad), hidden_by }
    }
}
