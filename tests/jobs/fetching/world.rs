//! A host, a repository on it, and a place to fetch to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cody_batch::git::{
    self, FetchLimits, GitError, Locator, PackStore, PinnedPack, Resolved, WalkBudget,
};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::git_server::GitServer;

pub const LIMITS: FetchLimits = FetchLimits { bytes: 100 << 20, duration: Duration::from_secs(60) };
pub const BUDGET: WalkBudget = WalkBudget { files: 1_000, bytes: 10 << 20, file_bytes: 1 << 20 };

/// A place to fetch to, and a place to make repositories in.
pub struct World {
    pub dir: TempDir,
    pub server: GitServer,
}

impl World {
    pub async fn new() -> Self {
        Self::with_token(None).await
    }

    pub async fn with_token(token: Option<&str>) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), server: GitServer::start(token).await }
    }

    /// A repository with three commits and two branches, offered as `acme/app`.
    pub fn offer_app(&self) -> PathBuf {
        let app = self.dir.path().join("app");
        std::fs::create_dir(&app).unwrap();
        run(&app, &["init", "-q", "-b", "main"]);
        for number in 0..3 {
            std::fs::write(app.join("file.txt"), format!("version {number}\n").repeat(500))
                .unwrap();
            commit(&app, &format!("number {number}"));
        }
        run(&app, &["branch", "old", "HEAD~1"]);
        self.server.offer(&app, "acme/app");
        app
    }

    pub fn locator(&self, path: &str) -> Locator {
        Locator::parse(&self.server.url(path), std::slice::from_ref(&self.server.host)).unwrap()
    }

    pub fn caches(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub fn packs(&self) -> PathBuf {
        self.dir.path().join("packs")
    }

    /// What the service does for a target: resolve, fetch, weigh, keep.
    pub async fn pin(&self, path: &str) -> Result<(Resolved, PinnedPack), GitError> {
        self.pin_as(path, None, None, LIMITS, BUDGET).await
    }

    pub async fn pin_as(
        &self,
        path: &str,
        branch: Option<&str>,
        token: Option<&str>,
        limits: FetchLimits,
        budget: WalkBudget,
    ) -> Result<(Resolved, PinnedPack), GitError> {
        let locator = self.locator(path);
        let (caches, packs) = (self.caches(), self.packs());
        let (branch, token) = (branch.map(str::to_owned), token.map(SecretString::from));
        tokio::task::spawn_blocking(move || {
            let resolved = git::resolve(&locator, token.as_ref(), branch.as_deref())?;
            let cache = git::fetch(&locator, token.as_ref(), &resolved, &caches, &limits)?;
            git::weigh_at(&cache, resolved.commit, &budget)?;
            let pack = PackStore::new(packs).store(&cache, resolved.commit)?;
            Ok((resolved, pack))
        })
        .await
        .unwrap()
    }
}

/// Runs the real git and gives what it printed.
pub fn run(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The same, with something on standard input.
pub fn run_with(dir: &Path, args: &[&str], input: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Commits everything that is there.
pub fn commit(dir: &Path, message: &str) {
    run(dir, &["add", "-A"]);
    run(dir, &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", message]);
}

/// Every file below `dir`.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
