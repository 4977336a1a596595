//! Where recipes come from, and which of two is used.

use std::path::{Path, PathBuf};

use cody_events::policy::PathClass;
use tempfile::TempDir;

use super::{Library, Listed, MAX_RECIPE_BYTES, Source};
use crate::git::init_with_commit;
use crate::job::command::Checks;
use crate::job::{Rejection, RejectionCode};
use crate::plan::tests::{Server, asking};
use crate::plan::{JobRequest, LocalPaths};

const SHIPPED: [&str; 4] = ["fix-lint", "licence-header", "replace-call", "upgrade-dependency"];

fn recipe(name: &str, prompt: &str) -> String {
    format!("name = \"{name}\"\ntitle = \"T\"\ndescription = \"D\"\nprompt = \"{prompt}\"\n")
}

/// A data directory, and repositories beside it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        std::fs::create_dir_all(place.0.path().join("data/recipes")).unwrap();
        place
    }

    fn library(&self) -> Library {
        Library::new(&self.0.path().join("data"))
    }

    fn own(&self, file: &str, text: &str) {
        std::fs::write(self.0.path().join("data/recipes").join(file), text).unwrap();
    }

    /// A repository that has these recipes committed.
    fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.0.path().join(name);
        let folder = path.join(".cody-batch/recipes");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(path.join("README"), name).unwrap();
        for (file, text) in files {
            std::fs::write(folder.join(file), text).unwrap();
        }
        init_with_commit(&path, "as it was").unwrap();
        path.canonicalize().unwrap()
    }

    fn server(&self) -> Server {
        let mut server = Server::new();
        server.config.data_dir = self.0.path().join("data");
        server
    }
}

/// The prompt of the recipe that is found.
fn prompt(library: &Library, name: &str, repositories: &[PathBuf]) -> Result<String, Rejection> {
    library.find(name, repositories).map(|recipe| recipe.prompt)
}

fn of(path: &Path) -> Source {
    Source::Repository { repository: path.display().to_string() }
}

fn entry<'a>(listed: &'a [Listed], name: &str, source: &Source) -> &'a Listed {
    listed.iter().find(|one| one.name == name && one.source == *source).unwrap()
}

#[test]
fn the_data_directory_wins_over_a_repository_and_that_over_what_is_shipped() {
    let place = Place::new();
    let library = place.library();
    let app = place.repository("app", &[("fix-lint.toml", &recipe("fix-lint", "app"))]);
    let both = [app.clone()];
    assert!(prompt(&library, "fix-lint", &[]).unwrap().starts_with("Fix all findings"));
    assert_eq!(prompt(&library, "fix-lint", &both).unwrap(), "app");
    let shipped = |listed: &[Listed]| entry(listed, "fix-lint", &Source::Shipped).hidden_by.clone();
    assert_eq!(shipped(&library.list(&[])), None);
    assert_eq!(shipped(&library.list(&both)), Some(of(&app)));
    // An edit counts at once.
    place.own("fix-lint.toml", &recipe("fix-lint", "own"));
    assert_eq!(prompt(&library, "fix-lint", &both).unwrap(), "own");
    let listed = library.list(&both);
    assert_eq!(shipped(&listed), Some(Source::DataDirectory));
    assert_eq!(entry(&listed, "fix-lint", &of(&app)).hidden_by, Some(Source::DataDirectory));
    assert_eq!(library.list(&[]).len(), 1 + SHIPPED.len());
}

#[test]
fn what_is_not_committed_is_not_there() {
    let place = Place::new();
    let app = place.repository("app", &[]);
    let folder = app.join(".cody-batch/recipes");
    std::fs::write(folder.join("later.toml"), recipe("later", "x")).unwrap();
    let no = place.library().find("later", &[app]).unwrap_err();
    assert_eq!(no.code, RejectionCode::NoSuchRecipe);
    assert!(no.next_step.contains("fix-lint, licence-header"), "{no}");
}

