//! Repositories for the server to serve, made by the real git; and what the real git says of packs.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cody_batch::git::{FetchLimits, GitError, Locator, PackStore, Resolved, WalkBudget};
use cody_batch::git::{fetch, resolve, weigh_at};
use cody_events::digest::ObjectId;
use secrecy::SecretString;
use std::time::Duration;
use tempfile::TempDir;

use super::server::Server;

pub const LIMITS: FetchLimits = FetchLimits { bytes: 64 << 20, duration: Duration::from_secs(30) };
pub const BUDGET: WalkBudget = WalkBudget { files: 1_000, bytes: 32 << 20, file_bytes: 8 << 20 };

/// Runs git with nothing of the machine's configuration, and `input` on its standard input.
pub fn git_with<S: AsRef<OsStr>>(dir: &Path, args: &[S], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"])
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn git(dir: &Path, args: &[&str]) -> String {
    git_with(dir, args, b"")
}

/// A server with the repository `acme/app`, and a place for what we fetch from it.
pub struct Origin {
    pub server: Server,
    /// The work directory of `acme/app`.
    pub app: PathBuf,
    pub caches: PathBuf,
    pub packs: PackStore,
    pub room: TempDir,
}

impl Origin {
    /// With three commits on `main`, one file of which is large only in the past.
    pub fn new() -> Self {
        let origin = Self::empty();
        let large: Vec<u8> = noise(1 << 20);
        std::fs::write(origin.app.join("large.bin"), large).unwrap();
        origin.commit("README.md", "one\n", "one");
        std::fs::remove_file(origin.app.join("large.bin")).unwrap();
        origin.commit("README.md", "two\n", "two");
        origin.commit("src/lib.rs", "pub fn three() {}\n", "three");
        origin
    }

    /// With no commit.
    pub fn empty() -> Self {
        let room = TempDir::with_prefix("cody-fetching-").unwrap();
        let served = room.path().join("served");
        let app = served.join("acme/app.git");
        std::fs::create_dir_all(&app).unwrap();
        git(&app, &["init", "-q", "-b", "main"]);
        let server = Server::start(&served);
        let caches = room.path().join("data/cache");
        let packs = PackStore::new(room.path().join("data/packs"));
        Self { server, app, caches, packs, room }
    }

    /// Commits all that stands in the work directory, and `path` with `text`.
    pub fn commit(&self, path: &str, text: &str, message: &str) -> String {
        let place = self.app.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
        git(&self.app, &["add", "-A"]);
        git(&self.app, &["commit", "-q", "-m", message]);
        self.tip("HEAD")
    }

    /// Makes `tree` the tip of `main`, as a commit without a past. The work directory is left behind.
    pub fn plant(&self, tree: &str) -> String {
        let commit = git(&self.app, &["commit-tree", tree, "-m", "planted"]);
        git(&self.app, &["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// Writes an object as it is, however wrong.
    pub fn object(&self, kind: &str, bytes: &[u8]) -> String {
        git_with(&self.app, &["hash-object", "-t", kind, "-w", "--stdin", "--literally"], bytes)
    }

    pub fn tip(&self, name: &str) -> String {
        git(&self.app, &["rev-parse", name])
    }

    pub fn locator(&self) -> Locator {
        self.locator_of("acme/app")
    }

    pub fn locator_of(&self, repository: &str) -> Locator {
        Locator::parse(&self.server.url(repository), &[self.server.host()]).unwrap()
    }

    pub fn resolve(&self, branch: Option<&str>) -> Result<Resolved, GitError> {
        resolve(&self.locator(), None, branch)
    }

    pub fn fetch(&self, resolved: &Resolved) -> Result<PathBuf, GitError> {
        fetch(&self.locator(), None, resolved, &self.caches, &LIMITS)
    }

    /// Resolves, fetches, weighs and keeps, as a job's start does.
    pub fn pin(
        &self,
        branch: Option<&str>,
        token: Option<&SecretString>,
    ) -> Result<(Resolved, PathBuf), GitError> {
        let resolved = resolve(&self.locator(), token, branch)?;
        let cache = fetch(&self.locator(), token, &resolved, &self.caches, &LIMITS)?;
        weigh_at(&cache, resolved.commit, &BUDGET)?;
        let pack = self.packs.store(&cache, resolved.commit)?;
        Ok((resolved, pack.dir))
    }

    /// Every file below the caches that belongs to a pack, whole or not.
    pub fn pack_files(&self) -> Vec<String> {
        let mut names = Vec::new();
        for cache in std::fs::read_dir(&self.caches).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(cache.path().join("objects/pack")).into_iter().flatten() {
                names.push(file.unwrap().file_name().into_string().unwrap());
            }
        }
        names.sort();
        names
    }
}

/// Bytes that do not compress, the same each time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The one pack below `pack_dir`.
pub fn pack_file(pack_dir: &Path) -> PathBuf {
    let packs: Vec<PathBuf> = std::fs::read_dir(pack_dir.join("pack"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "pack"))
        .collect();
    assert_eq!(packs.len(), 1, "{packs:?}");
    packs[0].clone()
}

/// The real git's word that the pack is whole and strict; answers how many objects of each kind
/// it has: commits, trees, blobs.
pub fn vouched(pack_dir: &Path, commit: ObjectId) -> [usize; 3] {
    let room = TempDir::new().unwrap();
    let bare = room.path().join("bare.git");
    git(room.path(), &["init", "-q", "--bare", "bare.git"]);
    let pack = std::fs::read(pack_file(pack_dir)).unwrap();
    std::fs::write(bare.join("shallow"), format!("{commit}\n")).unwrap();
    git_with(&bare, &["index-pack", "--strict", "--stdin"], &pack);
    git(&bare, &["update-ref", "refs/heads/x", &commit.to_string()]);
    git(&bare, &["fsck", "--strict", "--full", "--no-dangling"]);
    let listed = git(&bare, &["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]);
    ["commit", "tree", "blob"].map(|kind| listed.lines().filter(|line| *line == kind).count())
}
