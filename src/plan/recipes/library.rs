//! Where recipes come from, in order of precedence: the data directory, the local repositories of a
//! job, and those that came with the program. Nothing is kept in memory: an edit counts at once.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{BadRecipe, MAX_RECIPE_BYTES, Recipe, Source, is_name, too_large};
use crate::git::{FolderFile, FolderLimits, head_folder};
use crate::job::{Rejection, RejectionCode};

/// Files of a data directory that are listed.
const MAX_FILES: usize = 200;
/// Names of a folder that are looked at.
const MAX_NAMES: usize = 10_000;
/// Where a repository keeps its own.
const FOLDER: &str = ".cody-batch/recipes";
/// What is read of a repository.
const LIMITS: FolderLimits = FolderLimits { files: 50, file_bytes: MAX_RECIPE_BYTES };
/// Those that came with the program, by name.
const SHIPPED: [(&str, &str); 4] = [
    ("fix-lint", include_str!("shipped/fix-lint.toml")),
    ("licence-header", include_str!("shipped/licence-header.toml")),
    ("replace-call", include_str!("shipped/replace-call.toml")),
    ("upgrade-dependency", include_str!("shipped/upgrade-dependency.toml")),
];

/// All recipes of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    folder: PathBuf,
}

/// A recipe in a list, or a file that should have been one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub name: String,
    pub source: Source,
    /// Nothing if it cannot be used.
    pub recipe: Option<Recipe>,
    /// Why it cannot be used, and what to do.
    pub error: Option<String>,
    /// Where the recipe of the same name comes from that is used in its place.
    pub hidden_by: Option<Source>,
}

/// A name, and the recipe that its file holds.
type Named = (String, Result<Recipe, BadRecipe>);

impl Library {
    /// The library of a data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("recipes") }
    }

    /// Where the server's owner writes recipes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything that there is for a job of these local repositories, by source and name.
    pub fn list(&self, repositories: &[PathBuf]) -> Vec<Listed> {
        let mut listed = Vec::new();
        add(&mut listed, &Source::DataDirectory, self.own_all());
        for repository in repositories {
            let source = of_repository(repository);
            let found = of_head(repository, &|name| name.ends_with(".toml"));
            add(&mut listed, &source, found.unwrap_or_else(|bad| vec![(FOLDER.into(), Err(bad))]));
        }
        let shipped = SHIPPED.iter().map(|(name, text)| {
            ((*name).to_owned(), named(name, text.as_bytes(), Source::Shipped))
        });
        add(&mut listed, &Source::Shipped, shipped.collect());
        hide(&mut listed, repositories.len());
        listed
    }

    /// The recipe `name`, for a job of these local repositories.
    pub fn find(&self, name: &str, repositories: &[PathBuf]) -> Result<Recipe, Rejection> {
        if !is_name(name) {
            return Err(self.unknown(name, repositories));
        }
        let refused = |source: Source| move |bad: BadRecipe| bad.rejection(name, &source);
        if let Some(found) = self.own(name) {
            return found.map_err(refused(Source::DataDirectory));
        }
        let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
        let mut found: Option<Recipe> = None;
        for repository in repositories {
            let source = of_repository(repository);
            let file = format!("{name}.toml");
            let of_head = of_head(repository, &|other| other == file);
            for (_, recipe) in of_head.map_err(refused(source.clone()))? {
                let recipe = recipe.map_err(refused(source.clone()))?;
                match &found {
                    Some(other) if other.digest != recipe.digest => {
                        return Err(ambiguous(name, &other.source, &recipe.source));
                    }
                    Some(_) => {}
                    None => found = Some(recipe),
                }
            }
        }
        match (found, shipped) {
            // One repository does not say what is done to others under a name that people know.
            (Some(own), Some(_)) if repositories.len() > 1 => {
                Err(ambiguous(name, &own.source, &Source::Shipped))
            }
            (Some(own), _) => Ok(own),
            (None, Some((_, text))) => {
                named(name, text.as_bytes(), Source::Shipped).map_err(refused(Source::Shipped))
            }
            (None, None) => Err(self.unknown(name, repositories)),
        }
    }

    /// The recipe of the data directory that is called `name`.
    fn own(&self, name: &str) -> Option<Result<Recipe, BadRecipe>> {
        let path = self.folder.join(format!("{name}.toml"));
        match read(&path) {
            Ok(bytes) => Some(named(name, &bytes, Source::DataDirectory)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(unreadable(&path, &error))),
        }
    }

    fn own_all(&self) -> Vec<Named> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                return vec![("recipes".to_owned(), Err(unreadable(&self.folder, &error)))];
            }
        };
        let names = entries.take(MAX_NAMES).flatten().filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_suffix(".toml").map(str::to_owned)
        });
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        let left_out = names.len().saturating_sub(MAX_FILES);
        names.truncate(MAX_FILES);
        let mut all: Vec<Named> = names
            .into_iter()
            .filter_map(|name| self.own(&name).map(|recipe| (name, recipe)))
            .collect();
        if left_out > 0 {
            let what = format!("{left_out} more files are not listed; {MAX_FILES} are the most.");
            all.push(("recipes".to_owned(), Err(BadRecipe::new(what, "Take some out."))));
        }
        all
    }

    fn unknown(&self, name: &str, repositories: &[PathBuf]) -> Rejection {
        let listed = self.list(repositories);
        let mut names: Vec<&str> = listed
            .iter()
            .filter(|listed| listed.recipe.is_some())
            .map(|listed| listed.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(40);
        let shown: String = name.chars().take(MAX_SHOWN).collect();
        Rejection::new(
            RejectionCode::NoSuchRecipe,
            format!("There is no recipe `{}`.", shown.escape_debug()),
            format!("Choose one of {}, or give the path of a file.", names.join(", ")),
        )
    }
}

