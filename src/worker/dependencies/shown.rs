//! What commands see of fetched dependencies: a few read-only places, each a link on this machine to
//! what is right for the present step, and variables that lead there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cody_events::evidence::Ecosystem;

/// Where commands find what was fetched.
const INSIDE: &str = "/dependencies";
/// Where they look for it. Npm's is laid out in the repository.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("CARGO_HOME", "/dependencies/cargo"),
    ("PIP_NO_INDEX", "1"),
    ("PIP_FIND_LINKS", "/dependencies/pip/wheels"),
    ("PYTHONPATH", "/dependencies/pip/site"),
];

/// The places of one attempt.
#[derive(Debug)]
pub(super) struct Shown {
    dir: PathBuf,
}

impl Shown {
    /// Places in `dir`: cargo's leads to its `home`, in which it finds everything; the others to
    /// nothing yet.
    pub(super) fn new(dir: PathBuf, home: &Path) -> io::Result<Self> {
        let shown = Self { dir };
        fs::create_dir_all(shown.nothing())?;
        shown.point(Ecosystem::Cargo, home)?;
        shown.point(Ecosystem::Npm, &shown.nothing())?;
        shown.point(Ecosystem::Pip, &shown.nothing())?;
        Ok(shown)
    }

    /// The directory of the places, on this machine.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What every command gets to see.
    pub(super) fn mounts(&self) -> Vec<(PathBuf, PathBuf)> {
        [Ecosystem::Cargo, Ecosystem::Npm, Ecosystem::Pip]
            .map(|ecosystem| (self.place(ecosystem), Path::new(INSIDE).join(ecosystem.to_string())))
            .to_vec()
    }

    /// The variables that lead there.
    pub(super) fn environment() -> Vec<(String, String)> {
        ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Shows a result, or nothing of an ecosystem that has none.
    pub(super) fn show(&self, ecosystem: Ecosystem, result: Option<&Path>) -> io::Result<()> {
        match (ecosystem, result) {
            (Ecosystem::Cargo, _) => Ok(()),
            (_, Some(result)) => self.point(ecosystem, result),
            (_, None) => self.point(ecosystem, &self.nothing()),
        }
    }

    fn place(&self, ecosystem: Ecosystem) -> PathBuf {
        self.dir.join(ecosystem.to_string())
    }

    fn nothing(&self) -> PathBuf {
        self.dir.join("nothing")
    }

    fn point(&self, ecosystem: Ecosystem, target: &Path) -> io::Result<()> {
        let link = self.place(ecosystem);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::os::unix::fs::symlink(target, link)
    }
}
