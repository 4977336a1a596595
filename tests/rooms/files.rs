//! The Rust files of this repository, and which room each belongs to.

use std::path::Path;

/// One file.
#[derive(Debug, Clone)]
pub struct File {
    /// From the root of the repository.
    pub path: String,
    pub source: String,
}

impl File {
    /// A file that stands nowhere, for tests of the rules themselves.
    pub fn planted(path: &str, source: &str) -> Self {
        Self { path: path.to_owned(), source: source.to_owned() }
    }

    /// The room: a crate, or the first name below `src/`.
    pub fn room(&self) -> &str {
        if let Some((krate, _)) = self.path.split_once("/src/") {
            return krate;
        }
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = below.split('/').next().unwrap_or(below);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The names of the modules that this file is in, from the crate's root.
    pub fn module(&self) -> Vec<&str> {
        let below = self.path.split_once("src/").map_or(self.path.as_str(), |(_, below)| below);
        let below = below.strip_suffix(".rs").unwrap_or(below);
        let mut names: Vec<&str> = below.split('/').collect();
        if matches!(names.last(), Some(&"mod" | &"lib" | &"main")) {
            names.pop();
        }
        names
    }

    /// Whether all of it is a test.
    pub fn is_test(&self) -> bool {
        self.path.split('/').any(|part| {
            let stem = part.strip_suffix(".rs").unwrap_or(part);
            stem == "tests" || stem.ends_with("_tests")
        })
    }
}

/// All files of the two crates and of the root package, tests of rooms included.
pub fn all() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in
        ["src", "events/src", "projections/src", "tests", "events/tests", "projections/tests"]
    {
        collect(root, &root.join(folder), &mut files);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            // Programs that others wrote.
            if !matches!(name.as_str(), "node_modules" | ".venv" | "packages" | "target") {
                collect(root, &path, files);
            }
        } else if name.ends_with(".rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            files.push(File { path, source });
        }
    }
}
