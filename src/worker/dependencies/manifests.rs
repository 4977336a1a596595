//! What decides which dependencies a repository has: its manifests and lock files, by ecosystem, and
//! the small copy of them that a fetch works in. Nothing else of the repository is in that copy, so
//! nothing of it can run there: no configuration, no toolchain, no script.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cody_events::digest::Sha256;
use cody_events::evidence::Ecosystem;
use cody_events::tree::RepoPath;

/// The largest manifest or lock file.
pub(super) const MAX_FILE_BYTES: u64 = 16 << 20;
/// Manifests of one repository; what comes after is as if it were not there.
const MOST_FILES: usize = 5_000;
/// Bytes of all manifests of one ecosystem that are read.
const MOST_BYTES: usize = 64 << 20;
/// Directories that one ecosystem is fetched for.
const MOST_ROOTS: usize = 32;

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Manifest(Ecosystem),
    Lock(Ecosystem),
    /// It matters that it is there.
    Name(Ecosystem),
    /// A part of `node_modules` that the repository has itself.
    Vendored,
}

/// The manifests of one ecosystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifests {
    pub(super) ecosystem: Ecosystem,
    /// Manifests and lock files, with what they say.
    files: BTreeMap<RepoPath, Vec<u8>>,
    /// Files that matter by their name alone: cargo looks which targets there are.
    names: Vec<RepoPath>,
}

/// Whether a path is looked at at all.
pub(super) fn matters(path: &RepoPath) -> bool {
    part(path).is_some()
}

/// The manifests among `paths`, of which `read` knows the content. What it does not know is not there.
pub(super) fn find<'a>(
    paths: impl IntoIterator<Item = &'a RepoPath>,
    mut read: impl FnMut(&RepoPath) -> Option<Vec<u8>>,
) -> Vec<Manifests> {
    let mut found: BTreeMap<Ecosystem, Manifests> = BTreeMap::new();
    let mut is_vendored = false;
    for path in paths {
        let ecosystem = match part(path) {
            None => continue,
            Some(Part::Vendored) => {
                is_vendored = true;
                continue;
            }
            Some(Part::Manifest(ecosystem) | Part::Lock(ecosystem) | Part::Name(ecosystem)) => {
                ecosystem
            }
        };
        let manifests = found.entry(ecosystem).or_insert_with(|| Manifests {
            ecosystem,
            files: BTreeMap::new(),
            names: Vec::new(),
        });
        match part(path) {
            None | Some(Part::Vendored) => {}
            Some(Part::Name(_)) => manifests.names.push(path.clone()),
            Some(Part::Manifest(_) | Part::Lock(_)) if manifests.is_full() => {}
            Some(Part::Manifest(_) | Part::Lock(_)) => {
                if let Some(content) = read(path) {
                    manifests.files.insert(path.clone(), content);
                }
            }
        }
    }
    let mut found: Vec<Manifests> = found.into_values().collect();
    // What is laid out would take the place of what the repository has.
    found.retain(|manifests| !(is_vendored && manifests.ecosystem == Ecosystem::Npm));
    found.retain(|manifests| !manifests.roots().is_empty());
    found
}

fn part(path: &RepoPath) -> Option<Part> {
    use Ecosystem::{Cargo, Npm, Pip};
    let mut components: Vec<&[u8]> = path.components().collect();
    let name = components.pop()?;
    if components.contains(&b"node_modules".as_slice()) {
        return Some(Part::Vendored);
    }
    let is_requirements = name.ends_with(b".txt")
        && match components.as_slice() {
            [] => name.starts_with(b"requirements") || name.starts_with(b"constraints"),
            [folder] => *folder == b"requirements",
            _ => false,
        };
    match name {
        b"Cargo.toml" => Some(Part::Manifest(Cargo)),
        b"Cargo.lock" => Some(Part::Lock(Cargo)),
        b"package.json" => Some(Part::Manifest(Npm)),
        b"package-lock.json" | b"npm-shrinkwrap.json" => Some(Part::Lock(Npm)),
        // Whoever has these is served by another program than npm.
        b"yarn.lock" | b"pnpm-lock.yaml" | b"bun.lock" => Some(Part::Name(Npm)),
        _ if is_requirements => Some(Part::Manifest(Pip)),
        _ if name.ends_with(b".rs") => Some(Part::Name(Cargo)),
        _ => None,
    }
}

impl Manifests {
    fn is_full(&self) -> bool {
        let bytes: usize = self.files.values().map(Vec::len).sum();
        self.files.len() >= MOST_FILES || bytes >= MOST_BYTES
    }

    /// Of all that decides what is fetched.
    pub(super) fn key(&self) -> Sha256 {
        let mut text = format!("cody-batch/dependencies/1\n{}\n", self.ecosystem).into_bytes();
        for (path, content) in &self.files {
            text.extend_from_slice(&Sha256::of(path.as_bytes()).0);
            text.extend_from_slice(&Sha256::of(content).0);
        }
        Sha256::of(&text)
    }

    /// How many names there are, which may decide whether a fetch of the same key succeeds.
    pub(super) fn name_count(&self) -> usize {
        self.names.len()
    }

