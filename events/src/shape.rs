//! The shape of a diff: what kind of a change it is, without a word of what is in it. Two diffs of one
//! job that are alike have shapes that are alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diff::{ChangedFile, FileChange};
use crate::digest::Sha256;

/// The most kinds of files that a shape tells apart.
pub const MAX_KINDS: usize = 24;

/// How many files of which kinds a diff changes, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffShape {
    pub added: u32,
    pub modified: u32,
    pub deleted: u32,
    pub mode_changed: u32,
    pub binary: u32,
    /// What the changed files are for; each once, in order.
    pub areas: Vec<Area>,
    /// A mark for each kind of file, by its extension or, without one, its name; at most
    /// [`MAX_KINDS`]; each once, in order.
    pub kinds: Vec<KindMark>,
}

/// What a file is for, as far as its path tells.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    Tests,
    Docs,
    /// What builds, checks and delivers by itself.
    Automation,
    /// Manifests and lock files of package managers.
    Dependencies,
    /// All other files.
    Code,
}

impl Area {
    /// In words, as part of a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Tests => "tests",
            Self::Docs => "documentation",
            Self::Automation => "automation",
            Self::Dependencies => "manifests or lock files",
            Self::Code => "code",
        }
    }

    /// What the file at `path` is for.
    pub fn of(path: &str) -> Self {
        let path = path.to_lowercase();
        let name = path.rsplit('/').next().unwrap_or(&path);
        let folders: Vec<&str> = path.split('/').rev().skip(1).collect();
        let is_in = |names: &[&str]| folders.iter().any(|folder| names.contains(folder));
        let stem = name.split('.').next().unwrap_or(name);
        if is_in(&[".github", ".gitlab", ".circleci", ".buildkite", ".husky"])
            || [".gitlab-ci.yml", "jenkinsfile", ".travis.yml", "azure-pipelines.yml"]
                .contains(&name)
        {
            Self::Automation
        } else if is_in(&["test", "tests", "__tests__", "spec", "specs", "testdata"])
            || stem.starts_with("test_")
            || stem.ends_with("_test")
            || stem.ends_with("_spec")
            || name.contains(".test.")
            || name.contains(".spec.")
        {
            Self::Tests
        } else if MANIFESTS.contains(&name) || name.ends_with(".lock") || stem == "requirements" {
            Self::Dependencies
        } else if is_in(&["doc", "docs"])
            || [".md", ".rst", ".adoc", ".txt"].iter().any(|end| name.ends_with(end))
            || ["readme", "changelog", "license", "copying", "notice"].contains(&stem)
        {
            Self::Docs
        } else {
            Self::Code
        }
    }
}

/// Files that say what a repository depends on.
const MANIFESTS: [&str; 14] = [
    "cargo.toml",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "npm-shrinkwrap.json",
    "pyproject.toml",
    "setup.py",
    "pipfile",
    "go.mod",
    "go.sum",
    "pom.xml",
    "build.gradle",
    "gemfile",
    "composer.json",
];

/// The first eight bytes of a SHA-256, in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct KindMark(#[schemars(regex(pattern = "^[0-9a-f]{16}$"))] String);

impl KindMark {
    /// The mark of the kind of file that [`kind_of`] names.
    pub fn of(kind: &str) -> Self {
        let mut mark = Sha256::of(kind.as_bytes()).to_string();
        mark.truncate(16);
        Self(mark)
    }
}

/// The kind of a file: its extension with the dot, or its name if it has none; in lowercase.
pub fn kind_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    match name.rfind('.') {
        Some(dot) if dot > 0 => name[dot..].to_owned(),
        Some(_) | None => name,
    }
}

impl DiffShape {
    /// The shape of a diff of these files.
    pub fn of(files: &[ChangedFile]) -> Self {
        let mut shape = Self::default();
        for file in files {
            let count = match file.change {
                FileChange::Added => &mut shape.added,
                FileChange::Modified => &mut shape.modified,
                FileChange::Deleted => &mut shape.deleted,
                FileChange::ModeChanged => &mut shape.mode_changed,
            };
            *count = count.saturating_add(1);
            shape.binary = shape.binary.saturating_add(u32::from(file.binary));
            let path = file.path.display();
            insert(&mut shape.areas, Area::of(&path));
            if shape.kinds.len() < MAX_KINDS {
                insert(&mut shape.kinds, KindMark::of(&kind_of(&path)));
            }
        }
        shape
    }
}

/// Adds to a list in which each stands once, in order.
fn insert<T: Ord>(list: &mut Vec<T>, one: T) {
    if let Err(place) = list.binary_search(&one) {
        list.insert(place, one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_what_files_are_for() {
        let cases = [
            ("src/main.rs", Area::Code),
            ("tests/main.rs", Area::Tests),
            ("pkg/api_test.go", Area::Tests),
            ("web/button.spec.ts", Area::Tests),
            (".github/workflows/ci.yml", Area::Automation),
            ("Cargo.lock", Area::Dependencies),
            ("requirements.txt", Area::Dependencies),
            ("README.md", Area::Docs),
            ("docs/logo.svg", Area::Docs),
            ("greet.sh", Area::Code),
        ];
        for (path, area) in cases {
            assert_eq!(Area::of(path), area, "{path}");
        }
    }

    #[test]
    fn a_kind_is_an_extension_or_a_name() {
        assert_eq!(kind_of("a/b.tar.GZ"), ".gz");
        assert_eq!(kind_of("a/Makefile"), "makefile");
        assert_eq!(kind_of(".gitignore"), ".gitignore");
    }
}
