//! The flags of `run` that name a recipe, fill it in, and say things about single repositories.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;

use crate::plan::JobRequest;
use crate::plan::recipes::MAX_RECIPE_BYTES;

/// A recipe and what belongs to it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Recipes (list them with `cody-batch recipes`)")]
pub struct RecipeArgs {
    /// A recipe, by its name or its file's path; --prompt is added to it
    #[arg(long, value_name = "NAME|PATH")]
    recipe: Option<String>,
    /// What stands in the places of one of its variables (repeat for more)
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    variables: Vec<(String, String)>,
    /// What Claude is told for one repository alone, named as with --repo (repeat for more)
    #[arg(long = "note", value_name = "REPO=TEXT", value_parser = pair)]
    notes: Vec<(String, String)>,
    /// Do one repository first; the others wait until its diff is approved
    #[arg(long, conflicts_with = "no_pilot")]
    pilot: bool,
    /// Do all repositories at once
    #[arg(long)]
    no_pilot: bool,
}

impl RecipeArgs {
    /// Lays them over `request`, and reads the recipe's file if it is one.
    pub fn lay_over(&self, request: &mut JobRequest) -> Result<(), anyhow::Error> {
        if let Some(recipe) = &self.recipe {
            request.recipe = Some(recipe.clone());
            request.recipe_text = None;
        }
        if let Some(path) = request.recipe.take_if(|recipe| is_path(recipe)) {
            request.recipe_text = Some(read(Path::new(&path))?);
        }
        request.variables.extend(self.variables.iter().cloned());
        let notes = self.notes.iter().map(|note| whole_name(note, &request.repositories));
        let notes: BTreeMap<String, String> = notes.collect();
        request.repository_notes.extend(notes);
        if self.pilot || self.no_pilot {
            request.pilot = Some(self.pilot);
        }
        Ok(())
    }
}

/// A recipe's name has neither slash nor dot.
fn is_path(text: &str) -> bool {
    text.contains('/') || text.ends_with(".toml")
}

fn read(path: &Path) -> Result<String, anyhow::Error> {
    let unreadable = || format!("{} cannot be read", path.display());
    let file = std::fs::File::open(path).with_context(unreadable)?;
    let mut text = String::new();
    // One byte too many is enough to be refused.
    file.take(MAX_RECIPE_BYTES as u64 + 1).read_to_string(&mut text).with_context(unreadable)?;
    Ok(text)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// A path may have an `=` in it as well: the note is for the repository that is named so.
fn whole_name(note: &(String, String), repositories: &[String]) -> (String, String) {
    let whole = format!("{}={}", note.0, note.1);
    let found = repositories.iter().filter_map(|repository| {
        let text = whole.strip_prefix(repository.as_str())?.strip_prefix('=')?;
        Some((repository.clone(), text.to_owned()))
    });
    found.max_by_key(|(repository, _)| repository.len()).unwrap_or_else(|| note.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_at_the_right_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
        let repositories = ["/a".to_owned(), "/a=b".to_owned()];
        let note = |text| whole_name(&pair(text).unwrap(), &repositories);
        assert_eq!(note("/a=words"), ("/a".to_owned(), "words".to_owned()));
        assert_eq!(note("/a=b=words=x"), ("/a=b".to_owned(), "words=x".to_owned()));
        assert_eq!(note("/c=words"), ("/c".to_owned(), "words".to_owned()));
    }

    #[test]
    fn what_is_a_path_is_told_from_a_name() {
        assert!(is_path("./x.toml") && is_path("x.toml") && is_path("/a/x"));
        assert!(!is_path("fix-lint"));
    }
}