#[test]
fn one_repository_does_not_speak_for_others() {
    let place = Place::new();
    let library = place.library();
    let files = [("fix-lint.toml", recipe("fix-lint", "evil")), ("ours.toml", recipe("ours", "a"))];
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let app = place.repository("app", &files);
    let same = place.repository("same", &files[1..]);
    let other = place.repository("other", &[("ours.toml", &recipe("ours", "b"))]);
    let pair = [app.clone(), same.clone()];
    let no = library.find("fix-lint", &pair).unwrap_err();
    assert_eq!(no.code, RejectionCode::BadRecipe);
    assert!(no.message.contains("two recipes `fix-lint`"), "{no}");
    assert_eq!(entry(&library.list(&pair), "fix-lint", &Source::Shipped).hidden_by, None);
    assert_eq!(prompt(&library, "ours", &pair).unwrap(), "a");
    let no = library.find("ours", &[app, other]).unwrap_err();
    assert_eq!(no.code, RejectionCode::BadRecipe);
}

#[test]
fn a_broken_file_is_listed_with_its_error_and_breaks_nothing_else() {
    let place = Place::new();
    place.own("broken.toml", "name = ");
    place.own("named.toml", &recipe("otherwise", "x"));
    place.own("large.toml", &format!("#{}", "x".repeat(MAX_RECIPE_BYTES)));
    place.own("fine.toml", &recipe("fine", "x"));
    place.own("notes.txt", "no recipe");
    std::fs::create_dir(place.0.path().join("data/recipes/folder.toml")).unwrap();
    let bytes = place.0.path().join("data/recipes/bytes.toml");
    std::fs::write(bytes, b"name = \"\xff\"").unwrap();
    let library = place.library();
    let listed = library.list(&[]);
    for (name, words) in [
        ("broken", "line 1"),
        ("named", "Its name is `otherwise`"),
        ("large", "more than 65536 bytes"),
        ("folder", "it is no file"),
        ("bytes", "no UTF-8"),
    ] {
        let one = entry(&listed, name, &Source::DataDirectory);
        let error = one.error.as_deref().unwrap();
        assert!(one.recipe.is_none() && error.contains(words), "{name}: {error}");
        let no = library.find(name, &[]).unwrap_err();
        assert_eq!(no.code, RejectionCode::BadRecipe, "{name}");
    }
    assert_eq!(prompt(&library, "fine", &[]).unwrap(), "x");
    assert_eq!(listed.len(), 6 + SHIPPED.len());
}

