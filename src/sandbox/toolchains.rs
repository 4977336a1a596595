//! What commands need of the machine: the directories of its `PATH`, and the homes of toolchains
//! that live in the user's directory. Whatever may hold a secret stays out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Below the user's home: what toolchains keep there, without the files that hold credentials.
const HOME_PARTS: [&str; 14] = [
    ".cargo/bin",
    ".rustup",
    ".pyenv",
    ".nvm",
    ".volta",
    ".fnm",
    ".asdf",
    ".sdkman",
    ".rbenv",
    ".goenv",
    ".bun",
    ".deno",
    ".local/bin",
    ".local/share/mise",
];

/// Read-only mounts and variables for the toolchains found.
#[derive(Debug, Clone)]
pub(super) struct Toolchains {
    pub mounts: Vec<PathBuf>,
    pub path: String,
    pub rustup_home: Option<PathBuf>,
    /// Downloaded crates, to build without a network.
    pub cargo_home: Option<PathBuf>,
}

impl Toolchains {
    /// Looks at `PATH` and `HOME` of this process.
    pub fn discover(extra: &[PathBuf]) -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let mut mounts: BTreeSet<PathBuf> = extra.iter().cloned().collect();
        if let Some(home) = &home {
            let parts = HOME_PARTS.iter().map(|part| home.join(part));
            mounts.extend(parts.filter(|part| part.is_dir()));
        }
        for dir in ["/opt", "/nix/store"].map(PathBuf::from) {
            if dir.is_dir() {
                mounts.insert(dir);
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut seen = BTreeSet::new();
        let visible: Vec<String> = std::env::split_paths(&path)
            .filter(|dir| dir.is_absolute() && is_visible(dir, &mounts))
            .filter_map(|dir| dir.to_str().map(str::to_owned))
            .filter(|dir| seen.insert(dir.clone()))
            .collect();
        let rustup_home = home.as_ref().map(|home| home.join(".rustup")).filter(|dir| dir.is_dir());
        let cargo_home = home.map(|home| home.join(".cargo")).filter(|dir| dir.is_dir());
        Self {
            mounts: mounts.into_iter().collect(),
            path: visible.join(":"),
            rustup_home,
            cargo_home,
        }
    }
}

fn is_visible(dir: &Path, mounts: &BTreeSet<PathBuf>) -> bool {
    ["/usr", "/bin", "/sbin"].iter().any(|root| dir.starts_with(root))
        || mounts.iter().any(|mount| dir.starts_with(mount))
}