/// How much of a wrong name is repeated.
const MAX_SHOWN: usize = 64;

/// The recipes of the last commit of a local repository whose files' names are wanted.
fn of_head(path: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Named>, BadRecipe> {
    let files = head_folder(path, FOLDER, LIMITS, is_wanted).map_err(|error| {
        let what = format!("The recipes of {} cannot be read: {error}.", path.display());
        BadRecipe::new(what, "Check the repository with `git fsck`.")
    })?;
    let recipe = |FolderFile { name, content }: FolderFile| {
        let name = name.strip_suffix(".toml").unwrap_or(&name).to_owned();
        let recipe = match content {
            Some(bytes) => self::named(&name, &bytes, of_repository(path)),
            None => Err(too_large()),
        };
        (name, recipe)
    };
    Ok(files.into_iter().map(recipe).collect())
}

fn of_repository(path: &Path) -> Source {
    Source::Repository { repository: path.display().to_string() }
}

/// The recipe in `bytes`, which has to be called as its file is.
fn named(name: &str, bytes: &[u8], source: Source) -> Result<Recipe, BadRecipe> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| BadRecipe::new("Its file is no UTF-8.", "Save it as UTF-8."))?;
    let recipe = Recipe::parse(text, source)?;
    if recipe.name != name {
        return Err(BadRecipe::new(
            format!("Its name is `{}`, and its file is called `{name}.toml`.", recipe.name),
            "Call both alike.",
        ));
    }
    Ok(recipe)
}

/// A file, as far as a recipe may be long and a byte more.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    // Whoever opens a pipe waits for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_RECIPE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> BadRecipe {
    let what = format!("{} cannot be read: {error}.", path.display());
    BadRecipe::new(what, "Check what it is, and who may read it.")
}

fn ambiguous(name: &str, one: &Source, other: &Source) -> Rejection {
    Rejection::new(
        RejectionCode::BadRecipe,
        format!("There are two recipes `{name}` for this job: {one}, and {other}."),
        "Copy the one that you mean into `recipes/` of the data directory, or give its file's path.",
    )
}

fn add(listed: &mut Vec<Listed>, source: &Source, all: Vec<Named>) {
    listed.extend(all.into_iter().map(|(name, recipe)| {
        let (recipe, error) = match recipe {
            Ok(recipe) => (Some(recipe), None),
            Err(bad) => (None, Some(bad.to_string())),
        };
        let name = super::on_one_line(&name).into_owned();
        Listed { name, source: source.clone(), recipe, error, hidden_by: None }
    }));
}

/// Notes which ones are used in place of which: the first of a name, but no repository's in place of a
/// shipped one where the job has `repositories`, and not one.
fn hide(listed: &mut [Listed], repositories: usize) {
    for index in 1..listed.len() {
        let (before, rest) = listed.split_at_mut(index);
        let Some(one) = rest.first_mut() else { continue };
        let hides = |other: &&Listed| {
            let is_stranger = matches!(other.source, Source::Repository { .. });
            other.name == one.name && (!is_stranger || repositories == 1)
        };
        one.hidden_by = before.iter().find(hides).map(|other| other.source.clone());
    }
}