#[test]
fn nothing_is_read_without_end() {
    let place = Place::new();
    for number in 0..230 {
        place.own(&format!("r{number:03}.toml"), &recipe(&format!("r{number:03}"), "x"));
    }
    let library = place.library();
    let listed = library.list(&[]);
    assert_eq!(listed.len(), 200 + 1 + SHIPPED.len());
    let rest = entry(&listed, "recipes", &Source::DataDirectory);
    assert!(rest.error.as_deref().unwrap().contains("30 more files"), "{rest:?}");
    assert!(library.find("r229", &[]).is_ok(), "one that is named is found");
    let files: Vec<(String, String)> =
        (0..60).map(|n| (format!("n{n:02}.toml"), recipe(&format!("n{n:02}"), "x"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let full = place.repository("full", &files);
    let of_full = |one: &&Listed| one.source == of(&full);
    assert_eq!(library.list(std::slice::from_ref(&full)).iter().filter(of_full).count(), 50);
}

#[test]
fn a_name_leads_nowhere() {
    let place = Place::new();
    std::fs::write(place.0.path().join("data/secret.toml"), recipe("secret", "x")).unwrap();
    for name in ["../secret", "", "A", "a/b", "fix-lint.toml", "fix lint", "a\u{202e}"] {
        let no = place.library().find(name, &[]).unwrap_err();
        assert_eq!(no.code, RejectionCode::NoSuchRecipe, "{name}");
    }
}

#[test]
fn a_door_finds_recipes_only_where_it_may_look() {
    let place = Place::new();
    let app = place.repository("app", &[("ours.toml", &recipe("ours", "Ours."))]);
    let request = JobRequest {
        prompt: String::new(),
        recipe: Some("ours".to_owned()),
        ..asking(&[app.to_str().unwrap()])
    };
    let mut server = place.server();
    assert_eq!(server.plan(&request).unwrap().prompt, "Ours.");
    server.local_paths = LocalPaths::Below(vec![place.0.path().to_owned()]);
    assert_eq!(server.plan(&request).unwrap().prompt, "Ours.");
    server.local_paths = LocalPaths::Below(Vec::new());
    assert_eq!(server.refuses(&request), RejectionCode::PathNotAllowed);
    let elsewhere = JobRequest { repositories: vec!["a/b".to_owned()], ..request };
    assert_eq!(server.refuses(&elsewhere), RejectionCode::NoSuchRecipe);
}

#[test]
fn every_shipped_recipe_makes_a_job_of_its_examples() {
    let place = Place::new();
    let server = place.server();
    for one in place.library().list(&[]) {
        let recipe = one.recipe.unwrap_or_else(|| panic!("{}: {:?}", one.name, one.error));
        assert!(SHIPPED.contains(&recipe.name.as_str()), "{}", recipe.name);
        let (all, needed): (Vec<_>, Vec<_>) =
            (recipe.variables.clone(), recipe.variables.iter().filter(|v| v.required).collect());
        let asked = |variables: &[&super::Variable]| JobRequest {
            prompt: String::new(),
            recipe: Some(recipe.name.clone()),
            variables: variables.iter().map(|v| (v.name.clone(), v.example.clone())).collect(),
            ..asking(&["a/b"])
        };
        for variables in [all.iter().collect::<Vec<_>>(), needed] {
            let request = asked(&variables);
            let wish = server.plan(&request).unwrap_or_else(|no| panic!("{}: {no}", recipe.name));
            assert!(!wish.prompt.contains("{{") && wish.prompt.len() < 8_000, "{}", recipe.name);
            for v in &variables {
                let is_there = wish.prompt.contains(&v.example)
                    || matches!(&wish.checks, Checks::Given(all) if all.contains(&v.example));
                assert!(is_there, "{}: {}", recipe.name, v.name);
            }
        }
        assert!(server.plan(&asked(&[])).is_err(), "{} needs something", recipe.name);
    }
}

#[test]
fn shipped_recipes_check_what_they_are_given_and_allow_little() {
    let place = Place::new();
    let plan = |name: &str, values: &[(&str, &str)]| {
        let variables = values.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let recipe = Some(name.to_owned());
        let request = JobRequest { prompt: String::new(), recipe, variables, ..asking(&["a/b"]) };
        place.server().plan(&request).unwrap()
    };
    let upgrade = plan("upgrade-dependency", &[("dependency", "left-pad"), ("version", "2")]);
    assert_eq!(upgrade.checks, Checks::Detected, "without a command, the tests are found");
    assert_eq!(Vec::from_iter(upgrade.allow), [PathClass::Lockfiles]);
    assert!(upgrade.prompt.contains("`left-pad` to version 2 wherever"), "{}", upgrade.prompt);
    let lint = plan("fix-lint", &[("rule", "F401"), ("command", "ruff check --select F401 .")]);
    assert_eq!(lint.checks, Checks::Given(vec!["ruff check --select F401 .".to_owned()]));
    assert!(lint.allow.is_empty() && !lint.skip_review);
}

#[test]
fn the_example_of_the_docs_is_a_recipe() {
    let docs = include_str!("../../../docs/recipes.md");
    let section = docs.split("## Your own\n").nth(1).unwrap();
    let is_example = |line: &&str| line.is_empty() || line.starts_with("    ");
    let lines: Vec<&str> = section.lines().take_while(is_example).collect();
    let text = lines.join("\n").replace("\n    ", "\n");
    let recipe = super::Recipe::parse(text.trim_start(), Source::Shipped).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.variables.len()), ("rename-flag", 3));
}