    /// Leaves the copy in `dir`.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let empty = Vec::new();
        let is_cargo = self.ecosystem == Ecosystem::Cargo;
        let named = self.names.iter().filter(|_| is_cargo).map(|path| (path, &empty));
        for (path, content) in self.files.iter().chain(named) {
            let place = dir.join(OsStr::from_bytes(path.as_bytes()));
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(place, content)?;
        }
        Ok(())
    }

    /// The same, with other contents of lock files.
    pub(super) fn with_locks(&self, locks: &BTreeMap<RepoPath, Vec<u8>>) -> Self {
        let mut other = self.clone();
        other.files.extend(locks.iter().map(|(path, content)| (path.clone(), content.clone())));
        other
    }

    /// The lock files, with what the repository has in them.
    pub(super) fn locks(&self) -> impl Iterator<Item = (&RepoPath, &[u8])> {
        let locks = self.files.iter().filter(|(path, _)| matches!(part(path), Some(Part::Lock(_))));
        locks.map(|(path, content)| (path, content.as_slice()))
    }

    /// The directories for which something is fetched, as a shell is given them: those with a lock
    /// file, or the topmost with a manifest. A name that is no text is none of them.
    pub(super) fn roots(&self) -> Vec<String> {
        if self.ecosystem == Ecosystem::Pip && self.requirements().is_empty() {
            return Vec::new();
        }
        let is_foreign = self.ecosystem == Ecosystem::Npm && !self.names.is_empty();
        let mut roots: Vec<String> = self.locks().filter_map(|(path, _)| folder(path)).collect();
        if roots.is_empty() && !is_foreign {
            let manifests = self.files.keys().filter_map(folder);
            let least = manifests.clone().map(|root| depth(&root)).min().unwrap_or(0);
            roots = manifests.filter(|root| depth(root) == least).collect();
        }
        roots.sort();
        roots.dedup();
        roots.truncate(MOST_ROOTS);
        roots
    }

    /// The files that pip is given, of those at its root.
    pub(super) fn requirements(&self) -> Vec<String> {
        let texts = self.files.keys().filter_map(|path| str::from_utf8(path.as_bytes()).ok());
        texts.filter(|path| path.starts_with("requirements")).map(str::to_owned).collect()
    }
}

/// The directory of a path, `.` for the top.
fn folder(path: &RepoPath) -> Option<String> {
    let text = str::from_utf8(path.as_bytes()).ok()?;
    Some(text.rsplit_once('/').map_or_else(|| ".".to_owned(), |(folder, _)| folder.to_owned()))
}

fn depth(folder: &str) -> usize {
    if folder == "." { 0 } else { folder.split('/').count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<Manifests> {
        let files: BTreeMap<RepoPath, Vec<u8>> = files
            .iter()
            .map(|(path, content)| (RepoPath::new(*path).unwrap(), content.as_bytes().to_vec()))
            .collect();
        find(files.keys(), |path| files.get(path).cloned())
    }

    #[test]
    fn each_ecosystem_has_its_roots() {
        let found = found(&[
            ("Cargo.toml", "[workspace]"),
            ("Cargo.lock", "version = 4"),
            ("fuzz/Cargo.toml", "[package]"),
            ("fuzz/Cargo.lock", "version = 4"),
            ("crates/a/Cargo.toml", "[package]"),
            ("crates/a/src/lib.rs", "fn secret() {}"),
            ("web/package.json", "{}"),
            ("requirements.txt", "six"),
            ("requirements/dev.txt", "six"),
            ("docs/requirements.txt", "six"),
        ]);
        let roots: Vec<(Ecosystem, Vec<String>)> =
            found.iter().map(|one| (one.ecosystem, one.roots())).collect();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let expected: [(Ecosystem, Vec<String>); 3] = [
            (Ecosystem::Cargo, words(&[".", "fuzz"])),
            (Ecosystem::Npm, words(&["web"])),
            (Ecosystem::Pip, words(&["."])),
        ];
        assert_eq!(roots, expected);
        assert_eq!(found[2].requirements(), ["requirements.txt", "requirements/dev.txt"]);
    }

    #[test]
    fn what_a_repository_brings_along_itself_is_left_alone() {
        assert!(found(&[("package.json", "{}"), ("web/node_modules/x/index.js", "")]).is_empty());
        assert!(found(&[("constraints.txt", "six<2")]).is_empty());
    }

    #[test]
    fn other_package_managers_are_not_served_by_npm() {
        assert!(found(&[("package.json", "{}"), ("yarn.lock", "")]).is_empty());
    }

    #[test]
    fn the_copy_has_names_but_no_code() {
        let found =
            found(&[("a/Cargo.toml", "[package]"), ("a/build.rs", "x"), ("a/.cargo/config", "x")]);
        let dir = tempfile::tempdir().unwrap();
        found[0].write(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a/Cargo.toml")).unwrap(), "[package]");
        assert_eq!(fs::read(dir.path().join("a/build.rs")).unwrap(), b"");
        assert!(!dir.path().join("a/.cargo").exists());
    }

    #[test]
    fn the_key_follows_what_manifests_say_and_no_code() {
        let of = |manifest: &str, code: &str| {
            found(&[("Cargo.toml", manifest), ("src/lib.rs", code)])[0].key()
        };
        assert_eq!(of("a", "x"), of("a", "y"));
        assert_ne!(of("a", "x"), of("b", "x"));
    }
}
