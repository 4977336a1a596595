//! What commands need of the machine: the directories of its `PATH`, and the homes of toolchains
//! that live in the user's directory. Only folders known to hold programs are shown, never a whole
//! home: what stands beside them (credentials, configuration, history) stays out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Folders below a home that version managers keep toolchains in, and the variable that names them.
/// They are mounted where they are, because what they install holds absolute paths.
const MANAGERS: [(&str, &str); 14] = [
    (".pyenv", "PYENV_ROOT"),
    (".rbenv", "RBENV_ROOT"),
    (".nodenv", "NODENV_ROOT"),
    (".goenv", "GOENV_ROOT"),
    (".nvm", "NVM_DIR"),
    (".volta", "VOLTA_HOME"),
    (".asdf", "ASDF_DATA_DIR"),
    (".sdkman", "SDKMAN_DIR"),
    (".deno", "DENO_INSTALL"),
    (".bun", "BUN_INSTALL"),
    (".fnm", "FNM_DIR"),
    (".local/share/fnm", "FNM_DIR"),
    (".local/share/mise", "MISE_DATA_DIR"),
    (".local/share/uv", "UV_DATA_DIR"),
];

/// What cargo needs of its home. Not `credentials*` nor `config*`: both may hold tokens.
const CARGO_FOLDERS: [&str; 6] =
    ["bin", "registry/index", "registry/cache", "registry/src", "git/db", "git/checkouts"];

/// Where the system's programs are, after whatever `PATH` says.
const SYSTEM_PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What is looked at to find toolchains.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) path: OsString,
    pub(super) home: Option<PathBuf>,
    pub(super) cargo_home: Option<PathBuf>,
    pub(super) rustup_home: Option<PathBuf>,
}

/// Read-only mounts and variables for the toolchains found.
#[derive(Debug, Default)]
pub(super) struct Toolchains {
    /// Where they are, and where they are inside.
    pub(super) mounts: Vec<(PathBuf, PathBuf)>,
    pub(super) env: BTreeMap<String, String>,
    path: Vec<String>,
}

impl Host {
    /// `PATH` and the homes of this process.
    pub(super) fn of_this_process() -> Self {
        let place = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = place("HOME");
        let below = |folder| home.as_ref().map(|home| home.join(folder));
        Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            cargo_home: place("CARGO_HOME").or_else(|| below(".cargo")),
            rustup_home: place("RUSTUP_HOME").or_else(|| below(".rustup")),
            home,
        }
    }
}

impl Toolchains {
    pub(super) fn discover(host: &Host) -> Self {
        let mut found = Self::default();
        for entry in std::env::split_paths(&host.path).filter(|entry| entry.is_absolute()) {
            match &host.cargo_home {
                Some(home) if entry == home.join("bin") => found.add_cargo(home, host),
                _ => found.add_entry(&entry, host),
            }
        }
        for entry in SYSTEM_PATH {
            found.add_to_path(Path::new(entry));
        }
        found.env.insert("PATH".to_owned(), found.path.join(":"));
        found
    }

    /// One entry of `PATH`: taken when it is the system's, below `/opt`, or a version manager's.
    fn add_entry(&mut self, entry: &Path, host: &Host) {
        let Ok(real) = entry.canonicalize() else { return };
        if ["/usr", "/bin", "/sbin"].iter().any(|root| entry.starts_with(root)) {
            return self.add_to_path(entry);
        }
        if let Ok(below) = real.strip_prefix("/opt") {
            if let Some(product) = below.components().next() {
                let product = Path::new("/opt").join(product);
                self.add_mount(product.clone(), product);
                self.add_to_path(&real);
            }
            return;
        }
        if real.starts_with("/nix/store") {
            self.add_mount("/nix/store".into(), "/nix/store".into());
            return self.add_to_path(&real);
        }
        let Some(home) = &host.home else { return };
        for (folder, variable) in MANAGERS {
            let root = home.join(folder);
            let Ok(real_root) = root.canonicalize() else { continue };
            if real.starts_with(&real_root) {
                self.add_mount(real_root, root.clone());
                self.env.insert(variable.to_owned(), root.display().to_string());
                return self.add_to_path(if entry.starts_with(&root) { entry } else { &real });
            }
        }
    }

    /// Cargo gets a home of its own inside, writable, with the machine's downloads read-only.
    fn add_cargo(&mut self, cargo_home: &Path, host: &Host) {
        let inside = Path::new(super::HOME).join(".cargo");
        for folder in CARGO_FOLDERS.iter().filter(|folder| cargo_home.join(folder).is_dir()) {
            self.add_mount(cargo_home.join(folder), inside.join(folder));
        }
        self.env.insert("CARGO_HOME".to_owned(), inside.display().to_string());
        self.env.insert("CARGO_NET_OFFLINE".to_owned(), "true".to_owned());
        self.add_to_path(&inside.join("bin"));
        let Some(rustup_home) = host.rustup_home.as_ref().filter(|home| home.is_dir()) else {
            return;
        };
        // Rustup too writes into its home, whatever it is asked for.
        let inside = Path::new(super::HOME).join(".rustup");
        for part in ["toolchains", "settings.toml"] {
            if rustup_home.join(part).exists() {
                self.add_mount(rustup_home.join(part), inside.join(part));
            }
        }
        self.env.insert("RUSTUP_HOME".to_owned(), inside.display().to_string());
    }

    fn add_mount(&mut self, host: PathBuf, inside: PathBuf) {
        let mount = (host, inside);
        if !self.mounts.contains(&mount) {
            self.mounts.push(mount);
        }
    }

    fn add_to_path(&mut self, entry: &Path) {
        let entry = entry.display().to_string();
        if !self.path.contains(&entry) {
            self.path.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_toolchains_are_shown_and_their_neighbours_are_not() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        for folder in
            [".cargo/bin", ".cargo/registry/src", ".pyenv/shims", "bin", ".rustup/toolchains"]
        {
            std::fs::create_dir_all(home.join(folder)).unwrap();
        }
        std::fs::write(home.join(".cargo/credentials.toml"), "token").unwrap();
        let path = [".cargo/bin", ".pyenv/shims", "bin"].map(|folder| home.join(folder));
        let host = Host {
            path: std::env::join_paths(path.iter().chain([&"/usr/bin".into()])).unwrap(),
            cargo_home: Some(home.join(".cargo")),
            rustup_home: Some(home.join(".rustup")),
            home: Some(home.clone()),
        };

        let found = Toolchains::discover(&host);

        let inside = |folder: &str| Path::new(super::super::HOME).join(folder);
        let expected = vec![
            (home.join(".cargo/bin"), inside(".cargo/bin")),
            (home.join(".cargo/registry/src"), inside(".cargo/registry/src")),
            (home.join(".rustup/toolchains"), inside(".rustup/toolchains")),
            (home.join(".pyenv"), home.join(".pyenv")),
        ];
        assert_eq!(found.mounts, expected);
        let expected = format!(
            "/home/cody/.cargo/bin:{}:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin",
            home.join(".pyenv/shims").display()
        );
        assert_eq!(found.env["PATH"], expected);
    }
}
